"""Environments: declarations, and what is done with them: parse, check, compile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from policylang.budget import DEFAULT, Limits
from policylang.cel.check.checker import check
from policylang.cel.compile.program import Program
from policylang.cel.cost.tally import CEL_COSTS, CostModel
from policylang.cel.cost.units import Estimate, Sizes
from policylang.cel.declarations import Declarations
from policylang.cel.library import Library
from policylang.cel.syntax.parser import parse
from policylang.cel.syntax.tree import Ast
from policylang.cel.types import Type


class Env(Declarations):
    """See Declarations."""

    def extended(self, variables: Mapping[str, Type] | None = None, libraries: Sequence[Library] = ()) -> Env:
        """This environment and more."""
        (old, names, *rest), options = self._arguments()
        return Env((*old, *libraries), {**names, **(variables or {})}, *rest, **options)

    def parse(self, text: str, name: str = "<input>") -> Ast:
        """CompileError where the text is no CEL expression."""
        return parse(text, self.macros, name, optionals=self.optionals)

    def check(self, program: Ast | str, name: str = "<input>") -> Ast:
        """The tree with types and references; CompileError with all issues."""
        return check(self, self.parse(program, name) if isinstance(program, str) else program)

    def compile(self, program: str | Ast, *, check: bool = True, limits: Limits = DEFAULT, trace: bool = False,
                cost: CostModel | None = None, name: str = "<input>") -> Program:
        """A program to call with its variables. Without `check`, names and types are found out as it runs."""
        ast = self.parse(program, name) if isinstance(program, str) else program
        if check and ast.result is None:
            self.check(ast)
        return Program(self, ast, check, limits, trace=trace, cost=cost)

    def cost(self, program: Ast | str, inputs: Sizes | None = None, model: CostModel = CEL_COSTS) -> Estimate:
        """What evaluating may cost, at least and at most. `inputs`: sizes of the variables."""
        from policylang.cel.cost.estimator import estimate  # seldom wanted, and at each start it would be read

        ast = self.check(program) if isinstance(program, str) else program
        return estimate(ast.root, self.cost_of, inputs, model)

    def _arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What it was made of."""
        descriptors, macros, standard = self._given
        return (self.libraries, self.variables, self.container, descriptors), {
            "cross_type": self.cross_type, "homogeneous": self.homogeneous, "optionals": self.optionals,
            "macros": macros, "standard": standard, "validators": self.validators}

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, self._arguments()


def _restore(arguments: tuple[Any, ...], options: dict[str, Any]) -> Env:
    return Env(*arguments, **options)
