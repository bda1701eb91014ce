"""Timestamps and durations: texts, fields, time zones (cel-spec langdef, "Timestamps"; Go's time package)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from policylang.cel.values.arithmetic import duration, timestamp
from policylang.cel.values.errors import CelError
from policylang.cel.values.values import Duration, Timestamp
from policylang.go import durations
from policylang.go.numbers import format_float

_SECOND = 10**9
_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:Z|([+-])(\d\d):(\d\d))\Z",
                      re.ASCII)
_OFFSET = re.compile("([+-]?)([0-9]{1,4}):([0-9]{1,4})")
_CYCLE = timedelta(days=146_097)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_timestamp(text: str) -> Timestamp:
    """RFC 3339, years 1 to 9999, nanoseconds."""
    match = _RFC3339.match(text)
    if match is None:
        raise _unread("Timestamp")
    year, month, day, hour, minute, second = (int(match[at]) for at in range(1, 7))
    offset = 0
    if match[8]:
        hours, minutes = int(match[9]), int(match[10])
        if hours > 24 or minutes > 60:
            raise _unread("Timestamp")
        offset = (hours * 3600 + minutes * 60) * (1 if match[8] == "+" else -1)
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise _unread("Timestamp") from None
    since = moment - _EPOCH
    nanoseconds = int((match[7] or "").ljust(9, "0"))
    return timestamp((since.days * 86_400 + since.seconds - offset) * _SECOND + nanoseconds)


def _unread(to: str) -> CelError:
    return CelError(f"type conversion error from 'string' to 'google.protobuf.{to}'")


def parse_duration(text: str) -> Duration:
    """Go's time.ParseDuration: `1h30m`, `-1.5s`, `0`."""
    try:
        return duration(durations.read(text))
    except durations.DurationError:
        raise _unread("Duration") from None


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""


def show_timestamp(value: Timestamp) -> str:
    """RFC 3339 in UTC with as many digits of the second as there are."""
    seconds, nanoseconds = divmod(value.ns, _SECOND)
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}{_fraction(nanoseconds)}Z"


def show_duration(value: Duration) -> str:
    """Seconds as the float64 that Go makes of them: `5400s`, `-1.5s`."""
    seconds, nanoseconds = divmod(abs(value.ns), _SECOND)
    return f"{'-' if value.ns < 0 else ''}{format_float(seconds + nanoseconds / 1e9, 'f')}s"


def _offset(name: str) -> timedelta | None:
    """Of `±h:mm`, whose hours are any, as to cel-go; None of what is no offset."""
    match = _OFFSET.fullmatch(name)
    if match is None:
        return None
    if int(match[3]) > 59:
        raise CelError(f"timezone offset minutes out of range [0, 59]: {name}")
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -offset if match[1] == "-" else offset


@lru_cache(256)
def zone(name: str) -> tzinfo:
    """Of an IANA name."""
    if name in ("UTC", "Z", ""):
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise CelError(f"unknown time zone {name[:64]}") from None


def _moment(value: Timestamp, name: str) -> datetime:
    """The date and time there; where Python has no such year, 400 years on or back, when the calendar is the same."""
    seconds = value.ns // _SECOND
    at = _EPOCH + timedelta(seconds=seconds)
    if name == "UTC":
        return at
    offset = _offset(name)
    try:
        return at.astimezone(zone(name)) if offset is None else at + offset
    except OverflowError:
        at += _CYCLE if seconds < 0 else -_CYCLE
        return at.astimezone(zone(name)) if offset is None else at + offset


def full_year(value: Timestamp, name: str = "UTC") -> int:
    year = _moment(value, name).year
    distance = year - _moment(value, "UTC").year
    return year - distance // abs(distance) * 400 if abs(distance) > 1 else year


def month(value: Timestamp, name: str = "UTC") -> int:
    return _moment(value, name).month - 1


def day_of_year(value: Timestamp, name: str = "UTC") -> int:
    return _moment(value, name).timetuple().tm_yday - 1


def day_of_month(value: Timestamp, name: str = "UTC") -> int:
    return _moment(value, name).day - 1


def date(value: Timestamp, name: str = "UTC") -> int:
    return _moment(value, name).day


def day_of_week(value: Timestamp, name: str = "UTC") -> int:
    return _moment(value, name).isoweekday() % 7


def hours(value: Any, name: str = "UTC") -> int:
    if type(value) is Duration:
        return _whole(value.ns, 3600 * _SECOND)
    return _moment(value, name).hour


def minutes(value: Any, name: str = "UTC") -> int:
    if type(value) is Duration:
        return _whole(value.ns, 60 * _SECOND)
    return _moment(value, name).minute


def seconds(value: Any, name: str = "UTC") -> int:
    if type(value) is Duration:
        return _whole(value.ns, _SECOND)
    return _moment(value, name).second


def milliseconds(value: Any, name: str = "UTC") -> int:
    """Of a duration those that are over after its whole seconds; cel-go gives all of them."""
    if type(value) is Duration:
        total = _whole(value.ns, 10**6)
        return total - _whole(value.ns, _SECOND) * 1000
    _moment(value, name)
    return int(value.ns % _SECOND // 10**6)


def _whole(ns: int, unit: int) -> int:
    return ns // unit if ns >= 0 else -(-ns // unit)
