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
    return set(values) if all(type(value) is str for value in values) else None


def _contains(values: list[Any], part: list[Any], meter: Meter) -> bool:
    texts, part_texts = _texts(values), _texts(part)
    if texts is not None and part_texts is not None:
        return part_texts <= texts
    meter.spend(len(values) * len(part))
    return all(contains_within(value, values, meter) for value in part)


def _intersects(left: list[Any], right: list[Any], meter: Meter) -> bool:
    left_texts, right_texts = _texts(left), _texts(right)
    if left_texts is not None and right_texts is not None:
        return not left_texts.isdisjoint(right_texts)
    meter.spend(len(left) * len(right))
    return any(contains_within(value, left, meter) for value in right)


def _equivalent(left: list[Any], right: list[Any], meter: Meter) -> bool:
    return _contains(left, right, meter) and _contains(right, left, meter)


def _function(name: str, call: Callable[..., bool], cost: Cost) -> Function:
    return Function(f"sets.{name}", (
        Overload(f"list_sets_{name}_list", (_LIST, _LIST), BOOL, call, cost, metered=True),))


LIBRARY = Library("cel.lib.ext.sets", functions=(
    _function("contains", _contains, SETS), _function("equivalent", _equivalent, SETS_EQUIVALENT),
    _function("intersects", _intersects, SETS)))
