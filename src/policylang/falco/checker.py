"""Conditions with types: fields found in their source's table, operators allowed on them, right-hand sides parsed.

The result is a formula of plain tuples, which compare and hash by value, so that equal parts of different rules are
one. `null` is not a value of a formula: a comparison with null is false, and what follows is ordinary logic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from policylang.falco import fields, literals, operators, patterns, transform
from policylang.falco.condition import Text
from policylang.falco.events import EVENTS
from policylang.falco.fields import Shape, Type
from policylang.falco.tree import (
    And,
    Argument,
    Compare,
    Condition,
    Exists,
    Field,
    Literal,
    Macro,
    Not,
    Operand,
    Or,
    Transform,
    Values,
)


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


class Checker:
    """`owner(macro)` is the text a macro's condition was parsed from. `legacy`: engines before list-valued fields."""

    def __init__(self, source: str, macros: dict[str, tuple[Condition, Text]], *, legacy: bool = False,
                 warn: Callable[[str, str, Text, int], None] | None = None) -> None:
        self.source, self.macros, self.legacy, self.warn = source, macros, legacy, warn
        self.known: dict[str, Formula] = {}

    def formula(self, condition: Condition, text: Text) -> Formula:
        if isinstance(condition, And):
            return conjunction([self.formula(part, text) for part in condition.parts])
        if isinstance(condition, Or):
            return disjunction([self.formula(part, text) for part in condition.parts])
        if isinstance(condition, Not):
            return negation(self.formula(condition.part, text))
        if isinstance(condition, Macro):
            if condition.name not in self.known:
                self.known[condition.name] = self.formula(*self.macros[condition.name])
            return self.known[condition.name]
        return self.test(condition, text)

    def test(self, check: Exists | Compare, text: Text) -> Node:
        left = self.operand(check.left, text)
        if isinstance(check, Exists):
            return Node("test", (left, "exists", "", None))
        op, modifier = check.operator, check.modifier
        shape = Shape.ANCESTORS if self.legacy and left.shape is Shape.LIST and op not in ("in", "intersects") else (
            left.shape)
        if (reason := operators.refused(op, left.type, shape)) is not None:
            raise text.error(f"filter error: {reason}", check.start)
        if modifier and shape is Shape.LIST:
            raise text.error(f"filter error: '{op} {modifier}' operator not supported list filters", check.start)
        left = left._replace(shape=shape)
        if isinstance(check.right, (Field, Transform)):
            return Node("test", (left, op, "", self.reference(left, op, check.right, text)))
        listed = isinstance(check.right, tuple)
        items = check.right if isinstance(check.right, tuple) else (check.right,)
        values = tuple(self.literal(item, left, op, text) for item in items)
        right: Any = values if listed else values[0]
        if op in ("in", "intersects") and left.type not in (Type.ADDRESS, Type.NETWORK):
            right = frozenset(values)
        if left.name == "fd.proto":
            raise text.error("filter error: 'fd.proto' is compared with protocols by name, which is not supported; "
                             "compare fd.port", check.start)
        return Node("test", (left, op, modifier, right))

    def literal(self, item: Literal, left: Read, op: str, text: Text) -> Any:
        try:
            value = literals.parsed(item.value, left.type, op)
            if op == "regex":
                patterns.regex(item.value)
            elif op in ("glob", "iglob", "pmatch") and len(item.value) > patterns.LONGEST:
                raise ValueError(f"pattern of {len(item.value)} characters, at most {patterns.LONGEST}")
        except ValueError as wrong:
            raise text.error(str(wrong), item.start) from None
        if left.name in ("evt.type", "syscall.type") and op in ("=", "!=", "in", "intersects") and (
                item.value not in EVENTS):
            raise text.error(f"unknown event type {item.value}", item.start)
        if self.warn is not None:
            if item.value in ("<NA>", "N/A") and op in ("=", "!=", "in"):
                self.warn("LOAD_UNSAFE_NA_CHECK", "comparing a field value with <NA> is unsafe and can lead to "
                          "unpredictable behavior of the rule condition.", text, item.start)
            elif left.type is Type.TEXT and "." in item.value and fields.lookup(self.source, item.value, None):
                self.warn("LOAD_COMPILE_CONDITION", f"'{item.value}' may be a valid field misused as a const string "
                          "value", text, item.start)
        return value

    def reference(self, left: Read, op: str, operand: Operand, text: Text) -> Read:
        """A right-hand side that is a field."""
        right = self.operand(operand, text)
        if op in ("pmatch", "regex"):
            raise text.error(f"operator '{op.upper()}' doesn't support right-hand side fields", operand.start)
        for read, problem in ((left, "doesn't support right-hand side fields"),
                              (right, "can't be used as a right-hand side field")):
            if read.type is Type.NETWORK and read is left:
                raise text.error("field type 'IPNET' doesn't support right-hand side fields", operand.start)
            if read.shape in (Shape.ANCESTORS, Shape.ENDS) or read.name.partition("[")[0] in fields.ALONE:
                raise text.error(f"field '{read.name}' {problem}", operand.start)
        if (left.type, left.shape) != (right.type, right.shape):
            kinds = [f"{read.type}{' (list)' if read.shape is Shape.LIST else ''}" for read in (left, right)]
            raise text.error(f"field '{left.name}' has type '{kinds[0]}' while the right-hand side field "
                             f"'{right.name}' has incompatible type '{kinds[1]}'", operand.start)
        return right

    def operand(self, operand: Operand, text: Text) -> Read:
        if isinstance(operand, Transform):
            return self.transform(operand, text)
        info = fields.lookup(self.source, operand.name, operand.argument)
        if info is None:
            raise text.error(f"filter_check called with nonexistent field {operand}", operand.start)
        return Read("field", str(operand), info.type, info.shape)

    def transform(self, operand: Transform, text: Text) -> Read:
        arguments = tuple(self.argument(each, text) for each in operand.arguments)
        try:
            for read in arguments:
                if read.shape in (Shape.ANCESTORS, Shape.ENDS) or read.name.partition("[")[0] in fields.ALONE:
                    raise ValueError(f"field '{read.name}' does not support transformers")
            if arguments[0].kind == "constant" and operand.name not in ("join", "concat"):
                raise ValueError(f"transformer '{operand.name}' takes a field")
            type_, shape = transform.result(operand.name, [(read.type, read.shape) for read in arguments])
            if operand.index is not None:
                if shape is not Shape.LIST:
                    raise ValueError(f"transformer '{operand.name}' gives no list, which an index asks for")
                if operand.name != "getopt" and not operand.index.isdecimal():
                    raise ValueError(f"{operand.index} is not a valid number")
                shape = Shape.ONE
        except ValueError as wrong:
            raise text.error(str(wrong), operand.start) from None
        name = text.source.text[operand.start:operand.end] or operand.name
        return Read(operand.name, name, type_, shape, None, operand.index, arguments)

    def argument(self, argument: Argument, text: Text) -> Read:
        if isinstance(argument, Literal):
            return Read("constant", "", Type.TEXT, Shape.ONE, argument.value)
        if isinstance(argument, Values):
            items = tuple(self.argument(each, text) for each in argument.items)
            for item in items:
                if item.type is not Type.TEXT or item.shape is not Shape.ONE:
                    raise text.error("a list of a transformer holds strings only", 0)
            return Read("list", "", Type.TEXT, Shape.LIST, None, None, items)
        return self.operand(argument, text)


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
    flipped, found = _met([(not flag, names) for flag, names in sets])
    return not flipped, found


def _met(sets: list[tuple[bool, frozenset[str]]]) -> tuple[bool, frozenset[str]]:
    """Intersection; a flag says that a set is the complement of its names."""
    outside: frozenset[str] = frozenset().union(*(names for flag, names in sets if flag))
    inside = [names for flag, names in sets if not flag]
    return (False, frozenset.intersection(*inside) - outside) if inside else (True, outside)
