"""What one evaluation has cost so far."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, NoReturn

from policylang.budget import BudgetExceeded
from policylang.cel.cost.units import Measured


class CostExceeded(BudgetExceeded):
    """The run-time cost went over the limit it was given."""

    code = "cost"


class CostModel(NamedTuple):
    """What names, selections, literals and loops cost, which is cel-go's and fixed; functions declare their own.

    `optimized`: as with cel-go's optimizer, constant literals are free, and so is has(), as Kubernetes sets both.
    """

    optimized: bool


CEL_COSTS: Final = CostModel(optimized=False)


class Tally:
    """The cost of one evaluation."""

    __slots__ = ("cost", "limit")

    def __init__(self, limit: int | None) -> None:
        self.limit, self.cost = limit, 0

    def add(self, cost: int) -> None:
        self.cost += cost
        if self.limit is not None and self.cost > self.limit:
            self.stop()

    def stop(self) -> NoReturn:
        raise CostExceeded("operation cancelled: actual cost limit exceeded")

    def call(self, measured: Measured, result: Any, *arguments: Any) -> Any:
        """Pay for a call whose result is known, and hand the result on."""
        self.add(measured(arguments, result))
        return result
