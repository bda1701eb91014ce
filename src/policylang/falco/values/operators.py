"""Operators as predicates of one value that is not null. The compiler writes the frequent ones out in place."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

from policylang.falco.values import patterns
from policylang.falco.values.fields import Shape, Type
from policylang.falco.values.literals import Address, Network, address
from policylang.falco.values.patterns import Predicate

_EQUALITY = ("=", "!=", "in", "intersects", "exists")
_ORDER = ("<", "<=", ">", ">=")
_TEXT = ("contains", "icontains", "startswith", "endswith", "glob", "iglob", "pmatch", "regex")
_BUFFER = ("contains", "bcontains", "startswith", "bstartswith", "endswith")


Comparison = Callable[[Any, Any], bool]


class Operator(NamedTuple):
    """`predicate` of a literal (of several, where a list follows the operator); `between` the values of two fields,
    None where no field may stand on the right.

    `cost` is what asking is guessed to take, in units of a look-up in a set, `chance` how often it is guessed to be
    true.
    """

    predicate: Callable[[Any], Predicate]
    between: Comparison | None
    cost: float = 3.0
    chance: float = 0.05


def _of(between: Comparison, cost: float = 3.0, chance: float = 0.05) -> Operator:
    return Operator(lambda right: lambda value: between(value, right), between, cost, chance)


def _member(cost: float, chance: float) -> Operator:
    return Operator(lambda right: frozenset(right).__contains__, operator.eq, cost, chance)


def _icontains(right: str) -> Predicate:
    folded = patterns.lowered(right)
    return lambda value: folded in patterns.lowered(value)


def _startswith(left: Any, right: Any) -> bool:
    return bool(left.startswith(right))


def _glob(fold: bool, cost: float) -> Operator:
    return Operator(lambda right: patterns.glob(right, fold), lambda left, right: patterns.glob(right, fold)(left),
                    cost)


OPERATORS: dict[str, Operator] = {
    "exists": Operator(lambda _: partial(operator.is_not, None), None, 0.8, 0.6),
    "=": Operator(lambda right: partial(operator.eq, right), operator.eq, 1.0, 0.1),
    "!=": Operator(lambda right: partial(operator.ne, right), operator.ne, 1.0, 0.85),
    "in": _member(1.0, 0.15), "intersects": _member(1.0, 0.15),
    "<": _of(operator.lt, 1.0, 0.5), "<=": _of(operator.le, 1.0, 0.5),
    ">": _of(operator.gt, 1.0, 0.5), ">=": _of(operator.ge, 1.0, 0.6),
    "contains": _of(operator.contains, 1.5), "bcontains": _of(operator.contains),
    "icontains": Operator(_icontains, lambda left, right: _icontains(right)(left), 4.0),
    "startswith": _of(_startswith, 2.5), "bstartswith": _of(_startswith),
    "endswith": _of(lambda left, right: bool(left.endswith(right)), 2.5),
    "glob": _glob(False, 8.0), "iglob": _glob(True, 10.0),
    "pmatch": Operator(patterns.prefixes, None, 12.0), "regex": Operator(patterns.regex, None, 20.0),
}


def refused(op: str, type_: Type, shape: Shape) -> str | None:
    """Why `op` cannot be asked of such a field, in libsinsp's words (filter_compare.cpp); None where it can."""
    if op == "exists":
        return None
    if shape is Shape.LIST:
        return None if op in ("in", "intersects") else f"'{op}' operator not supported list filters"
    if type_ in (Type.TEXT, Type.DYNAMIC):
        return None if op in _EQUALITY + _ORDER + _TEXT else f"'{op}' operator not supported for string filters"
    if type_ is Type.BYTES:
        return None if op in _EQUALITY + _BUFFER else f"'{op}' operator not supported for buffer filters"
    if type_ in (Type.ADDRESS, Type.NETWORK):
        if op in _EQUALITY:
            return None
        return f"'{op}' operator not supported for ip address and network filters"
    if op in _EQUALITY or (op in _ORDER and type_ is not Type.BOOL):
        return None
    return f"'{op}' operator not supported for numeric filters"


def predicate(op: str, modifier: str, right: Any, type_: Type) -> Predicate:
    """`right` is a literal, or a tuple of them after a list operator or a modifier."""
    if modifier:
        return _counted(modifier, [predicate(op, "", literal, type_) for literal in right])
    if type_ in (Type.ADDRESS, Type.NETWORK):
        return _addressed(op, right)
    return OPERATORS[op].predicate(right)


def _counted(modifier: str, tests: Sequence[Predicate]) -> Predicate:
    """anyof is `or`, allof `and`, oneof exactly one; of nothing, none of them."""
    if not tests:
        return lambda _: False
    if modifier == "anyof":
        return lambda value: any(test(value) for test in tests)
    if modifier == "allof":
        return lambda value: all(test(value) for test in tests)
    return lambda value: sum(1 for test in tests if test(value)) == 1


def _addressed(op: str, right: Any) -> Predicate:
    """One address, or a client's and a server's: either of them, but != asks both."""
    among: tuple[Address | Network, ...] = right if op in ("in", "intersects") else (right,)

    @lru_cache(4096)
    def known(text: str) -> bool:
        version, number = address(text)
        return any(block.version == version and block.number == number & (
            block.mask if isinstance(block, Network) else -1) for block in among)

    def inside(value: Any) -> bool:
        return known(value) if isinstance(value, str) else any(map(known, value))

    def outside(value: Any) -> bool:
        return not inside(value)

    return outside if op == "!=" else inside


def any_of(test: Predicate) -> Predicate:
    """For the values of a list."""
    return lambda values: any(test(value) for value in values)


def both_of(test: Predicate) -> Predicate:
    return lambda values: all(test(value) for value in values)


def between(op: str, shape: Shape) -> Comparison:
    """A field against a field, neither of them null."""
    if shape is not Shape.LIST:
        comparison = OPERATORS[op].between
        assert comparison is not None, op  # the checker has refused it
        return comparison
    if op == "in":
        return lambda left, right: set(right).issuperset(left)
    return lambda left, right: not set(right).isdisjoint(left)
