"""Formulas to Python functions of an event's `get`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from policylang.code import Code
from policylang.falco.check.formula import Formula
from policylang.falco.compiler.comparisons import EMIT
from policylang.falco.compiler.decision_tree import matches
from policylang.falco.compiler.emitter import GET, Emitter, Get, Note
from policylang.falco.compiler.grouping import Numbered
from policylang.falco.compiler.residual import Residuals

Matches = Callable[[Get], tuple[int, ...]]


def writer(code: Code, note: Note | None = None, spans: Iterator[tuple[int, int]] = iter(())) -> Emitter:
    """Writes into `code`."""
    return Emitter(code, EMIT, note, spans)


def compiled(formulas: Sequence[tuple[int, Formula]], residuals: Residuals) -> Matches | None:
    """A function of an event's `get`; None where no rule can be true of such an event."""
    numbered = []
    for number, formula in formulas:
        residual = residuals.formula(formula)
        if residual is True:
            numbered.append(Numbered(number, ()))
        elif residual is not False:
            numbered.append(Numbered(number, residual.parts if residual.kind == "and" else (residual,)))
    if not numbered:
        return None
    code = Code("falco")
    code.add("matches", [GET], matches(writer(code), numbered))
    function: Matches = code.build()["matches"]
    return function


def traced(formula: Formula, note: Note, spans: Iterator[tuple[int, int]]) -> Callable[[Get], bool]:
    """One condition as it stands, each comparison of which is noted; `spans` of field and test, in order."""
    code = Code("falco")
    code.add("holds", [GET], [ast.Return(writer(code, note, spans).formula(formula))])
    function: Callable[[Get], bool] = code.build()["holds"]
    return function


__all__ = ["Emitter", "Matches", "Residuals", "compiled", "traced", "writer"]
