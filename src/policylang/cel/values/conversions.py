"""Conversions between types: `int(x)`, `string(x)` and the rest, in cel-go's words."""

from __future__ import annotations

import re
from math import isinf, isnan
from typing import Any

from policylang.cel.values.arithmetic import timestamp
from policylang.cel.values.errors import CelError
from policylang.cel.values.times import parse_duration, parse_timestamp, show_duration, show_timestamp
from policylang.cel.values.values import INT_MAX, INT_MIN, UINT_MAX, Duration, Timestamp, Uint, type_name
from policylang.go.numbers import format_float

_INT = re.compile(r"[+-]?\d+\Z", re.ASCII)
_UINT = re.compile(r"\d+\Z", re.ASCII)
_DOUBLE = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf(?:inity)?|nan)\Z", re.ASCII | re.IGNORECASE)
_HEX = re.compile(r"[+-]?0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)p[+-]?\d+\Z", re.ASCII | re.IGNORECASE)
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_SECOND = 10**9


def _refuse(value: Any, to: str) -> CelError:
    return CelError(f"type conversion error from '{type_name(value)}' to '{to}'")


def _not_a(to: str) -> CelError:
    return CelError(f"type conversion error from 'string' to '{to}'")


def int_from_uint(value: int) -> int:
    if value > INT_MAX:
        raise CelError("integer overflow")
    return int(value)


def int_from_double(value: float) -> int:
    if isnan(value) or isinf(value) or not -9223372036854775808.0 < value < 9223372036854775808.0:
        raise CelError("integer overflow")
    return int(value)


def int_from_string(value: str) -> int:
    if not _INT.match(value) or len(value) > 400:
        raise _not_a("int")
    number = int(value)
    if not INT_MIN <= number <= INT_MAX:
        raise _not_a("int")
    return number


def int_from_timestamp(value: Timestamp) -> int:
    return value.ns // _SECOND


def int_from_duration(value: Duration) -> int:
    return value.ns


def uint_from_int(value: int) -> Uint:
    if value < 0 or value > UINT_MAX:
        raise CelError("unsigned integer overflow")
    return Uint(value)


def uint_from_double(value: float) -> Uint:
    if isnan(value) or isinf(value) or not 0 <= value < 18446744073709551616.0:
        raise CelError("unsigned integer overflow")
    return Uint(int(value))


def uint_from_string(value: str) -> Uint:
    if not _UINT.match(value) or len(value) > 400:
        raise _not_a("uint")
    number = int(value)
    if number > UINT_MAX:
        raise _not_a("uint")
    return Uint(number)


def double_from_string(value: str) -> float:
    if len(value) < 400:
        if _DOUBLE.match(value):
            number = float(value)
            if isinf(number) and "n" not in value.lower():
                raise _not_a("double")
            return number
        if _HEX.match(value):
            return float.fromhex(value)
    raise _not_a("double")


def bool_from_string(value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise _not_a("bool")


def string_from_bool(value: bool) -> str:
    return "true" if value else "false"


def string_from_int(value: int) -> str:
    return int.__repr__(value)


def string_from_double(value: float) -> str:
    """Go's %g."""
    return format_float(value)


def string_from_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise CelError("invalid UTF-8 in bytes, cannot convert to string") from None


def to_int(value: Any) -> Any:
    return _dispatch(_TO_INT, value, "int")


def to_uint(value: Any) -> Any:
    return _dispatch(_TO_UINT, value, "uint")


def to_double(value: Any) -> Any:
    return _dispatch(_TO_DOUBLE, value, "double")


def to_string(value: Any) -> Any:
    return _dispatch(_TO_STRING, value, "string")


def to_bytes(value: Any) -> Any:
    return _dispatch({bytes: bytes, str: str.encode}, value, "bytes")


def to_bool(value: Any) -> Any:
    return _dispatch({bool: bool, str: bool_from_string}, value, "bool")


def timestamp_from_int(value: int) -> Timestamp:
    return timestamp(value * _SECOND)


def to_timestamp(value: Any) -> Any:
    return _dispatch({Timestamp: _same, str: parse_timestamp, int: timestamp_from_int}, value, "timestamp")


def to_duration(value: Any) -> Any:
    return _dispatch({Duration: _same, str: parse_duration, int: Duration}, value, "duration")


def _same(value: Any) -> Any:
    return value


def _dispatch(table: Any, value: Any, to: str) -> Any:
    convert = table.get(type(value))
    if convert is None:
        raise _refuse(value, to)
    return convert(value)


_TO_INT = {int: _same, Uint: int_from_uint, float: int_from_double, str: int_from_string,
           Timestamp: int_from_timestamp, Duration: int_from_duration}
_TO_UINT = {Uint: _same, int: uint_from_int, float: uint_from_double, str: uint_from_string}
_TO_DOUBLE = {float: _same, int: float, Uint: float, str: double_from_string}
_TO_STRING = {str: _same, bool: string_from_bool, int: string_from_int, Uint: string_from_int,
              float: string_from_double, bytes: string_from_bytes, Timestamp: show_timestamp,
              Duration: show_duration}
