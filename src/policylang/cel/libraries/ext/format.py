"""`"%s is %d".format([…])` (cel-go ext/formatting.go)."""

from __future__ import annotations

import re
from math import isfinite, isnan
from typing import Any

from policylang.budget import Meter
from policylang.cel.values.errors import CelError
from policylang.cel.values.times import show_duration, show_timestamp
from policylang.cel.values.values import Duration, Timestamp, TypeValue, Uint, type_name
from policylang.go.numbers import format_float

_CLAUSE = re.compile(r"%(?:\.(\d*))?(.)", re.DOTALL)
_MOST = 1000  # digits after the point


def fill(text: str, arguments: list[Any], meter: Meter) -> str:
    """CelError in cel-go's words for a clause that does not fit its argument."""
    out: list[str] = []
    size = at = used = 0
    while (start := text.find("%", at)) >= 0:
        out.append(text[at:start])
        clause = _CLAUSE.match(text, start)
        if clause is None:
            raise CelError("unexpected end of string")
        at = clause.end()
        precision, verb = clause[1], clause[2]
        if verb == "%" and precision is None:
            out.append("%")
            continue
        if used >= len(arguments):
            raise CelError(f"index {used} out of range")
        if precision is not None and (not precision or len(precision) > 4 or int(precision) > _MOST):
            raise CelError("error while parsing precision")
        shown = _clause(verb, int(precision) if precision is not None else 6, arguments[used], meter)
        used += 1
        size += len(shown)
        meter.fit(size)
        out.append(shown)
    out.append(text[at:])
    meter.fit(size + len(text))
    return "".join(out)


def _clause(verb: str, precision: int, value: Any, meter: Meter) -> str:
    if verb == "s":
        return show(value, meter)
    if verb == "d":
        return _decimal(value)
    if verb in ("f", "e"):
        return _double(verb, precision, value)
    if verb in ("b", "o", "x", "X"):
        return _based(verb, value)
    raise CelError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')


def _unfit(kind: str, allowed: str, value: Any) -> CelError:
    return CelError(f"error during formatting: {kind} clause can only be used on {allowed}, was given "
                    f"{type_name(value)}")


def _special(value: float) -> str:
    return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _decimal(value: Any) -> str:
    if type(value) is int or type(value) is Uint:
        return int.__repr__(value)
    if type(value) is float and isfinite(value):
        return format_float(value, "f")
    if type(value) is float:
        return _special(value)
    raise _unfit("decimal", "integers", value)


def _double(verb: str, precision: int, value: Any) -> str:
    kind = "fixed-point" if verb == "f" else "scientific"
    if type(value) is int or type(value) is Uint:
        value = float(value)
    if type(value) is not float:
        raise _unfit(kind, "doubles", value)
    if not isfinite(value):
        return _special(value)
    return f"{value:.{precision}{verb}}"


def _based(verb: str, value: Any) -> str:
    kind = {"b": "binary", "o": "octal"}.get(verb, "hex")
    if type(value) is int or type(value) is Uint:
        return f"{int(value):{verb}}"
    if verb == "b" and type(value) is bool:
        return "1" if value else "0"
    if verb in ("x", "X") and type(value) in (str, bytes):
        digits: str = (value.encode() if type(value) is str else value).hex()
        return digits.upper() if verb == "X" else digits
    allowed = {"b": "integers and bools", "o": "integers"}.get(verb, "integers, byte buffers, and strings")
    raise _unfit(kind, allowed, value)


def show(value: Any, meter: Meter) -> str:
    """What `%s` makes of a value."""
    kind = type(value)
    if kind is str:
        return str(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is Uint:
        return int.__repr__(value)
    if kind is float:
        return format_float(value, "f") if isfinite(value) else _special(value)
    if kind is bytes:
        return bytes(value).decode("utf-8", "replace")
    if kind is Timestamp:
        return show_timestamp(value)
    if kind is Duration:
        return show_duration(value)
    if kind is TypeValue:
        return str(value.name)
    if isinstance(value, list):
        meter.spend(len(value))
        return f"[{', '.join([show(element, meter) for element in value])}]"
    if isinstance(value, dict):
        meter.spend(len(value))
        entries = sorted((_key(key), show(held, meter)) for key, held in value.items())
        return f"{{{', '.join(f'{key}: {held}' for key, held in entries)}}}"
    raise _unfit("string", "strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps", value)


def _key(key: Any) -> str:
    if type(key) in (str, bool, int, Uint):
        return str(key).lower() if type(key) is bool else str(key)
    raise _unfit("string", "strings, bools and integers as keys", key)
