"""Times as Go's package time writes and reads them, by layouts such as `2006-01-02T15:04:05Z07:00`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from policylang.go import calendar
from policylang.go.numbers import quote

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")
LAYOUTS = {
    "ANSIC": "Mon Jan _2 15:04:05 2006", "UnixDate": "Mon Jan _2 15:04:05 MST 2006",
    "RubyDate": "Mon Jan 02 15:04:05 -0700 2006", "RFC822": "02 Jan 06 15:04 MST", "RFC822Z": "02 Jan 06 15:04 -0700",
    "RFC850": "Monday, 02-Jan-06 15:04:05 MST", "RFC1123": "Mon, 02 Jan 2006 15:04:05 MST",
    "RFC1123Z": "Mon, 02 Jan 2006 15:04:05 -0700", "RFC3339": "2006-01-02T15:04:05Z07:00",
    "RFC3339Nano": "2006-01-02T15:04:05.999999999Z07:00", "Kitchen": "3:04PM", "Stamp": "Jan _2 15:04:05",
    "StampMilli": "Jan _2 15:04:05.000", "StampMicro": "Jan _2 15:04:05.000000",
    "StampNano": "Jan _2 15:04:05.000000000", "DateTime": "2006-01-02 15:04:05", "DateOnly": "2006-01-02",
    "TimeOnly": "15:04:05",
}
RFC3339, RFC3339_NANO = LAYOUTS["RFC3339"], LAYOUTS["RFC3339Nano"]
_CHUNK = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|002|0[1-6]|15|1|2006|2|__2|_2(?!006)|3|4|5|PM|pm"
    r"|-07:00:00|-070000|-07:00|-0700|-07|Z07:00:00|Z070000|Z07:00|Z0700|Z07|[.,](?:0+|9+)(?![0-9])")


_LONGEST = 4_096  # characters of a layout: each of its parts may copy the rest of the text


@lru_cache(512)
def _chunks(layout: str) -> tuple[tuple[str, str], ...]:
    """(text before, chunk) …, the last with an empty chunk."""
    chunks, at = [], 0
    for match in _CHUNK.finditer(layout):
        chunks.append((layout[at:match.start()], match[0]))
        at = match.end()
    return *chunks, (layout[at:], "")


def format_time(ns: int, layout: str = RFC3339_NANO, where: calendar.Zone = calendar.UTC) -> str:
    """Time.Format."""
    at = calendar.civil(ns, where)
    out: list[str] = []
    for text, chunk in (_chunks if len(layout) <= _LONGEST else _chunks.__wrapped__)(layout):
        out.append(text)
        if chunk[:1] in (".", ",") and chunk:
            digits = f"{at.nanosecond:09d}".ljust(len(chunk) - 1, "0")[:len(chunk) - 1]
            if chunk[1] == "9":
                digits = digits.rstrip("0")
            out.append(chunk[0] + digits if digits or chunk[1] == "0" else "")
        elif chunk[:1] in ("-", "Z"):
            out.append(_offset(at.offset, chunk))
        elif chunk:
            out.append(_shown(at, chunk))
    return "".join(out)


def _shown(at: calendar.Civil, chunk: str) -> str:
    hour = at.hour % 12 or 12
    match chunk:
        case "2006":
            return f"{at.year:04d}" if at.year >= 0 else f"-{-at.year:04d}"
        case "06":
            return f"{at.year % 100:02d}"
        case "January":
            return _MONTHS[at.month - 1]
        case "Jan":
            return _MONTHS[at.month - 1][:3]
        case "1" | "01":
            return f"{at.month:0{len(chunk)}d}"
        case "Monday":
            return calendar.WEEKDAYS[at.weekday]
        case "Mon":
            return calendar.WEEKDAYS[at.weekday][:3]
        case "2" | "02":
            return f"{at.day:0{len(chunk)}d}"
        case "_2":
            return f"{at.day:2d}"
        case "002":
            return f"{at.yearday:03d}"
        case "__2":
            return f"{at.yearday:3d}"
        case "15":
            return f"{at.hour:02d}"
        case "3" | "03":
            return f"{hour:0{len(chunk)}d}"
        case "4" | "04":
            return f"{at.minute:0{len(chunk)}d}"
        case "5" | "05":
            return f"{at.second:0{len(chunk)}d}"
        case "PM" | "pm":
            half = "PM" if at.hour >= 12 else "AM"
            return half if chunk == "PM" else half.lower()
    return at.zone or _offset(at.offset, "-07")  # MST


def _offset(offset: int, chunk: str) -> str:
    if chunk[0] == "Z" and offset == 0:
        return "Z"
    sign, rest = ("-" if offset < 0 else "+"), abs(offset)
    colon = ":" if ":" in chunk else ""
    parts = [f"{rest // 3600:02d}"]
    if len(chunk) > 3:
        parts.append(f"{rest // 60 % 60:02d}")
    if chunk.count(":") == 2 or len(chunk.replace(":", "")) == 7:
        parts.append(f"{rest % 60:02d}")
    return sign + colon.join(parts)


_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)


class Parsed(NamedTuple):
    ns: int
    zone: calendar.Zone


def parse_time(layout: str, text: str) -> Parsed:
    """time.Parse. TimeError: `parsing time "x" as "2006": cannot parse "x" as "2006"`."""
    if layout in (RFC3339, RFC3339_NANO) and (match := _RFC3339.fullmatch(text)):
        parts = list(map(int, match.groups()[:6]))
        sign, shift = match[8][0], match[8][1:]
        offset = 0 if sign == "Z" else (-1 if sign == "-" else 1) * (int(shift[:2]) * 3600 + int(shift[3:]) * 60)
        year, month, day, hour, minute, second = parts
        if (1 <= month <= 12 and 1 <= day <= calendar.days_in(month, year) and hour < 24 and minute < 60 and second < 60
                and (sign == "Z" or (int(shift[:2]) <= 24 and int(shift[3:]) < 60))):
            ns = int((match[7] or "0")[:9].ljust(9, "0"))
            where = calendar.Fixed(offset, "") if offset else calendar.UTC
            return Parsed(calendar.moment(year, month, day, hour, minute, second, ns) - offset * calendar.SECOND, where)
    if len(layout) > _LONGEST:
        raise calendar.TimeError(f"parsing time: a layout of {len(layout)} characters, at most {_LONGEST} are read")
    return _Parser(layout, text).parse()


class _Bad(Exception):  # noqa: N818 - a turn in the parser, never seen outside
    """What follows does not fit the chunk."""


class _Range(Exception):  # noqa: N818 - as above
    """It fits, but there is no such month, hour, …"""


class _Parser:
    """The parts of a time, read one chunk of the layout after the other."""

    def __init__(self, layout: str, text: str) -> None:
        self.layout, self.text, self.rest = layout, text, text
        self.year, self.month, self.day, self.yearday = 0, -1, -1, -1
        self.hour = self.minute = self.second = self.nanosecond = 0
        self.afternoon: bool | None = None
        self.offset: int | None = None
        self.utc = False
        self.name = ""

    def parse(self) -> Parsed:
        chunks = _chunks(self.layout)
        for number, (prefix, chunk) in enumerate(chunks):
            self._skip(prefix)
            if not chunk:
                break
            held = self.rest
            try:
                self._read(chunk, chunks[number + 1])
            except _Bad:
                raise self._error(held, chunk) from None
            except _Range as wrong:
                raise calendar.TimeError(f"parsing time {quote(self.text)}: {wrong} out of range") from None
        if self.rest:
            raise calendar.TimeError(f"parsing time {quote(self.text)}: extra text: {quote(self.rest)}")
        return self._finish()

    def _error(self, value: str, chunk: str) -> calendar.TimeError:
        return calendar.TimeError(f"parsing time {quote(self.text)} as {quote(self.layout)}: "
                                  f"cannot parse {quote(value)} as {quote(chunk)}")

    def _skip(self, prefix: str) -> None:
        """The layout's own text; a space in it stands for any number of them."""
        left = prefix
        while left:
            if left[0] == " ":
                if self.rest and self.rest[0] != " ":
                    raise self._error(self.rest, prefix)
                left, self.rest = left.lstrip(" "), self.rest.lstrip(" ")
                continue
            run = left.partition(" ")[0]
            if not self.rest.startswith(run):
                same = next((at for at, (expected, given) in enumerate(zip(run, self.rest, strict=False))
                             if expected != given), len(self.rest))
                self.rest = self.rest[same:]
                raise self._error(self.rest, prefix)
            left, self.rest = left[len(run):], self.rest[len(run):]

    def _digits(self, fixed: int, least: int = 0) -> int:
        """Two digits, or one or two where `fixed` is 0; `least` for three."""
        want = least or 2
        digits = self.rest[:want]
        if least:
            if not (len(digits) == want and _is_digits(digits)):
                raise _Bad
        elif not _is_digits(digits[:1]):
            raise _Bad
        elif not _is_digits(digits) or len(digits) < 2:
            if fixed:
                raise _Bad
            digits = digits[0]
        self.rest = self.rest[len(digits):]
        return int(digits)

    def _name(self, names: tuple[str, ...], length: int | None = None) -> int:
        low = self.rest.lower()
        for number, name in enumerate(names):
            if low.startswith(name[:length].lower()):
                self.rest = self.rest[len(name[:length]):]
                return number
        raise _Bad

    def _read(self, chunk: str, following: tuple[str, str]) -> None:
        match chunk:
            case "2006":
                if len(self.rest) < 4 or not _is_digits(self.rest[:1]):
                    raise _Bad
                self.year = self._digits(1, 4)
            case "06":
                year = self._digits(1)
                self.year = year + (1900 if year >= 69 else 2000)
            case "Jan" | "January":
                self.month = self._name(_MONTHS, 3 if chunk == "Jan" else None) + 1
            case "1" | "01":
                self.month = self._digits(chunk == "01")
                if not 1 <= self.month <= 12:
                    raise _Range("month")
            case "Mon" | "Monday":
                self._name(calendar.WEEKDAYS, 3 if chunk == "Mon" else None)
            case "2" | "_2" | "02":
                if chunk == "_2" and self.rest[:1] == " ":
                    self.rest = self.rest[1:]
                self.day = self._digits(chunk == "02")
            case "__2" | "002":
                for _ in range(2):
                    if chunk == "__2" and self.rest[:1] == " ":
                        self.rest = self.rest[1:]
                self.yearday = self._digits(1, 3) if chunk == "002" else self._some_digits(3)
            case "15":
                self.hour = self._below(24, "hour", 0)
            case "3" | "03":
                self.hour = self._digits(chunk == "03")
                if self.hour > 12:
                    raise _Range("hour")
            case "4" | "04":
                self.minute = self._below(60, "minute", chunk == "04")
            case "5" | "05":
                self.second = self._below(60, "second", chunk == "05")
                self._fraction_without_chunk(following)
            case "PM" | "pm":
                half, self.rest = self.rest[:2], self.rest[2:]
                if half not in (("PM", "AM") if chunk == "PM" else ("pm", "am")):
                    raise _Bad
                self.afternoon = half in ("PM", "pm")
            case "MST":
                self._zone_name()
            case _ if chunk[0] in "-Z":
                self._zone_offset(chunk)
            case _:
                self._fraction(chunk)

    def _below(self, limit: int, unit: str, fixed: int) -> int:
        value = self._digits(fixed)
        if value >= limit:
            raise _Range(unit)
        return value

    def _some_digits(self, most: int) -> int:
        count = 0
        while count < most and _is_digits(self.rest[count:count + 1]):
            count += 1
        if not count:
            raise _Bad
        value, self.rest = int(self.rest[:count]), self.rest[count:]
        return value

    def _fraction_without_chunk(self, following: tuple[str, str]) -> None:
        """Seconds may have a fraction where the layout has none."""
        if len(self.rest) >= 2 and self.rest[0] in ".," and _is_digits(self.rest[1]):
            if not following[0] and following[1][:1] in (".", ",") and following[1]:
                return
            end = 2
            while _is_digits(self.rest[end:end + 1]):
                end += 1
            self.nanosecond = int(self.rest[1:end][:9].ljust(9, "0"))
            self.rest = self.rest[end:]

    def _fraction(self, chunk: str) -> None:
        count = len(chunk) - 1
        if chunk[1] == "0":
            fraction = self.rest[:count + 1]
            if len(fraction) < count + 1 or fraction[0] not in ".," or not _is_digits(fraction[1:]):
                raise _Bad
        else:
            if len(self.rest) < 2 or self.rest[0] not in ".," or not _is_digits(self.rest[1]):
                return
            end = 1
            while _is_digits(self.rest[end:end + 1]):
                end += 1
            fraction = self.rest[:end]
        self.nanosecond = int(fraction[1:10].ljust(9, "0"))
        self.rest = self.rest[len(fraction):]

    def _zone_offset(self, chunk: str) -> None:
        if chunk[0] == "Z" and self.rest[:1] == "Z":
            self.rest, self.utc = self.rest[1:], True
            return
        offset = self.rest[:len(chunk)]
        pattern = r"([+-])" + re.sub(r"\d\d", r"(\\d\\d)", chunk[1:])
        match = re.fullmatch(pattern, offset, re.ASCII)
        if match is None:
            raise _Bad
        sign, *parts = match.groups()
        hours, minutes, seconds = [*map(int, parts), 0, 0][:3]
        if hours > 24:
            raise _Range("time zone offset hour")
        if minutes > 60:
            raise _Range("time zone offset minute")
        if seconds > 60:
            raise _Range("time zone offset second")
        self.offset = (-1 if sign == "-" else 1) * (hours * 3600 + minutes * 60 + seconds)
        self.rest = self.rest[len(chunk):]

    def _zone_name(self) -> None:
        if self.rest.startswith("UTC"):
            self.rest, self.utc = self.rest[3:], True
            return
        length = _abbreviation_length(self.rest)
        if not length:
            raise _Bad
        self.name, self.rest = self.rest[:length], self.rest[length:]

    def _finish(self) -> Parsed:
        hour = self.hour
        if self.afternoon is not None:
            hour = hour % 12 + 12 * self.afternoon
        month, day = self.month, self.day
        if self.yearday >= 0:
            year_days = 366 if calendar.days_in(2, self.year) == 29 else 365
            if not 1 <= self.yearday <= year_days:
                raise calendar.TimeError(f"parsing time {quote(self.text)}: day-of-year out of range")
            _, by_month, by_day = calendar.date_of(calendar.days_from(self.year, 1, 1) + self.yearday - 1)
            if (month >= 0 and month != by_month) or (day >= 0 and day != by_day):
                raise calendar.TimeError(f"parsing time {quote(self.text)}: day-of-year does not match "
                                         f"{'month' if month >= 0 and month != by_month else 'day'}")
            month, day = by_month, by_day
        month, day = (month if month >= 0 else 1), (day if day >= 0 else 1)
        if not 1 <= day <= calendar.days_in(month, self.year):
            raise calendar.TimeError(f"parsing time {quote(self.text)}: day out of range")
        ns = calendar.moment(self.year, month, day, hour, self.minute, self.second, self.nanosecond)
        if self.utc:
            return Parsed(ns, calendar.UTC)
        if self.offset is not None:
            where = calendar.Fixed(self.offset, self.name) if self.offset else calendar.UTC
            return Parsed(ns - self.offset * calendar.SECOND, where)
        if self.name:
            shift = _gmt(self.name) * 3600 if self.name.startswith("GMT") and len(self.name) > 3 else 0
            return Parsed(ns, calendar.Fixed(shift, self.name))  # Go does not move the time here
        return Parsed(ns, calendar.UTC)


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _gmt(name: str) -> int:
    return int(name[3:])


def _abbreviation_length(text: str) -> int:
    """How much of it is a zone's abbreviation: 3 or 4 capitals (5 in ChST, MeST, WITA…), GMT+3, or +03."""
    if text[:4] in ("ChST", "MeST"):
        return 4
    if text.startswith("GMT"):
        sign = re.match(r"GMT([+-])(\d+)", text)
        return len(sign[0]) if sign and int(sign[2][:6]) < 24 else 3
    if text[:1] in ("+", "-"):
        hours = re.match(r"[+-](\d+)", text)
        return len(hours[0]) if hours and int(hours[1][:6]) < 24 else 0
    count = len(re.match("[A-Z]{0,6}", text)[0])  # type: ignore[index]
    if count == 5 and text[4] == "T":
        return 5
    if count == 4 and (text[3] == "T" or text[:4] == "WITA"):
        return 4
    return 3 if count == 3 else 0
