"""format() as strings libraries before version 4 have it, Kubernetes' among them (cel-go ext/formatting.go, 0.26).

It writes numbers for readers of English, `%.2f` of 12345.678 as `12,345.68` and `%e` with a power of ten; texts in
lists and maps are quoted.
"""

from __future__ import annotations

import re
from math import isfinite, isnan
from typing import Any

from policylang.budget import Meter
from policylang.cel.cost.prices import FORMAT
from policylang.cel.library import Library, Overload, function
from policylang.cel.types import DYN, STRING, list_of
from policylang.cel.values.conversions import to_string
from policylang.cel.values.errors import CelError
from policylang.cel.values.values import Duration, Timestamp, TypeValue, Uint, type_name
from policylang.go.numbers import quote

_CLAUSE = re.compile(r"(\.[0-9]*)?(.)?", re.DOTALL)
_RAISED = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
_MOST = 1000  # digits after the point
_TEXTS = frozenset({"NaN", "Infinity", "-Infinity"})
_PRECISION = "could not parse formatting clause: error while parsing precision: "


def fill(text: str, arguments: list[Any], meter: Meter) -> str:
    """CelError in cel-go's words for a clause that does not fit its argument."""
    out: list[str] = []
    at = used = size = 0
    while (start := text.find("%", at)) >= 0:
        out.append(text[at:start])
        if text[start + 1:start + 2] == "%":
            out.append("%")
            at = start + 2
            continue
        if used >= len(arguments):
            raise CelError(f"index {used} out of range")
        precision, verb, at = _clause(text, start)
        try:
            shown = _VERBS[verb](arguments[used], verb, precision, meter)
        except CelError as wrong:
            raise CelError(f"error during formatting: {wrong.message}") from None
        used += 1
        size += len(shown)
        meter.fit(size)
        out.append(shown)
    meter.fit(size + len(text))
    return "".join([*out, text[at:]])


def _clause(text: str, start: int) -> tuple[int, str, int]:
    """Precision, verb and where the clause ends."""
    if start + 1 >= len(text):
        raise CelError("unexpected end of string")
    clause = _CLAUSE.match(text, start + 1)
    assert clause is not None
    digits, verb = clause[1], clause[2]
    if verb is None:
        raise CelError(f"{_PRECISION}could not find end of precision specifier")
    if digits == ".":
        raise CelError(f'{_PRECISION}error while converting precision to integer: strconv.Atoi: parsing "": '
                       "invalid syntax")
    if verb not in _VERBS:
        raise CelError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')
    if digits and (len(digits) > 5 or int(digits[1:]) > _MOST):
        raise CelError(f"{_PRECISION}got {digits[1:6]}, at most {_MOST}")
    return int(digits[1:]) if digits else 6, verb, clause.end()


def _string(value: Any, _: str, __: int, meter: Meter) -> str:
    shown: str
    if value is None:
        return "null"
    if isinstance(value, (list, dict)):
        return _part(value, meter)
    if isinstance(value, (str, bool, int, float, bytes, Timestamp, Duration)):
        shown = to_string(value)
        return shown
    if isinstance(value, TypeValue):
        return value.name
    raise CelError("string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, "
                   f"durations, and timestamps, was given {type_name(value)}")


def _part(value: Any, meter: Meter) -> str:
    """A value inside a list or map, or one of these."""
    if isinstance(value, list):
        meter.spend(len(value))
        return f"[{', '.join([_part(element, meter) for element in value])}]"
    if isinstance(value, dict):
        meter.spend(len(value))
        entries = sorted((_key(key), _part(held, meter)) for key, held in value.items())
        return f"{{{', '.join([f'{key}:{held}' for key, held in entries])}}}"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bytes):
        return f"b{quote(to_string(value))}"
    if isinstance(value, float):
        return f"{value:.6f}" if isfinite(value) else quote("NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf")
    if isinstance(value, (Timestamp, Duration)):
        return f"{'timestamp' if isinstance(value, Timestamp) else 'duration'}({quote(to_string(value))})"
    if value is None or isinstance(value, (bool, int, TypeValue)):
        return _string(value, "", 0, meter)
    raise CelError(f"no formatting function for {type_name(value)}")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return quote(key)
    if isinstance(key, (bool, int)):
        return str(key).lower()
    raise CelError(f"no formatting function for map key of type {type_name(key)}")


def _decimal(value: Any, _: str, __: int, ___: Meter) -> str:
    if type(value) is int or type(value) is Uint:
        return str(int(value))
    raise CelError(f"decimal clause can only be used on integers, was given {type_name(value)}")


def _double(value: Any, verb: str, precision: int, _: Meter) -> str:
    kind = "fixed-point" if verb == "f" else "scientific"
    if type(value) is str and value in _TEXTS:
        value = float(value)
    if type(value) is not float:
        raise CelError(f"{kind} clause can only be used on doubles, was given {type_name(value)}")
    if isnan(value):
        return "NaN"
    if not isfinite(value):
        return "∞" if value > 0 else "-∞"
    if verb == "f":
        return f"{value:,.{precision}f}"
    digits, _e, power = f"{value:.6e}".partition("e")  # cel-go passes the precision over here
    return f"{digits}×10{power.removeprefix('+').translate(_RAISED)}"  # noqa: RUF001 - the sign for times


def _based(value: Any, verb: str, _: int, __: Meter) -> str:
    if type(value) is int or type(value) is Uint:
        return f"{int(value):{verb}}"
    if verb == "b":
        if type(value) is bool:
            return "1" if value else "0"
        raise CelError(f"only integers and bools can be formatted as binary, was given {type_name(value)}")
    if verb == "o":
        raise CelError(f"octal clause can only be used on integers, was given {type_name(value)}")
    if type(value) in (str, bytes):
        digits: str = (value.encode() if type(value) is str else value).hex()
        return digits.upper() if verb == "X" else digits
    raise CelError(f"only integers, byte buffers, and strings can be formatted as hex, was given {type_name(value)}")


_VERBS = {"s": _string, "d": _decimal, "f": _double, "e": _double, **dict.fromkeys("boxX", _based)}

# Takes the place of the format() of the strings library that stands before it.
LIBRARY = Library("kubernetes.formatting", functions=(
    function("format", Overload("string_format", (STRING, list_of(DYN)), STRING, fill, FORMAT, member=True,
                                metered=True)),
))
