"""A ValidatingPolicy as the API server's own: `autogen.validatingAdmissionPolicy` of policies.kyverno.io.

Kyverno 1.19 pkg/admissionpolicy and controllers/admissionpolicygenerator, with two differences. An exception is negated
as a whole, where Kyverno negates each of its conditions and so excepts less; and failurePolicy is kept.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from custody.errors import CustodyError, UnsupportedError
from custody.policy.exempting import compile_exception
from custody.policy.fields import Fields
from custody.policy.kubernetes.checks import Checks
from custody.policy.kubernetes.validating import BINDING, POLICY

_API = "admissionregistration.k8s.io/v1"
_LABELS = {"app.kubernetes.io/managed-by": "custody"}
_KEPT = ("matchConstraints", "variables", "validations", "auditAnnotations")


def admission_policy(document: dict[str, Any], exceptions: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """A ValidatingAdmissionPolicy and its binding, that say the same; for the policy itself, not what autogen makes.

    Raises UnsupportedError for what only a webhook can do: Kyverno's functions, pods' templates, exceptions that end.
    """
    if document.get("kind") != "ValidatingPolicy":
        raise UnsupportedError("kind", f"the API server has no policies such as {document.get('kind')}",
                               hint="a ValidatingPolicy has one")
    spec, name = copy.deepcopy(document["spec"]), document["metadata"]["name"]
    if (spec.get("evaluation") or {}).get("mode", "Kubernetes") != "Kubernetes":
        raise UnsupportedError("spec.evaluation.mode", "the API server judges its own requests alone")
    made = {key: spec[key] for key in _KEPT if spec.get(key)}
    made["failurePolicy"] = spec.get("failurePolicy") or "Fail"
    conditions = list(spec.get("matchConditions") or [])
    allowed: dict[str, list[str]] = {"allowedImages": [], "allowedValues": []}
    for exception in exceptions:
        if _names(exception, name):
            conditions += _negated(exception, allowed)
    if conditions:
        made["matchConditions"] = conditions
    used = str(made.get("validations"))
    declared = [{"name": key, "expression": _texts(values)} for key, values in allowed.items()
                if f"exceptions.{key}" in used]
    made["variables"] = [*declared, *made.get("variables", [])]
    for validation in made.get("validations", []):
        validation["expression"] = validation["expression"].replace("exceptions.", "variables.")
    try:
        Checks(Fields({key: value for key, value in made.items() if key not in ("matchConstraints", "failurePolicy")},
                      "spec"), params=False, fails=True)
    except CustodyError as error:
        raise UnsupportedError("spec", f"the API server could not evaluate it: {error.message}") from None
    metadata = {"name": f"vpol-{name}", "labels": dict(_LABELS)}
    bound = {"policyName": metadata["name"], "validationActions": spec.get("validationActions") or ["Deny"]}
    return [{"apiVersion": _API, "kind": POLICY, "metadata": metadata, "spec": made},
            {"apiVersion": _API, "kind": BINDING, "metadata": {**metadata, "name": f"vpol-{name}-binding"},
             "spec": bound}]


def _names(exception: dict[str, Any], name: str) -> bool:
    return any(ref.get("name") == name and ref.get("kind") == "ValidatingPolicy"
               for ref in exception["spec"].get("policyRefs") or [])


def _negated(exception: dict[str, Any], allowed: dict[str, list[str]]) -> list[dict[str, str]]:
    compiled, name = compile_exception(exception), exception["metadata"]["name"]
    if compiled.expires is not None:
        raise UnsupportedError(f"PolicyException {name}: spec.expiresAt", "the API server's policies know no time",
                               hint="let the webhook judge this policy, or take the exception away")
    expressions = [f"({condition['expression']})" for condition in exception["spec"].get("matchConditions") or []]
    if compiled.parts:
        if expressions:
            raise UnsupportedError(f"PolicyException {name}", "a policy of the API server cannot say that images and "
                                   "values are allowed under conditions")
        allowed["allowedImages"] += compiled.images
        allowed["allowedValues"] += compiled.values
        return []
    return [{"name": f"exception-{name}", "expression": f"!({' && '.join(expressions) or 'true'})"}]


def _texts(values: Sequence[str]) -> str:
    quoted = (value.replace("\\", "\\\\").replace("'", "\\'") for value in values)
    return "[" + ", ".join(f"'{value}'" for value in quoted) + "]" if values else "['']"
