"""What a rule is evaluated on goes with its decision: in a circle the request would wait for a look for circles."""

from __future__ import annotations

import gc
from datetime import UTC, datetime
from typing import Any

import pytest

from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Kind, Outcome, Request
from custody.policy.phases import Course

CONTEXT = Context(now=datetime(2026, 11, 29, tzinfo=UTC))
RULES = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
                            "operations": ["CREATE", "UPDATE"]}]}
VARIABLES = [{"name": "first", "expression": "object.metadata.name"},
             {"name": "name", "expression": "variables.first + '-more'"}]
CONDITIONS = [{"name": "named", "expression": "object.metadata.name != ''"}]
PATCH = {"patchType": "ApplyConfiguration", "applyConfiguration": {
    "expression": "Object{metadata: Object.metadata{labels: {'team': variables.name}}}"}}
LABEL = {"patchType": "JSONPatch", "jsonPatch": {
    "expression": "[JSONPatch{op: 'add', path: '/metadata/labels', value: {'team': variables.name}}]"}}
API, ADMISSION = "policies.kyverno.io/v1", "admissionregistration.k8s.io/v1"
SPEC = {"matchConstraints": RULES, "matchConditions": CONDITIONS, "variables": VARIABLES}
VALIDATIONS = [{"expression": "variables.name == 'no'", "messageExpression": "variables.name"}]


def document(kind: str, spec: dict[str, Any], version: str = API, name: str = "p") -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def bound(kind: str, spec: dict[str, Any], **binding: Any) -> list[dict[str, Any]]:
    return [document(kind, spec, ADMISSION),
            document(f"{kind}Binding", {"policyName": "p", **binding}, ADMISSION, "b")]


CASES: dict[str, tuple[list[dict[str, Any]], Course, Outcome]] = {
    "ValidatingPolicy": ([document("ValidatingPolicy", {**SPEC, "validations": VALIDATIONS})], Course.VALIDATING,
                         Outcome.FAIL),
    "ImageValidatingPolicy": ([document("ImageValidatingPolicy", {
        **SPEC, "validations": VALIDATIONS, "matchImageReferences": [{"glob": "*"}]})], Course.VALIDATING,
        Outcome.FAIL),
    "MutatingPolicy": ([document("MutatingPolicy", {**SPEC, "mutations": [PATCH, LABEL]})], Course.MUTATING,
                       Outcome.PASS),
    "GeneratingPolicy": ([document("GeneratingPolicy", {**SPEC, "generate": [{"expression": (
        "generator.Apply('default', [{'apiVersion': dyn('v1'), 'kind': dyn('ConfigMap'), "
        "'metadata': dyn({'name': variables.name})}])")}]})], Course.GENERATING, Outcome.PASS),
    "ValidatingAdmissionPolicy": (bound("ValidatingAdmissionPolicy", {**SPEC, "validations": VALIDATIONS},
                                        validationActions=["Deny"]), Course.VALIDATING, Outcome.FAIL),
    "MutatingAdmissionPolicy": (bound("MutatingAdmissionPolicy", {
        **SPEC, "mutations": [PATCH, LABEL], "reinvocationPolicy": "Never"}), Course.MUTATING, Outcome.PASS),
    "validate.cel": ([document("ClusterPolicy", {"validationFailureAction": "Enforce", "rules": [{
        "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
        "validate": {"cel": {"variables": VARIABLES, "expressions": [{"expression": "variables.name == 'no'"}]}}}]},
        "kyverno.io/v1")], Course.VALIDATING, Outcome.FAIL),
}


@pytest.mark.parametrize("name", CASES)
def test_a_decision_leaves_no_circles(name: str) -> None:
    documents, course, outcome = CASES[name]
    policies = PolicySet(documents)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
           "spec": {"containers": [{"name": "a", "image": "a:1"}]}}
    request = Request(operation="CREATE", kind=Kind("Pod"), object=pod, namespace="default", name="web")
    for _ in range(2):  # what is made once for all requests may be as it likes
        gc.collect()
        gc.disable()
        try:
            [result] = decide(request, {}, policies, CONTEXT, at=course).results
            assert result.outcome is outcome
            left = gc.collect()
        finally:
            gc.enable()
    assert left == 0
