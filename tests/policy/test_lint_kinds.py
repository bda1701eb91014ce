"""Findings about policies of policies.kyverno.io, about exceptions, and about what is deprecated."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from custody.policy.kinds import builtin
from custody.policy.lint import Finding, lint, lint_all

NOW = datetime(2026, 6, 1, tzinfo=UTC)
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
EXPIRES = "policies.custody.internal/exception-expires"


def validating(expression: str, version: str = "v1", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": f"policies.kyverno.io/{version}", "kind": "ValidatingPolicy", "metadata": {"name": "p"},
            "spec": {"matchConstraints": {"resourceRules": [RULE]}, "validationActions": ["Deny"],
                     "validations": [{"expression": expression, "message": "m"}], **spec}}


GOOD = validating("object.spec.?hostNetwork.orValue(false) == false")


def classic(**spec: Any) -> dict[str, Any]:
    rule = {"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "validate": {
        "failureAction": "Enforce", "message": "m", "deny": {"conditions": {"all": [
            {"key": "{{ request.operation }}", "operator": "AnyIn", "value": ["CREATE"]}]}}}}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
            "spec": {"rules": [rule], **spec}}


def changed(path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(classic())
    at: Any = document
    *steps, last = path.split("/")
    for step in steps:
        at = at[int(step)] if step.isdigit() else at[step]
    at[last] = value
    return document


@pytest.mark.parametrize(("document", "code", "path"), [
    (validating("true"), "constant-expression", "spec.validations[0].expression"),
    (validating("'object' == 'request'"), "constant-expression", "spec.validations[0].expression"),
    (validating("object.kind == 'x'", matchConditions=[{"name": "n", "expression": "1 > 2"}]), "constant-expression",
     "spec.matchConditions[0].expression"),
    (validating("object.spec.hostNetwork == false"), "unguarded-optional", "spec.validations[0].expression"),
    (validating("object.kind == 'x'", validationActions=["Audit"]), "audit", "spec.validationActions"),
    (validating("object.kind == 'x'", failurePolicy="Ignore"), "fails-open", "spec.failurePolicy"),
    (validating("object.kind == 'x'", validations=[{"expression": "object.kind == 'x'"}]), "no-message",
     "spec.validations[0].message"),
    (validating("object.kind == 'x'", "v1beta1"), "deprecated", "apiVersion"),
    (classic(validationFailureAction="Audit"), "deprecated", "spec.validationFailureAction"),
    (classic(failurePolicy="Fail"), "deprecated", "spec.failurePolicy"),
    (changed("spec/rules/0/match", {"resources": {"kinds": ["Pod"]}}), "deprecated", "spec.rules[0].match.resources"),
    (changed("spec/rules/0/validate/deny/conditions/all/0/operator", "In"), "deprecated",
     "spec.rules[0].validate.deny.conditions.all[0].operator"),
])
def test_what_its_author_may_not_mean(document: dict[str, Any], code: str, path: str) -> None:
    assert (code, path) in [(finding.code, finding.path) for finding in lint(document)]


@pytest.mark.parametrize("document", [
    GOOD, validating("!has(object.spec.hostNetwork) || object.spec.hostNetwork == false"),
    validating("object.spec.volumes.size() == 0", matchConditions=[
        {"name": "n", "expression": "has(object.spec.volumes)"}]),
    validating("variables.x", variables=[{"name": "x", "expression": "true"}])])
def test_what_its_author_meant(document: dict[str, Any]) -> None:
    assert lint(document) == []


def test_what_is_not_deprecated() -> None:
    assert [finding for finding in lint(classic()) if finding.code == "deprecated"] == []


def exception(policy: str = "p", expires: str = "") -> dict[str, Any]:
    annotations = {"annotations": {EXPIRES: expires}} if expires else {}
    return {"apiVersion": "kyverno.io/v2", "kind": "PolicyException",
            "metadata": {"name": "e", "namespace": "n", **annotations},
            "spec": {"exceptions": [{"policyName": policy, "ruleNames": ["r"]}],
                     "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}}}


def excepting(document: dict[str, Any]) -> list[str]:
    findings, _ = lint_all([("p.yaml", classic()), ("e.yaml", document)], builtin(), NOW)
    return [finding.code for finding in findings if finding.policy == "n/e"]


@pytest.mark.parametrize(("document", "codes"), [
    (exception(expires="2027-01-01T00:00:00Z"), []),
    (exception("other", "2027-01-01T00:00:00Z"), ["excepts-nothing"]),
    (exception(), ["never-expires"]),
    (exception(expires="2026-01-01T00:00:00Z"), ["expired"]),
])
def test_exceptions(document: dict[str, Any], codes: list[str]) -> None:
    assert excepting(document) == codes


def test_sarif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(validating("true")))
    assert run(["policy", "lint", "-o", "sarif", str(tmp_path / "p.yaml")]) == 0
    (log,) = json.loads(capsys.readouterr().out)["runs"]
    assert [rule["id"] for rule in log["tool"]["driver"]["rules"]] == ["constant-expression"]
    assert [result["level"] for result in log["results"]] == ["warning"]


def test_one_that_does_not_load_is_an_error() -> None:
    findings, loaded = lint_all([("p.yaml", validating("nothing.here"))], builtin(), NOW)
    assert loaded == 0
    assert [finding for finding in findings if finding.level == "error"]
    assert isinstance(findings[0], Finding)
