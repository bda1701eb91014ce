"""What one evaluation has cost so far."""

from __future__ import annotations

from math import inf
from typing import Final, NamedTuple, NoReturn

from policylang.budget import BudgetExceeded


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
    """The cost of one evaluation. Programs add to `cost` themselves, and look at the limit once a turn of a loop."""

    __slots__ = ("cost", "limit")

    def __init__(self, limit: int | None) -> None:
        self.limit: float = inf if limit is None else limit
        self.cost = 0

    def close(self) -> int:
        """What it cost. CostExceeded above the limit."""
        if self.cost > self.limit:
            self.stop()
        return self.cost

    def stop(self) -> NoReturn:
        raise CostExceeded("operation cancelled: actual cost limit exceeded")
