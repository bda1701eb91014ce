"""A ValidatingPolicy and the ValidatingAdmissionPolicy that is made of it say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.errors import UnsupportedError
from custody.policy.decide import decide
from custody.policy.kubernetes.emission import admission_policy
from custody.policy.load import PolicySet
from custody.policy.model import Request, Verdict
from tests.cli.commands import custody
from tests.fuzz.validating import NOW
from tests.policy.exception_cases import exception, pod, policy

NAMED = "object.metadata.name != 'web'"


def denied(documents: list[dict[str, Any]]) -> list[str]:
    policies = PolicySet(documents)
    return [name for name in ("web", "db", "x") if decide(
        Request.create(pod(name)), {}, policies, NOW).verdict is Verdict.DENIED]


@pytest.mark.parametrize(("made", "exceptions"), [
    (policy(NAMED), []), (policy(), [exception(conditions=["object.metadata.name == 'web'"])]),
    (policy(), [exception(conditions=["object.metadata.name == 'web'", "object.metadata.namespace == 'none'"])]),
    (policy("object.metadata.name in exceptions.allowedValues"), [exception(allowedValues=["web"])]),
    (policy("object.metadata.name in exceptions.allowedValues"), []),
    (policy(NAMED, matchConditions=[{"name": "m", "expression": "object.metadata.name == 'db'"}]), []),
    (policy("variables.a", variables=[{"name": "a", "expression": NAMED}]), []), (policy(), [exception()])])
def test_the_same_pods_are_denied(made: dict[str, Any], exceptions: list[dict[str, Any]]) -> None:
    assert denied(admission_policy(made, exceptions)) == denied([made, *exceptions])


@pytest.mark.parametrize("expression", [
    "!('exceptions.allowedValues' in object.metadata.labels)", "!has(object.metadata.exceptions.allowedValues)",
    "// exceptions.allowedValues\nobject.metadata.name != 'exceptions.allowedValues'"])
def test_what_is_called_as_exceptions_are_stays(expression: str) -> None:
    made = policy(expression)
    assert admission_policy(made)[0]["spec"]["validations"][0]["expression"] == expression


@pytest.mark.parametrize(("before", "after"), [("exceptions . ", "variables . "), ("exceptions\n.", "variables\n.")])
def test_exceptions_in_several_spellings(before: str, after: str) -> None:
    made = policy(f"'exceptions.allowedValues' in {before}allowedValues")
    assert admission_policy(made, [exception(allowedValues=["web"])])[0]["spec"]["validations"][0]["expression"] == (
        f"'exceptions.allowedValues' in {after}allowedValues")


@pytest.mark.parametrize(("made", "exceptions", "words"), [
    (policy("resource.Get('v1', 'configmaps', 'a', 'b').data.x == 'y'"), [], "could not evaluate it.*undeclared"),
    (policy(), [exception(expiresAt="2099-01-01T00:00:00Z")], "know no time"),
    (policy(evaluation={"mode": "JSON"}), [], "its own requests alone")])
def test_what_only_a_webhook_can_do_is_refused(made: dict[str, Any], exceptions: list[Any], words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        admission_policy(made, exceptions)


def test_the_command_writes_those_that_ask_for_it(tmp_path: Path) -> None:
    enabled = policy(NAMED, autogen={"validatingAdmissionPolicy": {"enabled": True}})
    (tmp_path / "p.yaml").write_text(yaml.safe_dump_all([enabled, exception()]))
    done = custody("policy", "vap", "p.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = [document["metadata"]["name"] for document in yaml.safe_load_all(done.stdout)]
    assert names == ["vpol-p", "vpol-p-binding"]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(policy(NAMED)))
    assert custody("policy", "vap", "p.yaml", cwd=tmp_path).returncode == 2
    assert custody("policy", "vap", "--all", "p.yaml", cwd=tmp_path).returncode == 0


def test_the_command_writes_those_of_mutating_and_cluster_policies(tmp_path: Path) -> None:
    mutating = {"apiVersion": "policies.kyverno.io/v1", "kind": "MutatingPolicy", "metadata": {"name": "m"}, "spec": {
        "autogen": {"mutatingAdmissionPolicy": {"enabled": True}}, "reinvocationPolicy": "IfNeeded",
        "matchConstraints": {"objectSelector": {"matchLabels": {"a": "b"}}, "resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["CREATE"]}]},
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {
            "expression": "[JSONPatch{op: 'remove', path: '/data'}]"}}]}}
    rule = {"name": "r", "match": {"any": [{"resources": {"kinds": ["Secret"]}}]}, "validate": {
        "cel": {"generate": True, "expressions": [{"expression": "true"}]}}}
    cluster = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "c"}, "spec": {
        "validationFailureAction": "Audit", "rules": [rule]}}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump_all([mutating, cluster]))
    done = custody("policy", "vap", "p.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = {document["metadata"]["name"]: document for document in yaml.safe_load_all(done.stdout)}
    assert sorted(made) == ["cpol-c", "cpol-c-binding", "mpol-m", "mpol-m-binding"]
    assert made["mpol-m"]["kind"] == "MutatingAdmissionPolicy"
    assert made["mpol-m"]["spec"] == {
        "matchConstraints": mutating["spec"]["matchConstraints"], "reinvocationPolicy": "IfNeeded",
        "mutations": mutating["spec"]["mutations"]}
    assert made["cpol-c-binding"]["spec"] == {"policyName": "cpol-c", "validationActions": ["Audit", "Warn"]}
    cluster["spec"]["rules"] = [rule, {**rule, "name": "s"}]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(cluster))
    assert "multiple rules are not applicable" in custody("policy", "vap", "p.yaml", cwd=tmp_path).stderr
