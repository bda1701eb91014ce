"""cel.lib.ext.lists: slices, ranges, order."""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

from policylang.budget import Meter
from policylang.cel.cost.prices import DISTINCT, FLATTEN, RANGE, REVERSE, SLICE, SORT, SORT_BY_KEYS
from policylang.cel.cost.units import Cost
from policylang.cel.library import Function, Library, Overload
from policylang.cel.syntax.expander import Expander, Macro
from policylang.cel.syntax.tree import Node
from policylang.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    type_param,
)
from policylang.cel.values.arithmetic import less
from policylang.cel.values.equality import equal_within
from policylang.cel.values.errors import CelError
from policylang.cel.values.values import Uint, type_name

_T = type_param("T")
_LIST = list_of(_T)
_TEXTS = (STRING, BYTES)
_SORTABLE = (INT, UINT, DOUBLE, BOOL, DURATION, TIMESTAMP, *_TEXTS)


def _slice(values: list[Any], start: int, end: int) -> list[Any]:
    if start < 0 or end < 0:
        raise CelError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise CelError(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if len(values) < end:
        raise CelError(f"cannot slice({start}, {end}), list is length {len(values)}")
    return values[start:end]


def _flatten(values: list[Any], depth: int, meter: Meter) -> list[Any]:
    if depth < 0:
        raise CelError("level must be non-negative")
    for _ in range(depth):
        if not any(isinstance(value, list) for value in values):
            break
        out: list[Any] = []
        for value in values:
            if isinstance(value, list):
                meter.spend(len(value))
                meter.fit(len(out) + len(value))
                out += value
            else:
                out.append(value)
        values = out
    return values


def _range(count: int, meter: Meter) -> list[int]:
    meter.fit(count)
    meter.spend(max(count, 0))
    return list(range(count))


def _distinct(values: list[Any], meter: Meter) -> list[Any]:
    texts: set[str] = set()
    nontexts: list[Any] = []
    out: list[Any] = []
    for value in values:
        if type(value) is str:
            if value in texts:
                continue
            texts.add(value)
        else:
            meter.spend(2 * len(nontexts))
            if any(equal_within(value, nontext, meter) for nontext in nontexts):
                continue
            nontexts.append(value)
        out.append(value)
    return out


_ORDERED = frozenset({"int", "uint", "double", "bool", "google.protobuf.Duration", "google.protobuf.Timestamp",
                      "string", "bytes"})


def _sorted_by(values: list[Any], keys: list[Any]) -> list[Any]:
    if len(keys) != len(values):
        raise CelError(f"@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got "
                       f"{len(values)} and {len(keys)} elements respectively")
    kinds = {type(key) for key in keys}
    for key in keys:
        if type_name(key) not in _ORDERED:
            raise CelError("unsupported type: list elements must be comparable")
    if len(kinds) > 1:
        raise CelError("list elements must have the same type")
    if kinds and kinds <= {str, int, Uint, bool, bytes}:
        return [values[at] for at in sorted(range(len(values)), key=keys.__getitem__)]
    compare = cmp_to_key(lambda left, right: -1 if less(left, right) else int(less(right, left)))
    return [values[at] for at in sorted(range(len(values)), key=lambda at: compare(keys[at]))]


def _sort(values: list[Any]) -> list[Any]:
    return _sorted_by(values, values)


def _sort_by(build: Expander, target: Node | None, args: list[Node]) -> Node:
    """`xs.sortBy(x, key)`: the keys are computed once."""
    assert target is not None
    held = build.fresh("sort")
    keys = build.loop("map", build.ident(held), build.variable(args[0]), None, args[1])
    return build.bind(held, target, build.call("@sortByAssociatedKeys", keys, target=build.ident(held)))


def _member(name: str, *overloads: tuple[str, tuple[Type, ...], Type, Callable[..., Any], Cost],
            metered: bool = False) -> Function:
    return Function(name, tuple(Overload(*overload, member=True, metered=metered) for overload in overloads))


LIBRARY = Library("cel.lib.ext.lists", functions=(
    _member("slice", ("list_slice", (_LIST, INT, INT), _LIST, _slice, SLICE)),
    _member("flatten",
            ("list_flatten", (list_of(list_of(_T)),), _LIST, lambda values, meter: _flatten(values, 1, meter),
             FLATTEN),
            ("list_flatten_int", (list_of(DYN), INT), list_of(DYN), _flatten, FLATTEN), metered=True),
    Function("lists.range", (Overload("lists_range", (INT,), list_of(INT), _range, RANGE, metered=True),)),
    _member("reverse", ("list_reverse", (_LIST,), _LIST, lambda values: values[::-1], REVERSE)),
    _member("distinct", ("list_distinct", (_LIST,), _LIST, _distinct, DISTINCT), metered=True),
    _member("sort", *((f"list_{of.name}_sort", (list_of(of),), list_of(of), _sort, SORT[of in _TEXTS])
                      for of in _SORTABLE)),
    _member("@sortByAssociatedKeys", *((f"list_{of.name}_sortByAssociatedKeys", (_LIST, list_of(of)), _LIST, _sorted_by,
                                        SORT_BY_KEYS[of in _TEXTS]) for of in _SORTABLE)),
), macros=(Macro("sortBy", 2, True, _sort_by),))
SINCE = {"flatten": 1, "lists.range": 2, "reverse": 2, "distinct": 2, "sort": 2, "@sortByAssociatedKeys": 2,
         "sortBy": 2}
