"""Patterns as CEL: `validate.pattern` becomes when the rule is skipped, and what must hold where it is not.

The order in which a pattern's keys are asked is that of `policylang.kpattern`, since a skip that comes first outweighs
what fails after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from custody.errors import UnsupportedError
from custody.policy.migrate.expressions import FALSE, TRUE, every, member, negation, present, some
from custody.policy.migrate.scalars import holds
from policylang.kpattern import anchors, leaf
from policylang.variables import has_variables

LISTS = frozenset(("command", "args", "drop", "add", "finalizers", "accessModes", "verbs", "resources", "apiGroups",
                    "resourceNames", "nonResourceURLs", "externalIPs", "hostnames", "gateways", "hosts", "dnsNames",
                    "supplementalGroups",
                    "loadBalancerSourceRanges", "clusterIPs", "ipFamilies", "policyTypes", "namespaces", "values",
                    "nameservers", "searches", "except", "topologyKeys", "allowedTopologies"))
"""Fields whose value may be a list of texts or numbers: a plain pattern is then of each of them."""


class Judged(NamedTuple):
    """Of a pattern: `skips` is when it says nothing; `meets` is that nothing is wrong, where it says something."""

    skips: str
    meets: str

    @property
    def matches(self) -> str:
        return every((negation(self.skips), self.meets))


def judged(pattern: Any, where: str, root: str = "object", certain: Sequence[str] = (), *,
           typed: bool = True) -> Judged:
    """`certain` are the root's members that are always there; `typed`: that no value has another type than its kind's.

    Raises UnsupportedError.
    """
    if has_variables(pattern):
        raise UnsupportedError(where, "a value that is computed would be a pattern with operators of its own, "
                               "which CEL does not read")
    if not isinstance(pattern, dict):
        raise UnsupportedError(where, "a pattern that is no map has no words in CEL")
    return _Patterns(root, certain, typed).map(pattern, root, where, 0)


class _Patterns:
    def __init__(self, root: str, certain: Sequence[str], typed: bool) -> None:
        self._root, self._certain, self._typed = root, certain, typed

    def of(self, pattern: Any, value: str, where: str, depth: int, name: str = "") -> Judged:
        """`value` is there."""
        if isinstance(pattern, dict):
            return self.map(pattern, value, where, depth)
        if isinstance(pattern, list):
            return self.list(pattern, value, where, depth)
        if name in LISTS or not self._typed:
            element = _element(depth)
            inner = holds(pattern, element, where)
            return Judged(FALSE, f"type({value}) == list ? {value}.all({element}, {inner}) : "
                                 f"{holds(pattern, value, where)}")
        return Judged(FALSE, holds(pattern, value, where))

    def list(self, pattern: Any, value: str, where: str, depth: int) -> Judged:
        if len(pattern) != 1 and isinstance(pattern[0], list):
            raise UnsupportedError(where, "a list of lists has no words in CEL")
        element = _element(depth)
        inner = self.of(pattern[0], element, f"{where}[0]", depth + 1)
        if inner.skips == FALSE:
            sure = isinstance(pattern[0], dict) and self._typed
            return Judged(FALSE, every([*([] if sure else [f"type({value}) == list"]),
                                        _all(value, element, inner.meets)]))
        return Judged(every((f"size({value}) > 0", _all(value, element, inner.skips))),
                      _all(value, element, some((inner.skips, inner.meets))))

    def map(self, pattern: dict[str, Any], value: str, where: str, depth: int) -> Judged:
        if anchors.wild_tags(pattern) is not None:
            raise UnsupportedError(where, "labels and annotations whose names have wildcards have no words in CEL")
        if not pattern:
            return Judged(FALSE, f"type({value}) == map")
        kinds = {key: anchors.anchor(key) for key in pattern}
        first = self.anchored(pattern, [key for key in sorted(pattern) if kinds[key][0] in anchors.FIRST], value,
                              where, depth)
        rest: list[str] = []
        for key in sorted(key for key in pattern if kinds[key][0] not in anchors.FIRST):
            front = kinds[key][0] == anchors.GLOBAL or anchors.anchored(pattern[key])
            rest.insert(0, key) if front else rest.append(key)
        skips, meets = [first.skips], [first.meets]
        for key in rest:
            part = self.key(*kinds[key], pattern[key], value, f"{where}.{key}", depth)
            skips.append(every((*meets, part.skips)) if part.skips != FALSE else FALSE)
            meets.append(part.meets)
        return Judged(some(skips), every(meets))

    def anchored(self, pattern: dict[str, Any], keys: Sequence[str], value: str, where: str, depth: int) -> Judged:
        """Anchors are all asked: one `( )` that does not match outweighs all, other skips only where none matched."""
        direct, skips, meets, good = [], [], [], []
        for key in keys:
            kind, name = anchors.anchor(key)
            part = self.key(kind, name, pattern[key], value, f"{where}.{key}", depth)
            if kind == anchors.CONDITION:
                direct.append(part.skips)
                continue
            skips.append(part.skips)
            meets.append(some((part.skips, part.meets)))
            good.append(part.matches)
        if direct or all(skip == FALSE for skip in skips):
            return Judged(some(direct), every(meets))
        return Judged(every((*meets, some(skips), negation(some(good)))), every(meets))

    def key(self, kind: str | None, name: str, pattern: Any, value: str, where: str, depth: int) -> Judged:
        here, inner = self._present(value, name), member(value, name)
        if kind == anchors.NEGATION:
            return Judged(FALSE, negation(here))
        if kind == anchors.EXISTENCE:
            element = _element(depth)
            some_of = [f"{inner}.exists({element}, {self.map(part, element, where, depth + 1).matches})"
                       for part in pattern]
            return Judged(FALSE, some((negation(here), every(some_of))))
        if kind in (anchors.CONDITION, anchors.GLOBAL):
            matches = self.of(pattern, inner, where, depth, name).matches
            if kind == anchors.CONDITION:
                return Judged(negation(every((here, matches))), TRUE)
            return Judged(every((here, negation(matches))), TRUE)
        if kind == anchors.EQUALITY:
            part = self.of(pattern, inner, where, depth, name)
            return Judged(every((here, part.skips)) if part.skips != FALSE else FALSE,
                          some((negation(here), part.meets)))
        if kind is not None:
            raise UnsupportedError(where, "an add anchor says nothing here")
        if pattern == "*":
            return Judged(FALSE, every((here, f"{inner} != null")))
        if not isinstance(pattern, (dict, list)) and leaf(pattern)(None):
            return Judged(FALSE, some((negation(here), f"{inner} == null", holds(pattern, inner, where))))
        part = self.of(pattern, inner, where, depth, name)
        return Judged(every((here, part.skips)) if part.skips != FALSE else FALSE, every((here, part.meets)))

    def _present(self, value: str, name: str) -> str:
        return TRUE if value == self._root and name in self._certain else present(value, name)


def _all(value: str, element: str, test: str) -> str:
    return TRUE if test == TRUE else f"{value}.all({element}, {test})"


def _element(depth: int) -> str:
    return "element" if depth == 0 else f"element{depth}"


__all__ = ["LISTS", "Judged", "judged"]
