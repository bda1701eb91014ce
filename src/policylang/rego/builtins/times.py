"""Times: nanoseconds since 1970, or [nanoseconds, zone], or for `time.format` [nanoseconds, zone, layout]."""

from __future__ import annotations

import re

from policylang.go import calendar, times
from policylang.go.durations import DurationError, read
from policylang.rego.builtins.operands import integer, string
from policylang.rego.declare import BuiltinError, Context, OperandError, builtin
from policylang.rego.values import Undefined, Value
from policylang.rego.values.numbers import KINDS, Number, binary, truncated

_TIME = "any<number, array<number, string>>"
_LAYOUTS = {name: times.LAYOUTS[name] for name in (
    "ANSIC", "UnixDate", "RubyDate", "RFC822", "RFC822Z", "RFC850", "RFC1123", "RFC1123Z", "RFC3339", "RFC3339Nano")}
_LONG = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([dwy])", re.ASCII)
_HOURS = {"d": 24, "w": 168, "y": 8760}
_RANGE = 1 << 63


def _fits(ns: int) -> int:
    if not -_RANGE <= ns < _RANGE:
        raise BuiltinError("time outside of valid range")
    return ns


@builtin("time.now_ns", result="number", context=True, nondeterministic=True)
def now_ns(context: Context) -> int:
    """The same throughout an evaluation."""
    if context.now_ns is None:
        context.now_ns = context.ask("time.now_ns", "a clock").now_ns()
    return context.now_ns


@builtin("time.parse_ns", "string", "string", result="number")
def parse_ns(layout: Value, value: Value) -> int:
    shown, written = string(layout, 1), string(value, 2)
    return _parsed(_LAYOUTS.get(shown, shown), written)


@builtin("time.parse_rfc3339_ns", "string", result="number")
def parse_rfc3339_ns(value: Value) -> int:
    return _parsed(times.RFC3339, string(value, 1))


def _parsed(layout: str, written: str) -> int:
    try:
        return _fits(times.parse_time(layout, written).ns)
    except calendar.TimeError as wrong:
        raise BuiltinError(str(wrong)) from None


@builtin("time.parse_duration_ns", "string", result="number")
def parse_duration_ns(value: Value) -> int:
    """Go's durations, and days, weeks and years of 365 days: `1d12h`."""
    shown = string(value, 1)
    try:
        return read(_LONG.sub(lambda match: f"{float(match[1]) * _HOURS[match[2]]:f}h", shown))
    except DurationError as wrong:
        raise BuiltinError(str(wrong)) from None


def _moment(value: Value) -> tuple[int, calendar.Zone]:
    """Its errors speak of operand 1 wherever it is, as OPA's do."""
    if type(value) is not list or not value:
        if type(value) not in KINDS:
            raise OperandError(1, value, "either number (ns) or [number (ns), string (tz)]")
        return _timestamp(value), calendar.UTC
    if type(value[0]) not in KINDS:
        raise OperandError(1, value[0], "number")
    zone: calendar.Zone = calendar.UTC
    if len(value) > 1:
        if type(value[1]) is not str:
            raise OperandError(1, value[1], "string")
        zone = _zone(value[1])
    return _timestamp(value[0]), zone


def _timestamp(value: Number) -> int:
    if type(value) is int and -_RANGE <= value < _RANGE:
        return value
    rounded = binary(value)
    if rounded.mantissa and not 0 <= rounded.exponent < 64:
        raise BuiltinError("timestamp too big")
    nanoseconds = truncated(rounded)
    if not -_RANGE <= nanoseconds < _RANGE:
        raise BuiltinError("timestamp too big")
    return nanoseconds


def _zone(name: str) -> calendar.Zone:
    try:
        return calendar.zone(name)
    except calendar.TimeError as wrong:
        raise BuiltinError(str(wrong)) from None


@builtin("time.format", "any<number, array<number, string>, array<number, string, string>>", result="string")
def formatted(value: Value) -> str:
    ns, zone = _moment(value)
    layout = times.RFC3339_NANO
    if type(value) is list and len(value) == 3:
        if type(value[2]) is not str:
            raise OperandError(1, value[2], "string")
        layout = _LAYOUTS.get(value[2], value[2]) or layout
    return times.format_time(ns, layout, zone)


@builtin("time.date", _TIME, result="array<number, number, number>")
def date(value: Value) -> list[int]:
    return list(calendar.civil(*_moment(value))[:3])


@builtin("time.clock", _TIME, result="array<number, number, number>")
def clock(value: Value) -> list[int]:
    return list(calendar.civil(*_moment(value))[3:6])


@builtin("time.weekday", _TIME, result="string")
def weekday(value: Value) -> str:
    return calendar.WEEKDAYS[calendar.civil(*_moment(value)).weekday]


@builtin("time.add_date", "number", "number", "number", "number", result="number")
def add_date(value: Value, years: Value, months: Value, days: Value) -> int:
    ns, zone = _moment(value)
    return _fits(calendar.add_date(ns, integer(years, 2), integer(months, 3), integer(days, 4), zone))


@builtin("time.diff", _TIME, _TIME, result="array<number, number, number, number, number, number>")
def difference(left: Value, right: Value) -> list[int] | Undefined:
    """[years, months, days, hours, minutes, seconds] between two times, as a calendar and a clock count them."""
    (first, zone), (second, _) = _moment(left), _moment(right)
    if first > second:
        first, second = second, first
    begin, end = calendar.civil(first, zone), calendar.civil(second, zone)
    year, month, day = end.year - begin.year, end.month - begin.month, end.day - begin.day
    hour, minute, seconds = end.hour - begin.hour, end.minute - begin.minute, end.second - begin.second
    if seconds < 0:
        seconds, minute = seconds + 60, minute - 1
    if minute < 0:
        minute, hour = minute + 60, hour - 1
    if hour < 0:
        hour, day = hour + 24, day - 1
    if day < 0:
        day, month = day + calendar.days_in(begin.month, begin.year), month - 1
    if month < 0:
        month, year = month + 12, year - 1
    return [year, month, day, hour, minute, seconds]

