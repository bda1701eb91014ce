"""Conditions as plain tuples, which compare and hash by value, so that equal parts of different rules are one.

`null` is not a value of a formula: a comparison with null is false, and what follows is ordinary logic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from policylang.falco.values.fields import Shape, Type


class Read(NamedTuple):
    """A value of an event: a field's (`name` as events have it), a constant, or a transformer's.

    `kind` is field, constant, list or a transformer's name. `value` is a constant's; `arguments` are other reads.
    """

    kind: str
    name: str
    type: Type
    shape: Shape
    value: str | None = None
    select: str | None = None
    arguments: tuple[Read, ...] = ()


class Node(NamedTuple):
    """and, or: `parts` are nodes. not: one node. test: read, operator, modifier, right; of exists only the read."""

    kind: str
    parts: tuple[Any, ...]


Formula = Node | bool


def conjunction(parts: list[Formula]) -> Formula:
    return _joined("and", parts)


def disjunction(parts: list[Formula]) -> Formula:
    return _joined("or", parts)


def _joined(kind: str, parts: list[Formula]) -> Formula:
    zero = kind == "or"
    flat: dict[Node, None] = {}
    for part in parts:
        if isinstance(part, bool):
            if part is zero:
                return zero
        elif part.kind == kind:
            flat.update(dict.fromkeys(part.parts))
        else:
            flat[part] = None
    if not flat:
        return not zero
    return next(iter(flat)) if len(flat) == 1 else Node(kind, tuple(flat))


def negation(part: Formula) -> Formula:
    if isinstance(part, bool):
        return not part
    return part.parts[0] if part.kind == "not" else Node("not", (part,))


def reads(node: Node) -> Iterator[Read]:
    """What a node reads of an event, as often as it does."""
    if node.kind == "test":
        for operand in (node.parts[0], node.parts[3]):
            if isinstance(operand, Read):
                yield operand
    else:
        for part in node.parts:
            yield from reads(part)


# --- for which events a formula may be true -------------------------------------------------------------------------

def event_types(formula: Formula) -> tuple[bool, frozenset[str]]:
    """For which events it may be true: (False, those) or (True, all but those). As libsinsp's ppm_codes.cpp."""
    return _types(formula, False)


def _types(formula: Formula, negated: bool) -> tuple[bool, frozenset[str]]:
    everything: tuple[bool, frozenset[str]] = (True, frozenset())
    if isinstance(formula, bool):
        return everything if formula is not negated else (False, frozenset())
    if formula.kind == "not":
        return _types(formula.parts[0], not negated)
    if formula.kind == "test":
        read, op, modifier, right = formula.parts
        if read.name != "evt.type" or read.kind != "field" or modifier or isinstance(right, Read):
            return everything
        if op in ("=", "!=", "in"):
            return ((op == "!=") is not negated, right if op == "in" else frozenset((right,)))
        return everything
    sets = [_types(part, negated) for part in formula.parts]
    if (formula.kind == "and") is not negated:
        return _met(sets)
    flipped, types = _met([(not flag, names) for flag, names in sets])
    return not flipped, types


def _met(sets: list[tuple[bool, frozenset[str]]]) -> tuple[bool, frozenset[str]]:
    """Intersection; a flag says that a set is the complement of its names."""
    outside: frozenset[str] = frozenset().union(*(names for flag, names in sets if flag))
    inside = [names for flag, names in sets if not flag]
    return (False, frozenset.intersection(*inside) - outside) if inside else (True, outside)
