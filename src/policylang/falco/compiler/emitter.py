"""The one writer of expressions for formulas: what an event is asked, and how its values are read."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from policylang.code import Code, call, load, walrus
from policylang.falco.check.formula import Formula, Node, Read
from policylang.falco.values import transformers
from policylang.falco.values.fields import READ_AS, Shape

Get = Callable[[str], Any]
Known = dict[Read, str]
"""The variables of fields that were read."""
Emit = Callable[["Emitter", Node, Known], ast.expr]
Note = Callable[[int, int, Any], Any]
GET = "get"


class Emitter:
    """`table` says what is written for a kind of node. `note` is told what each comparison gave, whose place in a text
    is the next of `spans`."""

    def __init__(self, code: Code, table: Mapping[str, Emit], note: Note | None,
                 spans: Iterator[tuple[int, int]]) -> None:
        self.code, self.table, self.note, self.spans = code, table, note, spans

    def formula(self, formula: Formula) -> ast.expr:
        return ast.Constant(formula) if isinstance(formula, bool) else self.expression(formula, {})

    def expression(self, node: Node, known: Known) -> ast.expr:
        return self.table[node.kind](self, node, known)

    def twice(self, read: Read, known: Known) -> tuple[ast.expr, ast.expr]:
        """The value where it is first asked for, and where it is asked for again."""
        if read in known:
            return load(known[read]), load(known[read])
        name = self.code.fresh()
        return walrus(name, self.value(read, known)), load(name)

    def value(self, read: Read, known: Known) -> ast.expr:
        return load(known[read]) if read in known else _READ.get(read.kind, _transformed)(self, read, known)


def _constant(emitter: Emitter, read: Read, known: Known) -> ast.expr:
    del emitter, known
    return ast.Constant(read.value)


def _list(emitter: Emitter, read: Read, known: Known) -> ast.expr:
    return ast.List([emitter.value(member, known) for member in read.arguments], ast.Load())


def _field(emitter: Emitter, read: Read, known: Known) -> ast.expr:
    del known
    name = READ_AS.get(read.name, read.name)
    if name in _ENDS:
        return call(emitter.code.hoist(_ENDS[name]), load(GET))
    value = call(load(GET), ast.Constant(name))
    return value if read.shape is Shape.ONE else call(emitter.code.hoist(several), value)


def _transformed(emitter: Emitter, read: Read, known: Known) -> ast.expr:
    function = transformers.function(read.kind, read.select, [argument.shape for argument in read.arguments])
    return call(emitter.code.hoist(function), *(emitter.value(argument, known) for argument in read.arguments))


_READ: dict[str, Callable[[Emitter, Read, Known], ast.expr]] = {
    "constant": _constant, "list": _list, "field": _field}  # any other kind is a transformer's name


def several(value: Any) -> Any:
    """Values of a field that may have several; null where it has none."""
    return [value] if isinstance(value, (str, int)) else value or None


def _ends(name: str, client: str, server: str) -> Callable[[Get], Any]:
    """`name` as the event has it, else both ends of its connection."""

    def read(get: Get) -> Any:
        value = get(name)
        if value is None:
            value = [end for end in (get(client), get(server)) if end is not None]
        return several(value)

    return read


_ENDS = {"fd.ip": _ends("fd.ip", "fd.cip", "fd.sip"), "fd.port": _ends("fd.port", "fd.cport", "fd.sport")}
