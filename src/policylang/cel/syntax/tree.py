"""The syntax tree of a CEL expression. The checker writes types, references and overloads into it.

`at` is the offset that messages point at (an operator, a call's parenthesis), `start` and `end` the text.
"""

from __future__ import annotations

from typing import Any

from policylang.cel.types import Type
from policylang.source import Source


class Node:
    """`type` and what else is None is known once the tree was checked. `macro` names what a node was written as."""

    __slots__ = ("at", "end", "height", "macro", "start", "type")

    def __init__(self, start: int, end: int, at: int, *children: Node | None) -> None:
        self.start, self.end, self.at = start, end, at
        self.type: Type | None = None
        self.macro: str | None = None
        self.height: int = 1 + max((child.height for child in children if child is not None), default=0)


class Literal(Node):
    """bool, int, Uint, float, str, bytes or None."""

    __slots__ = ("value",)

    def __init__(self, value: Any, start: int, end: int) -> None:
        super().__init__(start, end, start)
        self.value = value


class Reference:
    """What a name means: a variable, or a constant with its value."""

    __slots__ = ("constant", "name", "value")

    def __init__(self, name: str, constant: bool = False, value: Any = None) -> None:
        self.name, self.constant, self.value = name, constant, value


class Ident(Node):
    """A name; with a dot in front of `name` it is not looked up in the container."""

    __slots__ = ("name", "reference")

    def __init__(self, name: str, start: int, end: int) -> None:
        super().__init__(start, end, start)
        self.name = name
        self.reference: Reference | None = None


class Select(Node):
    """`operand.field`, or `has(operand.field)` with `test`. `reference`: the whole is a qualified name."""

    __slots__ = ("field", "operand", "reference", "test")

    def __init__(self, operand: Node, field: str, start: int, end: int, at: int, *, test: bool = False) -> None:
        super().__init__(start, end, at, operand)
        self.operand, self.field, self.test = operand, field, test
        self.reference: Reference | None = None


class Call(Node):
    """A function or an operator, by cel-go's names: `_+_`, `_&&_` (any number of arguments), `_?_:_`, `_[?_]`, …

    `function` becomes the qualified name and `target` None where `a.b.f(x)` is a call of `a.b.f`. `overloads`: the ids
    that the argument types allow.
    """

    __slots__ = ("args", "function", "overloads", "target")

    def __init__(self, function: str, target: Node | None, args: list[Node], start: int, end: int, at: int) -> None:
        super().__init__(start, end, at, target, *args)
        self.function, self.target, self.args = function, target, args
        self.overloads: tuple[str, ...] | None = None

    @property
    def operands(self) -> list[Node]:
        """The arguments with the target, if any, first."""
        return self.args if self.target is None else [self.target, *self.args]


class ListNode(Node):
    """`optional`: indices of elements written with `?`."""

    __slots__ = ("elements", "optional")

    def __init__(self, elements: list[Node], optional: frozenset[int], start: int, end: int) -> None:
        super().__init__(start, end, start, *elements)
        self.elements, self.optional = elements, optional


class Entry(Node):
    """A key or field and its value; the key of a message's entry is the field's name."""

    __slots__ = ("key", "optional", "value")

    def __init__(self, key: Node | str, value: Node, optional: bool, start: int, end: int, at: int) -> None:
        super().__init__(start, end, at, value, None if isinstance(key, str) else key)
        self.key, self.value, self.optional = key, value, optional


class MapNode(Node):
    __slots__ = ("entries",)

    def __init__(self, entries: list[Entry], start: int, end: int) -> None:
        super().__init__(start, end, start, *entries)
        self.entries = entries


class Struct(Node):
    """`name{field: value}`; `name` becomes the full name."""

    __slots__ = ("entries", "name")

    def __init__(self, name: str, entries: list[Entry], start: int, end: int, at: int) -> None:
        super().__init__(start, end, at, *entries)
        self.name, self.entries = name, entries


class Comprehension(Node):
    """A loop over a list, or over the keys of a map.

    `kind`: all, exists, exists_one, filter, map; with two variables also transformList, transformMap,
    transformMapEntry. `guard` is the predicate, None where there is none; `step` what is collected, None for
    quantifiers and filter. `var2` is "" with one variable.
    """

    __slots__ = ("guard", "kind", "source", "step", "var", "var2")

    def __init__(self, kind: str, source: Node, var: str, var2: str, guard: Node | None, step: Node | None,
                 start: int, end: int, at: int) -> None:
        super().__init__(start, end, at, source, guard, step)
        self.kind, self.source, self.var, self.var2, self.guard, self.step = kind, source, var, var2, guard, step


class Bind(Node):
    """`body` with `var` standing for `value`; an error of `value` shows where `var` is used."""

    __slots__ = ("body", "value", "var")

    def __init__(self, var: str, value: Node, body: Node, start: int, end: int, at: int) -> None:
        super().__init__(start, end, at, value, body)
        self.var, self.value, self.body = var, value, body


class Ast:
    """A parsed program; checked where `result` is its type."""

    __slots__ = ("result", "root", "source")

    def __init__(self, source: Source, root: Node) -> None:
        self.source, self.root = source, root
        self.result: Type | None = None


def qualified(node: Node) -> str | None:
    """`a.b.c` as a text where the node is one name or a chain of plain selections from one."""
    names: list[str] = []
    while isinstance(node, Select) and not node.test:
        names.append(node.field)
        node = node.operand
    if not isinstance(node, Ident):
        return None
    return ".".join([node.name, *reversed(names)])


def children(node: Node) -> list[Node | None]:
    """The nodes directly below."""
    if isinstance(node, Call):
        return [node.target, *node.args]
    if isinstance(node, Select):
        return [node.operand]
    if isinstance(node, ListNode):
        return list(node.elements)
    if isinstance(node, (MapNode, Struct)):
        return list(node.entries)
    if isinstance(node, Entry):
        return [node.value] if isinstance(node.key, str) else [node.key, node.value]
    if isinstance(node, Comprehension):
        return [node.source, node.guard, node.step]
    if isinstance(node, Bind):
        return [node.value, node.body]
    return []
