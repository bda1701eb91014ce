"""A policy of a namespace: what it may not read of others, ask, generate or name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from custody.errors import MalformedError
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Kind, Outcome, Request
from custody.policy.phases import Course
from custody.ports.lookup import Answered, ApiCall

NOW = datetime(2026, 11, 29, tzinfo=UTC)
_PODS = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}
_SAID: dict[str, dict[str, Any]] = {
    "NamespacedValidatingPolicy": {"validations": [{"expression": "%s == 1"}]},
    "NamespacedMutatingPolicy": {"mutations": [{"patchType": "JSONPatch", "jsonPatch": {
        "expression": '[JSONPatch{op: "add", path: "/metadata/labels/x", value: string(%s)}]'}}]},
    "NamespacedGeneratingPolicy": {"generate": [{"expression": "generator.Apply([{'a': dyn(%s)}])"}]},
    "NamespacedDeletingPolicy": {"schedule": "* * * * *", "conditions": [{"name": "c", "expression": "%s == 1"}]},
    "NamespacedImageValidatingPolicy": {"validations": [{"expression": "%s == 1"}],
                                        "attestors": [{"name": "a", "cosign": {"key": {"data": "%s"}}}]}}
_KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8nXRh950IZbRj8Ra/N9sbqOPZrfM
5/KAQN0/KjHcorm/J5yctVd7iEcnessRQjU917hmKO6JWVGHpDguIyakZA==
-----END PUBLIC KEY-----
"""


def pod(namespace: str = "team") -> Request:
    return Request(operation="CREATE", kind=Kind("Pod"), namespace=namespace, name="a", object={
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": namespace},
        "spec": {"containers": []}})


def cel(kind: str, expression: str) -> dict[str, Any]:
    def written(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: written(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [written(inner) for inner in value]
        return value.replace("%s", _KEY if value == "%s" else expression) if isinstance(value, str) else value
    return {"apiVersion": "policies.kyverno.io/v1", "kind": kind, "metadata": {"name": "p", "namespace": "team"},
            "spec": {"matchConstraints": _PODS, **written(_SAID[kind])}}


def legacy(rule: dict[str, Any], kind: str = "Policy") -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": kind, "metadata": {"name": "p", "namespace": "team"},
            "spec": {"validationFailureAction": "Enforce", "rules": [
                {"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, **rule}]}}


@pytest.mark.parametrize("kind", _SAID)
@pytest.mark.parametrize("expression", [
    'http.Get("http://169.254.169.254/").a', 'http .Get("http://a/").a', 'http\n.Get("http://a/").a',
    '[http][0].Get("http://a/").a', 'http.Client("x").Get("http://a/").a', 'http.Post("http://a/", {}).a',
    '[1].map(i, http.Get("http://a/").a)[0]', 'globalContext.Get("a", "")', '[globalContext][0].Get("a", "")'])
def test_expressions_ask_no_other_server_however_they_name_it(kind: str, expression: str) -> None:
    with pytest.raises(MalformedError, match=r"got '(http|globalContext)\.\*', expected none of it in a policy of a"):
        PolicySet([cel(kind, expression)])


@pytest.mark.parametrize("kind", _SAID)
def test_a_text_that_looks_like_a_call_is_none(kind: str) -> None:
    PolicySet([cel(kind, 'size("http.Get(1) globalContext.Get(1)")')])


@pytest.mark.parametrize("path", [
    "/api/v1/secrets?x=/namespaces/team/", "/api/v1/secrets?labelSelector=a/namespaces/team/b",
    "/api/v1/secrets%3Fx=/namespaces/team/", "/api/v1/nodes/n/proxy/namespaces/team/pods",
    "/apis/a/v1/things/t/namespaces/team/x", "/api/v1/namespaces/team/../kube-system/secrets",
    "/api/v1/namespaces/team/%2e%2e/kube-system/secrets", "/api/v1/watch/namespaces/team/secrets", "/api/v1/secrets",
    "/api/v1/namespaces/kube-system/secrets", "//api/v1/namespaces/team/pods", "/version?/namespaces/team/",
    "/api/v1/namespaces/team%2Fkube-system/pods", "/api/v1/namespaces/team?/../../../secrets"])
def test_the_api_server_is_asked_about_no_other_namespace(path: str) -> None:
    policy = legacy({"context": [{"name": "c", "apiCall": {"urlPath": path}}], "validate": {
        "message": "m", "deny": {"conditions": {"any": [{"key": "{{ c }}", "operator": "Equals", "value": ""}]}}}})
    decision = decide(pod(), {}, PolicySet([policy]), Context(now=NOW))
    asked = [question for question in decision.asks.questions if isinstance(question, ApiCall)]
    assert [question.path for question in asked] in ([], ["/api/v1/namespaces/team?/../../../secrets"])
    if not asked:
        assert [result.outcome for result in decision.results] == [Outcome.ERROR]
        assert "namespace" in decision.results[0].message


def test_the_api_server_is_asked_about_its_own() -> None:
    policy = legacy({"context": [{"name": "c", "apiCall": {
        "urlPath": "/apis/apps/v1/namespaces/{{ request.namespace }}/deployments?labelSelector=a%3Db"}}],
        "validate": {"message": "m", "deny": {"conditions": {"any": [
            {"key": "{{ c.items }}", "operator": "Equals", "value": []}]}}}})
    question = ApiCall("/apis/apps/v1/namespaces/team/deployments?labelSelector=a%3Db")
    decision = decide(pod(), {}, PolicySet([policy]), Context(now=NOW), answers={question: Answered({"items": [1]})})
    assert [result.outcome for result in decision.results] == [Outcome.PASS]


@pytest.mark.parametrize(("param", "namespace"), [(("v1", "Secret"), "kube-system"), (("v1", "Namespace"), ""),
                                                  (("a.example/v1", "Thing"), "other"),
                                                  (("a.example/v1", "Thing"), "")])
def test_parameters_of_cel_lie_in_its_own_namespace(param: tuple[str, str], namespace: str) -> None:
    ref = {"name": "n", "parameterNotFoundAction": "Deny", **({"namespace": namespace} if namespace else {})}
    block = {"validate": {"cel": {"paramKind": {"apiVersion": param[0], "kind": param[1]}, "paramRef": ref,
                                  "expressions": [{"expression": "false", "messageExpression": "params.data.a"}]}}}
    with pytest.raises(MalformedError, match="a policy of a namespace reads nothing outside of it"):
        PolicySet([legacy(block)])
    whole = legacy(block, "ClusterPolicy")
    del whole["metadata"]["namespace"]
    PolicySet([whole])


@pytest.mark.parametrize("generate", [
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "data": {"subjects": []}},
    {"apiVersion": "v1", "kind": "ConfigMap", "data": {"kind": "ClusterRoleBinding"}},
    {"apiVersion": "", "kind": "ConfigMap", "data": {"apiVersion": "v1", "kind": "Namespace"}}])
def test_it_generates_nothing_that_lies_in_no_namespace(generate: dict[str, Any]) -> None:
    policy = legacy({"generate": {"name": "x", "namespace": "team", **generate}})
    if generate["kind"] == "ConfigMap" and generate["apiVersion"]:
        policy["spec"]["rules"][0]["generate"]["apiVersion"] = "rbac.authorization.k8s.io/v1"
    decision = decide(pod(), {}, PolicySet([policy]), Context(now=NOW), at=Course.GENERATING)
    assert [result.outcome for result in decision.results] == [Outcome.ERROR]
    assert "cannot generate cluster-wide resources" in decision.results[0].message
    assert decision.changes == ()
