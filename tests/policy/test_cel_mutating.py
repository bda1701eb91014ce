"""MutatingPolicies: what Kyverno 1.19.1 makes of the same objects, and what may not be made of any."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from custody.errors import MalformedError, UnsupportedError
from custody.formats import jsonpatch
from custody.policy.cel.podtemplates import convert
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Outcome, Request, Verdict
from custody.policy.phases import Course
from custody.ports.lookup import Absent, Answer, Answered, ApiCall, Question

_NOW = Context(now=datetime(2026, 11, 29, tzinfo=UTC))
_PODS = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                            "resources": ["pods"]}]}


def _policy(*expressions: str, kind: str = "MutatingPolicy", json: bool = False, **spec: Any) -> dict[str, Any]:
    form, field = ("JSONPatch", "jsonPatch") if json else ("ApplyConfiguration", "applyConfiguration")
    metadata = {"name": "p"} | ({"namespace": "here"} if kind.startswith("Namespaced") else {})
    return {"apiVersion": "policies.kyverno.io/v1", "kind": kind, "metadata": metadata, "spec": {
        "matchConstraints": _PODS, "mutations": [{"patchType": form, field: {"expression": text}}
                                                 for text in expressions], **spec}}


def _pod(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "here", "labels": {"app": "web"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {"containers": [{"name": "a", "image": "nginx:1"}], **spec}}


def _template(kind: str, **spec: Any) -> dict[str, Any]:
    pod = {"metadata": {"labels": {"app": "web"}}, "spec": _pod(**spec)["spec"]}
    inner: dict[str, Any] = {"template": pod}
    if kind == "CronJob":
        inner = {"jobTemplate": {"spec": inner}}
    return {"apiVersion": "batch/v1" if "Job" in kind else "apps/v1", "kind": kind,
            "metadata": {"name": "web", "namespace": "here"}, "spec": inner}


def _decide(policies: list[dict[str, Any]], document: dict[str, Any], at: Course = Course.MUTATING,
            answers: dict[Question, Answer] | None = None, **request: Any) -> Decision:
    asked = msgspec.structs.replace(Request.create(document), **request)
    return decide(asked, {}, PolicySet.load(policies), _NOW, at=at, answers=answers or {})


def _mutated(policy: dict[str, Any], document: dict[str, Any]) -> Any:
    decision = _decide([policy], document)
    assert [result.outcome for result in decision.results] == [Outcome.PASS], decision.results
    return jsonpatch.apply(document, decision.patch)


def test_an_apply_configuration_is_merged_by_the_schema() -> None:
    mutated = _mutated(_policy("""Object{metadata: Object.metadata{labels: {"team": "a"}}, spec: Object.spec{
        containers: object.spec.containers.map(c, Object.spec.containers{name: c.name, imagePullPolicy: "Always"}),
        tolerations: []}}""", evaluation={"useServerSideApply": True}), _pod(hostNetwork=True))
    assert mutated["metadata"]["labels"] == {"app": "web", "team": "a"}
    assert mutated["spec"] == {"containers": [{"name": "a", "image": "nginx:1", "imagePullPolicy": "Always"}],
                               "hostNetwork": True, "tolerations": []}


def test_a_json_patch_is_applied_and_each_mutation_sees_what_those_before_it_changed() -> None:
    policy = _policy('[JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("a/b"), value: "x"}]',
                     'has(object.metadata.labels) && object.metadata.labels["a/b"] == "x" ? '
                     '[JSONPatch{op: "replace", path: "/spec/containers/0", value: Object.spec.containers{name: "b"}}]'
                     ' : []', json=True)
    mutated = _mutated(policy, _pod())
    assert mutated["metadata"]["labels"] == {"app": "web", "a/b": "x"}
    assert mutated["spec"]["containers"] == [{"name": "b"}]


def test_all_mutations_of_a_review_may_copy_as_much_as_one_may() -> None:
    policy = _policy('[JSONPatch{op: "add", path: "/metadata/annotations", value: {"a": "x"}}]', *(
        f'[JSONPatch{{op: "copy", from: "/metadata/annotations", path: "/metadata/annotations/{at}"}}]'
        for at in range(40)), json=True)
    decision = _decide([policy], _pod())
    assert decision.verdict is Verdict.DENIED
    assert "copies of more than 100000 values" in decision.results[0].message


def test_where_a_test_does_not_hold_the_object_stays_as_it_is() -> None:
    assert _mutated(_policy('[JSONPatch{op: "test", path: "/metadata/name", value: "other"}, '
                            'JSONPatch{op: "remove", path: "/spec"}]', json=True), _pod()) == _pod()


@pytest.mark.parametrize(("expression", "json", "reason"), [
    ('Object{spec: Object.spec{nodeSelector: {"a": "b"}}}', False,
     "failed to evaluate policy: error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps "
     "or structs: .spec.nodeSelector"),
    ('Object{spec: Object.spec{priority: "high"}}', False,
     "failed to evaluate policy: error applying patch: failed to convert patch object to typed object: .spec.priority: "
     "expected numeric (int or float), got string"),
    ('Object{spec: Object.metadata{}}', False,
     'failed to evaluate policy: type mismatch: unexpected type name "Object.metadata", expected "Object.spec", which '
     "matches field name path from root Object type"),
    ('[JSONPatch{op: "remove", path: "/spec/none"}]', True, "failed to evaluate policy: JSON Patch: "),
    ('[JSONPatch{op: "add", path: "/metadata/name", value: object.none}]', True,
     "failed to evaluate policy: no such key: none"),
])
@pytest.mark.parametrize("failure_policy", ["Fail", "Ignore"])
def test_what_does_not_fit_is_an_error_and_denies_unless_it_is_ignored(expression: str, json: bool, reason: str,
                                                                       failure_policy: str) -> None:
    decision = _decide([_policy(expression, json=json, failurePolicy=failure_policy)], _pod())
    [said] = decision.results
    assert (said.outcome, said.rule) == (Outcome.ERROR, "evaluation")
    assert said.message.startswith(reason)
    assert decision.patch == []
    assert (decision.verdict is Verdict.DENIED) == (failure_policy == "Fail")


def test_conditions_decide_and_one_that_does_not_hold_outweighs_one_that_fails() -> None:
    policy = _policy("Object{}", matchConditions=[{"name": "a", "expression": "object.none.none == 1"},
                                                  {"name": "b", "expression": "false"}])
    assert [said.outcome for said in _decide([policy], _pod()).results] == [Outcome.SKIP]
    policy["spec"]["matchConditions"].pop()
    assert [said.outcome for said in _decide([policy], _pod()).results] == [Outcome.ERROR]


def test_variables_are_computed_once() -> None:
    policy = _policy('Object{metadata: Object.metadata{labels: {"count": variables.n}}}',
                     'Object{metadata: Object.metadata{annotations: {"count": variables.n}}}',
                     variables=[{"name": "n", "expression": "string(object.metadata.labels.size())"}])
    metadata = _mutated(policy, _pod())["metadata"]
    assert (metadata["labels"]["count"], metadata["annotations"]) == ("1", {"count": "1"})


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"])
def test_a_policy_about_pods_is_one_about_what_makes_pods(kind: str) -> None:
    document = _template(kind)
    mutated = _mutated(_policy('Object{spec: Object.spec{hostIPC: object.spec.containers.size() == 1}}'), document)
    spec = mutated["spec"]["jobTemplate"]["spec"] if kind == "CronJob" else mutated["spec"]
    assert spec["template"]["spec"]["hostIPC"] is True
    chosen = _policy("Object{}", autogen={"podControllers": {"controllers": ["replicasets"]}})
    assert _decide([chosen], document).results == ()


def test_expressions_are_rewritten_as_kyverno_rewrites_them() -> None:
    from custody.policy.cel import podtemplates
    template = podtemplates._TEMPLATES[1]
    assert convert('Object{spec: Object.spec{a: object.metadata.labels["x"]}}', template) == (
        'Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{'
        'a: object.spec.template.metadata.labels["x"]}}}}')
    assert convert("object.metadata.name", template) == "object.metadata.name"
    assert convert("Object{}", template) == "Object{}"


def test_a_policy_of_a_namespace_speaks_of_no_other_and_asks_nobody_outside() -> None:
    policy = _policy("Object{}", kind="NamespacedMutatingPolicy")
    assert [said.policy for said in _decide([policy], _pod()).results] == ["here/p"]
    assert _decide([policy], _pod(), namespace="there").results == ()
    policy["spec"]["variables"] = [{"name": "x", "expression": 'http.Get("http://a/b")'}]
    with pytest.raises(MalformedError, match=r"expression: got 'http\.\*', expected none of it"):
        PolicySet.load([policy])


_EXISTING: dict[str, Any] = {"evaluation": {"mutateExisting": {"enabled": True}}, "targetMatchConstraints": {
    "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]}}
_LIST = ApiCall("/api/v1/configmaps")


def _configmap(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "there", "resourceVersion": "7"}, "data": {"k": "v"}}


def test_what_lies_in_the_cluster_is_changed_because_of_a_trigger() -> None:
    policy = _policy('Object{metadata: Object.metadata{labels: {"by": request.name}}}',
                     targetMatchConditions=[{"name": "n", "expression": 'object.metadata.name != "b"'}], **_EXISTING)
    assert _decide([policy], _pod()).results == (), "what admission is asked about is no target"
    asked = _decide([policy], _pod(), Course.GENERATING)
    assert asked.asks.questions == (_LIST,)
    listed = {"apiVersion": "v1", "kind": "ConfigMapList", "items": [_configmap("a"), _configmap("b")]}
    decision = _decide([policy], _pod(), Course.GENERATING, {_LIST: Answered(listed)})
    [change] = decision.changes
    assert (change.verb, change.object["kind"], change.object["metadata"]["labels"]) == (
        "patch", "ConfigMap", {"by": "web"})
    assert change.before is not None
    assert "labels" not in change.before["metadata"]
    assert sorted(said.outcome for said in decision.results) == ["pass", "skip"]


def test_custom_resources_are_merged_by_the_schema_that_the_server_has() -> None:
    rules = {"resourceRules": [{"apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["*"],
                                "resources": ["widgets"]}]}
    policy = _policy('Object{spec: Object.spec{tags: ["b"]}}', matchConstraints=rules)
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"tags": ["a"]}}
    question = ApiCall("/openapi/v3/apis/example.com/v1")
    assert _decide([policy], widget).asks.questions == (question,)
    tags = {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}
    schema = {"type": "object", "properties": {
        "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
        "spec": {"type": "object", "properties": {"tags": tags}}},
        "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Widget"}]}
    answer = Answered({"components": {"schemas": {"com.example.v1.Widget": schema}}})
    decision = _decide([policy], widget, answers={question: answer})
    assert jsonpatch.apply(widget, decision.patch)["spec"]["tags"] == ["a", "b"]
    absent = _decide([policy], widget, answers={question: Absent()})
    assert absent.results[0].message == ("failed to evaluate policy: error applying patch: type converter must not be "
                                         "nil")


@pytest.mark.parametrize(("spec", "reason"), [
    ({"mutations": [{"patchType": "Merge"}]}, r"spec\.mutations\[0\]\.patchType: got 'Merge'"),
    ({"mutations": [{"patchType": "JSONPatch"}]}, r"spec\.mutations\[0\]\.jsonPatch: got 'nothing'"),
    ({"failurePolicy": "Maybe"}, r"spec\.failurePolicy: got 'Maybe', expected Fail or Ignore"),
    ({"reinvocationPolicy": "Always"}, r"spec\.reinvocationPolicy: got 'Always'"),
    ({"evaluation": {"admission": {"enabled": False}}}, r"spec\.evaluation: got 'neither admission nor mutate"),
    ({"evaluation": {"mode": "JSON"}}, r"spec\.evaluation\.mode: 'JSON' is not evaluated by custody yet"),
    ({"other": 1}, r"spec\.other: not evaluated by custody yet"),
    ({"matchConstraints": {}}, r"spec\.matchConstraints\.resourceRules: got 'nothing'"),
])
def test_what_is_not_evaluated_is_refused_by_its_path(spec: dict[str, Any], reason: str) -> None:
    with pytest.raises((MalformedError, UnsupportedError), match=reason):
        PolicySet.load([_policy("Object{}") | {"spec": _policy("Object{}")["spec"] | spec}])


@pytest.mark.parametrize("expression", ["1", "object", '"a"', "[1]", "Object{"])
def test_a_mutation_that_is_no_object_is_refused(expression: str) -> None:
    with pytest.raises(MalformedError, match=r"spec\.mutations\[0\]\.applyConfiguration\.expression: got"):
        PolicySet.load([_policy(expression)])
