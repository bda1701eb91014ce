"""MutatingAdmissionPolicies and their bindings, as an API server of Kubernetes 1.34 carries them out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from custody.errors import MalformedError, UnsupportedError
from custody.formats import jsonpatch
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Outcome, Request, Verdict
from custody.policy.phases import Course
from custody.ports.lookup import Absent, Answer, Answered, ApiCall, NamespaceLabels, Question

_NOW = Context(now=datetime(2026, 11, 29, tzinfo=UTC))
_GROUP = "admissionregistration.k8s.io/v1beta1"
_POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"},
        "spec": {"containers": [{"name": "a", "image": "i"}]}}
_LABEL = 'Object{metadata: Object.metadata{labels: {"team": "a"}}}'
_BY_PARAMETER = 'Object{metadata: Object.metadata{labels: {params.metadata.name: params.data.team}}}'


def _policy(*expressions: str, **spec: Any) -> dict[str, Any]:
    rules = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                                "resources": ["pods"]}]}
    return {"apiVersion": _GROUP, "kind": "MutatingAdmissionPolicy", "metadata": {"name": "m"}, "spec": {
        "matchConstraints": rules, "reinvocationPolicy": "Never", "mutations": [
            {"patchType": "JSONPatch", "jsonPatch": {"expression": text}} if text.startswith("[") else
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}} for text in expressions],
        **spec}}


def _binding(name: str = "b", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": _GROUP, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": "m", **spec}}


def _decide(*documents: dict[str, Any], answers: dict[Question, Answer] | None = None, **request: Any) -> Decision:
    asked = msgspec.structs.replace(Request.create(_POD), **request)
    return decide(asked, {}, PolicySet.load(documents), _NOW, at=Course.MUTATING, answers=answers or {})


def _mutated(decision: Decision) -> Any:
    assert {said.outcome for said in decision.results} == {Outcome.PASS}, decision.results
    return jsonpatch.apply(_POD, decision.patch)


def test_a_policy_mutates_where_a_binding_names_it() -> None:
    assert _mutated(_decide(_policy(_LABEL), _binding()))["metadata"]["labels"] == {"team": "a"}
    [silent] = _decide(_policy(_LABEL)).silent
    assert silent.reason == "no MutatingAdmissionPolicyBinding names its policy"
    assert _decide(_policy(_LABEL), _binding(policyName="other")).results == ()


def test_a_binding_narrows_what_its_policy_is_about() -> None:
    bound = _binding(matchResources={"namespaceSelector": {"matchLabels": {"env": "prod"}}})
    question = NamespaceLabels("n")
    assert _decide(_policy(_LABEL), bound, answers={question: Answered({"env": "dev"})}).results == ()
    assert len(_decide(_policy(_LABEL), bound, answers={question: Answered({"env": "prod"})}).results) == 1


def test_each_parameter_object_is_one_more_mutation() -> None:
    policy = _policy(_BY_PARAMETER, paramKind={"apiVersion": "v1", "kind": "ConfigMap"})
    bound = _binding(paramRef={"selector": {"matchLabels": {"x": "y"}, "matchExpressions": [
        {"key": "z", "operator": "In", "values": ["1", "2"]}]}, "parameterNotFoundAction": "Deny"})
    question = ApiCall("/api/v1/namespaces/n/configmaps")
    assert _decide(policy, bound).asks.questions == (question,)
    listed = {"items": [{"metadata": {"name": name, "labels": {"x": "y", "z": value}}, "data": {"team": name.upper()}}
                        for name, value in (("c", "1"), ("d", "2"), ("e", "3"))]}
    decision = _decide(policy, bound, answers={question: Answered(listed)})
    assert _mutated(decision)["metadata"]["labels"] == {"c": "C", "d": "D"}


@pytest.mark.parametrize(("action", "failure_policy", "verdict"), [
    ("Deny", "Fail", Verdict.DENIED), ("Deny", "Ignore", Verdict.NOT_JUDGED), ("Allow", "Fail", Verdict.NOT_JUDGED)])
def test_parameters_that_are_not_there(action: str, failure_policy: str, verdict: Verdict) -> None:
    policy = _policy(_BY_PARAMETER, paramKind={"apiVersion": "v1", "kind": "ConfigMap"}, failurePolicy=failure_policy)
    bound = _binding(paramRef={"name": "c", "namespace": "elsewhere", "parameterNotFoundAction": action})
    question = ApiCall("/api/v1/namespaces/elsewhere/configmaps/c")
    decision = _decide(policy, bound, answers={question: Absent()})
    assert (decision.verdict, decision.patch) == (verdict, [])
    if action == "Deny":
        assert decision.results[0].message == (
            "policy 'm' with binding 'b' denied request: no params found for policy binding with `Deny` "
            "parameterNotFoundAction")


@pytest.mark.parametrize(("expression", "message"), [
    ('Object{spec: Object.spec{nodeSelector: {"a": "b"}}}', "error applying patch: invalid ApplyConfiguration: may not "
     "mutate atomic arrays, maps or structs: .spec.nodeSelector"),
    ("Object{spec: Object.spec{nodeName: null}}", "error applying patch: failed to convert patch object to typed "
     "object: .spec.nodeName: expected string, got &value.valueUnstructured{Value:0}"),
    ('[JSONPatch{op: "replace", path: "/metadata/finalizers/0", value: "z"}]', "JSON Patch: replace operation does not "
     "apply: doc is missing path: /metadata/finalizers/0: missing value"),
    ('[JSONPatch{op: "nope", path: "/a"}]', "JSON Patch: Unexpected kind: nope"),
    ('[JSONPatch{op: "add", path: "/spec/unknown", value: 1}]',
     'Internal error occurred: strict decoding error: unknown field "spec.unknown"'),
])
def test_what_the_api_server_refuses_is_refused_in_its_words(expression: str, message: str) -> None:
    decision = _decide(_policy(expression), _binding())
    assert decision.verdict is Verdict.DENIED
    assert decision.results[0].message == f"policy 'm' with binding 'b' denied request: {message}"


def test_conditions_that_fail_are_errors_or_where_failures_are_ignored_do_not_hold() -> None:
    condition = [{"name": "c", "expression": "object.none == 1"}]
    assert _decide(_policy(_LABEL, matchConditions=condition), _binding()).verdict is Verdict.DENIED
    ignored = _decide(_policy(_LABEL, matchConditions=condition, failurePolicy="Ignore"), _binding())
    assert [said.outcome for said in ignored.results] == [Outcome.SKIP]
    assert ignored.patch == []


def test_a_mutation_that_fails_is_left_out_alone_where_failures_are_ignored() -> None:
    failing = '[JSONPatch{op: "test", path: "/metadata/none/deep", value: "x"}]'
    decision = _decide(_policy(failing, _LABEL, failurePolicy="Ignore"), _binding())
    assert [said.outcome for said in decision.results] == [Outcome.ERROR], "it is not said to be carried out"
    assert decision.verdict is not Verdict.DENIED
    assert jsonpatch.apply(_POD, decision.patch)["metadata"]["labels"] == {"team": "a"}
    assert _decide(_policy(failing, _LABEL), _binding()).verdict is Verdict.DENIED


def test_each_mutation_has_variables_of_what_came_of_the_one_before() -> None:
    text = 'Object{metadata: Object.metadata{annotations: {"n" + variables.count: variables.count}}}'
    variables = [{"name": "count", "expression": "string(size(object.metadata.?annotations.orValue({})))"}]
    mutated = _mutated(_decide(_policy(text, text, variables=variables), _binding()))
    assert mutated["metadata"]["annotations"] == {"n0": "0", "n1": "1"}


def test_who_asks_is_authorized_by_the_api_server() -> None:
    condition = [{"name": "c", "expression": 'authorizer.group("").resource("pods").check("get").allowed()'}]
    documents = _policy(_LABEL, matchConditions=condition), _binding()
    [question] = _decide(*documents).asks.questions
    assert isinstance(question, ApiCall)
    assert (question.path, question.method) == ("/apis/authorization.k8s.io/v1/subjectaccessreviews", "POST")
    for allowed, outcome in ((True, Outcome.PASS), (False, Outcome.SKIP)):
        answer = Answered({"status": {"allowed": allowed}})
        assert [said.outcome for said in _decide(*documents, answers={question: answer}).results] == [outcome]


def test_a_patch_of_many_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.policy.cel.mutations.MAX_PATCH", 50)
    decision = _decide(_policy(_LABEL.replace('"a"', '"' + "a" * 60 + '"')), _binding())
    assert decision.verdict is Verdict.DENIED
    assert "a patch of more than 50 bytes" in decision.results[0].message


@pytest.mark.parametrize(("documents", "reason"), [
    ([_policy()], r"spec\.mutations: got 'nothing'"),
    ([_policy("params.x")], r"spec\.mutations\[0\]"),
    ([_policy(_LABEL), _binding(paramRef={"name": "a", "selector": {}})], r"spec\.paramRef: got 'both or none'"),
    ([_policy(_LABEL), _binding(paramRef={"name": "a", "parameterNotFoundAction": "Skip"})], r"got 'Skip'"),
    ([_binding(other=1)], r"spec\.other: not evaluated by custody yet"),
    ([_policy(_LABEL) | {"apiVersion": "admissionregistration.k8s.io/v2"}], r"apiVersion: .* is not evaluated"),
])
def test_what_is_not_evaluated_is_refused_by_its_path(documents: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises((MalformedError, UnsupportedError), match=reason):
        PolicySet.load(documents)
