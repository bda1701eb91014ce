"""Which rules this machine's sensors can make true: worked out of the types of events and the fields that they tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from custody.runtime.sight import Sight
from policylang.falco import Rule
from policylang.falco.analysis import event_types, field_names, never
from policylang.falco.check.formula import Formula, Read, conjunction, disjunction, negation
from policylang.falco.values.operators import predicate

MISSING = "N/A"
"""What an event says of a container's mounts where nothing is known of them, as Falco does."""
_MOUNTS = "container.mount"
_FILES = frozenset(("fd.name", "fd.nameraw", "fd.directory", "evt.arg.name", "evt.arg.filename", "fs.path.name"))


class Covered(NamedTuple):
    rule: str
    by: tuple[str, ...]
    """Sensors that can make it true; none: `reason` says why."""
    reason: str
    unseen: tuple[str, ...] = ()
    """Event types for which it asks too, and which no sensor tells."""


def coverage(rules: Sequence[Rule], sights: Sequence[Sight]) -> list[Covered]:
    """Of the rules about system calls, in their order."""
    return [_covered(rule, sights) for rule in rules if rule.source == "syscall"]


def unread(rule: Rule, quiet: Sequence[str]) -> tuple[str, ...]:
    """Paths below the prefixes `quiet`, of which reads are not told, that a rule about reads names."""
    if "evt.is_open_read" not in field_names(rule.condition):
        return ()
    return tuple(sorted({text for text in _paths(rule.condition) if text.startswith(tuple(quiet))}))


def _paths(formula: Formula) -> Iterator[str]:
    if isinstance(formula, bool):
        return
    if formula.kind != "test":
        for part in formula.parts:
            yield from _paths(part)
        return
    read, _, _, right = formula.parts
    if read.name in _FILES:
        yield from (text for text in (right if isinstance(right, (tuple, frozenset)) else (right,))
                    if isinstance(text, str))


def _covered(rule: Rule, sights: Sequence[Sight]) -> Covered:
    if (reason := never(rule.condition)) is not None:
        return Covered(rule.name, (), f"it can never match: {reason}")
    types = event_types(rule)
    if not types:
        return Covered(rule.name, (), "it can never match: no type of events is left")
    blind: list[str] = []
    by: list[str] = []
    for sight in sights:
        reason = _blind(rule, sight)
        if reason is None:
            by.append(sight.input)
        else:
            blind.append(reason)
    if not by:
        # The reason of the sensor that tells most is the one that helps.
        return Covered(rule.name, (), blind[0] if blind else "no sensor works here")
    told = frozenset().union(*(sight.types or types for sight in sights if sight.input in by))
    return Covered(rule.name, tuple(by), "", tuple(sorted(types - told)))


def _blind(rule: Rule, sight: Sight) -> str | None:
    condition = _assumed(rule.condition)
    if never(condition) is not None and never(rule.condition) is None:
        return f"{sight.input} never tells {_MOUNTS}.*, what is mounted in a container"
    reason = sight.blind(rule)
    if reason is None and condition != rule.condition:
        return sight.blind(replace(rule, condition=condition))
    return reason


def _assumed(formula: Formula) -> Formula:
    """What is left of a condition where all mounts are MISSING."""
    if isinstance(formula, bool):
        return formula
    if formula.kind == "test":
        read, op, modifier, right = formula.parts
        if read.kind != "field" or not read.name.startswith(_MOUNTS) or isinstance(right, Read):
            return formula
        return op == "exists" or bool(predicate(op, modifier, right, read.type)(MISSING))
    if formula.kind == "not":
        return negation(_assumed(formula.parts[0]))
    parts = [_assumed(part) for part in formula.parts]
    return conjunction(parts) if formula.kind == "and" else disjunction(parts)
