"""Units and estimates of cost (cel-go checker/cost.go, 0.26), and what a function declares of its own.

Costs are cel-go's units: 1 for a name or a selection, 10, 30 and 40 for a list, map or message that is made, 0.1 for
each character that is looked at. An estimate has the least and the most; sizes of inputs come from `Sizes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, Final, NamedTuple, Protocol

from policylang.cel.syntax.tree import Node
from policylang.cel.types import Type

ENDLESS: Final = (1 << 64) - 1
SELECT, LIST, MAP, STRUCT = 1, 10, 30, 40
TRAVERSE: Final = 0.1  # for each character of a text
PATTERN: Final = 0.25  # for each character of a regular expression


class Estimate(NamedTuple):
    """Least and most; ENDLESS is as good as infinite."""

    least: int
    most: int

    def plus(self, addend: Estimate) -> Estimate:
        return Estimate(min(self.least + addend.least, ENDLESS), min(self.most + addend.most, ENDLESS))

    def times(self, factor: Estimate) -> Estimate:
        return Estimate(min(self.least * factor.least, ENDLESS), min(self.most * factor.most, ENDLESS))

    def scaled(self, factor: float) -> Estimate:
        return Estimate(_scaled(self.least, factor), _scaled(self.most, factor))

    def union(self, alternative: Estimate) -> Estimate:
        return Estimate(min(self.least, alternative.least), max(self.most, alternative.most))


def _scaled(value: int, factor: float) -> int:
    return min(ceil(float(value) * factor), ENDLESS)


def fixed(value: int) -> Estimate:
    return Estimate(value, value)


NOTHING: Final = fixed(0)
ONE: Final = fixed(1)
UNKNOWN: Final = Estimate(0, ENDLESS)


class Path:
    """Names on the way from a variable to a value, kept as Go keeps a slice.

    cel-go appends to paths that share memory, so that `o.key` overwrites the last name of `o.tags`, and what it then
    takes for the size of `o.tags` is that of `o.key`. Rules were accepted and refused by such prices, so they are
    reproduced.
    """

    __slots__ = ("_names", "_length")  # noqa: RUF023 - as __init__ has them

    def __init__(self, names: list[str], length: int) -> None:
        self._names, self._length = names, length

    def plus(self, name: str) -> Path:
        names, length = self._names, self._length
        if length < len(names):
            names[length] = name
        else:
            names = [*names, name, *[""] * (length - 1)]
        return Path(names, length + 1)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._names[:self._length])


NOWHERE: Final = Path([], 0)


class Sized:
    """A part of the expression as estimates see it. `path`: where its value is in the inputs, `()` if not known."""

    __slots__ = ("_path", "node", "size", "type")

    def __init__(self, of: Type, path: Path = NOWHERE, node: Node | None = None, size: Estimate | None = None) -> None:
        self.type, self._path, self.node, self.size = of, path, node, size

    @property
    def path(self) -> tuple[str, ...]:
        return self._path.names

    def element(self) -> Sized | None:
        """An element of a list, a key of a map; None of what has no type of elements."""
        if not self.type.params:
            return None
        names = self.path
        return Sized(self.type.params[0], Path([*names, "@items"], len(names) + 1) if names else NOWHERE)


class CallEstimate(NamedTuple):
    """Of a call alone, without its arguments; `size` of the result where that is known."""

    cost: Estimate
    size: Estimate | None = None


class Sizes(Protocol):
    """Knows sizes of inputs, e.g. from a schema; None where it does not."""

    def size(self, of: Sized) -> Estimate | None: ...


SizeOf = Callable[[Sized], Estimate]
Measured = Callable[[tuple[Any, ...], Any], int]
Estimated = Callable[[SizeOf, "Sized | None", Sequence[Sized]], CallEstimate | None]


def _one(_: tuple[Any, ...], __: Any) -> int:
    return 1


def _unknown(_: SizeOf, __: Sized | None, ___: Sequence[Sized]) -> None:
    return None


class Cost(NamedTuple):
    """What calls of an overload cost, beside what their arguments cost.

    `run`: of the values of the arguments and the result. `estimate`: of the target and the other arguments, with what
    gives their sizes; None stands for 1. `unresolved`: as `run`, where the checker left more than one overload.
    """

    run: Measured
    estimate: Estimated = _unknown
    unresolved: Measured = _one


CONSTANT: Final = Cost(_one)  # 1, whatever the arguments are
