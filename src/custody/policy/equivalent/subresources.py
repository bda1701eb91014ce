"""Subresources that policies name: those about which a search asks, and those about which it does not.

An update of `pods/resize` or `services/status` carries the whole object, as one of the resource does; what is created
at `pods/eviction` or `pods/exec` is of a kind of its own, and nobody makes such objects up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from custody.errors import UnsupportedError
from custody.policy.kinds import Kinds
from custody.policy.load import PolicySet
from custody.policy.model import Kind, Request, Resource
from custody.policy.phases import Phase
from custody.policy.resources import ApiResource, Subresource
from custody.policy.rule import Rule

_POD = Kind("Pod", "v1", "")
_CONTAINERS = "ephemeralcontainers"
"""A rule about pods may mean it without naming it."""
_OPEN = ("", "*")


class Subresources(NamedTuple):
    asked: dict[Kind, list[str]]
    """By kind: those whose objects are of the same kind."""
    untried: list[str]
    """Others of which both sides may speak, as `pods/exec`."""


def subresources(sides: Sequence[PolicySet], targets: Sequence[tuple[Kind, Resource]], kinds: Kinds) -> Subresources:
    """Of the kinds that are tried and, where both sides take their requests, of those that are not."""
    asked: dict[Kind, list[str]] = {kind: [_CONTAINERS] for kind, _ in targets if kind == _POD}
    untried: dict[str, None] = {}
    tried = {kind for kind, _ in targets}
    for served, part in _named(sides, kinds):
        kind = Kind(served.kind, served.version, served.group)
        if part.kind == served.kind:
            if "UPDATE" in part.operations and kind in tried and part.name not in asked.setdefault(kind, []):
                asked[kind].append(part.name)
        elif all(_taken(side, kind, served, part) for side in sides):
            untried[f"{served.plural}/{part.name}"] = None
    return Subresources({kind: names for kind, names in asked.items() if names}, [*untried])


def _named(sides: Sequence[PolicySet], kinds: Kinds) -> Iterator[tuple[ApiResource, Subresource]]:
    """Those that some rule names by their own name, rather than with all others."""
    filters = [part for side in sides for rule in side.of(Phase.VALIDATE) for part in rule.scope.match.filters]
    resources = {(name, sub) for part in filters for rule in part.resources for name, sub in rule.resources
                 if sub not in _OPEN}
    selectors = [selector for part in filters for selector in part.selectors if selector.subresource not in _OPEN]
    for served in kinds.resources if resources or selectors else ():
        kind = Kind(served.kind, served.version, served.group)
        for part in served.subresources:
            if {(served.plural, part.name), ("*", part.name)} & resources or any(
                    selector.selects(kind, part.name) for selector in selectors):
                yield served, part


def _taken(side: PolicySet, kind: Kind, served: ApiResource, part: Subresource) -> bool:
    """Whether a rule may speak of such a request."""
    resource = Resource(served.plural, served.version, served.group)
    requests = [Request(operation=operation, kind=Kind(part.kind, part.version or served.version, part.group),
                        resource=resource, namespace="default", name="x", object={}, subresource=part.name, parent=kind)
                for operation in part.operations or ("CREATE", "UPDATE", "CONNECT")]
    try:
        return any(_spoken_of(rule, request) for rule in side.of(Phase.VALIDATE) for request in requests)
    except UnsupportedError:
        return True  # it cannot be known, so that it is said


def _spoken_of(rule: Rule, request: Request) -> bool:
    named = any(part.resources or part.operations for part in rule.scope.match.filters)
    return not rule.scope.apart(request) and (named or request.operation in rule.scope.judged)
