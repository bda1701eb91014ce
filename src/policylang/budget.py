"""What stops a program that would run or grow without end.

Steps are counted where time goes: each loop pays its length once, when it starts; each call of a user's function pays
one. Sizes are checked where memory grows: joined and repeated texts, ranges, products of numbers. Generated functions
keep what is left of the steps in a local variable; builtins that loop get the `Meter`.
"""

from __future__ import annotations

from typing import NamedTuple

from policylang.errors import LanguageError


class BudgetExceeded(LanguageError):  # noqa: N818 - the standard word
    """A program took more steps, or made a larger value, than it was allowed."""

    code = "budget"
    exit_code = 1
    http_status = 422


class Limits(NamedTuple):
    """`steps`: iterations and calls of one evaluation. `size`: characters or elements of one value."""

    steps: int = 250_000
    size: int = 1 << 20


DEFAULT = Limits()
GENEROUS = Limits(steps=100_000_000, size=1 << 26)  # for a person at a terminal, who can press Ctrl-C


class Meter:
    """The budget of one evaluation."""

    __slots__ = ("left", "size")

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self.left, self.size = limits

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise too_long()

    def fit(self, size: int) -> None:
        """Call it before a value of `size` characters, elements or digits is made."""
        if size > self.size:
            raise too_large(size, self.size)


def too_long() -> BudgetExceeded:
    return BudgetExceeded("evaluation took more steps than its budget")


def too_large(size: int, limit: int) -> BudgetExceeded:
    return BudgetExceeded(f"evaluation would make a value of size {size}, its budget allows {limit}")
