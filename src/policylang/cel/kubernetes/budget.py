"""What the expressions of one policy may cost together (k8s.io/apiserver pkg/admission/plugin/cel/activation.go)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policylang.cel.compile.program import Program
from policylang.cel.cost.tally import CostExceeded
from policylang.cel.kubernetes.costs import BUDGET, CALL_LIMIT
from policylang.cel.values.errors import CelError

_SPENT = "validation failed due to running out of cost budget, no further validation rules will be run"


class Budget:
    """For one object and one policy's binding; matchConditions have their own, of 2,500,000."""

    def __init__(self, total: int = BUDGET, each: int = CALL_LIMIT) -> None:
        self.left, self.each = total, each

    def evaluate(self, program: Program, variables: Mapping[str, Any]) -> Any:
        """The value of a program compiled with cost.

        CelError, in the API server's words, for an error value and for an expression above its own limit; CostExceeded
        where nothing is left, after which no other expression may be evaluated.
        """
        try:
            value, cost = program.measure(variables, self.each)
        except CostExceeded as stopped:
            value, cost = CelError(stopped.message), self.each + 1
        if cost > self.left:
            raise CostExceeded(_SPENT)
        self.left -= cost
        if isinstance(value, CelError):
            raise CelError(f"expression '{program.source.text}' resulted in error: {value.message}")
        return value
