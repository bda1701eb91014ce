"""What CEL, Rego and JMESPath ask of the world becomes a recorded question, and no answer is never an answer."""

from __future__ import annotations

from typing import Any

import pytest

from custody.policy.given import Given
from custody.policy.lookup import Answers
from custody.policy.model import Context, Request
from custody.policy.regoworld import RegoWorld
from custody.policy.worlds import JMESPATH, WORLD, asking, nanoseconds, path_of
from custody.ports.lookup import (
    Absent,
    Addresses,
    Answer,
    Answered,
    ApiCall,
    Failed,
    HttpCall,
    ImageData,
    Question,
)
from policylang import jmespath, rego
from policylang.cel import CelError
from policylang.cel.kyverno import env
from policylang.errors import LanguageError
from tests.policy.test_images import NOW, pod

POD = ApiCall("/api/v1/namespaces/shop/pods/web")
LIST = ApiCall("/apis/apps/v1/namespaces/shop/deployments?labelSelector=app%3Dweb")
POST = ApiCall("/apis/authorization.k8s.io/v1/subjectaccessreviews", "POST", '{"a": 1}')
URL = "https://example.com/x"


def given(answers: dict[Question, Answer] | None = None) -> Given:
    return Given(Request.create(pod()), Context(now=NOW), {}, Answers(answers or {}))


def cel(expression: str, answers: dict[Question, Answer] | None = None) -> tuple[Any, list[Question]]:
    asked = given(answers)
    with asking(asked):
        try:
            return env(world=WORLD).compile(expression)({}), [*asked.answers.asked]
        except CelError as error:
            return str(error), [*asked.answers.asked]


@pytest.mark.parametrize(("expression", "question", "answer", "value"), [
    ("resource.Get('v1', 'pods', 'shop', 'web').kind", POD, {"kind": "Pod"}, "Pod"),
    ("resource.List('apps/v1', 'deployments', 'shop', {'app': 'web'}).items.size()", LIST, {"items": [1, 2]}, 2),
    ("resource.Post('authorization.k8s.io/v1', 'subjectaccessreviews', {'a': 1}).ok", POST, {"ok": True}, True),
    (f"http.Get('{URL}').a", HttpCall("GET", URL), {"status": 200, "body": '{"a": 3}'}, 3),
    (f"http.Post('{URL}', {{'b': 1}}, {{'X': 'y'}}).a", HttpCall("POST", URL, (("X", "y"),), '{"b": 1}'),
     {"status": 201, "body": '{"a": "z"}'}, "z"),
    ("image.GetMetadata('a:1').digest", ImageData("a:1"), {"digest": "sha256:0"}, "sha256:0"),
])
def test_cel_asks(expression: str, question: Question, answer: Any, value: Any) -> None:
    said, asked = cel(expression)
    assert "not known yet" in said
    assert asked == [question]
    assert cel(expression, {question: Answered(answer)}) == (value, [])
    failed, _ = cel(expression, {question: Failed("refused")})
    assert "could not be had" in failed
    absent, _ = cel(expression, {question: Absent()})
    assert "not found" in absent


def test_cel_has_the_time_of_the_decision_and_the_table_of_kinds() -> None:
    assert cel("string(time.now())")[0].startswith(f"{NOW:%Y-%m-%dT%H}")
    assert WORLD.need("resources", "").to_gvr("apps/v1", "Deployment") == ("apps", "v1", "deployments")
    assert WORLD.need("resources", "").to_gvr("v1", "Pod") == ("", "v1", "pods")
    assert "is not known" in cel("string(resource.ToGVR('example.com/v1', 'Widget') == null)")[0]
    # As Kyverno 1.19 has it: what was answered is the policy's to judge, by its status.
    assert cel(f"string(http.Get('{URL}').statusCode)", {HttpCall("GET", URL): Answered({"status": 500})})[0] == "500"
    assert "random() is for rules alone" in cel("random()")[0]


def test_what_a_language_swallows_was_asked_all_the_same() -> None:
    value, asked = cel("true || resource.Get('v1', 'pods', 'shop', 'web').x")
    assert (value, asked) == (True, [])
    value, asked = cel("resource.Get('v1', 'pods', 'shop', 'web').x || true")
    assert (value, asked) == (True, [POD])  # so decide fails the rule that asked


def test_paths() -> None:
    assert path_of("v1", "nodes", "") == "/api/v1/nodes"
    assert path_of("v1", "pods", "a/b", "x y") == "/api/v1/namespaces/a%2Fb/pods/x%20y"
    assert path_of("apps/v1", "deployments", "d", "w") == "/apis/apps/v1/namespaces/d/deployments/w"


SEND = f'package p\n\nx := http.send({{"method": "get", "url": "{URL}", "headers": {{"A": "b"}}}})'
SENT = HttpCall("GET", URL, (("A", "b"),))


def query(source: str, answers: dict[Question, Answer] | None = None) -> tuple[Any, list[Question]]:
    asked = given(answers)
    try:
        results = rego.Policy({"p.rego": source}).query("data.p.x")({}, world=RegoWorld(asked))
    except LanguageError as error:
        return error.message, [*asked.answers.asked]
    return [rego.to_json(result.expressions[0]) for result in results], [*asked.answers.asked]


def test_rego_asks() -> None:
    said, asked = query(SEND)
    assert "not known yet" in str(said)
    assert asked == [SENT]
    found, asked = query(SEND, {SENT: Answered({"status": 200, "body": '{"a": [1]}', "headers": {
        "Content-Type": ["application/json"]}})})
    assert asked == []
    assert "'body': {'a': [1]}" in str(found)
    assert "'status_code': 200" in str(found)
    assert "refused" in str(query(SEND, {SENT: Failed("refused")})[0])
    quiet = SEND.replace('"url"', '"raise_error": false, "url"')
    assert "'status_code': 0" in str(query(quiet, {SENT: Failed("refused")})[0])
    assert "not known yet" in str(query(quiet)[0])  # what nobody has asked yet is no failure of the network


def test_rego_refuses_what_it_does_not_obey_and_what_is_never_the_same() -> None:
    proxied = SEND.replace('"url"', '"tls_insecure_skip_verify": true, "url"')
    assert "tls_insecure_skip_verify is not evaluated by custody yet" in str(query(proxied)[0])
    assert "are not given" in str(query('package p\n\nx := rand.intn("a", 1000)')[0])
    assert str(nanoseconds(NOW)) in str(query("package p\n\nx := time.now_ns()")[0])


def test_rego_looks_names_up() -> None:
    source = 'package p\n\nx := net.lookup_ip_addr("a.example")'
    assert query(source)[1] == [Addresses("a.example")]
    assert "10.0.0.1" in str(query(source, {Addresses("a.example"): Answered(["10.0.0.1"])})[0])


def test_jmespath_asks() -> None:
    asked = given({Addresses("a.example"): Answered(["10.0.0.1"])})
    with asking(asked):
        assert JMESPATH.addresses("a.example") == ["10.0.0.1"]
        with pytest.raises(LanguageError, match="not known yet"):
            JMESPATH.addresses("b.example")
        assert [*asked.answers.asked] == [Addresses("b.example")]
        with pytest.raises(LanguageError, match="for rules alone"):
            jmespath.compile("random('[a-z]{8}')")({}, jmespath.Env(now=NOW, world=JMESPATH))
    with pytest.raises(LanguageError, match="for rules alone"):
        jmespath.compile("random('[a-z]{8}')")({}, jmespath.Env(now=NOW, world=JMESPATH))
