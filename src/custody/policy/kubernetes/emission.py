"""A ValidatingPolicy or MutatingPolicy as the API server's own: `autogen.validatingAdmissionPolicy` and
`autogen.mutatingAdmissionPolicy` of policies.kyverno.io.

Kyverno 1.19 pkg/admissionpolicy and controllers/admissionpolicygenerator, with two differences. An exception is negated
as a whole, where Kyverno negates each of its conditions and so excepts less; the selectors and exclusions of a
MutatingPolicy are kept, without which it would change more. Some things are as the API server does them, and not the
webhook: `oldObject` of what is created is null, and no empty object; an audit annotation or a condition that fails
denies under Audit and Ignore too, but what no condition of the policy's selects is not asked about exceptions; under
`failurePolicy: Ignore` a mutation that fails is left out alone; each mutation has variables of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from custody.errors import CustodyError, UnsupportedError
from custody.policy.exempting import compile_exception
from custody.policy.fields import Fields
from custody.policy.kubernetes.checks import Checks
from custody.policy.kubernetes.mutating import POLICY as MUTATING
from custody.policy.kubernetes.mutating import Definition
from custody.policy.kubernetes.validating import POLICY
from policylang.cel.syntax.lexer import tokens
from policylang.source import Source

_API = "admissionregistration.k8s.io/v1"
_ALLOWED = ("allowedImages", "allowedValues")
_QUIET = "reports.kyverno.io/disabled"
_KINDS = {"ValidatingPolicy": (POLICY, "vpol"), "ClusterPolicy": (POLICY, "cpol"),
          "MutatingPolicy": (MUTATING, "mpol")}
_UNCHECKED = ("matchConstraints", "failurePolicy", "paramKind")
Object = dict[str, Any]
_KEPT = ("matchConstraints", "variables", "validations", "auditAnnotations")


def admission_policy(document: Object, exceptions: Sequence[Object] = (), *, manager: str = "custody") -> list[Object]:
    """A policy of the API server and its binding, that say the same as a ValidatingPolicy or MutatingPolicy; as the
    policy itself, not what autogen makes. `manager` is who keeps them.

    Raises UnsupportedError for what only a webhook can do: Kyverno's functions, pods' templates, exceptions that end.
    """
    kind, spec = document.get("kind"), copy.deepcopy(document["spec"])
    if kind not in _KINDS:
        raise UnsupportedError("kind", f"the API server has no policies such as {kind}",
                               hint="a ValidatingPolicy and a MutatingPolicy have one")
    if (spec.get("evaluation") or {}).get("mode", "Kubernetes") != "Kubernetes":
        raise UnsupportedError("spec.evaluation.mode", "the API server judges its own requests alone")
    named = [exception for exception in exceptions if _names(exception, document["metadata"]["name"], str(kind))]
    made, bound = (_validating if kind == "ValidatingPolicy" else _mutating)(spec, named)
    return documents(document, made, bound, manager=manager)


def documents(document: Object, spec: Object, bound: Object, *, manager: str = "custody") -> list[Object]:
    """Policy and binding as the API server has them, of specs that it can evaluate. Raises UnsupportedError."""
    kind, prefix = _KINDS[document["kind"]]
    metadata = document["metadata"]
    name = f"{prefix}-{metadata['name']}"
    checked = {key: value for key, value in spec.items() if key not in _UNCHECKED}
    try:
        if kind == POLICY:
            Checks(Fields(checked, "spec"), params=bool(spec.get("paramKind")), fails=True, plain=True)
        else:
            Definition(Fields(dict(spec), "spec"), name)
    except CustodyError as error:
        raise UnsupportedError("spec", f"the API server could not evaluate it: {error.message}") from None
    labels = {"app.kubernetes.io/managed-by": manager}
    quiet = {_QUIET: "true"} if _QUIET in (metadata.get("labels") or {}) else {}
    return [{"apiVersion": _API, "kind": kind, "metadata": {"name": name, "labels": {**labels, **quiet}}, "spec": spec},
            {"apiVersion": _API, "kind": f"{kind}Binding", "metadata": {"name": f"{name}-binding", "labels": labels},
             "spec": {"policyName": name, **bound}}]


def _validating(spec: Object, exceptions: Sequence[Object]) -> tuple[Object, Object]:
    made: Object = {key: spec[key] for key in _KEPT if spec.get(key)}
    made["failurePolicy"] = "Fail"  # Ignore is for a webhook that is not reached; what cannot be evaluated is denied
    allowed: dict[str, list[str]] = {name: [] for name in _ALLOWED}
    conditions = [*(spec.get("matchConditions") or ()),
                  *(condition for exception in exceptions for condition in _negated(exception, allowed))]
    if conditions:
        made["matchConditions"] = _distinct(conditions)
    used: set[str] = set()
    written = [{**entry, "expression": _renamed(entry["expression"], used)} for entry in made.get("variables", ())]
    before = bool(used)
    if "validations" in made:
        made["validations"] = [{**entry, "expression": _renamed(entry["expression"], used)}
                               for entry in made["validations"]]
    declared = [{"name": key, "expression": _texts(values)} for key, values in allowed.items() if values or key in used]
    if declared or written:
        made["variables"] = [*declared, *written] if before else [*written, *declared]
    return made, {"validationActions": spec.get("validationActions") or ["Deny"]}


def _mutating(spec: Object, exceptions: Sequence[Object]) -> tuple[Object, Object]:
    made: Object = {key: spec[key] for key in ("matchConstraints", "variables", "failurePolicy") if spec.get(key)}
    allowed: dict[str, list[str]] = {"allowedImages": [], "allowedValues": []}
    conditions = [*(condition for exception in exceptions for condition in _negated(exception, allowed)),
                  *(spec.get("matchConditions") or ())]
    if any(allowed.values()):
        raise UnsupportedError("PolicyException", "a MutatingPolicy allows no images and values")
    if conditions:
        made["matchConditions"] = _distinct(conditions)
    made["mutations"] = [{key: entry[key] for key in ("patchType", "applyConfiguration", "jsonPatch") if key in entry}
                         for entry in spec.get("mutations") or ()]
    made["reinvocationPolicy"] = spec.get("reinvocationPolicy") or "Never"
    return made, {}


def _names(exception: Object, name: str, kind: str) -> bool:
    return any(ref.get("name") == name and ref.get("kind") == kind
               for ref in exception["spec"].get("policyRefs") or [])


def _negated(exception: Object, allowed: dict[str, list[str]]) -> list[dict[str, str]]:
    compiled, name = compile_exception(exception), exception["metadata"]["name"]
    if compiled.expires is not None:
        raise UnsupportedError(f"PolicyException {name}: spec.expiresAt", "the API server's policies know no time",
                               hint="let the webhook judge this policy, or take the exception away")
    written = exception["spec"].get("matchConditions") or []
    expressions = [f"({condition['expression']})" for condition in written]
    if compiled.parts:
        if expressions:
            raise UnsupportedError(f"PolicyException {name}", "a policy of the API server cannot say that images and "
                                   "values are allowed under conditions")
        allowed["allowedImages"] += compiled.images
        allowed["allowedValues"] += compiled.values
        return []
    if len(written) == 1:
        return [{"name": written[0]["name"], "expression": f"!({written[0]['expression']})"}]
    return [{"name": f"exception-{name}", "expression": f"!({' && '.join(expressions) or 'true'})"}]


def _distinct(conditions: Sequence[Object]) -> list[Object]:
    """With another name where an exception's condition is named as one before it, which the API server refuses."""
    names: set[str] = set()
    distinct = []
    for condition in conditions:
        name, number = condition["name"], 2
        while name in names:
            name, number = f"{condition['name']}-{number}", number + 1
        names.add(name)
        distinct.append({**condition, "name": name})
    return distinct


def _renamed(expression: str, used: set[str]) -> str:
    """With what exceptions allow as variables, which are added to `used`: where it is meant, and not in a text or as
    another's field."""
    listed = tokens(Source(expression, ""))
    parts, end = [], 0
    for before, token, dot, field in zip([None, *listed], listed, listed[1:], listed[2:], strict=False):
        if token.text == "exceptions" and (before is None or before.text != ".") and dot.text == "." and (
                field.text in _ALLOWED):
            parts += [expression[end:token.start], "variables"]
            end = token.end
            used.add(field.text)
    return "".join([*parts, expression[end:]])


def _texts(values: Sequence[str]) -> str:
    quoted = (value.replace("\\", "\\\\").replace("'", "\\'") for value in values)
    return "[" + ", ".join(f"'{value}'" for value in quoted) + "]" if values else "['']"
