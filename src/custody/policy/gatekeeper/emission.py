"""A template in CEL as a ValidatingAdmissionPolicy, and its constraints as bindings, as Gatekeeper makes them.

Gatekeeper 3.23 pkg/drivers/k8scel/transform, with its names. What a constraint matches is asked by conditions, which
here also know `scope` and `source`, the name of a Namespace, and empty lists, as Gatekeeper's webhook does. The
constraint is the policy's parameter, so the API server must serve its kind.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any

from custody.errors import CustodyError, UnsupportedError
from custody.policy.fields import Fields
from custody.policy.gatekeeper.constraint import ADMISSION_POLICY, ConstraintRule
from custody.policy.gatekeeper.template import NATIVE, Template
from custody.policy.kubernetes.checks import Checks
from custody.policy.kubernetes.validating import POLICY

_API = "admissionregistration.k8s.io/v1"
_MANAGED = {"app.kubernetes.io/managed-by": "custody"}
ACTIONS = {"deny": "Deny", "warn": "Warn", "dryrun": "Audit"}
_DEFAULT_OPERATIONS = ("CREATE", "UPDATE")
RESOURCES = (
    "*", "pods/ephemeralcontainers", "pods/exec", "pods/log", "pods/eviction", "pods/portforward", "pods/proxy",
    "pods/attach", "pods/binding", "pods/resize", "deployments/scale", "replicasets/scale", "statefulsets/scale",
    "replicationcontrollers/scale", "services/proxy", "nodes/proxy", "services/status")
"""Of Gatekeeper's webhook: `*` is no subresource, and containers come into pods through some."""
_LONGEST = 253
_MATCH = "!has(params.spec) || !has(params.spec.match) || "
NAMESPACE = "request.?namespace.orValue('')"  # which a request about what lies in none does not have
HOME = f"(request.kind.group == '' && request.kind.kind == 'Namespace' ? request.?name.orValue('') : {NAMESPACE})"
Object = dict[str, Any]


def _glob(pattern: str, text: str) -> str:
    """A star at the beginning, the end, or both."""
    return (f"({pattern}.startsWith('*') ? ({pattern}.endsWith('*') ? {text}.contains({pattern}.replace('*', '')) : "
            f"{text}.endsWith({pattern}.substring(1))) : {pattern}.endsWith('*') ? "
            f"{text}.startsWith({pattern}.substring(0, size({pattern}) - 1)) : {text} == {pattern})")


def _named(field: str) -> str:
    """Of the object, or of the one that is deleted."""
    inner = f"has(o.metadata) && has(o.metadata.{field}) && " + _glob("params.spec.match.name", f"o.metadata.{field}")
    return f"[object != null ? object : oldObject].exists(o, o != null && {inner})"


_CONDITIONS = {
    "excluded_namespaces": f"{_MATCH}!has(params.spec.match.excludedNamespaces) || {HOME} == '' || "
                           f"!params.spec.match.excludedNamespaces.exists(n, {_glob('n', HOME)})",
    "namespaces": f"{_MATCH}!has(params.spec.match.namespaces) || size(params.spec.match.namespaces) == 0 || "
                  f"{HOME} == '' || params.spec.match.namespaces.exists(n, {_glob('n', HOME)})",
    "name": f"{_MATCH}!has(params.spec.match.name) || params.spec.match.name == '' || {_named('name')} || "
            f"(params.spec.match.name.endsWith('*') && {_named('generateName')})",
    "kinds": f"{_MATCH}!has(params.spec.match.kinds) || size(params.spec.match.kinds) == 0 || "
             "params.spec.match.kinds.exists(k, (!has(k.kinds) || size(k.kinds) == 0 || "
             "k.kinds.exists(n, n == '*' || n == request.kind.kind)) && (!has(k.apiGroups) || size(k.apiGroups) == 0 "
             "|| k.apiGroups.exists(g, g == '*' || g == request.kind.group)))",
    "scope": f"{_MATCH}!has(params.spec.match.scope) || !(params.spec.match.scope in ['Cluster', 'Namespaced']) || "
             f"({NAMESPACE} != '' && !(request.kind.group == '' && request.kind.kind == 'Namespace')) == "
             "(params.spec.match.scope == 'Namespaced')",
    "source": f"{_MATCH}!has(params.spec.match.source) || params.spec.match.source != 'Generated'"}
_VARIABLES = (
    {"name": "anyObject", "expression": "request.operation == 'DELETE' && object == null ? oldObject : object"},
    {"name": "params", "expression": "has(params.spec) && has(params.spec.parameters) ? params.spec.parameters : null"})


def wanted(template: Template) -> bool:
    """Whether it is to be the API server's: nobody said `generateVAP: false`."""
    return template.generates is not False


def policy(template: Template, document: Mapping[str, Any]) -> Object:
    """The policy of a template. Raises UnsupportedError for one that has Rego alone."""
    source = native(document)
    if source is None:
        raise UnsupportedError(f"ConstraintTemplate {document['metadata']['name']}",
                               "the API server does not evaluate Rego", hint=f"code of engine {NATIVE} has a policy")
    operations = [*(template.operations or _DEFAULT_OPERATIONS)]
    conditions = [*copy.deepcopy(source.get("matchCondition") or []), *(
        {"name": f"gatekeeper_internal_match_{name}", "expression": expression}
        for name, expression in _CONDITIONS.items())]
    spec: Object = {
        "paramKind": {"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": template.kind},
        "matchConstraints": {"resourceRules": [{
            "apiGroups": ["*"], "apiVersions": ["*"], "operations": operations, "resources": [*RESOURCES],
            "scope": "*"}]},
        "matchConditions": conditions,
        "variables": [*map(dict, _VARIABLES), *copy.deepcopy(source.get("variables") or [])],
        "validations": copy.deepcopy(source.get("validations") or []),
        "failurePolicy": source.get("failurePolicy") or "Fail"}
    try:
        Checks(Fields({key: spec[key] for key in ("matchConditions", "variables", "validations")}, "spec"),
               params=True, fails=True, plain=True)
    except CustodyError as error:
        raise UnsupportedError(f"ConstraintTemplate {template.name}",
                               f"the API server could not evaluate it: {error.message}") from None
    return {"apiVersion": _API, "kind": POLICY,
            "metadata": {"name": f"gatekeeper-{template.name}", "labels": dict(_MANAGED)}, "spec": spec}


def native(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The source in CEL of a template that compiles; None for one that has Rego alone."""
    codes = document["spec"]["targets"][0].get("code") or []
    return next((code["source"] for code in codes if code["engine"] == NATIVE), None)


def spec_of(rule: ConstraintRule) -> Mapping[str, Any]:
    """Of a constraint, which may have none, or null."""
    return rule.document.get("spec") or {}


def binding(rule: ConstraintRule) -> Object | None:
    """Of a constraint; None for one that does not speak at vap.k8s.io. Raises UnsupportedError."""
    actions = [ACTIONS[action] for action in rule.actions[ADMISSION_POLICY]]
    if not actions:
        return None
    name = rule.document["metadata"]["name"]
    if {"Deny", "Warn"} <= set(actions):
        raise UnsupportedError(f"{rule.policy.kind} {name}: spec.scopedEnforcementActions",
                               "the API server does not deny and warn of the same",
                               hint="one of the two for vap.k8s.io")
    match = spec_of(rule).get("match") or {}
    resources: Object = {target: copy.deepcopy(match[field]) for field, target in (
        ("labelSelector", "objectSelector"), ("namespaceSelector", "namespaceSelector")) if field in match}
    return {"apiVersion": _API, "kind": f"{POLICY}Binding",
            "metadata": {"name": _bound(rule.policy.kind, name), "labels": dict(_MANAGED)},
            "spec": {"policyName": f"gatekeeper-{rule.policy.kind.lower()}",
                     "paramRef": {"name": name, "parameterNotFoundAction": "Allow"},
                     **({"matchResources": resources} if resources else {}),
                     "validationActions": actions}}


def _bound(kind: str, name: str) -> str:
    """Longer than a name may be, it ends in a part of its digest."""
    whole = f"gatekeeper-{kind.lower()}-{name}"
    if len(whole) <= _LONGEST:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{whole[:_LONGEST - 9].rstrip('-.')}-{digest}"
