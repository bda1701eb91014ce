"""Entries of a context: when they are evaluated, what they see, what they look up, and what is said where they fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.policy.load import PolicySet
from custody.ports.lookup import (
    Absent,
    Answer,
    Answered,
    ApiCall,
    ConfigMap,
    Failed,
    GlobalEntry,
    HttpCall,
    ImageData,
    Question,
)
from tests.policy.kyverno.rules import POD, decided, policy, said

UNRESOLVED = ("error: failed to check deny conditions: failed to substitute variables in condition key: failed to "
              "resolve")


def denied(entries: list[dict[str, Any]], key: str, **more: Any) -> dict[str, Any]:
    """A rule whose message is the value of an expression."""
    return {"context": entries, "validate": {"message": f"<{key}>", "deny": {"conditions": {"all": [
        {"key": key, "operator": "NotEquals", "value": "never this"}]}}}, **more}


def value(entries: list[dict[str, Any]], key: str, answers: Mapping[Question, Answer] = {}) -> str:
    return said(denied(entries, key), POD, answers)


def variable(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "variable": fields}


@pytest.mark.parametrize(("entries", "key", "expected"), [
    ([variable("x", value="a")], "{{ x }}", "fail: <a>"),
    ([variable("x", value={"k": ["{{ request.object.metadata.name }}", 2]})], "{{ x.k[0] }}", "fail: <p>"),
    ([variable("x", jmesPath="request.object.metadata.labels.app")], "{{ x }}", "fail: <web>"),
    ([variable("x", jmesPath="request.object.nope", default="d")], "{{ x }}", "fail: <d>"),
    ([variable("x", value={"a": 1}, jmesPath="b", default="d")], "{{ x }}", "fail: <d>"),
    ([variable("x", value="a"), variable("x", value="{{ x }}b")], "{{ x }}", "fail: <ab>"),
    ([variable("x", value="a"), variable("y", jmesPath="x")], "{{ y }}", "fail: <a>"),
    ([variable("x", value=[1, 2, 3]), variable("n", value="{{ length(x) }}")], "{{ n }} of {{ x }}",
     "fail: <3 of [1,2,3]>"),
    ([variable("x", value="a"), variable("name", value="x")], "{{ {{ name }} }}", "fail: <a>"),
], ids=str)
def test_variables(entries: list[dict[str, Any]], key: str, expected: str) -> None:
    assert value(entries, key) == expected


@pytest.mark.parametrize(("entries", "reason"), [
    ([variable("x", jmesPath="request.object.nope")],
     "x at path : failed to apply jmespath request.object.nope to variable <nil>: JMESPath query failed: Unknown key "
     '"nope" in path'),
    ([variable("x", value="{{ y }}"), variable("y", value="a")],
     "x at path : failed to substitute variables in context entry x {{ y }}: failed to resolve y at path : JMESPath "
     'query failed: Unknown key "y" in path'),
    ([variable("x", value="{{ x }}")],
     "x at path : failed to substitute variables in context entry x {{ x }}: failed to resolve x at path : JMESPath "
     'query failed: Unknown key "x" in path'),
    ([variable("x", value={"a": None}, jmesPath="a")],
     "x at path : failed to add context entry for variable x since it evaluated to nil"),
], ids=["absent", "later", "itself", "nil"])
def test_an_entry_that_fails_says_why(entries: list[dict[str, Any]], reason: str) -> None:
    assert value(entries, "{{ x }}") == f"{UNRESOLVED} {reason}"


def test_an_entry_that_nobody_names_is_neither_evaluated_nor_looked_up() -> None:
    entries = [{"name": "cm", "configMap": {"name": "c", "namespace": "n"}}, variable("bad",
                                                                                      jmesPath="request.object.nope"),
               variable("x", value="a")]
    decision = decided(policy(denied(entries, "{{ x }}")))
    assert [result.message for result in decision.results] == ["<a>"]
    assert not decision.asks


def test_what_a_rule_names_is_asked_for_and_nothing_is_allowed_until_it_is_known() -> None:
    entries = [{"name": "cm", "configMap": {"name": "c-{{ request.namespace }}", "namespace": "n"}}]
    rule = {"context": entries, "validate": {"deny": {"conditions": {"any": [
        {"key": "{{ cm.data.allow || 'x' }}", "operator": "Equals", "value": "no"}]}}}}
    question = ConfigMap("n", "c-shop")
    decision = decided(policy(rule))
    assert decision.asks.questions == (question,)
    assert not decision.allowed
    known = Answered({"metadata": {"name": "c-shop"}, "data": {"allow": "yes"}})
    assert decided(policy(rule), answers={question: known}).allowed


LOOKED_UP: list[tuple[dict[str, Any], Any, Any, str, str]] = [
    ({"configMap": {"name": "c"}}, ConfigMap("default", "c"), Answered({"data": {"k": "v"}, "metadata": {}}),
     "x.data.k",
     "fail: <v>"),
    ({"apiCall": {"urlPath": "/api/v1/namespaces/{{ request.namespace }}/pods", "jmesPath": "items | length(@)"}},
     ApiCall("/api/v1/namespaces/shop/pods"), Answered({"items": [1, 2]}), "x", "fail: <2>"),
    ({"apiCall": {"urlPath": "/apis/a/b", "method": "POST", "data": [{"key": "n",
                                                                      "value": "{{ request.namespace }}"}]}},
     ApiCall("/apis/a/b", "POST", '{"n":"shop"}'), Answered({"ok": True}), "x.ok", "fail: <true>"),
    ({"apiCall": {"urlPath": "/apis/a/b", "default": {"ok": "d"}, "jmesPath": "nope.nope"}}, ApiCall("/apis/a/b"),
     Failed("refused"), "x.ok", "fail: <d>"),
    ({"apiCall": {"service": {"url": "https://e.example/{{ request.namespace }}", "caBundle": "pem",
                              "headers": [{"key": "A", "value": "b"}]}}},
     HttpCall("GET", "https://e.example/shop", (("A", "b"),), "", "pem"),
     Answered({"status": 200, "headers": {}, "body": '{"k": 1}'}), "x.k", "fail: <1>"),
    ({"imageRegistry": {"reference": "{{ images.containers.web.reference }}", "jmesPath": "configData.config.User"}},
     ImageData("docker.io/nginx:latest"), Answered({"configData": {"config": {"User": "root"}}}), "x", "fail: <root>"),
    ({"globalReference": {"name": "deployments.names", "jmesPath": "[0]"}}, GlobalEntry("deployments", "names"),
     Answered(["a"]), "x", "fail: <a>"),
]


@pytest.mark.parametrize(("entry", "question", "answer", "key", "expected"), LOOKED_UP, ids=lambda part: str(part)[:40])
def test_what_is_looked_up(entry: dict[str, Any], question: Any, answer: Any, key: str, expected: str) -> None:
    if isinstance(question, ImageData):
        question = ImageData("docker.io/library/nginx:latest")
    assert value([{"name": "x", **entry}], f"{{{{ {key} }}}}", {question: answer}) == expected


FAILS: list[tuple[dict[str, Any], Any, Any, str]] = [
    ({"configMap": {"name": "c"}}, ConfigMap("default", "c"), Absent(),
     'failed to retrieve config map for context entry x: failed to get configmap default/c : configmaps "c" not found'),
    ({"apiCall": {"urlPath": "/x"}}, ApiCall("/x"), Absent(),
     "failed to fetch data for APICall: failed to GET resource with "
     "raw url: /x: the server could not find the requested resource"),
    ({"apiCall": {"service": {"url": "http://e/"}}}, HttpCall("GET", "http://e/"),
     Answered({"status": 503, "headers": {}, "body": "busy"}), "failed to fetch data for APICall: HTTP 503: busy"),
    ({"globalReference": {"name": "g"}}, GlobalEntry("g"), Absent(),
     "failed to marshal APICall data for context entry x: failed to fetch entry key=g"),
]


@pytest.mark.parametrize(("entry", "question", "answer", "reason"), FAILS, ids=lambda part: str(part)[:40])
def test_what_cannot_be_looked_up_is_an_error_that_denies(entry: dict[str, Any], question: Any, answer: Any,
                                                         reason: str) -> None:
    rule = denied([{"name": "x", **entry}], "{{ x.k || 'fallback' }}")
    decision = decided(policy(rule), answers={question: answer})
    assert decision.results[0].message.endswith(f": {reason}")
    assert not decision.allowed


def test_a_failure_is_not_taken_for_absent() -> None:
    entries = [{"name": "x", "configMap": {"name": "c"}}]
    message = value(entries, "{{ x || 'none' }}", {ConfigMap("default", "c"): Failed("timed out")})
    assert message.startswith("error: ")
    assert "timed out" in message


def test_too_much_data_is_refused() -> None:
    entries = [{"name": "x", "configMap": {"name": "c"}}]
    big = {"data": {"k": "v" * (2 * 1024 * 1024)}, "metadata": {}}
    assert "context size limit exceeded" in value(entries, "{{ x.data.k }}", {ConfigMap("default", "c"): Answered(big)})


@pytest.mark.parametrize(("entry", "kind", "path"), [
    ({"name": "x"}, MalformedError, "spec.rules[0].context[0]"),
    ({"name": "request", "variable": {"value": 1}}, MalformedError, "spec.rules[0].context[0].name"),
    ({"name": "x", "variable": {"value": 1, "weird": 2}}, UnsupportedError, "spec.rules[0].context[0].variable.weird"),
    ({"name": "x", "apiCall": {"urlPath": "/a", "method": "PUT"}}, MalformedError,
     "spec.rules[0].context[0].apiCall.method"),
    ({"name": "x", "imageRegistry": {"reference": "a", "imageRegistryCredentials": {"secrets": ["s"]}}},
     UnsupportedError,
     "spec.rules[0].context[0].imageRegistry.imageRegistryCredentials.secrets"),
    ({"name": "x", "variable": {"value": "{{ nothing.at.all }}"}}, CustodyError,
     "spec.rules[0].context[0].variable.value"),
    ({"name": "x", "variable": {"value": "{{ is_external_url('a') }}"}}, CustodyError,
     "spec.rules[0].context[0].variable.value"),
], ids=lambda part: str(part)[:60])
def test_what_is_refused_when_it_is_loaded(entry: dict[str, Any], kind: type[CustodyError], path: str) -> None:
    with pytest.raises(kind) as refused:
        PolicySet([policy(denied([entry], "a"))])
    assert f"{path}: " in refused.value.message


@pytest.mark.parametrize(("name", "refused"), [("image", False), ("images", True), ("element", True)])
def test_an_entry_may_have_any_name_that_no_variable_has(name: str, refused: bool) -> None:
    """Asked of Kyverno 1.19.1: `image` is one only beside images that are verified."""
    document = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {"rules": [{
        "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
        "context": [{"name": name, "variable": {"value": "x"}}],
        "validate": {"failureAction": "Enforce", "deny": {"conditions": {"all": [
            {"key": f"{{{{ {name} }}}}", "operator": "Equals", "value": "x"}]}}}}]}}
    if refused:
        with pytest.raises(MalformedError, match="expected a name that no variable of Kyverno's has"):
            PolicySet([document])
    else:
        assert PolicySet([document]).rules
