"""What expressions meet beside JSON data, when they are equal or false, and what they may ask of the world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from policylang.budget import DEFAULT, Limits, Meter
from policylang.errors import LanguageError
from policylang.go.printing import floating

_COMPARISONS = Limits(steps=1_000_000)


class QueryError(LanguageError):
    """An expression that has no value for this data; the message is Kyverno's."""

    http_status = 422


class UnknownKeyError(QueryError):
    """A map does not have the key, and nothing around it makes that null."""

    def __init__(self, key: str) -> None:
        super().__init__(f'Unknown key "{key}" in path')


class PanicError(QueryError):
    """What Kyverno panics over: nothing around it makes it null."""


class World(Protocol):
    """What some functions ask of the world. Pure programs get none of it."""

    def addresses(self, host: str) -> Sequence[str]:
        """The IP addresses of a host name. Raises LanguageError where it has none."""

    def random(self, below: int) -> int:
        """A random number from 0 to `below` - 1."""


class Env(Meter):
    """One evaluation: its budget, and the time and the world where they are open to it."""

    __slots__ = ("now", "world")

    def __init__(self, now: datetime | None = None, limits: Limits = DEFAULT, world: World | None = None) -> None:
        self.left, self.size = limits  # as Meter has it: most of what is evaluated takes no longer than that call
        self.now = now
        self.world = world


class GoInt(int):
    """An int of Go, which is no number to JMESPath: what compare() returns."""


class Maps(list[Any]):
    """A []map[string]any of Go, which is no array to some functions: what items() returns."""


class Expression:
    """`&expression`: a function of an element, equal to others that are written alike."""

    __slots__ = ("function", "shape")

    def __init__(self, function: Callable[[Any], Any], shape: tuple[Any, ...]) -> None:
        self.function = function
        self.shape = shape

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.shape == self.shape

    def __hash__(self) -> int:
        return hash(self.shape)

    def __str__(self) -> str:
        return "{" + str(self.shape[0]) + "}"


class Missing:
    """A key that a map does not have, while it is not known yet whether that is an error."""


MISSING = Missing()


def is_number(value: Any) -> bool:
    """Of JMESPath: an int of Go is none, nor is a boolean."""
    return type(value) is int or type(value) is float


def truthy(value: Any) -> bool:
    """All but null, false and empty texts, lists and maps; 0 is true."""
    return bool(value) or (value == 0 and value is not False)


def same(left: Any, right: Any) -> bool:
    """reflect.DeepEqual: true is not 1, an int of Go is no number; numbers are equal as float64.

    BudgetExceeded for more than a million comparisons: values of few objects may hold the same ones often.
    """
    kind = type(left)
    if kind is str:
        return bool(left == right)
    if kind is int or kind is float:
        return (type(right) is int or type(right) is float) and (left == right or floating(left) == floating(right))
    if kind is dict or kind is list or kind is Maps:
        return kind is type(right) and _alike(left, right, Meter(_COMPARISONS))
    return kind is type(right) and bool(left == right)


def _alike(left: Any, right: Any, meter: Meter) -> bool:
    kind = type(left)
    if kind is dict and type(right) is dict:
        meter.spend(len(left))
        return left.keys() == right.keys() and all(_alike(value, right[key], meter) for key, value in left.items())
    if (kind is list or kind is Maps) and type(right) is kind:
        meter.spend(len(left))
        return len(left) == len(right) and all(_alike(value, again, meter)
                                              for value, again in zip(left, right, strict=True))
    return same(left, right)
