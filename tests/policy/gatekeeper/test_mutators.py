"""Mutators: where they write, when they come to rest, and which are refused or contradict each other."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given as generated
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError
from custody.formats import jsonpatch
from custody.policy.decide import decide
from custody.policy.gatekeeper.location import Item, Member, parse
from custody.policy.gatekeeper.mutators import Assign
from custody.policy.load import PolicySet
from custody.policy.model import Context, Verdict
from custody.policy.phases import Course
from custody.ports.lookup import Answered, Failed
from tests.policy.gatekeeper.world import NOW, Json, asked, constraint, judged, pod, provider, question, template

PODS = [{"groups": [""], "versions": ["v1"], "kinds": ["Pod"]}]


def mutator(kind: str, location: str, parameters: Json, *, name: str = "m", **spec: Any) -> Json:
    applied: Json = {} if kind == "AssignMetadata" else {"applyTo": PODS}
    return {"apiVersion": f"mutations.gatekeeper.sh/{'v1alpha1' if kind == 'AssignImage' else 'v1'}", "kind": kind,
            "metadata": {"name": name}, "spec": {"location": location, "parameters": parameters, **applied, **spec}}


def assign(location: str, value: Any, *, parameters: Json | None = None, **spec: Any) -> Json:
    return mutator("Assign", location, {"assign": {"value": value}, **(parameters or {})}, **spec)


def mutated(policies: list[Json], document: Json, answers: Any = None, **request: Any) -> Any:
    decision = decide(asked(document, **request), {}, PolicySet.load(policies), Context(now=NOW), at=Course.MUTATING,
                      answers=answers or {})
    assert decision.verdict is not Verdict.DENIED, decision.results
    return jsonpatch.apply(document, decision.patch)


@pytest.mark.parametrize(("text", "location"), [
    ("spec.a", (Member("spec"), Member("a"))), ("spec.c[name: *].image", (
        Member("spec"), Member("c"), Item("name", None), Member("image"))),
    ("a[b: 80]", (Member("a"), Item("b", 80))), ("a[b: '80']", (Member("a"), Item("b", "80"))),
    (' spec . "x.y/z" ', (Member("spec"), Member("x.y/z"))), (r'"a\"b"', (Member('a"b'),)), ("a[b:c].d", (
        Member("a"), Item("b", "c"), Member("d")))])
def test_locations(text: str, location: Any) -> None:
    assert parse(text, "x") == location


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a[", "a[b", "a[b:", "a[b:]", "a[b:c", "a[b:c][d:e]", "1a", "a b",
                                  "a[*]", "a[b:*", "a,b", '"a', "a[b: 99999999999999999999]", "a" * 2000])
def test_locations_that_are_none(text: str) -> None:
    with pytest.raises(MalformedError):
        parse(text, "spec.location")


@generated(st.text(max_size=40))
def test_any_text_is_a_location_or_refused(text: str) -> None:
    try:
        assert parse(text, "x")
    except MalformedError:
        return


def test_a_value_is_written_into_each_item_that_a_location_names() -> None:
    document = pod()
    document["spec"]["containers"].append({"name": "side", "image": "x"})
    everywhere = mutated([assign("spec.containers[name: *].imagePullPolicy", "Always")], document)
    assert [container["imagePullPolicy"] for container in everywhere["spec"]["containers"]] == ["Always", "Always"]
    single = mutated([assign("spec.containers[name: side].imagePullPolicy", "Always")], document)
    assert [container.get("imagePullPolicy") for container in single["spec"]["containers"]] == [None, "Always"]
    added = mutated([assign("spec.containers[name: new].image", "y")], document)
    assert added["spec"]["containers"][2] == {"name": "new", "image": "y"}
    whole = mutated([assign("spec.containers[name: side]", {"name": "side", "image": "z"})], document)
    assert whole["spec"]["containers"][1] == {"name": "side", "image": "z"}


def test_numbers_are_keys_that_texts_are_not() -> None:
    document = pod(containers=[{"name": "a", "ports": [{"containerPort": 80}]}])
    named = mutated([assign("spec.containers[name: a].ports[containerPort: 80].name", "http")], document)
    assert named["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "name": "http"}]
    text = mutated([assign("spec.containers[name: a].ports[containerPort: '80'].name", "http")], document)
    assert len(text["spec"]["containers"][0]["ports"]) == 2


@pytest.mark.parametrize(("condition", "present", "absent"), [
    ("MustExist", True, False), ("MustNotExist", False, True)])
def test_path_tests(condition: str, present: bool, absent: bool) -> None:
    policies = [assign("spec.securityContext.runAsNonRoot", True, parameters={
        "pathTests": [{"subPath": "spec.securityContext", "condition": condition}]})]
    assert (mutated(policies, pod(securityContext={}))["spec"]["securityContext"] != {}) is present
    assert ("securityContext" in mutated(policies, pod())["spec"]) is absent


def test_metadata_is_added_and_never_changed() -> None:
    policies = [mutator("AssignMetadata", "metadata.labels.team", {"assign": {"value": "x"}})]
    assert mutated(policies, pod())["metadata"]["labels"] == {"team": "x"}
    assert mutated(policies, pod(labels={"team": "own"}))["metadata"]["labels"] == {"team": "own"}
    named = [mutator("AssignMetadata", 'metadata.annotations."x/name"', {"assign": {"fromMetadata": {"field": "name"}}}),
             mutator("AssignMetadata", "metadata.annotations.home", {"assign": {"fromMetadata": {"field": "namespace"}}}, name="n")]
    assert mutated(named, pod())["metadata"]["annotations"] == {"x/name": "web", "home": "default"}


@pytest.mark.parametrize(("operation", "before", "after"), [
    ("merge", ["a"], ["a", "b", "c"]), ("merge", None, ["b", "c"]), ("prune", ["a", "b", "b"], ["a"]), ("prune", None, None)])
def test_sets(operation: str, before: Any, after: Any) -> None:
    policies = [mutator("ModifySet", "spec.containers[name: *].args", {
        "operation": operation, "values": {"fromList": ["b", "c"]}})]
    document = pod(containers=[{"name": "m", **({"args": before} if before is not None else {})}])
    assert mutated(policies, document)["spec"]["containers"][0].get("args") == after


@pytest.mark.parametrize(("parameters", "before", "after"), [
    ({"assignDomain": "reg.io"}, "nginx:1", "reg.io/nginx:1"), ({"assignDomain": "reg.io"}, "gcr.io/a/b@sha256:" + "0" * 64,
                                                               "reg.io/a/b@sha256:" + "0" * 64),
    ({"assignTag": ":2"}, "localhost:5000/a:1", "localhost:5000/a:2"), ({"assignPath": "x/y"}, "gcr.io/a:1", "gcr.io/x/y:1"),
    ({"assignTag": "@sha256:" + "a" * 64}, "nginx", "nginx@sha256:" + "a" * 64)])
def test_images(parameters: Json, before: str, after: str) -> None:
    document = pod(containers=[{"name": "m", "image": before}])
    assert mutated([mutator("AssignImage", "spec.containers[name: *].image", parameters)], document)[
        "spec"]["containers"][0]["image"] == after


def test_mutators_see_what_others_wrote_until_nothing_changes() -> None:
    policies = [assign("spec.b.x", 1, name="a", parameters={"pathTests": [{"subPath": "spec.b", "condition": "MustExist"}]}),
                assign("spec.b.y", 2, name="b")]
    assert mutated(policies, pod())["spec"]["b"] == {"x": 1, "y": 2}


def test_the_last_of_two_that_write_the_same_field_counts() -> None:
    assert mutated([assign("spec.x", "1", name="b"), assign("spec.x", "2", name="a")], pod())["spec"]["x"] == "1"


def test_mutators_that_never_come_to_rest_deny(monkeypatch: pytest.MonkeyPatch) -> None:
    def grow(_: Any, document: Json, request: Any) -> bool:
        document["spec"].setdefault("x", []).append(1)
        return True

    monkeypatch.setattr(Assign, "write", grow)
    decision = judged([assign("spec.x", "1", name="a"), assign("spec.y", "2", name="b")], pod())
    assert decision.verdict is Verdict.DENIED
    assert "still changes after 3 rounds" in decision.results[0].message


def test_what_contradicts_another_mutator_is_not_applied() -> None:
    policies = [assign("spec.x.y", 1, name="a"), assign("spec.x[name: z].y", 1, name="b"), assign("spec.other", 1, name="c")]
    assert mutated(policies, pod())["spec"] == {"containers": [{"name": "main", "image": "nginx"}], "other": 1}
    keys = [assign("spec.c[name: a].x", 1, name="a"), assign("spec.c[id: a].x", 1, name="b")]
    assert "c" not in mutated(keys, pod())["spec"]
    below = [mutator("AssignImage", "spec.i", {"assignTag": ":1"}, name="a"), assign("spec.i.j", 1, name="b")]
    assert "i" not in mutated(below, pod())["spec"]


def test_an_object_of_another_shape_denies() -> None:
    decision = judged([assign("spec.containers.x", 1)], pod())
    assert decision.verdict is Verdict.DENIED
    assert "expected an object, as the location says" in decision.results[0].message


def test_matches() -> None:
    assert mutated([assign("spec.x", 1, match={"namespaces": ["prod"]})], pod())["spec"].get("x") is None
    assert mutated([assign("spec.x", 1, match={"source": "Generated"})], pod())["spec"].get("x") is None
    for_updates = assign("spec.x", 1)
    for_updates["spec"]["applyTo"] = [{**PODS[0], "operations": ["UPDATE"]}]
    assert mutated([for_updates], pod())["spec"].get("x") is None
    assert mutated([for_updates], pod(), operation="UPDATE", old=pod())["spec"]["x"] == 1


IMAGE = "spec.containers[name: *].image"
TRUST = provider("trust")
TRUSTED = question("trust", "nginx")


def external(**more: Any) -> Json:
    return mutator("Assign", IMAGE, {"assign": {"externalData": {"provider": "trust", **more}}})


def response(**item: Any) -> Answered:
    return Answered({"response": {"idempotent": True, "items": [{"key": "nginx", **item}]}})


def test_a_provider_says_what_is_written() -> None:
    assert mutated([external(), TRUST], pod(), {TRUSTED: response(value="nginx@sha256:1")})["spec"]["containers"][0][
        "image"] == "nginx@sha256:1"
    assert judged([external(), TRUST], pod()).asks.questions == (TRUSTED,)


@pytest.mark.parametrize(("answer", "reason"), [
    (Failed("timed out"), "timed out"), (response(error="unknown"), "unknown"), (response(value=1), "expected text"),
    (Answered("odd"), "expected a response"), (Answered({"response": {"idempotent": True, "items": []}}), "lacks"),
    (Answered({"response": {"items": [{"key": "nginx", "value": "x"}]}}), "not idempotent"),
    (Answered({"response": {"idempotent": True, "systemError": "down", "items": []}}), "down")])
def test_a_provider_that_fails_or_lies(answer: Any, reason: str) -> None:
    decision = judged([external(), TRUST], pod(), {TRUSTED: answer})
    assert decision.verdict is Verdict.DENIED
    assert reason in decision.results[0].message
    ignored = mutated([external(failurePolicy="Ignore"), TRUST], pod(), {TRUSTED: answer})
    assert ignored["spec"]["containers"][0]["image"] == "nginx"
    default = mutated([external(failurePolicy="UseDefault", default="x"), TRUST], pod(), {TRUSTED: answer})
    assert default["spec"]["containers"][0]["image"] == "x"


def test_a_provider_that_is_not_there() -> None:
    decision = judged([external()], pod())
    assert decision.verdict is Verdict.DENIED
    assert "no Provider of this name" in decision.results[0].message
    assert mutated([external(failurePolicy="UseDefault", default="x")], pod())["spec"]["containers"][0]["image"] == "x"


def test_several_providers_are_asked_in_one_round() -> None:
    other = mutator("Assign", "spec.nodeName", {"assign": {"externalData": {"provider": "place"}}}, name="n")
    asks = judged([external(), other, TRUST, provider("place")], pod(nodeName="a")).asks.questions
    assert {*asks} == {TRUSTED, question("place", "a")}


@pytest.mark.parametrize(("document", "reason"), [
    (assign("metadata.labels.x", "y"), "AssignMetadata is for it"), (assign("spec.c[name: a].name", "b"), "known by this one"),
    (assign("spec.c[name: *]", {"name": "a"}), "nothing is added to all"), (assign("spec.c[name: a]", {"name": "b"}), "name is a"),
    (mutator("Assign", "spec.x", {"assign": {}}), "one of value"),
    (mutator("Assign", "spec.x", {"assign": {"value": 1, "fromMetadata": {"field": "name"}}}), "one of value"),
    (mutator("Assign", "spec.x", {"assign": {"fromMetadata": {"field": "uid"}}}), "name or namespace"),
    (mutator("AssignMetadata", "metadata.name", {"assign": {"value": "x"}}), "metadata.labels.NAME"),
    (mutator("AssignMetadata", "metadata.labels.x", {"assign": {"value": 1}}), "expected text"),
    (mutator("ModifySet", "spec.c[name: a]", {"values": {"fromList": [1]}}), "the list itself"),
    (mutator("ModifySet", "spec.c", {"operation": "Prune", "values": {"fromList": [1]}}), "merge or prune"),
    (mutator("AssignImage", IMAGE, {}), "assignDomain, assignPath or assignTag"),
    (mutator("AssignImage", IMAGE, {"assignTag": "latest"}), "assignTag"),
    (mutator("AssignImage", IMAGE, {"assignPath": "gcr.io/x"}), "begin like a domain"),
    (mutator("AssignImage", IMAGE, {"assignPath": "a" * 10_000 + "!"}), "what matches"),
    (mutator("AssignImage", IMAGE, {"assignPath": "a" + "-" * 10_000 + "!"}), "what matches"),
    (mutator("AssignImage", IMAGE, {"assignPath": "a___b"}), "what matches"),
    (external(failurePolicy="UseDefault"), "default"), (external(failurePolicy="Maybe"), "failurePolicy"),
    (assign("spec.x", 1, parameters={"pathTests": [{"subPath": "spec.y", "condition": "MustExist"}]}), "beginning of the location"),
    (assign("spec.x", 1, parameters={"pathTests": [{"subPath": "spec", "condition": "May"}]}), "MustExist or MustNotExist"),
    (assign("spec.x.y", 1, parameters={"pathTests": [{"subPath": "spec.x", "condition": "MustNotExist"},
                                                     {"subPath": "spec.x.y", "condition": "MustExist"}]}), "hold together"),
    ({**assign("spec.x", 1), "metadata": {"name": "m" * 64}}, "at most 63"), (assign("spec.", 1), "expected name behind")])
def test_mutators_that_are_refused(document: Json, reason: str) -> None:
    with pytest.raises(CustodyError, match=reason):
        PolicySet.load([document])


def test_what_was_mutated_is_what_is_judged() -> None:
    policies = [mutator("AssignMetadata", "metadata.labels.team", {"assign": {"value": "x"}}), template(), constraint()]
    assert judged(policies, pod()).verdict is Verdict.ALLOWED
