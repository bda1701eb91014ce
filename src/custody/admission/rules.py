"""The `rules` of a webhook: which resources, subresources and operations the API server asks about.

As Kyverno makes them (mergeWebhook and collectResourceDescriptions in pkg/controllers/webhook), but that an operation
is left out where no rule can judge it: a pattern says nothing of what is deleted, only subresources are connected to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any, NamedTuple

from custody.admission.definitions import SCHEDULED
from custody.policy.kinds import Kinds, Selector
from custody.policy.model import Kind
from custody.policy.phases import Course, Phase
from custody.policy.resources import OPERATIONS
from custody.policy.rule import Rule
from custody.policy.scope import WRITTEN, ResourceRule


class Entry(NamedTuple):
    """One resource and one operation; `*` stands for all. `resource` may be `pods`, `pods/exec`, `*/*`, `*/scale`."""

    group: str
    version: str
    resource: str
    scope: str
    operation: str


def entries(rules: Iterable[Rule], kinds: Kinds, *, mutate: bool) -> set[Entry]:
    """What must be asked so that the rules can judge all that they name. Raises UnsupportedError, MalformedError."""
    asked: set[Entry] = set()
    for rule in rules:
        if asks(rule, mutate=mutate):
            asked |= set(_of_rule(rule, kinds, mutate=mutate))
    asked |= {entry._replace(resource="pods/ephemeralcontainers") for entry in asked
              if entry.resource in ("pods", "*") and entry.group in ("", "*") and entry.version in ("v1", "*")}
    return {entry for entry in asked if not any(wider != entry and covers(wider, entry) for wider in asked)}


def asks(rule: Rule, *, mutate: bool) -> bool:
    """Whether the API server asks for this rule, by the mutating or by the validating webhook."""
    course = Course.MUTATING if mutate else Course.VALIDATING
    # What is to be done to other objects is asked of what the API server tells the validating webhook.
    triggered = not mutate and rule.phase is Phase.GENERATE and rule.policy.kind not in SCHEDULED
    return (triggered or rule.phase in course.phases) and rule.policy.admission


def named_entries(rule: Rule, kinds: Kinds, operations: Iterable[str], scope: str) -> Iterator[Entry]:
    """What a rule names, as Kyverno asks about it: `operations` where it names none, whether or not they can come or
    be judged, and `scope` for what stands for kinds of any. Raises UnsupportedError, MalformedError."""
    for part in rule.scope.match.filters:
        named, explicit = rule.scope.operations(part)
        for where, text in part.kinds:
            asked = (named if explicit else set(operations)) - rule.scope.excluded(text)
            selector = Selector.parse(text, where)
            if selector.kind == "*":
                resource = f"*/{selector.subresource}" if selector.subresource else "*"
                yield from (Entry(selector.group, selector.version, resource, scope, operation) for operation in asked)
                continue
            for target in kinds.targets(text, where):
                owner = target.resource
                resource = f"{owner.plural}/{target.subresource.name}" if target.subresource else owner.plural
                yield from (Entry(owner.group, owner.version, resource, "Namespaced" if owner.namespaced else "*",
                                  operation) for operation in asked)


def named(rules: Iterable[Rule], kinds: Kinds) -> set[tuple[str, str]]:
    """(group, resource) of what rules name by themselves; `*` for each resource of a group that they name."""
    asked = {entry for rule in rules if rule.policy.admission and rule.policy.kind not in SCHEDULED
             for entry in _of_rule(rule, kinds, mutate=False)}
    return {(entry.group, entry.resource.partition("/")[0]) for entry in asked
            if entry.group not in ("", "*") or not entry.resource.startswith("*")}


def to_rules(asked: Iterable[Entry]) -> list[dict[str, Any]]:
    """As admissionregistration.k8s.io/v1 has them: what differs only in one way is one rule."""
    operations: dict[tuple[str, str, str, str], set[str]] = {}
    for entry in asked:
        operations.setdefault((entry.group, entry.scope, entry.resource, entry.version), set()).add(entry.operation)
    versions: dict[tuple[str, str, tuple[str, ...], str], list[str]] = {}
    for (group, scope, resource, version), named in sorted(operations.items()):
        ordered = tuple(operation for operation in OPERATIONS if operation in named)
        versions.setdefault((group, scope, ordered, resource), []).append(version)
    resources: dict[tuple[str, tuple[str, ...], str, tuple[str, ...]], list[str]] = {}
    for (group, scope, ordered, resource), listed in versions.items():
        resources.setdefault((group, tuple(listed), scope, ordered), []).append(resource)
    return [{"apiGroups": [group], "apiVersions": list(listed), "resources": sorted(names), "operations": list(ordered),
             "scope": scope} for (group, listed, scope, ordered), names in sorted(resources.items())]


def _of_rule(rule: Rule, kinds: Kinds, *, mutate: bool) -> Iterator[Entry]:
    scope = rule.scope
    judged = set(scope.judged) & set(WRITTEN) if mutate else set(scope.judged)
    for part in scope.match.filters:
        named, explicit = scope.operations(part)
        for where, text in part.kinds:
            operations = (named if explicit else named & judged) - scope.excluded(text)
            yield from _of_kind(text, where, kinds, operations, explicit=explicit)
        for selector in part.selectors if not part.kinds else ():
            yield from _of_selector(selector, kinds, named & judged)
        for resource_rule in part.resources:
            yield from _of_resources(resource_rule)


def _of_selector(selector: Selector, kinds: Kinds, operations: set[str]) -> Iterator[Entry]:
    """Kinds as Gatekeeper names them: by what a request is about, so a Scale wherever it is a subresource. What is not
    served is asked about once its definition comes; a status by nobody, for controllers write it all the time."""
    every = selector.kind == "*" and selector.group == "*"
    if every:
        yield from (Entry("*", "*", "*", "*", operation) for operation in operations)
    for resource in kinds.resources:
        scope = "Namespaced" if resource.namespaced else "*"
        if not every and selector.selects(Kind(resource.kind, resource.version, resource.group), ""):
            yield from (Entry(resource.group, resource.version, resource.plural, scope, operation)
                        for operation in operations & set(resource.operations))
        for sub in resource.subresources:
            if sub.name != "status" and selector.selects(Kind(sub.kind, sub.version, sub.group), ""):
                yield from (Entry(resource.group, resource.version, f"{resource.plural}/{sub.name}", scope, operation)
                            for operation in operations & set(sub.operations))


def _of_kind(text: str, where: str, kinds: Kinds, operations: set[str], *, explicit: bool) -> Iterator[Entry]:
    selector = Selector.parse(text, where)
    if selector.kind == "*" and "*" not in selector.group.strip("*") and "?" not in selector.group:
        resource = f"*/{selector.subresource}" if selector.subresource else "*"
        served = {operation for target in kinds.find(selector) for operation in target.operations}
        if not selector.subresource:
            served = {"CREATE", "UPDATE", "DELETE"}
        elif not served or selector.subresource == "*":
            served = set(OPERATIONS)
        for operation in operations if explicit else operations & served:
            yield Entry(selector.group, selector.version, resource, "*", operation)
        return
    for target in kinds.targets(text, where):
        owner = target.resource
        resource = f"{owner.plural}/{target.subresource.name}" if target.subresource else owner.plural
        for operation in operations if explicit else operations & set(target.operations):
            yield Entry(owner.group, owner.version, resource, "Namespaced" if owner.namespaced else "*", operation)


def _of_resources(rule: ResourceRule) -> Iterator[Entry]:
    operations = OPERATIONS if "*" in rule.operations else rule.operations
    for group, version, (name, sub), operation in product(rule.groups, rule.versions, rule.resources, operations):
        yield Entry(group, version, f"{name}/{sub}" if sub else name, rule.scope, operation)


def covers(wide: Entry, entry: Entry) -> bool:
    """Whether one asks about all that the other asks about."""
    if wide.operation != entry.operation or any(mine not in ("*", its) for mine, its in (
            (wide.group, entry.group), (wide.version, entry.version), (wide.scope, entry.scope))):
        return False
    if wide.resource in (entry.resource, "*/*"):
        return True
    resource, _, subresource = entry.resource.partition("/")
    if subresource and wide.resource == f"{resource}/*":
        return True
    return wide.resource == (f"*/{subresource}" if subresource else "*") and resource != "*"
