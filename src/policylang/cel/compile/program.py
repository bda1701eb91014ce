"""Compiled programs: called with their variables, they return a value or raise CelError."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from policylang.budget import Limits
from policylang.cel.check.checker import check
from policylang.cel.compile.emitter import Emitter, Plan
from policylang.cel.compile.function import PLAIN, compile_tree
from policylang.cel.cost.tally import CostModel, Tally
from policylang.cel.declarations import Declarations
from policylang.cel.syntax.parser import parse
from policylang.cel.syntax.tree import Ast, Literal
from policylang.cel.values.errors import FAULTS, MissingError, error_of
from policylang.code import call, load
from policylang.errors import NotEvaluatedError
from policylang.trace import Trace


class Program:
    """`program({"object": …})` or `program(object=…)`.

    What is kept is the function, not the tree; `careful` is the same program for evaluations where variables are
    missing or the mapping computes them on demand: it looks each up where it is used.
    """

    __slots__ = ("_careful", "_cost", "_run", "_trace", "_watched", "checked", "declarations", "limits", "result",
                 "source")

    def __init__(self, declarations: Declarations, ast: Ast, checked: bool, limits: Limits, *, trace: bool,
                 cost: CostModel | None) -> None:
        self.declarations, self.source, self.limits, self.checked = declarations, ast.source, limits, checked
        self.result = ast.result
        self._trace, self._cost = trace, cost
        self._run = compile_tree(declarations, ast.source, ast.root, limits)
        self._careful: Callable[..., Any] | None = None
        self._watched: Callable[..., Any] | None = None

    def _again(self, plan: Plan) -> Callable[..., Any]:
        root = _read(self.declarations, self.source.text, self.source.name, self.checked).root
        return compile_tree(self.declarations, self.source, root, self.limits, plan, careful=True)

    def __call__(self, variables: Mapping[str, Any] | None = None, /, **names: Any) -> Any:
        """The value; CelError for an error value, BudgetExceeded where the limits are not enough."""
        if variables is None or names:
            variables = {**(variables or {}), **names}
        if type(variables) is dict:
            try:
                return self._run(variables)
            except MissingError:
                pass
            except FAULTS as fault:
                raise error_of(fault, vars(self._run)["fields"]) from None
        if self._careful is None:
            self._careful = self._again(PLAIN)
        try:
            return self._careful(variables)
        except FAULTS as fault:
            raise error_of(fault, vars(self._careful)["fields"]) from None

    def _watch(self, variables: Mapping[str, Any], watcher: Any) -> Any:
        if self._watched is None:
            self._watched = self._again(_traced(PLAIN))
        try:
            return self._watched(variables, watcher)
        except FAULTS as fault:
            return error_of(fault, vars(self._watched)["fields"])

    def explain(self, variables: Mapping[str, Any]) -> tuple[Any, Trace]:
        """The value, or the CelError that it is, and what each part gave. For programs compiled with trace."""
        if not self._trace:
            raise NotEvaluatedError("explain", "the program was compiled without trace")
        trace = Trace(self.source)
        return self._watch(variables, trace.note), trace

    def measure(self, variables: Mapping[str, Any], limit: int | None = None) -> tuple[Any, int]:
        """The value, or the CelError that it is, and its run-time cost; CostExceeded above the limit."""
        if self._watched is None or self._trace:
            if self._cost is None or self._trace:
                raise NotEvaluatedError("measure", "the program was compiled without cost, or with trace")
            self._watched = self._again(_counted(self._cost))
        tally = Tally(limit)
        try:
            value = self._watched(variables, tally)
        except FAULTS as fault:
            value = error_of(fault, vars(self._watched)["fields"])
        return value, tally.close()

    def __reduce__(self) -> tuple[Any, ...]:
        text, name = self.source.text, self.source.name
        return _restore, (self.declarations, text, name, self.checked, self.limits, self._trace, self._cost)


def _traced(plan: Plan) -> Plan:
    """The plan, with each value but literals noted: the watcher is called with start, end and value."""
    return plan._replace(watched=True, nodes={
        kind: emit if kind is Literal else _noting(emit) for kind, emit in plan.nodes.items()})


def _noting(emit: Callable[[Emitter, Any], ast.expr]) -> Callable[[Emitter, Any], ast.expr]:
    return lambda emitter, node: call(load("w"), ast.Constant(node.start), ast.Constant(node.end), emit(emitter, node))


def _counted(cost: CostModel) -> Plan:
    from policylang.cel.compile.costs import counted  # seldom wanted, and at each start it would be read

    return counted(PLAIN, optimized=cost.optimized)


def _read(declarations: Declarations, text: str, name: str, checked: bool) -> Ast:
    ast = parse(text, declarations.macros, name, optionals=declarations.optionals)
    return check(declarations, ast) if checked else ast


def _restore(declarations: Declarations, text: str, name: str, checked: bool, limits: Limits, trace: bool,
             cost: CostModel | None) -> Program:
    ast = _read(declarations, text, name, checked)
    return Program(declarations, ast, checked, limits, trace=trace, cost=cost)
