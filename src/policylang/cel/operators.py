"""What operators do at run time where the checker could not know the types (cel-spec langdef, "Runtime semantics")."""

from __future__ import annotations

from math import isnan
from typing import Any

from policylang.budget import Meter, too_large
from policylang.cel.access import lookup
from policylang.cel.values import (
    INT_MAX,
    INT_MIN,
    UINT_MAX,
    CelError,
    Duration,
    Optional,
    Timestamp,
    Uint,
)

_EXACT = 1 << 53
_LONG = 4096  # texts below are looked through for nothing
_MIN_TIME, _MAX_TIME = -62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1
_NUMBERS = frozenset({int, Uint, float})
_SUBTRACTORS = _NUMBERS | {Duration, Timestamp}
_ADDERS = _SUBTRACTORS | {str, bytes, list}
_MODDERS = frozenset({int, Uint})
_ORDERED = frozenset({str, bytes, bool, Timestamp, Duration})


# ── equality ────────────────────────────────────────────────────────────────────────────────────────────────────────

def equal(left: Any, right: Any) -> bool:
    """Heterogeneous equality: numbers on one line, anything else unequal across types."""
    one, other = type(left), type(right)
    if one is other:
        if one is list:
            return len(left) == len(right) and all(map(equal, left, right))
        if one is dict:
            return _same_maps(left, right)
        if one is Optional:
            return left.present == right.present and (not left.present or equal(left.value, right.value))
        return bool(left == right)
    if one in _NUMBERS and other in _NUMBERS:
        return _numbers_equal(left, right)
    if one is bool or other is bool:
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
            found, other = lookup(right, key)
            if not found or not equal(value, other):
                return False
    return True


def unequal(left: Any, right: Any) -> bool:
    return not equal(left, right)


def equal_within(left: Any, right: Any, meter: Meter) -> bool:
    """As equal, for programs in which one value may stand in many places: pays for what it compares."""
    one = type(left)
    if one is str or one is bytes:
        if one is type(right) and len(left) == len(right) > _LONG:
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
            found, other = lookup(right, key)
            if not found or not equal_within(value, other, meter):
                return False
        return True
    elif one is Optional and type(right) is Optional and left.present and right.present:
        return equal_within(left.value, right.value, meter)
    return equal(left, right)


def unequal_within(left: Any, right: Any, meter: Meter) -> bool:
    return not equal_within(left, right, meter)


def contains_within(value: Any, container: Any, meter: Meter) -> bool:
    """As contains, paying for what it looks through."""
    if isinstance(container, list):
        meter.spend(len(container) >> 2)
        if type(value) is not str:
            return any(equal_within(value, each, meter) for each in container)
    return contains(value, container)


def add_within(left: Any, right: Any, meter: Meter) -> Any:
    return paid(meter, add(left, right, meter.size))


def paid(meter: Meter, value: Any) -> Any:
    """Pay for a value that a loop made, so that many large ones are as impossible as one that is too large."""
    kind = type(value)
    if kind is str or kind is bytes:
        if len(value) > 64:
            meter.spend(len(value) >> 6)
    elif kind is list and len(value) > 4:
        meter.spend(len(value) >> 2)
    return value


def looked_through(meter: Meter, value: Any) -> Any:
    """Pay in a loop for a long text or list that a function is called with."""
    kind = type(value)
    if kind is str or kind is bytes:
        if len(value) > 256:
            meter.spend(len(value) >> 8)
    elif kind is list and len(value) > 8:
        meter.spend(len(value) >> 3)
    return value


def scanned(meter: Meter, text: str) -> str:
    """Pay for looking through a long text."""
    meter.spend(len(text) >> 8)
    return text


# ── order ───────────────────────────────────────────────────────────────────────────────────────────────────────────

def _comparable(function: str, left: Any, right: Any) -> tuple[Any, Any]:
    one, other = type(left), type(right)
    if one in _NUMBERS and other in _NUMBERS:
        if one is not other and (one is float or other is float) \
                and (abs(left) > _EXACT or abs(right) > _EXACT):
            return float(left), float(right)
        return left, right
    if one is other and one in _ORDERED:
        return left, right
    raise _unfit(function, left, _ORDERED | _NUMBERS)


def less(left: Any, right: Any) -> bool:
    one, other = _comparable("_<_", left, right)
    return bool(one < other)


def less_equal(left: Any, right: Any) -> bool:
    one, other = _comparable("_<=_", left, right)
    return bool(one <= other)


def greater(left: Any, right: Any) -> bool:
    one, other = _comparable("_>_", left, right)
    return bool(one > other)


def greater_equal(left: Any, right: Any) -> bool:
    one, other = _comparable("_>=_", left, right)
    return bool(one >= other)


def _unfit(function: str, left: Any, able: frozenset[type]) -> CelError:
    """cel-go names the operator where the left side has no such operator at all."""
    return CelError("no such overload" if type(left) in able else f"no such overload: {function}")


# ── arithmetic ──────────────────────────────────────────────────────────────────────────────────────────────────────

def _int(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise CelError("integer overflow")


def _uint(value: int) -> Uint:
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise CelError("unsigned integer overflow")


def timestamp(ns: int) -> Timestamp:
    if _MIN_TIME <= ns <= _MAX_TIME:
        return Timestamp(ns)
    raise CelError("timestamp overflow")


def duration(ns: int) -> Duration:
    if INT_MIN <= ns <= INT_MAX:
        return Duration(ns)
    raise CelError("integer overflow")


def join(left: Any, right: Any, most: int) -> Any:
    """Two strings, bytes or lists; both of one type."""
    size = len(left) + len(right)
    if size > most:
        raise too_large(size, most)
    return left + right


def add(left: Any, right: Any, most: int) -> Any:
    one, other = type(left), type(right)
    if one is other:
        if one is int:
            return _int(left + right)
        if one is float:
            return left + right
        if one is str or one is bytes or one is list:
            return join(left, right, most)
        if one is Uint:
            return _uint(int(left) + int(right))
        if one is Duration:
            return duration(left.ns + right.ns)
    elif (one is Timestamp and other is Duration) or (one is Duration and other is Timestamp):
        return timestamp(left.ns + right.ns)
    elif isinstance(left, list) and isinstance(right, list):
        return join(list(left), list(right), most)
    raise _unfit("_+_", left, _ADDERS)


def subtract(left: Any, right: Any) -> Any:
    one, other = type(left), type(right)
    if one is other:
        if one is int:
            return _int(left - right)
        if one is float:
            return left - right
        if one is Uint:
            return _uint(int(left) - int(right))
        if one is Duration or one is Timestamp:
            return duration(left.ns - right.ns)
    elif one is Timestamp and other is Duration:
        return timestamp(left.ns - right.ns)
    raise _unfit("_-_", left, _SUBTRACTORS)


def multiply(left: Any, right: Any) -> Any:
    one = type(left)
    if one is type(right):
        if one is int:
            return _int(left * right)
        if one is float:
            return left * right
        if one is Uint:
            return _uint(int(left) * int(right))
    raise _unfit("_*_", left, _NUMBERS)


def divide(left: Any, right: Any) -> Any:
    one = type(left)
    if one is type(right):
        if one is int or one is Uint:
            if right == 0:
                raise CelError("division by zero")
            if one is Uint:
                return Uint(int(left) // int(right))
            quotient = abs(left) // abs(right)
            return _int(quotient if (left < 0) == (right < 0) else -quotient)
        if one is float:
            if right == 0.0:
                return float("nan") if left == 0.0 or isnan(left) else _infinity(left, right)
            return left / right
    raise _unfit("_/_", left, _NUMBERS)


def _infinity(left: float, right: float) -> float:
    negative = (left < 0) != (str(right)[0] == "-")
    return float("-inf") if negative else float("inf")


def remainder(left: Any, right: Any) -> Any:
    one = type(left)
    if one is type(right) and (one is int or one is Uint):
        if right == 0:
            raise CelError("modulus by zero")
        if one is Uint:
            return Uint(int(left) % int(right))
        if right == -1 and left == INT_MIN:
            raise CelError("integer overflow")
        rest = abs(left) % abs(right)
        return -rest if left < 0 else rest
    raise _unfit("_%_", left, _MODDERS)


def negate(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        return _int(-value)
    if kind is float:
        return -value
    if kind is Duration:
        return duration(-value.ns)
    raise CelError("no such overload")


def invert(value: Any) -> bool:
    if value is True or value is False:
        return not value
    raise CelError("no such overload")


def contains(value: Any, container: Any) -> bool:
    """`value in container`."""
    if isinstance(container, list):
        if type(value) is str:
            return value in container
        return any(equal(value, each) for each in container)
    if isinstance(container, dict):
        return lookup(container, value)[0]
    raise CelError("no such overload")
