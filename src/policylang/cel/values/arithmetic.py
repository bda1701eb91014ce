"""Order and arithmetic where the checker could not know the types (cel-spec langdef, "Runtime semantics")."""

from __future__ import annotations

from math import isnan
from typing import Any

from policylang.budget import too_large
from policylang.cel.values.errors import CelError
from policylang.cel.values.values import INT_MAX, INT_MIN, NUMBERS, UINT_MAX, Duration, Timestamp, Uint

_EXACT = 1 << 53
_MIN_TIME, _MAX_TIME = -62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1
_SUBTRACTORS = NUMBERS | {Duration, Timestamp}
_ADDERS = _SUBTRACTORS | {str, bytes, list}
_MODDERS = frozenset({int, Uint})
_ORDERED = frozenset({str, bytes, bool, Timestamp, Duration})


# ── order ───────────────────────────────────────────────────────────────────────────────────────────────────────────

def _comparable(function: str, left: Any, right: Any) -> tuple[Any, Any]:
    kind, right_kind = type(left), type(right)
    if kind in NUMBERS and right_kind in NUMBERS:
        if kind is not right_kind and (kind is float or right_kind is float) \
                and (abs(left) > _EXACT or abs(right) > _EXACT):
            return float(left), float(right)
        return left, right
    if kind is right_kind and kind in _ORDERED:
        return left, right
    raise _unfit(function, left, _ORDERED | NUMBERS)


def less(left: Any, right: Any) -> bool:
    first, second = _comparable("_<_", left, right)
    return bool(first < second)


def less_equal(left: Any, right: Any) -> bool:
    first, second = _comparable("_<=_", left, right)
    return bool(first <= second)


def greater(left: Any, right: Any) -> bool:
    first, second = _comparable("_>_", left, right)
    return bool(first > second)


def greater_equal(left: Any, right: Any) -> bool:
    first, second = _comparable("_>=_", left, right)
    return bool(first >= second)


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
    kind, right_kind = type(left), type(right)
    if kind is right_kind:
        if kind is int:
            return _int(left + right)
        if kind is float:
            return left + right
        if kind is str or kind is bytes or kind is list:
            return join(left, right, most)
        if kind is Uint:
            return _uint(int(left) + int(right))
        if kind is Duration:
            return duration(left.ns + right.ns)
    elif (kind is Timestamp and right_kind is Duration) or (kind is Duration and right_kind is Timestamp):
        return timestamp(left.ns + right.ns)
    elif isinstance(left, list) and isinstance(right, list):
        return join(list(left), list(right), most)
    raise _unfit("_+_", left, _ADDERS)


def subtract(left: Any, right: Any) -> Any:
    kind, right_kind = type(left), type(right)
    if kind is right_kind:
        if kind is int:
            return _int(left - right)
        if kind is float:
            return left - right
        if kind is Uint:
            return _uint(int(left) - int(right))
        if kind is Duration or kind is Timestamp:
            return duration(left.ns - right.ns)
    elif kind is Timestamp and right_kind is Duration:
        return timestamp(left.ns - right.ns)
    raise _unfit("_-_", left, _SUBTRACTORS)


def multiply(left: Any, right: Any) -> Any:
    kind = type(left)
    if kind is type(right):
        if kind is int:
            return _int(left * right)
        if kind is float:
            return left * right
        if kind is Uint:
            return _uint(int(left) * int(right))
    raise _unfit("_*_", left, NUMBERS)


def divide(left: Any, right: Any) -> Any:
    kind = type(left)
    if kind is type(right):
        if kind is int or kind is Uint:
            if right == 0:
                raise CelError("division by zero")
            if kind is Uint:
                return Uint(int(left) // int(right))
            quotient = abs(left) // abs(right)
            return _int(quotient if (left < 0) == (right < 0) else -quotient)
        if kind is float:
            if right == 0.0:
                return float("nan") if left == 0.0 or isnan(left) else _infinity(left, right)
            return left / right
    raise _unfit("_/_", left, NUMBERS)


def _infinity(left: float, right: float) -> float:
    negative = (left < 0) != (str(right)[0] == "-")
    return float("-inf") if negative else float("inf")


def remainder(left: Any, right: Any) -> Any:
    kind = type(left)
    if kind is type(right) and (kind is int or kind is Uint):
        if right == 0:
            raise CelError("modulus by zero")
        if kind is Uint:
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
