"""What patterns and expressions can see of the data that they are judged on, known from how they are written.

A `Part` is a place in the data. Readers mark what they depend on: two objects whose marked parts are equal, and whose
values have the same shape on the way there, give every expression the same value and every pattern the same answer.
Marks may be too many, never too few: what cannot be bounded raises UnboundedError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from policylang.jmespath import FUNCTIONS, Node, parse
from policylang.kpattern.anchors import anchor
from policylang.source import SourceError
from policylang.variables import HOLE, JSON_HOLE, QUOTED, VARIABLE, changes, uncertain

_PLACE = "elementIndex"


class UnboundedError(Exception):
    """It may read anything, or more than the data: the time, chance, the network."""


class Part:
    """A value of the data, and which of it is read. A part below which nothing is marked is read whole.

    A part with `fields` is a map or absent or null, one with an `element` a list or absent or null: whoever compares
    data by the marks makes sure of it. `sized`: whether it matters that it is empty. `keyed`: of a map, which keys it
    has; `prefixes`: the members whose keys begin with one of these.
    """

    __slots__ = ("bare", "element", "fields", "keyed", "prefixes", "sized", "whole")

    def __init__(self) -> None:
        self.whole = False
        self.sized = False
        self.keyed = False
        self.bare = False
        """Whether all that matters is that it is there."""
        self.fields: dict[str, Part] = {}
        self.prefixes: set[str] = set()
        self.element: Part | None = None

    def field(self, name: str) -> Part:
        return self.fields.setdefault(name, Part())

    def at(self, *steps: str) -> Part:
        """The part some fields below; `[]` stands for the elements of a list."""
        part = self
        for step in steps:
            part = part.elements() if step == "[]" else part.field(step)
        return part

    def elements(self) -> Part:
        if self.element is None:
            self.element = Part()
        return self.element


class Listed:
    """A list that an expression makes, of values that are `of` these."""

    __slots__ = ("of",)

    def __init__(self, of: Value) -> None:
        self.of = of


Value = tuple["Part | Listed | Mapping[str, Value]", ...]
"""What an expression's value may be: parts of the data, or lists and maps of such. Empty for what is made of parts that
are read whole, and of nothing else."""


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────────

def whole(value: Value) -> None:
    """All of it is read."""
    for choice in value:
        if isinstance(choice, Part):
            choice.whole = True
        elif isinstance(choice, Listed):
            whole(choice.of)
        else:
            for member in choice.values():
                whole(member)


def field(value: Value, name: str) -> Value:
    return tuple(member for choice in value for member in (
        (choice.field(name),) if isinstance(choice, Part) else () if isinstance(choice, Listed)
        else choice.get(name, ())))


def elements(value: Value) -> Value:
    return tuple(member for choice in value for member in (
        (choice.elements(),) if isinstance(choice, Part) else choice.of if isinstance(choice, Listed) else ()))


def _keyed(value: Value) -> None:
    for choice in value:
        if isinstance(choice, Part):
            choice.keyed = True
        else:
            whole((choice,))


def _sized(value: Value) -> None:
    """Whether it is empty, or how long, is read. Lists that expressions make have as many elements as are not null."""
    for choice in value:
        if isinstance(choice, Part):
            choice.sized = True


# ── JMESPath ────────────────────────────────────────────────────────────────────────────────────────────────────────

def evaluated(tree: Node, data: Value) -> Value:
    """The value of an expression of the context; what decides what it is is marked. Raises UnboundedError."""
    for name in uncertain(tree):
        whole(field(data, name))
    return expression(tree, data)


def expression(tree: Node, data: Value) -> Value:
    """The value of a tree, or of a part of one. Raises UnboundedError."""
    kind, children = tree.kind, tree.children
    if kind in ("Identity", "CurrentNode"):
        return data
    if kind == "Literal":
        return ()
    if kind == "Field":
        if HOLE.search(str(tree.value)):
            whole(data)
            return ()
        return field(data, tree.value)
    if kind in ("Subexpression", "IndexExpression", "Pipe"):
        return expression(children[1], expression(children[0], data))
    if kind == "Index":
        return elements(data)
    if kind == "Slice":
        return (Listed(elements(data)),)
    if kind == "Projection":
        return (Listed(expression(children[1], elements(expression(children[0], data)))),)
    if kind == "FilterProjection":
        inner = elements(expression(children[0], data))
        _sized(expression(children[2], inner))
        return (Listed(expression(children[1], inner)),)
    if kind == "Flatten":
        return _flat(expression(children[0], data))
    if kind == "OrExpression" or kind == "AndExpression":
        left = expression(children[0], data)
        _sized(left)
        return left + expression(children[1], data)
    if kind == "NotExpression":
        _sized(expression(children[0], data))
        return ()
    if kind == "MultiSelectList":
        return (Listed(tuple(choice for child in children for choice in expression(child, data))),)
    if kind == "MultiSelectHash":
        return ({pair.value: expression(pair.children[0], data) for pair in children},)
    return _consumed(tree, data)


def _flat(value: Value) -> Value:
    """Lists in a list that the data has are told from its other elements by who compares: they are no maps."""
    flat: Value = ()
    for choice in value:
        if isinstance(choice, Part):
            flat += (choice.elements(),)
        elif isinstance(choice, Listed):
            for inner in choice.of:
                flat += elements((inner,)) if not isinstance(inner, Mapping) else (inner,)
    return (Listed(flat),)


_ARGUMENTS: dict[str, Callable[[Value], None]] = {"length": _sized, "keys": _keyed}
"""Functions that do not read all that they are given."""


def _consumed(tree: Node, data: Value) -> Value:
    """Comparisons, calls, the values of a map: what they are given is read whole."""
    if tree.kind == "FunctionExpression":
        function = FUNCTIONS.get(tree.value) if isinstance(tree.value, str) else None
        if function is None or function.asks:
            raise UnboundedError
        arguments = [expression(child, data) for child in tree.children if child.kind != "ExpRef"]
        for argument in arguments:
            _ARGUMENTS.get(function.name, whole)(argument)
        for child in tree.children:
            if child.kind == "ExpRef":  # of elements of what is read whole
                expression(child.children[0], ())
    elif tree.kind == "Comparator":
        for child in tree.children:
            whole(expression(child, data))
    elif tree.kind == "ValueProjection":
        whole(expression(tree.children[0], data))
        expression(tree.children[1], ())
    else:
        raise UnboundedError
    return ()


# ── texts with variables ────────────────────────────────────────────────────────────────────────────────────────────

def document(written: Any, data: Value) -> None:
    """The variables in all texts of a document. Raises UnboundedError."""
    for text in _texts(written):
        for tree in _trees(text):
            whole(evaluated(tree, data))


def _texts(written: Any) -> Iterator[str]:
    if isinstance(written, dict):
        for key, value in written.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(written, list):
        for value in written:
            yield from _texts(value)
    elif isinstance(written, str) and changes(written):
        if "$(" in written:  # whoever wants it bounded resolves it before
            raise UnboundedError
        yield written


def _trees(text: str) -> Iterator[Node]:
    """The trees of its expressions, innermost first, as `variables.Writer` compiles them. Raises UnboundedError."""
    written: list[str] = []
    while (variable := VARIABLE.search(text)) is not None:
        query = variable[1].strip().removeprefix("-").strip()
        if query == "@":
            raise UnboundedError
        outside = QUOTED.sub(lambda quoted: " " * len(quoted[0]), query)
        for hole in reversed([*HOLE.finditer(outside)]):
            if not written[int(hole[1])].startswith(_PLACE):  # it may become any name
                raise UnboundedError
            query = f"{query[:hole.start()]}0{query[hole.end():]}"
        yield tree_of(JSON_HOLE.sub("'\ue002\ue000\\1\ue001'", query))
        text = f"{text[:variable.start()]}\ue000{len(written)}\ue001{text[variable.end():]}"
        written.append(query)


def tree_of(query: str) -> Node:
    """Raises UnboundedError for what is no expression."""
    try:
        return parse(query)
    except SourceError:
        raise UnboundedError from None


# ── patterns ────────────────────────────────────────────────────────────────────────────────────────────────────────

def pattern(written: Any, value: Value) -> None:
    """What a pattern compares of a value, of which its variables are none."""
    if isinstance(written, dict) and written:
        for key, inner in written.items():
            name = anchor(key)[1]
            if changes(key):
                whole(value)
            elif "*" in name or "?" in name:
                for choice in value:
                    if isinstance(choice, Part):
                        choice.prefixes.add(name.replace("?", "*").partition("*")[0])
                    else:  # made by the expression: any of its fields may be meant
                        whole((choice,))
            else:
                pattern(inner, field(value, name))
    elif isinstance(written, list) and written and all(isinstance(inner, dict) for inner in written):
        for inner in written:
            pattern(inner, elements(value))
    else:
        whole(value)
