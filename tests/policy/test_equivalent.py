"""A difference that is planted between two policies is found, whatever it is; between two of one meaning there is none."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.policy_equivalent import searching
from custody.cli.run import run
from custody.errors import MalformedError, UnsupportedError
from custody.policy.equivalent.search import Found
from custody.policy.kinds import builtin
from custody.policy.model import Request

Json = dict[str, Any]


def kyverno(rule: str, kinds: str = "[Pod]") -> list[Json]:
    return [yaml.safe_load(f"""
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{name: planted, annotations: {{pod-policies.kyverno.io/autogen-controllers: none}}}}
spec:
  rules:
    - name: rule
      match: {{any: [{{resources: {{kinds: {kinds}}}}}]}}
      validate:
        failureAction: Enforce
        allowExistingViolations: false
        message: refused
        {rule}
""")]


def vap(*expressions: str, operations: str = "[CREATE, UPDATE]", resources: str = "[pods]", group: str = "", conditions: str = "[]",
        **binding: Any) -> list[Json]:
    policy = yaml.safe_load(f"""
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: planted}}
spec:
  matchConstraints: {{resourceRules: [{{apiGroups: ["{group}"], apiVersions: [v1], operations: {operations}, resources: {resources}}}]}}
  matchConditions: {conditions}
""")
    policy["spec"]["validations"] = [{"expression": expression} for expression in expressions]
    return [policy, {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
                     "metadata": {"name": "planted"}, "spec": {"policyName": "planted", "validationActions": ["Deny"], **binding}}]


def gatekeeper(rego: str, parameters: Json | None = None, match: Json | None = None) -> list[Json]:
    return [{"apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate", "metadata": {"name": "planted"}, "spec": {
        "crd": {"spec": {"names": {"kind": "Planted"}, "validation": {"openAPIV3Schema": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}},
        "targets": [{"target": "admission.k8s.gatekeeper.sh", "rego": f"package planted\n{rego}"}]}},
        {"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": "Planted", "metadata": {"name": "planted"}, "spec": {
            "match": match or {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}, "parameters": parameters or {}}}]


def found(left: list[Json], right: list[Json], count: int = 3000, **options: Any) -> Found:
    return searching(copy.deepcopy(left), copy.deepcopy(right), builtin(), options.pop("given", []),
                     options.pop("operations", ("CREATE", "UPDATE", "DELETE"))).run(count)


_PRIVILEGED = "object.spec.containers.all(c, !has(c.securityContext) || !has(c.securityContext.privileged) || !c.securityContext.privileged)"
_ALL = "(object.spec.containers + object.spec.?initContainers.orValue([]) + object.spec.?ephemeralContainers.orValue([])).all(c, !c.?securityContext.privileged.orValue(false))"
_REGO = """
violation[{"msg": "no"}] {
  c := input.review.object.spec.%s[_]
  c.securityContext.privileged
}
"""


def _is(operation: str) -> Callable[[Request], bool]:
    return lambda request: request.operation == operation


def _in(field: str) -> Callable[[Request], bool]:
    return lambda request: field in str(request.object)


PAIRS: dict[str, tuple[list[Json], list[Json], Callable[[Request], bool]]] = {
    "initContainers": (vap(_PRIVILEGED), vap(_ALL.replace(" + object.spec.?ephemeralContainers.orValue([])", "")), _in("initContainers")),
    "ephemeralContainers": (vap(_ALL), vap(_ALL.replace(" + object.spec.?ephemeralContainers.orValue([])", "")), _in("ephemeralContainers")),
    "off by one, above": (vap("object.spec.?priority.orValue(0) < 10"), vap("object.spec.?priority.orValue(0) <= 10"), _in("'priority': 10")),
    "off by one, count of containers": (vap("size(object.spec.containers) <= 2"), vap("size(object.spec.containers) < 2"), _in("containers-1")),
    "one namespace more": (vap("false", conditions="[{name: cond, expression: \"object.metadata.namespace == 'shop'\"}]"),
                           vap("false", conditions="[{name: cond, expression: \"object.metadata.namespace in ['shop', 'kube-public']\"}]"),
                           lambda request: request.namespace == "kube-public"),
    "only when it is updated": (vap("object.spec.?hostNetwork.orValue(false) == false"),
                                vap("object.spec.?hostNetwork.orValue(false) == false || request.operation == 'CREATE'"), _is("CREATE")),
    "not when it is updated": (vap("!has(object.spec.hostPID) || !object.spec.hostPID"),
                               vap("!has(object.spec.hostPID) || !object.spec.hostPID", operations="[CREATE]"), _is("UPDATE")),
    "old and new": (vap("oldObject == null || object.metadata.?labels.app == oldObject.metadata.?labels.app"),
                    vap("true"), _is("UPDATE")),
    "when it is deleted": (vap("request.operation != 'DELETE' || !('keep' in oldObject.metadata.?labels.orValue({}))", operations="[CREATE, DELETE]"),
                           vap("request.operation != 'DELETE' || !('keep' in oldObject.metadata.?labels.orValue({}))"), _is("DELETE")),
    "a field's name": (vap("!object.spec.?hostIPC.orValue(false)"), vap("!object.spec.?hostPID.orValue(false)"), lambda request: True),
    "absent or false": (vap("object.spec.?automountServiceAccountToken.orValue(true) == false"),
                        vap("object.spec.?automountServiceAccountToken.orValue(false) == false"), lambda request: True),
    "a prefix without its slash": (vap("object.spec.containers.all(c, c.image.startsWith('ghcr.io/shop/'))"),
                                   vap("object.spec.containers.all(c, c.image.startsWith('ghcr.io/shop'))"), _in("ghcr.io/shop")),
    "all or some": (vap("object.spec.containers.all(c, has(c.resources) && has(c.resources.limits))"),
                    vap("object.spec.containers.exists(c, has(c.resources) && has(c.resources.limits))"), _in("containers-1")),
    "an anchor": (kyverno("pattern: {spec: {=(hostNetwork): false}}"), kyverno("pattern: {spec: {hostNetwork: false}}"), lambda request: True),
    "a wildcard": (kyverno("pattern: {metadata: {labels: {app: \"?*\"}}}"), kyverno("pattern: {metadata: {labels: {app: \"*\"}}}"), lambda request: True),
    "Kyverno and the API server's": (kyverno("pattern: {spec: {containers: [{image: \"!*:latest\"}]}}"),
                                     vap("object.spec.containers.all(c, !c.image.endsWith('latest'))"), _in("latest")),
    "Gatekeeper and the API server's": (gatekeeper(_REGO % "containers"), vap(_ALL), lambda request: True),
    "Gatekeeper's, of other containers": (gatekeeper(_REGO % "containers"), gatekeeper(_REGO % "initContainers"), lambda request: True),
    "a parameter": (gatekeeper('violation[{"msg": "no"}] { input.review.object.spec.replicas < input.parameters.least }', {"least": 3},
                               {"kinds": [{"apiGroups": ["apps"], "kinds": ["Deployment"]}]}),
                    gatekeeper('violation[{"msg": "no"}] { input.review.object.spec.replicas < input.parameters.least }', {"least": 4},
                               {"kinds": [{"apiGroups": ["apps"], "kinds": ["Deployment"]}]}), _in("'replicas': 3")),
    "a match's excluded namespaces": (gatekeeper('violation[{"msg": "no"}] { true }', None, {
        "kinds": [{"apiGroups": [""], "kinds": ["Pod"]}], "excludedNamespaces": ["kube-*"]}),
        gatekeeper('violation[{"msg": "no"}] { true }', None, {
            "kinds": [{"apiGroups": [""], "kinds": ["Pod"]}], "excludedNamespaces": ["kube-system"]}),
        lambda request: request.namespace.startswith("kube-")),
    "a namespace's labels": (vap("false", matchResources={"namespaceSelector": {"matchLabels": {"tier": "gold"}}}),
                             vap("false", matchResources={"namespaceSelector": {"matchLabels": {"tier": "gold", "zone": "gold"}}}), lambda request: True),
    "denied or audited": (vap("!object.spec.?hostPID.orValue(false)"), vap("!object.spec.?hostPID.orValue(false)", validationActions=["Audit"]),
                          _in("hostPID")),
    "who asks": (vap("request.userInfo.username == 'ann' || !object.spec.?hostPID.orValue(false)"), vap("!object.spec.?hostPID.orValue(false)"),
                 lambda request: request.user.username == "ann"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_planted_difference_is_found(name: str) -> None:
    left, right, about = PAIRS[name]
    result = found(left, right)
    assert result.difference is not None, f"none in {result.asked} requests"
    assert result.difference.verdicts[0].seen != result.difference.verdicts[1].seen
    assert about(result.difference.request), result.difference.request


@pytest.mark.parametrize(("left", "right"), [
    (vap(_PRIVILEGED), vap("object.spec.containers.all(c, !c.?securityContext.privileged.orValue(false))")),
    (kyverno("pattern: {spec: {=(hostNetwork): false}}"), vap(
        "!object.spec.?hostNetwork.orValue(false)", resources="[pods, pods/ephemeralcontainers]")),
    (gatekeeper(_REGO % "containers"), vap("object.spec.containers.all(c, !c.?securityContext.privileged.orValue(false))",
                                           resources="[pods, pods/ephemeralcontainers]"))])
def test_between_two_of_one_meaning_there_is_none(left: list[Json], right: list[Json]) -> None:
    result = found(left, right, operations=("CREATE", "UPDATE"))
    assert result.difference is None, result.difference
    assert result.asked >= 3000
    assert all(result.against), "they were against nothing, and nothing is known"


def test_what_is_found_is_as_small_as_it_can_be() -> None:
    difference = found(vap(_ALL), vap(_PRIVILEGED)).difference
    assert difference is not None
    assert difference.request.object is not None
    spec = difference.request.object["spec"]
    extra = [name for name in spec if name != "containers"]
    assert len(extra) == 1
    assert extra[0] in ("initContainers", "ephemeralContainers")
    assert spec[extra[0]][0].keys() == {"name", "image", "securityContext"}


def test_given_objects_are_tried_first() -> None:
    given = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "odd", "namespace": "shop", "annotations": {"k": "a-very-rare-value-9Q"}},
             "spec": {"containers": [{"name": "c", "image": "x"}]}}
    other = "object.metadata.?annotations.k.orValue('').matches('^a-[a-z]+-[a-z]+-value-[0-9]Q$') == false"
    assert found(vap("true"), vap(other), 50).difference is None
    assert found(vap("true"), vap(other), 50, given=[given]).difference is not None


def _many(expression: str) -> list[Json]:
    return gatekeeper(f'violation[{{"msg": "no"}}] {{ {expression} }}', match={"kinds": [
        {"apiGroups": ["", "apps", "batch"], "kinds": ["Pod", "Service", "ConfigMap", "Deployment", "DaemonSet", "Job", "CronJob", "StatefulSet",
                                                           "Secret", "Endpoints", "LimitRange", "PodTemplate", "ReplicaSet", "ResourceQuota", "ServiceAccount"]}]})


def test_kinds_that_are_given_are_tried_and_others_that_are_not_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only a StatefulSet shows the difference, and it is the last of fifteen kinds."""
    on = 'input.review.object.metadata.labels.a == "b"'
    (tmp_path / "a.yaml").write_text(yaml.safe_dump_all(_many(on)))
    (tmp_path / "b.yaml").write_text(yaml.safe_dump_all(_many(f'{on}; input.review.kind.kind != "StatefulSet"')))
    files = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    assert run(["policy", "equivalent", *files, "--samples", "300"]) == 0
    assert "; not tried: " in (said := capsys.readouterr().out)
    assert "StatefulSet" in said.partition("; not tried: ")[2]
    sample = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s", "labels": {"a": "b"}}}
    (tmp_path / "list.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [sample]}))
    assert run(["policy", "equivalent", *files, "-r", str(tmp_path / "list.yaml")]) == 1
    assert yaml.safe_load(capsys.readouterr().out)["kind"] == "StatefulSet"


def test_a_given_object_of_a_kind_that_no_list_of_kinds_has() -> None:
    given = {"apiVersion": "example.com/v1", "kind": "Rare", "metadata": {"name": "r"}}
    both = [gatekeeper(rego, match={"kinds": [{"apiGroups": ["*"], "kinds": ["*"]}]}) for rego in (
        'violation[{"msg": "no"}] { input.review.kind.kind == "Rare" }', 'violation[{"msg": "no"}] { false }')]
    assert found(*both, 60).difference is None
    difference = found(*both, 60, given=[given]).difference
    assert difference is not None
    assert difference.request.kind.kind == "Rare"


@pytest.mark.parametrize(("text", "reason"), [
    ("[1]", "expected an object of Kubernetes"), ("{kind: Pod}", "no kind and apiVersion"),
    ("{apiVersion: v1, kind: Pod, metadata: abc}", "metadata: got")])
def test_what_is_given_must_be_objects(text: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump_all(vap("true")))
    (tmp_path / "r.yaml").write_text(text)
    assert run(["policy", "equivalent", *[str(tmp_path / "a.yaml")] * 2, "-r", str(tmp_path / "r.yaml")]) == 2
    assert reason in capsys.readouterr().err


def test_a_policy_with_odd_metadata_is_refused() -> None:
    odd = vap("true")
    odd[0]["metadata"] = "abc"
    with pytest.raises(MalformedError, match="ValidatingAdmissionPolicy: metadata: got a string, expected a mapping"):
        found(odd, vap("true"))


def test_policies_of_other_kinds_cannot_be_compared() -> None:
    with pytest.raises(UnsupportedError, match="no kind in common: Pod; Service"):
        found(vap("false"), vap("false", resources="[services]"))


def test_policies_that_change_objects_cannot_be_compared() -> None:
    mutating = kyverno("pattern: {}")
    mutating[0]["spec"]["rules"][0].pop("validate")
    mutating[0]["spec"]["rules"][0]["mutate"] = {"patchStrategicMerge": {"metadata": {"labels": {"a": "b"}}}}
    with pytest.raises(UnsupportedError, match="the first, policy planted: it changes objects"):
        found(mutating, vap("false"))


def test_a_policy_without_a_binding_judges_nothing_and_differs() -> None:
    result = found(vap("false"), vap("false")[:1], 50)
    assert result.difference is not None
    assert result.difference.verdicts[1].silent


def test_of_what_neither_judges_nothing_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    never = vap("false", conditions="[{name: cond, expression: \"object.metadata.name == 'q' && object.metadata.name == 'r'\"}]")
    file = tmp_path / "never.yaml"
    file.write_text(yaml.safe_dump_all(never))
    assert run(["policy", "equivalent", str(file), str(file), "--samples", "50"]) == 2
    assert "none of" in capsys.readouterr().err


def test_the_command_shows_the_object_and_both_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, expression in (("a.yaml", "!object.spec.?hostPID.orValue(false)"), ("b.yaml", "true")):
        (tmp_path / name).write_text(yaml.safe_dump_all(vap(expression)))
    files = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    assert run(["policy", "equivalent", *files]) == 1
    shown = capsys.readouterr().out
    assert f"# {files[0]}: denied: planted: " in shown
    assert f"# {files[1]}: allowed\n" in shown
    assert yaml.safe_load(shown)["spec"]["hostPID"] is True
    assert run(["policy", "equivalent", files[0], files[0], "--samples", "400"]) == 0
    assert capsys.readouterr().out.startswith("no difference found in 4")


@pytest.mark.parametrize(("resources", "kind"), [
    (("[pods, pods/resize]", "[pods]"), "Pod"), (("[services, services/status]", "[services]"), "Service"),
    (("[pods, pods/ephemeralcontainers]", "[pods]"), "Pod")])
def test_a_subresource_that_one_of_them_names_is_asked_about(resources: tuple[str, str], kind: str) -> None:
    left, right = (vap("!has(object.metadata.labels)", resources=each) for each in resources)
    difference = found(left, right).difference
    assert difference is not None
    assert f"{kind.lower()}s/{difference.request.subresource}" in resources[0]
    assert difference.request.operation == "UPDATE"


def test_subresources_of_other_kinds_are_said_not_to_be_tried() -> None:
    both = vap("!has(object.metadata.labels)", operations="['*']", resources="[pods, pods/resize, pods/exec, pods/eviction]")
    outcome = found(both, both, 300)
    assert outcome.difference is None
    assert sorted(outcome.untried) == ["pods/eviction", "pods/exec"]
    assert found(both, vap("!has(object.metadata.labels)"), 0).untried == []  # of which the second says nothing


def test_kinds_that_a_condition_names_are_tried_first() -> None:
    every = {"kinds": [{"apiGroups": ["*"], "kinds": ["*"]}]}
    left = gatekeeper("violation[{\"msg\": \"no\"}] { input.review.kind.kind == \"PriorityLevelConfiguration\"; input.review.object.metadata.labels }", match=every)
    right = gatekeeper("violation[{\"msg\": \"no\"}] { input.review.kind.kind == \"VolumeAttachment\"; input.review.object.metadata.labels }", match=every)
    outcome = found(left, right)
    assert {"PriorityLevelConfiguration", "VolumeAttachment"}.isdisjoint(outcome.untried)
    assert outcome.difference is not None
    assert outcome.difference.request.kind.kind in ("PriorityLevelConfiguration", "VolumeAttachment")
