"""GeneratingPolicies and DeletingPolicies: what they want done to other objects, with the labels of Kyverno 1.19."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from custody.errors import MalformedError, UnsupportedError
from custody.policy.cel import generation
from custody.policy.cel.generating import printed
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Outcome, Request
from custody.policy.phases import Course
from custody.ports.lookup import Answer, Answered, ApiCall, Question

_NOW = Context(now=datetime(2026, 11, 29, tzinfo=UTC))
_NAMESPACES = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                                  "resources": ["namespaces"]}]}
_NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "uid": "u1", "labels": {"a": "b"}}}
_CONFIGMAP = ('{"apiVersion": dyn("v1"), "kind": dyn("ConfigMap"), "metadata": dyn({"name": "cm"}), '
              '"data": dyn({"n": string(1)})}')


def _policy(*generate: Any, kind: str = "GeneratingPolicy", **spec: Any) -> dict[str, Any]:
    metadata = {"name": "g"} | ({"namespace": "here"} if kind.startswith("Namespaced") else {})
    return {"apiVersion": "policies.kyverno.io/v1", "kind": kind, "metadata": metadata, "spec": {
        "matchConstraints": _NAMESPACES, "generate": [
            entry if isinstance(entry, dict) else {"expression": entry} for entry in generate], **spec}}


def _template(value: str) -> dict[str, Any]:
    return {"template": {"interpolate": "cel", "value": value}}


def _decide(policy: dict[str, Any], document: dict[str, Any] = _NAMESPACE,
            answers: dict[Question, Answer] | None = None, **request: Any) -> Decision:
    asked = msgspec.structs.replace(Request.create(document), **request)
    return decide(asked, {}, PolicySet.load([policy]), _NOW, at=Course.GENERATING, answers=answers or {})


def test_what_is_generated_has_kyvernos_labels() -> None:
    policy = _policy(f"generator.Apply(object.metadata.name, [{_CONFIGMAP}])", useServerSideApply=True, evaluation={
        "synchronize": {"enabled": True}, "orphanDownstreamOnPolicyDelete": {"enabled": True}})
    decision = _decide(policy)
    [change] = decision.changes
    assert (change.verb, change.synchronize, change.orphan, change.server_side) == ("apply", True, True, True)
    assert change.object["metadata"] == {"name": "cm", "namespace": "team", "labels": {
        "app.kubernetes.io/managed-by": "kyverno", "generate.kyverno.io/policy-name": "g",
        "generate.kyverno.io/trigger-name": "team", "generate.kyverno.io/trigger-namespace": "",
        "generate.kyverno.io/trigger-uid": "u1", "generate.kyverno.io/trigger-kind": "Namespace",
        "generate.kyverno.io/trigger-group": "", "generate.kyverno.io/trigger-version": "v1"}}
    assert [(said.rule, said.outcome, said.message) for said in decision.results] == [
        ("g", Outcome.PASS, "policy evaluated successfully")]
    assert printed(change.object)["metadata"] == {"name": "cm", "namespace": "team"}


def test_a_clone_forgets_what_the_server_said_of_its_source() -> None:
    question = ApiCall("/api/v1/namespaces/default/secrets/s")
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"k": "dg=="}, "metadata": {
        "name": "s", "namespace": "default", "uid": "u2", "resourceVersion": "9", "creationTimestamp": "2026",
        "managedFields": [], "ownerReferences": [{"uid": "o"}]}}
    policy = _policy("generator.Apply(object.metadata.name, [variables.s])", variables=[
        {"name": "s", "expression": 'resource.Get("v1", "secrets", "default", "s")'}])
    assert _decide(policy).asks.questions == (question,)
    [change] = _decide(policy, answers={question: Answered(secret)}).changes
    assert set(change.object["metadata"]) == {"name", "namespace", "labels"}
    assert change.object["metadata"]["labels"]["generate.kyverno.io/source-uid"] == "u2"
    assert change.source == {"apiVersion": "v1", "kind": "Secret", "namespace": "default", "name": "s"}
    assert change.object["data"] == {"k": "dg=="}


def test_a_list_is_what_stands_in_it_and_numbers_are_whole() -> None:
    text = ('generator.Apply("n", [{"apiVersion": dyn("v1"), "kind": dyn("List"), "items": dyn([{"apiVersion": '
            'dyn("v1"), "kind": dyn("Service"), "metadata": dyn({"name": "a"}), "spec": dyn({"ports": '
            '[{"port": 80}]})}])}])')
    [change] = _decide(_policy(text)).changes
    assert repr(change.object["spec"]) == "{'ports': [{'port': 80}]}"


def test_templates_have_placeholders_and_several_documents() -> None:
    policy = _policy(_template("""
apiVersion: v1
kind: ConfigMap
metadata:
  name: "(( object.metadata.name ))-config"
  namespace: (( object.metadata.name ))
  labels: (( object.metadata.labels ))
data:
  literal: \\((x))
  nested: "(( '((' + string(size(')')) )) of ((1 + 1))"
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
"""))
    first, second = _decide(policy).changes
    assert first.object["data"] == {"literal": "((x))", "nested": "((1 of 2"}
    assert (first.object["metadata"]["name"], first.object["metadata"]["namespace"]) == ("team-config", "team")
    assert first.object["metadata"]["labels"]["a"] == "b"
    assert "namespace" not in second.object["metadata"]


@pytest.mark.parametrize(("entry", "reason"), [
    (_template("kind: A\nmetadata: {name: (( object.metadata.none ))}"),
     'failed to evaluate policy: failed to render generation template: document 1: field "metadata": field "name": '
     'failed to evaluate placeholder "object.metadata.none": no such key: none'),
    (_template("kind: A\nmetadata: {name: x(( object.metadata ))}"),
     'placeholder "object.metadata" embedded in a string must evaluate to a scalar'),
    ('generator.Apply("n", [{"kind": dyn("A")}])', "failed to generate resources: got something without kind"),
])
def test_what_cannot_be_generated_is_an_error_and_nothing_is_changed(entry: Any, reason: str) -> None:
    decision = _decide(_policy(entry))
    assert [said.outcome for said in decision.results] == [Outcome.ERROR]
    assert reason in decision.results[0].message
    assert decision.changes == ()


def test_how_much_one_request_generates_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.policy.cel.generating.MAX_GENERATED", 3)
    text = f'["a", "b", "c", "d"].all(n, generator.Apply(n, [{_CONFIGMAP}]))'
    decision = _decide(_policy(text))
    assert "more than 3 objects are generated" in decision.results[0].message
    assert decision.changes == ()
    assert generation.MAX_GENERATED == 1000


def test_a_policy_of_a_namespace_generates_in_no_other_and_nothing_cluster_wide() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "here"}}
    pods = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["pods"]}]}

    def said(entry: Any) -> Decision:
        return _decide(_policy(entry, kind="NamespacedGeneratingPolicy", matchConstraints=pods), pod)

    [change] = said(f"generator.Apply([{_CONFIGMAP}])").changes
    assert change.object["metadata"]["namespace"] == "here"
    assert change.policy == "here/g"
    crossing = said(_template("kind: ConfigMap\napiVersion: v1\nmetadata: {name: a, namespace: kube-system}"))
    assert 'cross-namespace generation denied: a policy in namespace "here" cannot generate resources into namespace ' \
           '"kube-system"' in crossing.results[0].message
    wide = said(_template("kind: ClusterRole\napiVersion: rbac.authorization.k8s.io/v1\nmetadata: {name: a}"))
    assert "cross-scope generation denied" in wide.results[0].message
    assert crossing.changes == wide.changes == ()


def test_without_its_conditions_and_without_admission_it_is_silent() -> None:
    text = f'generator.Apply("n", [{_CONFIGMAP}])'
    assert _decide(_policy(text, matchConditions=[{"name": "n", "expression": "false"}])).results == ()
    scanned = _policy(text, evaluation={"admission": {"enabled": False}, "generateExisting": {"enabled": True}})
    assert _decide(scanned).silent[0].reason.endswith("(evaluation.admission: false)")
    assert len(_decide(scanned, existing=True).changes) == 1


@pytest.mark.parametrize(("entry", "reason"), [
    ({}, r"spec\.generate\[0\]: got 'both or neither'"),
    ({"expression": "nothing.at.all"}, r"spec\.generate\[0\]\.expression: got"),
    (_template("(( a"), r"expected a placeholder that ends"),
    (_template("kind: (( ))"), r"an empty placeholder"),
    (_template("((a)): b"), r"no placeholders in keys"),
    (_template("- a"), r"expected a mapping describing a resource"),
    (_template("kind: (( nothing ))"), r"spec\.generate\[0\]\.template\.value: got 'nothing'"),
    ({"expression": "true", "clone": {}}, r"spec\.generate\[0\]\.clone: not evaluated by custody yet"),
])
def test_what_generates_nothing_is_refused(entry: dict[str, Any], reason: str) -> None:
    with pytest.raises((MalformedError, UnsupportedError), match=reason):
        PolicySet.load([_policy(entry)])


def _deleting(**spec: Any) -> dict[str, Any]:
    rules = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                                "resources": ["pods"]}]}
    return {"apiVersion": "policies.kyverno.io/v1", "kind": "DeletingPolicy", "metadata": {"name": "d"}, "spec": {
        "matchConstraints": rules, "schedule": "*/5 * * * *", **spec}}


def test_what_a_deleting_policy_matches_is_deleted_when_it_lies_in_the_cluster() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n", "uid": "u"}}
    variables = [{"name": "v", "expression": "object.metadata.name"}]
    policy = _deleting(deletionPropagationPolicy="Orphan", variables=variables,
                       conditions=[{"name": "c", "expression": 'variables.v == "p"'}])
    assert _decide(policy, pod).changes == (), "nobody asks whether it may be deleted"
    [change] = _decide(policy, pod, existing=True).changes
    assert (change.verb, change.object, change.propagation) == ("delete", pod, "Orphan")
    other = {**pod, "metadata": {"name": "q"}}
    assert _decide(policy, other, existing=True).changes == ()
    failing = _deleting(conditions=[{"name": "c", "expression": "object.none == 1"}])
    decision = _decide(failing, pod, existing=True)
    assert [said.outcome for said in decision.results] == [Outcome.ERROR]
    assert decision.changes == ()


def test_a_deleting_policy_without_resources_deletes_nothing() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    assert _decide(_deleting(matchConstraints={"resourceRules": []}), pod, existing=True).changes == ()


@pytest.mark.parametrize(("spec", "reason"), [
    ({"schedule": "often"}, r"schedule: got 'often', expected minute, hour"),
    ({"schedule": None}, r"spec\.schedule: got 'nothing'"),
    ({"deletionPropagationPolicy": "Later"}, r"spec\.deletionPropagationPolicy: got 'Later'"),
    ({"conditions": [{"name": "c", "expression": "1"}]}, r"spec\.conditions\[0\]\.expression: got"),
    ({"dryRun": True}, r"spec\.dryRun: not evaluated by custody yet"),
])
def test_a_deleting_policy_that_is_none_is_refused(spec: dict[str, Any], reason: str) -> None:
    with pytest.raises((MalformedError, UnsupportedError), match=reason):
        PolicySet.load([_deleting(**spec)])
