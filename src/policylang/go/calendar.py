"""Zones and the calendar as Go's package time has them.

A time is a number of nanoseconds since 1970-01-01T00:00:00Z, of any size, and a zone is a `Zone`.
"""

from __future__ import annotations

from datetime import UTC as _UTC
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

SECOND = 1_000_000_000
_DAY = 86_400
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


class TimeError(ValueError):
    """A text that is no such time or zone, in Go's words."""


class Zone(Protocol):
    """Where a time is told."""

    def at(self, seconds: int) -> tuple[int, str]:
        """Seconds east of UTC, and the abbreviation, at a Unix time."""


class Fixed(NamedTuple):
    """A zone that never changes."""

    offset: int = 0
    name: str = "UTC"

    def at(self, seconds: int) -> tuple[int, str]:
        del seconds
        return self.offset, self.name


UTC = Fixed()


class Named:
    """A zone of the tz database."""

    __slots__ = ("name", "zone")

    def __init__(self, name: str, zone: ZoneInfo) -> None:
        self.name, self.zone = name, zone

    def at(self, seconds: int) -> tuple[int, str]:
        near = min(max(seconds, -62_000_000_000), 250_000_000_000)  # datetime knows the years 1 to 9999
        local = (datetime(1970, 1, 1, tzinfo=_UTC) + timedelta(seconds=near)).astimezone(self.zone)
        offset = local.utcoffset() or timedelta()
        return offset.days * _DAY + offset.seconds, _abbreviation(local.tzname() or "", offset)


def _abbreviation(name: str, offset: timedelta) -> str:
    return name or f"{offset.total_seconds() / 3600:+03.0f}"


@lru_cache(256)
def zone(name: str) -> Zone:
    """time.LoadLocation. TimeError: `unknown time zone X`."""
    if name in ("", "UTC", "Local"):
        return UTC if name != "Local" else Fixed(0, "Local")
    if ".." in name or name[0] in "/\\" or "\\" in name:
        raise TimeError("time: invalid location name")
    try:
        return Named(name, ZoneInfo(name))
    except (ValueError, OSError, KeyError):
        raise TimeError(f"unknown time zone {name}") from None


# --- the calendar

class Civil(NamedTuple):
    """A time as a calendar and a clock show it. `weekday`: 0 is Sunday."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    nanosecond: int
    weekday: int
    yearday: int
    offset: int
    zone: str


def days_from(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar; month and day may lie outside their ranges."""
    year += (month - 1) // 12
    month = (month - 1) % 12 + 1
    year -= month <= 2
    era_day = (153 * ((month + 9) % 12) + 2) // 5
    return 365 * year + year // 4 - year // 100 + year // 400 + era_day + day - 1 - 719_468


def date_of(days: int) -> tuple[int, int, int]:
    days += 719_468
    era, rest = divmod(days, 146_097)
    year = (rest - rest // 1_460 + rest // 36_524 - rest // 146_096) // 365
    rest -= 365 * year + year // 4 - year // 100
    month = (5 * rest + 2) // 153
    day = rest - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    return era * 400 + year + (month <= 2), month, day


def civil(ns: int, where: Zone = UTC) -> Civil:
    seconds, nanosecond = divmod(ns, SECOND)
    offset, name = where.at(seconds)
    days, clock = divmod(seconds + offset, _DAY)
    year, month, day = date_of(days)
    return Civil(year, month, day, clock // 3600, clock // 60 % 60, clock % 60, nanosecond, (days + 4) % 7,
                 days - days_from(year, 1, 1) + 1, offset, name)


def moment(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, nanosecond: int = 0,
           where: Zone = UTC) -> int:
    """time.Date: the nanoseconds; parts outside their ranges carry over."""
    seconds = days_from(year, month, day) * _DAY + hour * 3600 + minute * 60 + second + nanosecond // SECOND
    offset, _ = where.at(seconds)
    if offset:
        offset, _ = where.at(seconds - offset)  # as Go chooses where a clock is turned
    return (seconds - offset) * SECOND + nanosecond % SECOND


def add_date(ns: int, years: int, months: int, days: int, where: Zone = UTC) -> int:
    """Time.AddDate: 31 January and a month is 2 or 3 March."""
    at = civil(ns, where)
    return moment(at.year + years, at.month + months, at.day + days, at.hour, at.minute, at.second, at.nanosecond,
                  where)


def days_in(month: int, year: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31
