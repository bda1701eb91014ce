"""A ClusterPolicy with one CEL rule as the API server's own: `validate.cel.generate`.

Kyverno 1.19 pkg/admissionpolicy. Where it differs: failurePolicy and the conditions of the policy's webhook are kept,
and none is made where it would judge less than the policy does, or more because a rule's own conditions are lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from custody.policy.exempting import EXPIRES
from custody.policy.kinds import Kinds, Selector
from custody.policy.resources import OPERATIONS
from policylang.go.wildcards import glob, has_wildcard

Object = dict[str, Any]
_SKIP = "skip generating ValidatingAdmissionPolicy"
_WHO = ("subjects", "roles", "clusterRoles")
_SELECTORS = ("namespaceSelector", "objectSelector")
_ORDER = ("CREATE", "UPDATE", "CONNECT", "DELETE")


def skipped(document: Object, exceptions: Sequence[Object]) -> str:
    """Why none is made of a policy, in Kyverno's words; "" where one is. `exceptions` are those that name its rule."""
    spec: Object = document.get("spec") or {}
    rules = spec.get("rules") or []
    if len(rules) != 1:
        return f"{_SKIP}: {'multiple rules are not applicable' if rules else 'no rules found'}."
    rule: Object = rules[0]
    validate: Object = rule.get("validate") or {}
    if "cel" not in validate:
        return f"{_SKIP} for non CEL rules."
    if validate["cel"].get("generate") is not True:
        return f"{_SKIP}: validate.cel.generate is not set to true."
    if spec.get("admission") is False:
        return f"{_SKIP}: admission is disabled."
    if rule.get("preconditions") or rule.get("context"):
        return f"{_SKIP}: preconditions and context entries are not applicable."
    return next(filter(None, (
        *(_overridden(overrides) for overrides in (spec.get("validationFailureActionOverrides"),
                                                   validate.get("failureActionOverrides"))),
        _block(rule.get("match") or {}, "match"), _block(rule.get("exclude") or {}, "exclude"),
        *(_exception(exception) for exception in exceptions))), "")


def _overridden(overrides: Sequence[Object] | None) -> str:
    if overrides and len(overrides) > 1:
        return f"{_SKIP}: multiple validationFailureActionOverrides are not applicable."
    if overrides and overrides[0].get("namespaces"):
        return f"{_SKIP}: Namespaces in validationFailureActionOverrides is not applicable."
    if overrides:
        return f"{_SKIP}: validationFailureActionOverrides are not applicable."
    return ""


def _exception(exception: Object) -> str:
    spec: Object = exception.get("spec") or {}
    if any(len(named.get("ruleNames") or ()) > 1 for named in spec.get("exceptions") or ()):
        return f"{_SKIP}: multiple ruleNames in PolicyException is not applicable."
    if spec.get("conditions") is not None:
        return f"{_SKIP}: Conditions in PolicyException is not applicable."
    if spec.get("podSecurity"):
        return f"{_SKIP}: a policy exception is configured."
    if EXPIRES in ((exception.get("metadata") or {}).get("annotations") or {}):
        return f"{_SKIP}: a PolicyException that ends is not applicable."
    return _block(spec.get("match") or {}, "PolicyException's match")


def _block(block: Object, name: str) -> str:
    chosen = name == "match"
    faults = [_who(block), _filters([{"resources": block.get("resources") or {}}], chosen=chosen),
              _filters(block.get("any") or (), chosen=chosen)]
    if len(block.get("all") or ()) > 1:
        faults.append(f"{_SKIP}: multiple 'all' in the {name} block is not applicable.")
    faults.append(_filters(block.get("all") or (), chosen=chosen))
    return next(filter(None, faults), "")


def _who(block: Object) -> str:
    return (f"{_SKIP}: Roles / ClusterRoles / Subjects in `any/all` is not applicable."
            if any(block.get(field) for field in _WHO) else "")


def _filters(filters: Sequence[Object], *, chosen: bool) -> str:
    for part in filters:
        if fault := _who(part) or _described(part.get("resources") or {}, chosen=chosen):
            return fault
    selecting = any((part.get("resources") or {}).get(field) is not None for part in filters
                    for field in ("namespaceSelector", "selector"))
    if selecting and not chosen:
        return f"{_SKIP}: NamespaceSelector / ObjectSelector in the exclude block is not applicable."
    if selecting and len(filters) > 1:
        return (f"{_SKIP}: NamespaceSelector / ObjectSelector across multiple resources in the match block are not "
                "applicable.")
    return ""


def _described(resources: Object, *, chosen: bool) -> str:
    if not chosen and resources.get("kinds") and resources.get("namespaces"):
        return f"{_SKIP}: excluding a resource within a namespace is not applicable."
    if not chosen and resources and not (resources.get("kinds") or resources.get("namespaces")):
        return f"{_SKIP}: excluding resources without their kinds is not applicable."
    if resources.get("annotations"):
        return f"{_SKIP}: Annotations in resource description is not applicable."
    if any(map(has_wildcard, _names(resources))):
        return f"{_SKIP}: wildcards in resource name is not applicable."
    if any(map(has_wildcard, resources.get("namespaces") or ())):
        return f"{_SKIP}: wildcards in namespace name is not applicable."
    return ""


def _names(resources: Object) -> list[str]:
    return [*(resources.get("names") or ()), *([resources["name"]] if resources.get("name") else [])]


def names(exception: Object, document: Object) -> bool:
    """Whether an exception is about a policy; about its first rule, where that is a ClusterPolicy."""
    spec, name = exception.get("spec") or {}, document["metadata"]["name"]
    if document["kind"] == "ClusterPolicy":
        rules = document["spec"].get("rules") or [{}]
        return any(named.get("policyName") == name and any(
            glob(str(rule), str(rules[0].get("name"))) for rule in named.get("ruleNames") or ())
            for named in spec.get("exceptions") or ())
    return any(named.get("name") == name and named.get("kind") == document["kind"]
               for named in spec.get("policyRefs") or ())


def spec_of(document: Object, exceptions: Sequence[Object], kinds: Kinds) -> tuple[Object, Object]:
    """The specs of policy and binding; of a policy for which `skipped` says nothing.

    Raises ValueError where kinds cannot be said as resources, UnsupportedError and MalformedError as `Kinds.targets`.
    """
    spec, rule = document["spec"], document["spec"]["rules"][0]
    cel = rule["validate"]["cel"]
    made: Object = {"matchConstraints": _constraints(rule, exceptions, kinds),
                    "failurePolicy": (spec.get("webhookConfiguration") or {}).get("failurePolicy")
                    or spec.get("failurePolicy") or "Fail"}
    conditions = [*((spec.get("webhookConfiguration") or {}).get("matchConditions") or ()),
                  *(rule.get("celPreconditions") or ())]
    for key, value in (("paramKind", cel.get("paramKind")), ("variables", cel.get("variables")),
                       ("validations", cel.get("expressions")), ("auditAnnotations", cel.get("auditAnnotations")),
                       ("matchConditions", conditions)):
        if value:
            made[key] = value
    action = rule["validate"].get("failureAction") or spec.get("validationFailureAction") or "Audit"
    bound: Object = {"validationActions": ["Deny"] if action.lower() == "enforce" else ["Audit", "Warn"]}
    if cel.get("paramRef"):
        bound["paramRef"] = cel["paramRef"]
    return made, bound


def _constraints(rule: Object, exceptions: Sequence[Object], kinds: Kinds) -> Object:
    constraints: Object = {}
    chosen: list[Object] = []
    for at, resources in enumerate(_resources(rule.get("match") or {})):
        _add(chosen, resources, kinds, "match")
        constraints["resourceRules"] = chosen
        selectors = _selectors(resources)
        if at and selectors != {name: constraints[name] for name in _SELECTORS if name in constraints}:
            raise ValueError("filters of match name other namespaces, which one policy has for all of its resources")
        constraints |= selectors
    excluded: list[Object] = []
    for block in (rule.get("exclude") or {}, *((exception.get("spec") or {}).get("match") or {}
                                               for exception in exceptions)):
        for resources in _resources(block):
            _add(excluded, resources, kinds, "exclude")
            if resources.get("namespaces") and not resources.get("kinds"):
                excluded.append({"resourceNames": resources["namespaces"], "apiGroups": [""], "apiVersions": ["v1"],
                                 "resources": ["namespaces"], "operations": _operations(resources)})
    if excluded:
        constraints["excludeResourceRules"] = excluded
    return constraints


def _selectors(resources: Object) -> Object:
    """Of namespaces and objects, by the fields' names."""
    selector: Object | None = resources.get("namespaceSelector")
    if resources.get("namespaces"):
        named = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": resources["namespaces"]}
        selector = {**(selector or {}), "matchExpressions": [*((selector or {}).get("matchExpressions") or ()), named]}
    said = zip(_SELECTORS, (selector, resources.get("selector")), strict=True)
    return {name: value for name, value in said if value is not None}


def _resources(block: Object) -> Iterator[Object]:
    for part in (block, *(block.get("any") or ()), *(block.get("all") or ())):
        if part.get("resources"):
            yield part["resources"]


def _add(rules: list[Object], resources: Object, kinds: Kinds, where: str) -> None:
    operations, names = _operations(resources), _names(resources)
    for text in resources.get("kinds") or ():
        if text == "*":
            rules.append(_rule(names, "*", "*", operations, ["*"]))
            continue
        selector = Selector.parse(text, where)
        targets = [*kinds.targets(text, where)]
        if len(targets) != 1:
            raise ValueError(f"no unique match for kind {selector.kind}")
        (target,) = targets
        owner = target.resource
        plural = f"{owner.plural}/{target.subresource.name}" if target.subresource else owner.plural
        listed = [plural, "pods/ephemeralcontainers"] if plural == "pods" else [plural]
        known = next((rule for rule in rules if owner.group in rule["apiGroups"]
                      and owner.version in rule["apiVersions"]), None)
        if known is None:
            rules.append(_rule(names, owner.group, owner.version, operations, listed))
        elif known["operations"] == operations and known.get("resourceNames", []) == names:
            known["resources"] = sorted({*known["resources"], *listed})
        else:
            raise ValueError(f"filters of {where} name {owner.group}/{owner.version} with other operations or names")


def _rule(names: Sequence[str], group: str, version: str, operations: Sequence[str],
          resources: Sequence[str]) -> Object:
    return {**({"resourceNames": [*names]} if names else {}), "apiGroups": [group], "apiVersions": [version],
            "operations": [*operations], "resources": sorted(resources)}


def _operations(resources: Mapping[str, Any]) -> list[str]:
    named = [operation for operation in resources.get("operations") or () if operation in OPERATIONS]
    return named or [*_ORDER]
