"""cel.lib.ext.sets: lists as sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policylang.budget import Meter
from policylang.cel.cost.prices import SETS, SETS_EQUIVALENT
from policylang.cel.cost.units import Cost
from policylang.cel.library import Function, Library, Overload
from policylang.cel.types import BOOL, list_of, type_param
from policylang.cel.values.equality import contains_within

_LIST = list_of(type_param("T"))


def _texts(values: list[Any]) -> set[str] | None:
    return set(values) if all(type(each) is str for each in values) else None


def _contains(values: list[Any], wanted: list[Any], meter: Meter) -> bool:
    one, other = _texts(values), _texts(wanted)
    if one is not None and other is not None:
        return other <= one
    meter.spend(len(values) * len(wanted))
    return all(contains_within(each, values, meter) for each in wanted)


def _intersects(values: list[Any], wanted: list[Any], meter: Meter) -> bool:
    one, other = _texts(values), _texts(wanted)
    if one is not None and other is not None:
        return not one.isdisjoint(other)
    meter.spend(len(values) * len(wanted))
    return any(contains_within(each, values, meter) for each in wanted)


def _equivalent(values: list[Any], wanted: list[Any], meter: Meter) -> bool:
    return _contains(values, wanted, meter) and _contains(wanted, values, meter)


def _function(name: str, call: Callable[..., bool], cost: Cost) -> Function:
    return Function(f"sets.{name}", (
        Overload(f"list_sets_{name}_list", (_LIST, _LIST), BOOL, call, cost, metered=True),))


LIBRARY = Library("cel.lib.ext.sets", functions=(
    _function("contains", _contains, SETS), _function("equivalent", _equivalent, SETS_EQUIVALENT),
    _function("intersects", _intersects, SETS)))
