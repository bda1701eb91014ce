"""Schedules of crontab: what Kyverno's cleanup and deleting policies are due by.

    minute hour day-of-month month day-of-week          each field: *, 5, 1-5, */2, 5/2, 1-5/2, and lists of these
    second minute hour day-of-month month day-of-week year

Months and days of the week have names; of days of the month there are `L` (the last), `15W` (the working day nearest)
and `LW`, of days of the week `5L` (the last Friday) and `5#3` (the third). `@yearly`, `@annually`, `@monthly`,
`@weekly`, `@daily` and `@hourly` are names of such schedules. Where both a day of the month and a day of the week are
asked for, either is enough.

That is the grammar of github.com/aptible/supercronic/cronexpr, by which Kyverno computes when a policy is due. It
admits a (Cluster)CleanupPolicy only where `robfig/cron` reads its schedule as well, which `standard` tells.
"""

from __future__ import annotations

import calendar
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

from custody.errors import MalformedError

_NAMES = {"@yearly": "0 0 0 1 1 * *", "@annually": "0 0 0 1 1 * *", "@monthly": "0 0 0 1 * * *",
          "@weekly": "0 0 0 * * 0 *", "@daily": "0 0 0 * * * *", "@hourly": "0 0 * * * * *"}
_NAME = re.compile("|".join(_NAMES))
_MONTHS = [name.lower() for name in calendar.month_name[1:]]
_DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
_FIRST_YEAR, _LAST_YEAR = 1970, 2099
_MAX_TEXT = 1024


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    value: str
    """A regular expression of one value."""
    words: Mapping[str, int] = {}

    def number(self, text: str) -> int:
        number = self.words.get(text)
        return int(text) if number is None else number


_SIXTY = "0?[0-9]|[1-5][0-9]"
_YEAR_VALUE = "19[789][0-9]|20[0-9]{2}"
_STEP = f"{_SIXTY}|{_YEAR_VALUE}"
_MONTH_WORDS = {word: at for at, name in enumerate(_MONTHS, 1) for word in (name, name[:3])}
_DAY_WORDS = {word: at for at, name in enumerate(_DAYS) for word in (name, name[:3])} | {"7": 0} | {
    f"0{digit}": 0 for digit in range(8)}
"""cronexpr knows no day `05`, and reads it as 0."""
_SECOND = _Field("second", 0, 59, _SIXTY)
_MINUTE = _Field("minute", 0, 59, _SIXTY)
_HOUR = _Field("hour", 0, 23, "0?[0-9]|1[0-9]|2[0-3]")
_DAY = _Field("day-of-month", 1, 31, "0?[1-9]|[12][0-9]|3[01]")
_MONTH = _Field("month", 1, 12, "0?[1-9]|1[012]|" + "|".join(_MONTH_WORDS), _MONTH_WORDS)
_WEEKDAY = _Field("day-of-week", 0, 6, "0?[0-7]|" + "|".join(word for word in _DAY_WORDS if word.isalpha()),
                  _DAY_WORDS)
_YEAR = _Field("year", _FIRST_YEAR, _LAST_YEAR, _YEAR_VALUE)


class _Entries(NamedTuple):
    """What a field's list says."""

    values: frozenset[int]
    every: bool
    """Whether `*` or `?` is among it."""
    odd: Sequence[str]
    """Entries that are none of the common ones, in lower case."""
    odd_late: bool
    """Whether all of these stand behind a `*`, where Kyverno does not look at them."""


def _entries(text: str, field: _Field) -> _Entries:
    values: set[int] = set()
    every = late = False
    odd: list[str] = []
    parts = [part.lower() for part in text.split(",") if part]
    if not parts:
        raise _malformed(text, f"a {field.name}")
    for part in parts:
        if part in ("*", "?"):
            late = late or not odd
            every = True
            values.update(range(field.first, field.last + 1))
            continue
        spoken = re.fullmatch(rf"(?:(\*)|({field.value})(?:-({field.value}))?)(?:/([0-9]+))?", part)
        if spoken is None:
            odd.append(part)
            continue
        star, start, end, step = spoken.groups()
        first = field.first if star else field.number(start)
        last = field.last if star or (step and not end) else first if end is None else field.number(end)
        stride = 1 if not step else int(step) if re.fullmatch(_STEP, step) else 0
        if not 1 <= stride <= field.last or (last < first and not step):  # with a step it says nothing
            raise _malformed(part, f"an interval of a {field.name}")
        values.update(range(first, last + 1, stride))
    return _Entries(frozenset(values), every, odd, late)


def _plain(text: str, field: _Field) -> list[int]:
    entries = _entries(text, field)
    if entries.odd and not (entries.every and entries.odd_late):
        raise _malformed(entries.odd[0], f"a {field.name}")
    if not entries.values:
        raise _malformed(text, f"a {field.name}")
    return sorted(entries.values)


class _Days(NamedTuple):
    """Which days of a month a schedule means."""

    days: frozenset[int]
    near: frozenset[int]
    """Days of the month whose nearest working day is meant."""
    last: bool
    last_working: bool
    any_day: bool
    weekdays: frozenset[int]
    """0 is Sunday."""
    last_weekdays: frozenset[int]
    nth_weekdays: frozenset[tuple[int, int]]
    """(weekday, which one of the month), from 1."""
    any_weekday: bool

    @classmethod
    def of(cls, day: str, weekday: str) -> _Days:
        days, weekdays = _entries(day, _DAY), _entries(weekday, _WEEKDAY)
        near, last_weekdays, nth = set(), set(), set()
        for entry in days.odd:
            if entry in ("l", "lw"):
                continue
            working = re.fullmatch(rf"({_DAY.value})w", entry)
            if working is None:
                raise _malformed(entry, "a day-of-month")
            near.add(int(working[1]))
        for entry in weekdays.odd:
            special = re.fullmatch(rf"({_WEEKDAY.value})(?:l|#([1-5]))", entry)
            if special is None:
                raise _malformed(entry, "a day-of-week")
            number = _WEEKDAY.number(special[1]) % 7
            if special[2]:
                nth.add((number, int(special[2])))
            else:
                last_weekdays.add(number)
        return cls(days.values, frozenset(near), "l" in days.odd, "lw" in days.odd, days.every,
                   frozenset(number % 7 for number in weekdays.values), frozenset(last_weekdays), frozenset(nth),
                   weekdays.every)

    def in_month(self, year: int, month: int) -> list[int]:
        first_weekday, length = calendar.monthrange(year, month)
        if self.any_day and self.any_weekday:
            return [*range(1, length + 1)]
        chosen: set[int] = set()

        def weekday(day: int) -> int:
            return (first_weekday + day) % 7  # monthrange counts from Monday, these from Sunday

        def working(day: int) -> int:
            if weekday(day) == 6:
                return day - 1 if day > 1 else day + 2
            if weekday(day) == 0:
                return day + 1 if day < length else day - 2
            return day

        if not self.any_day:
            chosen |= {day for day in self.days if day <= length} | {working(day) for day in self.near if day <= length}
            chosen |= ({length} if self.last else set()) | ({working(length)} if self.last_working else set())
        if not self.any_weekday:
            for day in range(1, length + 1):
                number = weekday(day)
                if number in self.weekdays or (number, (day + 6) // 7) in self.nth_weekdays or (
                        number in self.last_weekdays and day > length - 7):
                    chosen.add(day)
        return sorted(chosen)


class Schedule:
    """A schedule that was read. `text` is how it was written."""

    def __init__(self, text: str) -> None:
        """Raises MalformedError."""
        self.text = text
        fields = _NAME.sub(lambda name: _NAMES[name[0]], text[:_MAX_TEXT]).split()[:7]  # more are ignored
        if len(text) > _MAX_TEXT:
            raise _malformed(text[:32] + "…", f"a schedule of at most {_MAX_TEXT} characters")
        if len(fields) < 5:
            raise _malformed(text, "minute, hour, day of the month, month and day of the week")
        seconds = _plain(fields.pop(0), _SECOND) if len(fields) == 7 else [0]
        self._times = [(hour, minute, second) for hour in _plain(fields[1], _HOUR)
                       for minute in _plain(fields[0], _MINUTE) for second in seconds]
        self._days = _Days.of(fields[2], fields[4])
        self._months = _plain(fields[3], _MONTH)
        self._years = _plain(fields[5], _YEAR) if len(fields) > 5 else [*range(_FIRST_YEAR, _LAST_YEAR + 1)]

    def after(self, moment: datetime, zone: tzinfo = UTC) -> datetime | None:
        """The next time that it is due, after a moment; None where that is never, or after 2099.

        Hours are those of `zone`. A time that a clock leaves out when it is set forward is due when it has been.
        """
        local = moment.astimezone(zone)
        for year in self._years:
            if year < local.year:
                continue
            for month in self._months:
                if (year, month) < (local.year, local.month):
                    continue
                for day in self._days.in_month(year, month):
                    if (year, month, day) < (local.year, local.month, local.day):
                        continue
                    today = (year, month, day) == (local.year, local.month, local.day)
                    start = bisect_left(self._times, (local.hour, local.minute, local.second)) if today else 0
                    for hour, minute, second in self._times[start:]:
                        due = datetime(year, month, day, hour, minute, second, tzinfo=zone).astimezone(UTC)
                        if due > moment:
                            return due.astimezone(zone)
        return None


# ── robfig/cron ─────────────────────────────────────────────────────────────────────────────────────────────────────

_STANDARD = (_Field("minute", 0, 59, ""), _Field("hour", 0, 23, ""), _Field("day of the month", 1, 31, ""),
             _Field("month", 1, 12, "", {name[:3]: at for at, name in enumerate(_MONTHS, 1)}),
             _Field("day of the week", 0, 6, "", {name[:3]: at for at, name in enumerate(_DAYS)}))
_DESCRIPTORS = (*_NAMES, "@midnight")
_EVERY = re.compile(r"@every [-+]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+")


def standard(text: str) -> bool:
    """Whether robfig/cron's ParseStandard reads it: five fields, days of the week to 6, `@midnight` and `@every 1h`."""
    if text.startswith("@"):
        return text in _DESCRIPTORS or _EVERY.fullmatch(text) is not None
    fields = text.split()
    return len(fields) == len(_STANDARD) and all(
        _readable(part, field) for words, field in zip(fields, _STANDARD, strict=True)
        for part in words.split(",") if part)


def _readable(part: str, field: _Field) -> bool:
    interval, slash, step = part.partition("/")
    start, hyphen, end = interval.partition("-")
    if "/" in step or (slash and not (re.fullmatch(r"\+?[0-9]+", step) and int(step))):
        return False
    if start in ("*", "?"):
        return True
    if "-" in end:
        return False
    numbers = [field.words.get(word.lower(), int(word) if re.fullmatch(r"\+?[0-9]+", word) else -1)
               for word in ((start, end) if hyphen else (start,))]
    if slash and not hyphen:
        numbers.append(field.last)
    return field.first <= numbers[0] <= numbers[-1] <= field.last


def _malformed(got: str, expected: str) -> MalformedError:
    return MalformedError("spec.schedule", got=got, expected=expected)
