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


def _intersects(values: list[Any], others: list[Any], meter: Meter) -> bool:
    texts, other_texts = _texts(values), _texts(others)
    if texts is not None and other_texts is not None:
        return not texts.isdisjoint(other_texts)
    meter.spend(len(values) * len(others))
    return any(contains_within(value, values, meter) for value in others)


def _equivalent(values: list[Any], others: list[Any], meter: Meter) -> bool:
    return _contains(values, others, meter) and _contains(others, values, meter)


def _function(name: str, call: Callable[..., bool], cost: Cost) -> Function:
    return Function(f"sets.{name}", (
        Overload(f"list_sets_{name}_list", (_LIST, _LIST), BOOL, call, cost, metered=True),))


LIBRARY = Library("cel.lib.ext.sets", functions=(
    _function("contains", _contains, SETS), _function("equivalent", _equivalent, SETS_EQUIVALENT),
    _function("intersects", _intersects, SETS)))
