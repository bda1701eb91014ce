"""Operators as predicates of one value that is not null. The compiler writes the frequent ones out in place."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from policylang.falco import patterns
from policylang.falco.fields import Shape, Type
from policylang.falco.literals import Address, Network, address
from policylang.falco.patterns import Predicate

_EQUALITY = ("=", "!=", "in", "intersects", "exists")
_ORDER = ("<", "<=", ">", ">=")
_SORTS: dict[str, Callable[[Any, Any], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt,
                                                 ">=": operator.ge}
_TEXT = ("contains", "icontains", "startswith", "endswith", "glob", "iglob", "pmatch", "regex")
_BUFFER = ("contains", "bcontains", "startswith", "bstartswith", "endswith")


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
        each = [predicate(op, "", item, type_) for item in right]
        return _counted(modifier, each)
    if type_ in (Type.ADDRESS, Type.NETWORK):
        return _addressed(op, right)
    if op == "pmatch":
        return patterns.prefixes(right)
    if op in ("in", "intersects"):
        return frozenset(right).__contains__
    if op == "=":
        return partial(operator.eq, right)
    if op == "!=":
        return partial(operator.ne, right)
    if op in _SORTS:
        compare = _SORTS[op]
        return lambda value: compare(value, right)
    return _textual(op, right)


def _textual(op: str, right: Any) -> Predicate:
    if op in ("contains", "bcontains"):
        return lambda value: right in value
    if op == "icontains":
        folded = patterns.lowered(right)
        return lambda value: folded in patterns.lowered(value)
    if op in ("startswith", "bstartswith"):
        return lambda value: bool(value.startswith(right))
    if op == "endswith":
        return lambda value: bool(value.endswith(right))
    if op in ("glob", "iglob"):
        return patterns.glob(right, op == "iglob")
    return patterns.regex(right)


def _counted(modifier: str, each: Sequence[Predicate]) -> Predicate:
    """anyof is `or`, allof `and`, oneof exactly one; of nothing, none of them."""
    if not each:
        return lambda _: False
    if modifier == "anyof":
        return lambda value: any(test(value) for test in each)
    if modifier == "allof":
        return lambda value: all(test(value) for test in each)
    return lambda value: sum(1 for test in each if test(value)) == 1


def _addressed(op: str, right: Any) -> Predicate:
    """One address, or a client's and a server's: either of them, but != asks both."""
    wanted: tuple[Address | Network, ...] = right if op in ("in", "intersects") else (right,)

    @lru_cache(4096)
    def known(text: str) -> bool:
        version, number = address(text)
        return any(each.version == version and number & (each.mask if isinstance(each, Network) else -1) == each.number
                   for each in wanted)

    def among(value: Any) -> bool:
        return known(value) if isinstance(value, str) else any(known(each) for each in value)

    def outside(value: Any) -> bool:
        return not among(value)

    return outside if op == "!=" else among


def any_of(test: Predicate) -> Predicate:
    """For the values of a list."""
    return lambda values: any(test(value) for value in values)


def both_of(test: Predicate) -> Predicate:
    return lambda values: all(test(value) for value in values)


def between(op: str, shape: Shape) -> Callable[[Any, Any], bool]:
    """A field against a field, neither of them null."""
    if shape is Shape.LIST:
        if op == "in":
            return lambda left, right: set(right).issuperset(left)
        return lambda left, right: not set(right).isdisjoint(left)
    if op in ("=", "in", "intersects"):
        return operator.eq
    if op == "!=":
        return operator.ne
    if op in _SORTS:
        return _SORTS[op]
    if op in ("contains", "bcontains"):
        return operator.contains
    if op == "icontains":
        return lambda left, right: patterns.lowered(right) in patterns.lowered(left)
    if op in ("startswith", "bstartswith"):
        return lambda left, right: bool(left.startswith(right))
    if op == "endswith":
        return lambda left, right: bool(left.endswith(right))
    return lambda left, right: patterns.glob(right, op == "iglob")(left)
