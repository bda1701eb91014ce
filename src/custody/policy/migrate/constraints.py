"""A constraint of a template in CEL as a ValidatingPolicy, whose parameters are written into it.

Gatekeeper 3.23 pkg/drivers/k8scel says what the expressions of a template see: `variables.anyObject` and
`variables.params`, which are variables of the policy here. What a constraint matches becomes `matchConstraints`, and
`matchConditions` where those have no words for it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from custody.errors import UnsupportedError
from custody.policy.gatekeeper.constraint import AUDIT, WEBHOOK, ConstraintRule
from custody.policy.gatekeeper.emission import ACTIONS, HOME, NAMESPACE, RESOURCES, native, spec_of
from custody.policy.gatekeeper.nativesource import NativeSource
from custody.policy.kinds import Kinds, Selector, builtin
from custody.policy.migrate import heading
from custody.policy.migrate.expressions import every, literal, negation, quoted, some
from custody.policy.scope import WRITTEN

KIND = "ValidatingPolicy"
_OBJECT = "object != null ? object : oldObject"
_INNER: Mapping[tuple[str, str], Sequence[str]] = {
    ("", "Pod"): ("pods/ephemeralcontainers", "pods/resize"), ("", "Service"): ("services/status",)}
"""Subresources of Gatekeeper's webhook whose kind is that of the resource, by group and kind."""
_APART = frozenset(("Scale", "Eviction", "Binding", "PodExecOptions", "PodAttachOptions", "PodPortForwardOptions",
                    "PodProxyOptions", "ServiceProxyOptions", "NodeProxyOptions"))
"""Kinds that only subresources have."""
Object = dict[str, Any]


def translated(rule: ConstraintRule, template: Mapping[str, Any], kinds: Kinds) -> Object:
    """The policy of a constraint, as its template `template` would judge. Raises UnsupportedError."""
    source, document = native(template), rule.document
    if source is None or not isinstance(rule.template.source, NativeSource):
        raise UnsupportedError(f"ConstraintTemplate {rule.template.name}: spec.targets[0]",
                               "Rego has no counterpart in CEL", hint="a template with code of engine "
                               "K8sNativeValidation is migrated")
    if rule.template.source.whole:
        raise UnsupportedError(f"ConstraintTemplate {rule.template.name}", "it reads the whole constraint (params), "
                               "which is not there any more", hint="variables.params are its parameters")
    if rule.template.source.failure_policy != "Fail":
        raise UnsupportedError(f"ConstraintTemplate {rule.template.name}: failurePolicy",
                               f"{rule.template.source.failure_policy} lets what cannot be evaluated pass, and a "
                               f"{KIND} denies it")
    spec: Object = {"validationActions": _actions(rule), "failurePolicy": "Fail"}
    if not rule.actions[AUDIT]:
        spec["evaluation"] = {"background": {"enabled": False}}
    match = spec_of(rule).get("match") or {}
    rules, named = _rules(match, rule, kinds)
    if any("pods" in entry["resources"] for entry in rules):
        spec["autogen"] = {"podControllers": {"controllers": []}}  # a constraint speaks of what it names alone
    spec["matchConstraints"] = {"resourceRules": rules, **{
        target: copy.deepcopy(match[field]) for field, target in (
            ("labelSelector", "objectSelector"), ("namespaceSelector", "namespaceSelector")) if match.get(field)}}
    conditions = [*_conditions(match, named), *copy.deepcopy(source.get("matchCondition") or [])]
    if conditions:
        spec["matchConditions"] = conditions
    parameters = spec_of(rule).get("parameters")
    spec["variables"] = [{"name": "anyObject", "expression": _OBJECT},
                         {"name": "params", "expression": f"dyn({_value(parameters)})"},
                         *copy.deepcopy(source.get("variables") or [])]
    spec["validations"] = [_validation(entry) for entry in source.get("validations") or []]
    return heading.policy(document, KIND, _name(rule), spec)


def _value(value: Any) -> str:
    """Of JSON; what is of several types is dyn, since maps and lists in Kyverno's CEL are of one type."""
    if not isinstance(value, (dict, list)):
        return literal(value)
    members = [*value.values()] if isinstance(value, dict) else value
    plain = len({type(member) for member in members}) <= 1 and not any(
        isinstance(member, (dict, list)) for member in members)
    written = [literal(member) if plain else f"dyn({_value(member)})" for member in members]
    if isinstance(value, list):
        return f"[{', '.join(written)}]"
    return f"{{{', '.join(f'{quoted(key)}: {text}' for key, text in zip(value, written, strict=True))}}}"


def _name(rule: ConstraintRule) -> str:
    """Constraints of several kinds may have one name. Either has at most 63 letters, and a policy's 253."""
    return f"{rule.policy.kind.lower()}-{rule.policy.name}"


def _actions(rule: ConstraintRule) -> list[str]:
    at_webhook, at_audit = rule.actions[WEBHOOK], rule.actions[AUDIT]
    where = f"{rule.policy.kind} {rule.policy.name}: spec.scopedEnforcementActions"
    if not at_webhook:
        raise UnsupportedError(where, f"it says nothing to requests ({WEBHOOK}), and only what is said to those is "
                               "compared")
    if at_audit and at_audit != at_webhook:
        raise UnsupportedError(where, f"{', '.join(at_webhook)} of requests and {', '.join(at_audit)} in audits: a "
                               f"{KIND} has the same actions for both")
    if {"deny", "warn"} <= set(at_webhook):
        raise UnsupportedError(where, "the same is not denied and warned of", hint="deny alone")
    return [ACTIONS[action] for action in at_webhook]


def _validation(entry: Mapping[str, Any]) -> Object:
    made = copy.deepcopy(dict(entry))
    if not made.get("message"):  # what the API server says where there is none, or where its expression fails
        made["message"] = f"failed expression: {str(entry.get('expression')).strip()}"
    return made


# ── what it matches ─────────────────────────────────────────────────────────────────────────────────────────────────


def _rules(match: Mapping[str, Any], rule: ConstraintRule, kinds: Kinds) -> tuple[list[Object], str]:
    """(resource rules, what else must hold of a request's kind)"""
    operations = [*(rule.template.operations or WRITTEN)]
    entries = [(entry.get("apiGroups") or ["*"], entry.get("kinds") or ["*"]) for entry in match.get("kinds") or []]
    scope = {"scope": match["scope"]} if match.get("scope") in ("Cluster", "Namespaced") else {}
    resources: dict[str, dict[str, None]] = {}
    told = True
    for group, name in ((group, name) for groups, names in entries for group in groups for name in names):
        plurals = _plurals(group, name, kinds)
        told = told and plurals is not None
        where = group if plurals is not None or _custom(group) else "*"
        resources.setdefault(where, {}).update(dict.fromkeys(
            plurals if plurals is not None else ["*"] if where != "*" else RESOURCES))
    if not entries or "*" in resources:
        resources = {"*": dict.fromkeys(RESOURCES)}
    rules = [{"apiGroups": [group], "apiVersions": ["*"], "operations": operations, "resources": [*plurals], **scope}
             for group, plurals in resources.items()]
    named = "true" if told else some(every(
        f"request.kind.{field} in {literal(values)}" for field, values in (("group", groups), ("kind", names))
        if "*" not in values) for groups, names in entries)
    return rules, named


def _plurals(group: str, name: str, kinds: Kinds) -> list[str] | None:
    """Resources, and subresources of Gatekeeper's webhook, of one kind; None where they are not known."""
    if "*" in (group, name) or name in _APART:
        return None
    targets = kinds.find(Selector(group, "*", name, ""))
    return [*dict.fromkeys([*(target.resource.plural for target in targets), *_INNER.get((group, name), ())])] or None


def _custom(group: str) -> bool:
    """Whether it is a group of custom resources: those of subresources of Kubernetes' are none of it."""
    return group != "*" and group not in builtin().whole


def _conditions(match: Mapping[str, Any], named: str) -> list[Object]:
    names = {name for entry in match.get("kinds") or [{}] for name in entry.get("kinds") or ["*"]}
    home = HOME if names & {"*", "Namespace"} else NAMESPACE
    made = {"kinds": named}
    if namespaces := match.get("namespaces"):
        made["namespaces"] = some([f"{home} == ''", *(_glob(pattern, home) for pattern in namespaces)])
    if excluded := match.get("excludedNamespaces"):
        within = negation(some(_glob(pattern, home) for pattern in excluded))
        made["excluded-namespaces"] = some([f"{home} == ''", within])
    if pattern := match.get("name"):
        fields = ["name", *(["generateName"] if pattern.endswith("*") else [])]
        called = some(_glob(pattern, f"o.?metadata.{field}.orValue('')") for field in fields)
        made["name"] = f"[{_OBJECT}].exists(o, {called})"
    if match.get("source") == "Generated":
        raise UnsupportedError("spec.match.source", f"Generated objects are not judged by a {KIND}")
    return [{"name": f"match-{name}", "expression": text} for name, text in made.items() if text != "true"]


def _glob(pattern: str, text: str) -> str:
    """A star at the beginning, the end, or both, as Gatekeeper reads it: a star elsewhere is a star."""
    first, last = pattern.startswith("*"), pattern.endswith("*")
    if pattern in ("*", "**"):
        return "true"
    if first:
        inner = pattern[1:].removesuffix("*") if last else pattern[1:]
        return f"{text}.{'contains' if last else 'endsWith'}({quoted(inner)})"
    return f"{text}.startsWith({quoted(pattern[:-1])})" if last else f"{text} == {quoted(pattern)}"


__all__ = ["KIND", "translated"]
