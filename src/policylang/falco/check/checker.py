"""Conditions with types: fields found in their source's table, operators allowed on them, right-hand sides parsed.

The result is a formula (`formula`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from policylang.falco.check.condition import Text
from policylang.falco.check.formula import Formula, Node, Read, conjunction, disjunction, negation
from policylang.falco.syntax import tree
from policylang.falco.values import fields, literals, operators, patterns, transformers
from policylang.falco.values.events import EVENTS
from policylang.falco.values.fields import Shape, Type

Lookup = Callable[[str, str | None], fields.Info | None]
"""What a field with an argument is; None where there is no such field."""


class Checker:
    """`owner(macro)` is the text a macro's condition was parsed from. `legacy`: engines before list-valued fields.

    `lookup` tells the fields, where they are others than those of `source`.
    """

    def __init__(self, source: str, macros: dict[str, tuple[tree.Condition, Text]], *, legacy: bool = False,
                 warn: Callable[[str, str, Text, int], None] | None = None, lookup: Lookup | None = None) -> None:
        self.source, self.macros, self.legacy, self.warn = source, macros, legacy, warn
        self.lookup = partial(fields.lookup, source) if lookup is None else lookup
        self.known: dict[str, Formula] = {}

    def formula(self, condition: tree.Condition, text: Text) -> Formula:
        if isinstance(condition, tree.And):
            return conjunction([self.formula(part, text) for part in condition.parts])
        if isinstance(condition, tree.Or):
            return disjunction([self.formula(part, text) for part in condition.parts])
        if isinstance(condition, tree.Not):
            return negation(self.formula(condition.part, text))
        if isinstance(condition, tree.Macro):
            if condition.name not in self.known:
                self.known[condition.name] = self.formula(*self.macros[condition.name])
            return self.known[condition.name]
        return self.test(condition, text)

    def test(self, check: tree.Exists | tree.Compare, text: Text) -> Node:
        left = self.operand(check.left, text)
        if isinstance(check, tree.Exists):
            return Node("test", (left, "exists", "", None))
        op, modifier = check.operator, check.modifier
        shape = Shape.ANCESTORS if self.legacy and left.shape is Shape.LIST and op not in ("in", "intersects") else (
            left.shape)
        if (reason := operators.refused(op, left.type, shape)) is not None:
            raise text.error(f"filter error: {reason}", check.start)
        if modifier and shape is Shape.LIST:
            raise text.error(f"filter error: '{op} {modifier}' operator not supported list filters", check.start)
        left = left._replace(shape=shape)
        if isinstance(check.right, (tree.Field, tree.Transform)):
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

    def literal(self, item: tree.Literal, left: Read, op: str, text: Text) -> Any:
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
            elif left.type is Type.TEXT and "." in item.value and self.lookup(item.value, None):
                self.warn("LOAD_COMPILE_CONDITION", f"'{item.value}' may be a valid field misused as a const string "
                          "value", text, item.start)
        return value

    def reference(self, left: Read, op: str, operand: tree.Operand, text: Text) -> Read:
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

    def operand(self, operand: tree.Operand, text: Text) -> Read:
        if isinstance(operand, tree.Transform):
            return self.transform(operand, text)
        info = self.lookup(operand.name, operand.argument)
        if info is None:
            raise text.error(f"filter_check called with nonexistent field {operand}", operand.start)
        return Read("field", str(operand), info.type, info.shape)

    def transform(self, operand: tree.Transform, text: Text) -> Read:
        arguments = tuple(self.argument(argument, text) for argument in operand.arguments)
        try:
            for read in arguments:
                if read.shape in (Shape.ANCESTORS, Shape.ENDS) or read.name.partition("[")[0] in fields.ALONE:
                    raise ValueError(f"field '{read.name}' does not support transformers")
            if arguments[0].kind == "constant" and operand.name not in ("join", "concat"):
                raise ValueError(f"transformer '{operand.name}' takes a field")
            type_, shape = transformers.result(operand.name, [(read.type, read.shape) for read in arguments])
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

    def argument(self, argument: tree.Argument, text: Text) -> Read:
        if isinstance(argument, tree.Literal):
            return Read("constant", "", Type.TEXT, Shape.ONE, argument.value)
        if isinstance(argument, tree.Values):
            items = tuple(self.argument(value, text) for value in argument.items)
            for item in items:
                if item.type is not Type.TEXT or item.shape is not Shape.ONE:
                    raise text.error("a list of a transformer holds strings only", 0)
            return Read("list", "", Type.TEXT, Shape.LIST, None, None, items)
        return self.operand(argument, text)
