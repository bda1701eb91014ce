"""A condition by itself, asked of fields that somebody recorded: no rule around it, no macros, no lists."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from policylang.code import Code
from policylang.errors import InvalidError
from policylang.falco.analysis import field_names
from policylang.falco.check.checker import Checker, Lookup
from policylang.falco.check.condition import LONGEST, Piece, Text
from policylang.falco.compiler import traced, writer
from policylang.falco.rendering import rendered
from policylang.falco.syntax.document import Node
from policylang.falco.syntax.parser import parse
from policylang.falco.syntax.tree import And, Condition, Macro, Not, Or
from policylang.falco.values import fields
from policylang.source import Source, checked
from policylang.trace import Trace

Get = Callable[[str], Any]


class Compiled:
    """`fields` are the names, with their arguments, that it reads."""

    def __init__(self, text: str, name: str, lookup: Lookup) -> None:
        source = checked(Source(text, name), limit=LONGEST)
        whole = Text([Piece(text, Node(source, text, 0, len(text), exact=True), True)])
        parsed = parse(source)
        _no_macros(parsed, whole)
        self.text = text
        self.formula = Checker("", {}, lookup=lookup).formula(parsed, whole)
        self.fields = field_names(self.formula)
        code = Code("falco condition")
        code.add("holds", ["get"], [ast.Return(writer(code).formula(self.formula))])
        self._holds: Callable[[Get], Any] = code.build()["holds"]

    def __call__(self, get: Get) -> bool:
        """InvalidError where a value is not of its field's type."""
        try:
            return bool(self._holds(get))
        except (TypeError, AttributeError, ValueError) as wrong:
            raise InvalidError("a field of the condition", got=str(wrong)[:100],
                               expected="a value of its type") from None

    def explain(self, get: Get) -> tuple[bool, Trace]:
        """Which comparison gave what."""
        text, spans = rendered(self.formula)
        trace = Trace(Source(text, "condition"))
        return bool(traced(self.formula, trace.note, iter(spans))(get)), trace


def condition(text: str, name: str = "<condition>", lookup: Lookup = fields.anywhere) -> Compiled:
    """SourceError where it is none, or names a field that `lookup` does not know."""
    return Compiled(text, name, lookup)


def _no_macros(condition: Condition, text: Text) -> None:
    if isinstance(condition, Macro):
        raise text.error(f"Undefined macro '{condition.name}' used in filter.", condition.start)
    if isinstance(condition, Not):
        _no_macros(condition.part, text)
    elif isinstance(condition, (And, Or)):
        for part in condition.parts:
            _no_macros(part, text)
