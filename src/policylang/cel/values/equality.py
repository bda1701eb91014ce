"""Equality and membership (cel-spec langdef, "Equality"); `…_within` pays the meter for what it compares."""

from __future__ import annotations

from typing import Any

from policylang.budget import Meter
from policylang.cel.values.containers import lookup
from policylang.cel.values.errors import CelError
from policylang.cel.values.values import NUMBERS, Optional

_LONG = 4096  # texts below are compared for nothing


def equal(left: Any, right: Any) -> bool:
    """Heterogeneous equality: numbers on one line, anything else unequal across types."""
    kind, right_kind = type(left), type(right)
    if kind is right_kind:
        if kind is list:
            return len(left) == len(right) and all(map(equal, left, right))
        if kind is dict:
            return _same_maps(left, right)
        if kind is Optional:
            return left.present == right.present and (not left.present or equal(left.value, right.value))
        return bool(left == right)
    if kind in NUMBERS and right_kind in NUMBERS:
        return _numbers_equal(left, right)
    if kind is bool or right_kind is bool:
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return _same_maps(left, right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right) if hasattr(left, "cel_type") and hasattr(right, "cel_type") else False


def _numbers_equal(left: Any, right: Any) -> bool:
    if type(left) is float or type(right) is float:
        return float(left) == float(right)
    return bool(left == right)


def _same_maps(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    if len(left) != len(right):
        return False
    for key, value in left.items():
        if type(key) is str:
            if key not in right or not equal(value, right[key]):
                return False
        else:
            present, matching = lookup(right, key)
            if not present or not equal(value, matching):
                return False
    return True


def unequal(left: Any, right: Any) -> bool:
    return not equal(left, right)


def contains(value: Any, container: Any) -> bool:
    """`value in container`."""
    if isinstance(container, list):
        if type(value) is str:
            return value in container
        return any(equal(value, element) for element in container)
    if isinstance(container, dict):
        return lookup(container, value)[0]
    raise CelError("no such overload")


def equal_within(left: Any, right: Any, meter: Meter) -> bool:
    """As equal, for programs in which one value may stand in many places: pays for what it compares."""
    kind = type(left)
    if kind is str or kind is bytes:
        if kind is type(right) and len(left) == len(right) > _LONG:
            meter.spend(len(left) >> 8)
    elif isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            return False
        meter.spend(len(left))
        return all(equal_within(*pair, meter) for pair in zip(left, right, strict=True))
    elif isinstance(left, dict) and isinstance(right, dict):
        if len(left) != len(right):
            return False
        meter.spend(len(left))
        for key, value in left.items():
            present, matching = lookup(right, key)
            if not present or not equal_within(value, matching, meter):
                return False
        return True
    elif kind is Optional and type(right) is Optional and left.present and right.present:
        return equal_within(left.value, right.value, meter)
    return equal(left, right)


def unequal_within(left: Any, right: Any, meter: Meter) -> bool:
    return not equal_within(left, right, meter)


def contains_within(value: Any, container: Any, meter: Meter) -> bool:
    """As contains, paying for what it looks through."""
    if isinstance(container, list):
        meter.spend(len(container) >> 2)
        if type(value) is not str:
            return any(equal_within(value, element, meter) for element in container)
    return contains(value, container)
