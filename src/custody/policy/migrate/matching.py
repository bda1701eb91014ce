"""`match` and `exclude` as `matchConstraints` and conditions in CEL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from custody.errors import UnsupportedError
from custody.policy.kinds import Kinds, Selector
from custody.policy.migrate.expressions import FALSE, TRUE, every, literal, member, negation, quoted, some, wildcard
from custody.policy.resources import OPERATIONS

_EPHEMERAL = "ephemeralcontainers"
_FIELDS = frozenset(("kinds", "names", "name", "namespaces", "operations", "selector", "annotations",
                     "namespaceSelector"))


class Named(NamedTuple):
    """One resource that a rule speaks of."""

    group: str
    version: str
    resource: str
    """With its subresource: `pods/exec`. `*` where the plural is not known: the kind tells then."""
    kind: str
    """A wildcard, where it is not known; empty for every kind."""
    any_version: bool = False

    @property
    def told(self) -> bool:
        """Whether matchConstraints tell it from all else."""
        return not self.kind or not self.resource.startswith("*")


class Matched(NamedTuple):
    constraints: dict[str, Any]
    conditions: list[str]
    """Beside them; of the object by the name `object`."""
    resources: list[Named]
    operations: list[str]
    ephemeral: bool
    """Whether it speaks of pods, and so of what is added to them later."""


def adds_containers(rule: Mapping[str, Any]) -> bool:
    """Whether a rule speaks of what `kubectl debug` adds to pods."""
    return "ephemeralContainers" in str(rule) or "podSecurity" in (rule.get("validate") or {})


def matched(rule: dict[str, Any], where: str, kinds: Kinds, judged: Sequence[str], root: str) -> Matched:
    """`judged`: the operations that are asked about, of those that it names. Raises UnsupportedError."""
    match, path = rule["match"], f"{where}.match"
    filters, each = _filters(match, path)
    named = [(at, part) for at, (_, part) in enumerate(filters) if _resources(part).get("kinds")]
    if each and len(named) > 1:
        raise UnsupportedError(path, "kinds in several filters of `all` have no words in matchConstraints")
    rules: dict[tuple[tuple[str, ...], ...], list[Named]] = {}
    asks: list[tuple[list[Named], list[str], str]] = []
    shared: dict[str, Any] | None = None
    for place, part in filters:
        resources = _resources(part)
        operations = [operation for operation in resources.get("operations") or judged if operation in judged]
        targets = _targets(resources.get("kinds") or [], f"{place}.resources.kinds", kinds, operations or OPERATIONS)
        if "CONNECT" in operations and "operations" not in resources and not any(
                "/" in target.resource or target.resource == "*" for target in targets):
            operations.remove("CONNECT")  # which only subresources know
        for target in targets if operations else ():
            rules.setdefault((tuple(operations), (target.group,)), []).append(target)
        if resources.get("namespaceSelector"):
            if len(filters) > 1:
                raise UnsupportedError(f"{place}.resources.namespaceSelector", "it is of the whole policy, and has no "
                                       "words where there are several filters")
            shared = _selector(resources["namespaceSelector"], f"{place}.resources.namespaceSelector")
        asks.append((targets, operations, _test(part, place, root)))
    every_kind = {target for targets, _, _ in asks for target in targets}
    every_operation = {operation for _, operations, _ in asks for operation in operations}
    told = all(target.told for target in every_kind)
    if told and (each or len(asks) == 1 or all(test == TRUE for _, _, test in asks)):  # the rules say all of it
        whole = every(test for _, _, test in asks)
    elif each:
        whole = every((_of([*every_kind], []), *(test for _, _, test in asks)))
    else:
        whole = some(every((_of([] if told and {*targets} == every_kind else targets,
                                [] if {*operations} == every_operation else operations), test))
                     for targets, operations, test in asks)
    if not any(_resources(part).get("kinds") for _, part in filters):
        raise UnsupportedError(path, "a rule without kinds has no words in matchConstraints")
    constraints: dict[str, Any] = {"resourceRules": _rules(rules)}
    if shared is not None:
        constraints["namespaceSelector"] = shared
    targets = [target for group in rules.values() for target in group]
    asked = [operation for operation in OPERATIONS if any(operation in key[0] for key in rules)]
    conditions = [] if whole == TRUE else [whole]
    return Matched(constraints, conditions + _excluded(rule, where, kinds, root, targets, asked), targets, asked,
                   any(target.resource == "pods" and not target.group for target in targets) and "UPDATE" in asked)


def _excluded(rule: dict[str, Any], where: str, kinds: Kinds, root: str, spoken: Sequence[Named],
              asked: Sequence[str]) -> list[str]:
    block, path = rule.get("exclude") or {}, f"{where}.exclude"
    if not any(block.get(name) for name in ("any", "all", "resources", "subjects", "roles", "clusterRoles")):
        return []
    filters, each = _filters(block, path)
    tests = []
    for place, part in filters:
        resources = _resources(part)
        if resources.get("namespaceSelector"):
            raise UnsupportedError(f"{place}.resources.namespaceSelector",
                                   "that a namespace's labels exclude has no words in matchConstraints")
        operations = resources.get("operations") or []
        targets = _targets(resources.get("kinds") or [], f"{place}.resources.kinds", kinds, OPERATIONS)
        every_kind = {target.kind for target in spoken} <= {target.kind for target in targets}
        if {*asked} <= {*operations}:
            operations = []
        tests.append(every((_of([] if every_kind else targets, operations), _test(part, place, root))))
    out = every(tests) if each else some(tests)
    return [] if out == FALSE else [negation(out)]


def _filters(block: dict[str, Any], where: str) -> tuple[list[tuple[str, dict[str, Any]]], bool]:
    for form in ("any", "all"):
        if block.get(form):
            return [(f"{where}.{form}[{at}]", part) for at, part in enumerate(block[form])], form == "all"
    return [(where, block)], False


def _resources(part: dict[str, Any]) -> dict[str, Any]:
    return part.get("resources") or {}


def _targets(texts: Sequence[str], where: str, kinds: Kinds, operations: Sequence[str]) -> list[Named]:
    made: dict[Named, None] = {}
    for at, text in enumerate(texts):
        selector = Selector.parse(text, f"{where}[{at}]")
        if selector.kind == "*" and selector.group == "*" and selector.version == "*" and selector.subresource in (
                "", "*"):
            made[Named("*", "*", "*/*" if selector.subresource else "*", "")] = None
            continue
        targets = [] if "*" in selector.kind or "?" in selector.kind else kinds.find(selector)
        if not targets:
            made[_unknown(selector, f"{where}[{at}]")] = None
        for target in targets:
            sub = f"/{target.subresource.name}" if target.subresource else ""
            resource = target.resource
            if target.operations and not {*operations} & {*target.operations}:
                continue
            made[Named(resource.group, resource.version, f"{resource.plural}{sub}", resource.kind,
                       selector.version == "*" and resource.group != "")] = None
    return [*made]


def _unknown(selector: Selector, where: str) -> Named:
    """All resources that may be of this kind."""
    if selector.subresource not in ("", "status"):
        raise UnsupportedError(where, f"of what kind {selector.subresource} of {selector.kind} is, is not known",
                               hint="give its CustomResourceDefinition with --crd")
    if any(letter in selector.version for letter in "*?") and selector.version != "*":
        raise UnsupportedError(where, "a wildcard of a part of a version has no words in matchConstraints")
    group = "*" if any(letter in selector.group for letter in "*?") else selector.group
    if group != selector.group and selector.group != "*":
        raise UnsupportedError(where, "a wildcard of a part of a group has no words in matchConstraints")
    return Named(group, selector.version, "*/status" if selector.subresource else "*", selector.kind)


def _rules(rules: dict[tuple[tuple[str, ...], ...], list[Named]]) -> list[dict[str, Any]]:
    made: dict[tuple[Any, ...], list[str]] = {}
    for (operations, groups), targets in rules.items():
        versions: dict[str, list[str]] = {}
        for target in targets:
            version = "*" if target.any_version else target.version  # of more than are served here
            if version not in versions.setdefault(target.resource, []):
                versions[target.resource].append(version)
        for resource, served in versions.items():
            resources = made.setdefault((groups, tuple(served), operations), [])
            if resource not in resources:
                resources.append(resource)
    return [{"apiGroups": [*groups], "apiVersions": [*versions], "operations": [*operations], "resources": resources}
            for (groups, versions, operations), resources in made.items()]


def _of(targets: Sequence[Named], operations: Sequence[str]) -> str:
    """That a request is about one of these. The resource is that of what is asked about, in any version."""
    tests = []
    if targets and all(target.kind for target in targets):
        told = [target for target in targets if target.told]
        choices = [_guessed(target, alone=len(targets) == 1) for target in targets if not target.told]
        plain = sorted({target.kind for target in told if "/" not in target.resource})
        inner = sorted({target.resource for target in told if "/" in target.resource})
        groups = sorted({target.group for target in told})
        known = []
        if plain:
            known.append(f"request.kind.kind == {literal(plain[0])}" if len(plain) == 1 else
                         f"request.kind.kind in {literal(plain)}")
        known += [every((f"request.resource.resource == {quoted(name.partition('/')[0])}",
                         f"request.subResource == {quoted(name.partition('/')[2])}")) for name in inner]
        if told:
            choices.append(every((some(known), f"request.kind.group in {literal(groups)}" if len(groups) > 1 else
                                  f"request.kind.group == {quoted(groups[0])}")))
        tests.append(some(choices))
    if operations:
        tests.append(f"request.operation == {literal(operations[0])}" if len(operations) == 1 else
                     f"request.operation in {literal([*operations])}")
    return every(tests)


def _guessed(target: Named, *, alone: bool) -> str:
    """That a request is about a kind whose plural is not known."""
    tests = [wildcard(target.kind, "request.kind.kind")]
    if not alone:
        tests += [f"request.kind.{field} == {quoted(value)}" for field, value in (
            ("group", target.group), ("version", target.version)) if value != "*"]
        if "/" in target.resource:
            tests.append(f"request.?subResource.orValue('') == {quoted(target.resource.partition('/')[2])}")
    return every(tests)


def _test(part: dict[str, Any], where: str, root: str) -> str:
    """What a filter demands beside kinds and operations."""
    resources = _resources(part)
    if unknown := set(resources) - _FIELDS:
        raise UnsupportedError(f"{where}.resources.{min(unknown)}", "it has no words in CEL")
    for field in ("roles", "clusterRoles"):
        if part.get(field):
            raise UnsupportedError(f"{where}.{field}", "a ValidatingPolicy does not know the roles of who asks")
    tests = []
    metadata = f"{root}.metadata"
    name = f"(request.name != '' ? request.name : {metadata}.?generateName.orValue(''))"
    if names := [*(resources.get("names") or []), *filter(None, [resources.get("name")])]:
        tests.append(_any_text(names, name))
    if namespaces := resources.get("namespaces"):
        tests.append(_any_text(namespaces, _namespace(resources.get("kinds") or [], where)))
    if resources.get("selector"):
        selector = resources["selector"]
        labels = f"{metadata}.?labels.orValue({{}})"
        tests += [_labelled(key, value, labels) for key, value in (selector.get("matchLabels") or {}).items()]
        tests += [_required(expression, labels) for expression in selector.get("matchExpressions") or []]
    for key, value in (resources.get("annotations") or {}).items():
        tests.append(_labelled(key, value, f"{metadata}.?annotations.orValue({{}})"))
    if subjects := part.get("subjects"):
        tests.append(some(_subject(subject) for subject in subjects))
    return every(tests)


def _namespace(kinds: Sequence[str], where: str) -> str:
    named = [Selector.parse(kind, where).kind for kind in kinds]
    if named == ["Namespace"]:
        return "request.name"
    if not named or "Namespace" in named or "*" in named:
        return "(request.kind.kind == 'Namespace' ? request.name : request.namespace)"
    return "request.namespace"


def _any_text(patterns: Sequence[str], text: str) -> str:
    plain = [pattern for pattern in patterns if "*" not in pattern and "?" not in pattern]
    tests = [f"{text} in {literal(plain)}"] if len(plain) > 1 else [f"{text} == {quoted(word)}" for word in plain]
    return some([*tests, *(wildcard(pattern, text) for pattern in patterns if pattern not in plain)])


def _labelled(key: str, value: str, labels: str) -> str:
    if "*" in key or "?" in key:
        return f"{labels}.exists(name, {every((wildcard(key, 'name'), wildcard(value, f'{labels}[name]')))})"
    if "*" in value or "?" in value:
        return every((f"{quoted(key)} in {labels}", wildcard(value, member(labels, key))))
    return f"{labels}[?{quoted(key)}].orValue(null) == {quoted(value)}"


def _required(requirement: dict[str, Any], labels: str) -> str:
    key, operator = quoted(requirement["key"]), requirement["operator"]
    if operator in ("Exists", "DoesNotExist"):
        there = f"{key} in {labels}"
        return there if operator == "Exists" else negation(there)
    inside = f"{labels}[?{key}].orValue(null) in {literal(requirement['values'])}"
    return inside if operator == "In" else negation(inside)


def _subject(subject: dict[str, Any]) -> str:
    kind, name = subject["kind"], subject["name"]
    if kind == "Group":
        return f"request.userInfo.groups.exists(group, {wildcard(name, 'group')})"
    if kind == "ServiceAccount":
        name = f"system:serviceaccount:{subject['namespace']}:{name}"
    return wildcard(name, "request.userInfo.username")


def _selector(selector: dict[str, Any], where: str) -> dict[str, Any]:
    if any("*" in text or "?" in text for pair in (selector.get("matchLabels") or {}).items() for text in pair):
        raise UnsupportedError(where, "wildcards in a namespaceSelector have no words in matchConstraints")
    return selector


__all__ = ["Matched", "Named", "adds_containers", "matched"]
