"""Templates in CEL and their constraints as the API server's own policies, which say the same."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from tests.policy.gatekeeper.world import LABELS, Json, constraint, template

CEL: Json = {"validations": [{"expression": "variables.params.labels.all(l, l in variables.anyObject.metadata.?labels.orValue({}))",
                              "messageExpression": "'you must provide ' + variables.params.labels.join(', ')"}],
             "variables": [{"name": "unused", "expression": "1"}],
             "matchCondition": [{"name": "mine", "expression": "request.userInfo.username != 'root'"}]}
PODS: Json = {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}


def made(folder: Path, capsys: pytest.CaptureFixture[str], *documents: Json, code: int = 0, flags: tuple[str, ...] = ()) -> tuple[list[Json], str]:
    file = folder / "policies.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    assert run(["policy", "vap", str(file), *flags]) == code
    said = capsys.readouterr()
    return [document for document in yaml.safe_load_all(said.out) if document], said.err


def test_a_template_and_its_constraint_become_a_policy_and_its_binding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (policy, binding), _ = made(tmp_path, capsys, template(CEL), constraint(match={**PODS, "labelSelector": {"matchLabels": {"a": "b"}}}))
    assert policy["metadata"]["name"] == "gatekeeper-k8srequiredlabels"
    spec = policy["spec"]
    assert spec["paramKind"] == {"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": "K8sRequiredLabels"}
    assert [variable["name"] for variable in spec["variables"]] == ["anyObject", "params", "unused"]
    assert [condition["name"] for condition in spec["matchConditions"]] == ["mine", *(
        f"gatekeeper_internal_match_{name}" for name in ("excluded_namespaces", "namespaces", "name", "kinds", "scope", "source"))]
    assert spec["validations"] == CEL["validations"]
    assert spec["failurePolicy"] == "Fail"
    assert spec["matchConstraints"]["resourceRules"][0]["operations"] == ["CREATE", "UPDATE"]
    assert "pods/ephemeralcontainers" in spec["matchConstraints"]["resourceRules"][0]["resources"]
    assert binding["metadata"]["name"] == "gatekeeper-k8srequiredlabels-must-have"
    assert binding["spec"] == {
        "policyName": "gatekeeper-k8srequiredlabels", "paramRef": {"name": "must-have", "parameterNotFoundAction": "Allow"},
        "matchResources": {"objectSelector": {"matchLabels": {"a": "b"}}}, "validationActions": ["Deny"]}


@pytest.mark.parametrize(("spec", "actions"), [
    ({"enforcementAction": "warn"}, ["Warn"]), ({"enforcementAction": "dryrun"}, ["Audit"]),
    ({"enforcementAction": "scoped", "scopedEnforcementActions": [
        {"action": "dryrun", "enforcementPoints": [{"name": "*"}]}, {"action": "deny", "enforcementPoints": [{"name": "vap.k8s.io"}]}]},
     ["Audit", "Deny"])])
def test_actions_are_those_of_its_point(tmp_path: Path, capsys: pytest.CaptureFixture[str], spec: Json, actions: list[str]) -> None:
    (_, binding), _ = made(tmp_path, capsys, template(CEL), constraint(match=PODS, **spec))
    assert binding["spec"]["validationActions"] == actions


def test_a_constraint_that_speaks_elsewhere_has_no_binding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scoped = {"enforcementAction": "scoped", "scopedEnforcementActions": [
        {"action": "deny", "enforcementPoints": [{"name": "validation.gatekeeper.sh"}]}]}
    documents, said = made(tmp_path, capsys, template(CEL), constraint(match=PODS, **scoped))
    assert [document["kind"] for document in documents] == ["ValidatingAdmissionPolicy"]
    assert "does not speak at vap.k8s.io" in said


def test_deny_and_warn_together_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scoped = {"enforcementAction": "scoped", "scopedEnforcementActions": [
        {"action": action, "enforcementPoints": [{"name": "vap.k8s.io"}]} for action in ("deny", "warn")]}
    documents, said = made(tmp_path, capsys, template(CEL), constraint(match=PODS, **scoped), code=1)
    assert documents == []  # no policy that nothing binds
    assert "K8sRequiredLabels must-have: spec.scopedEnforcementActions: the API server does not deny and warn of the same" in said


def test_rego_is_passed_over_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = template(CEL, kind="Other")
    documents, said = made(tmp_path, capsys, template(LABELS), constraint(match=PODS), other, code=1)
    assert [document["metadata"]["name"] for document in documents] == ["gatekeeper-other"]
    assert "ConstraintTemplate k8srequiredlabels: the API server does not evaluate Rego" in said


def test_who_wants_none_gets_none_unless_all_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet = template({**CEL, "generateVAP": False})
    documents, _ = made(tmp_path, capsys, quiet, constraint(match=PODS), code=2)
    assert documents == []
    documents, _ = made(tmp_path, capsys, quiet, constraint(match=PODS), flags=("--all",))
    assert len(documents) == 2


@pytest.mark.parametrize("match", [
    PODS, {}, {"kinds": []}, {**PODS, "namespaces": ["shop", "kube-*"]}, {**PODS, "excludedNamespaces": ["*-system", "*op*"]}, {**PODS, "name": "web*"},
    {**PODS, "scope": "Namespaced"}, {"kinds": [{"apiGroups": ["*"], "kinds": ["*"]}], "scope": "Cluster"}, {**PODS, "namespaces": []},
    {"kinds": [{"kinds": ["Namespace", "Pod"]}], "namespaces": ["shop"]}, {"kinds": [{"apiGroups": ["apps"]}]},
    {**PODS, "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
    {**PODS, "namespaceSelector": {"matchLabels": {"tier": "gold"}}}])
def test_the_policy_says_what_the_constraint_says(tmp_path: Path, capsys: pytest.CaptureFixture[str], match: Json) -> None:
    documents, said = made(tmp_path, capsys, template({**CEL, "matchCondition": []}), constraint(match=match), flags=("--check", "--samples", "500"))
    assert len(documents) == 2
    assert "✓ K8sRequiredLabels must-have: both say the same of " in said


def test_a_policy_that_says_another_thing_is_refused_with_an_example(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    from custody.policy.gatekeeper import emission

    conditions: dict[str, Any] = {**emission._CONDITIONS, "namespaces": "true"}
    monkeypatch.setattr(emission, "_CONDITIONS", conditions)
    documents, said = made(tmp_path, capsys, template(CEL), constraint(match={**PODS, "namespaces": ["shop"]}), code=1,
                           flags=("--check", "--samples", "500"))
    assert documents == []
    assert "its policy says another thing" in said
    assert "# the constraint: allowed" in said
    assert "# the policy: denied" in said


def test_where_nothing_is_against_nothing_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents, said = made(tmp_path, capsys, template(CEL), constraint({"labels": []}, match=PODS), code=1, flags=("--check", "--samples", "100"))
    assert documents == []
    assert "nothing is known of it" in said


def test_one_constraint_that_does_not_load_takes_no_other_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = constraint(name="bad", match={"kindz": []})
    broken = {**template(CEL, kind="Broken"), "spec": "x"}
    documents, said = made(tmp_path, capsys, template(CEL), bad, broken, constraint(match=PODS), constraint(kind="Missing", match=PODS), code=1)
    assert [document["metadata"]["name"] for document in documents] == ["gatekeeper-k8srequiredlabels", "gatekeeper-k8srequiredlabels-must-have"]
    assert "✗ K8sRequiredLabels bad: " in said
    assert "kindz" in said
    assert "policies.yaml[2]: spec: got" in said
    assert "✗ Missing must-have: " in said
    assert "its template is not among the files" in said
    assert "3 Gatekeeper documents stay behind" in said


def test_one_constraint_that_cannot_be_searched_takes_no_other_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = constraint(name="unknown", match={"kinds": [{"apiGroups": ["x.io"], "kinds": ["*"]}]})
    documents, said = made(tmp_path, capsys, template(CEL), unknown, constraint(match=PODS), code=1, flags=("--check", "--samples", "300"))
    assert [document["metadata"]["name"] for document in documents] == ["gatekeeper-k8srequiredlabels", "gatekeeper-k8srequiredlabels-must-have"]
    assert "✗ K8sRequiredLabels unknown: policies: one of them speaks of no kind that is known\n    --crd FILE" in said
    assert "✓ K8sRequiredLabels must-have: both say the same of " in said


def test_objects_that_a_check_begins_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.x.io"}, "spec": {
        "group": "x.io", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"}, "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}]}}
    (tmp_path / "crd.yaml").write_text(yaml.safe_dump(crd))
    (tmp_path / "widget.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "x.io/v1", "kind": "Widget", "metadata": {"name": "w"}}]}))
    custom = constraint(match={"kinds": [{"apiGroups": ["x.io"], "kinds": ["*"]}]})
    flags = ("--check", "--samples", "300", "--crd", str(tmp_path / "crd.yaml"), "--resource", str(tmp_path / "widget.yaml"))
    documents, said = made(tmp_path, capsys, template({**CEL, "matchCondition": []}), custom, flags=flags)
    assert len(documents) == 2
    assert "✓ K8sRequiredLabels must-have" in said
    _, said = made(tmp_path, capsys, template(CEL), custom, code=2, flags=flags[3:])
    assert "--resource: got objects to ask about without --check" in said


def test_a_constraint_without_a_spec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = {key: value for key, value in constraint(match=PODS).items() if key != "spec"}
    documents, _ = made(tmp_path, capsys, template({"validations": [{"expression": "false"}]}), plain)
    assert [document["kind"] for document in documents] == ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]
    assert "matchResources" not in documents[1]["spec"]


def test_a_constraint_that_is_there_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents, said = made(tmp_path, capsys, template(CEL), constraint(match=PODS), constraint(match={}), code=1)
    assert documents == []
    assert said.count("it is there twice, expected each once") == 2


def test_a_binding_that_would_replace_another_stays_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents, said = made(tmp_path, capsys, template(CEL, kind="Foo"), constraint(kind="Foo", name="bar-baz"), template(CEL, kind="Foo-bar"),
                           constraint(kind="Foo-bar", name="baz"), constraint(kind="Foo-bar", name="bar"), code=1)
    assert "✗ Foo-bar baz: metadata.name: got 'gatekeeper-foo-bar-baz', expected another name: Foo bar-baz becomes this" in said
    assert [document["metadata"]["name"] for document in documents] == [
        "gatekeeper-foo", "gatekeeper-foo-bar", "gatekeeper-foo-bar-baz", "gatekeeper-foo-bar-bar"]
