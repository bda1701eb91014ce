"""Kyverno's functions of times and durations (pkg/engine/jmespath/time.go)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from policylang.go import calendar, durations, times
from policylang.go.calendar import TimeError
from policylang.go.numbers import NumError, parse_int
from policylang.go.times import RFC3339, Parsed
from policylang.jmespath.builtins.function import Function, declare
from policylang.jmespath.values import Env, QueryError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO = calendar.moment(1, 1, 1)
_LONGEST = 2**63 - 1


def _parse(text: str, layout: str = RFC3339) -> Parsed:
    try:
        return times.parse_time(layout, text)
    except TimeError as wrong:
        raise QueryError(str(wrong)) from None


def _duration(text: str) -> int:
    try:
        return durations.read(text)
    except durations.DurationError as wrong:
        raise QueryError(str(wrong)) from None


def _clock(env: Env) -> datetime:
    if env.now is None:
        raise QueryError("the time is not available here: no clock was given")
    return env.now


def _now(env: Env) -> int:
    return (_clock(env) - _EPOCH) // timedelta(microseconds=1) * 1000


def _between(start: int, end: int) -> str:
    """time.Time.Sub: held at the longest duration."""
    return durations.show(max(-_LONGEST - 1, min(_LONGEST, end - start)))


def _since(env: Env, layout: str, start: str, end: str) -> str:
    since = _parse(start, layout or RFC3339).ns
    return _between(since, _parse(end, layout or RFC3339).ns if end else _now(env))


def _local(env: Env) -> str:
    offset = _clock(env).utcoffset() or timedelta()
    seconds = offset.days * 86_400 + offset.seconds
    return times.format_time(_now(env), RFC3339, calendar.Fixed(seconds, "") if seconds else calendar.UTC)


def _to_cron(text: str) -> str:
    parsed = _parse(text)
    at = calendar.civil(parsed.ns, parsed.zone)
    return f"{at.minute} {at.hour} {at.day} {at.month} {at.weekday}"


def _add(text: str, duration: str) -> str:
    at = _parse(text)
    return times.format_time(at.ns + _duration(duration), RFC3339, at.zone)


def _read(layout: str, text: str) -> str:
    try:
        parse_int(layout)
    except NumError:
        at = _parse(text, layout)
        return times.format_time(at.ns, RFC3339, at.zone)
    try:
        return times.format_time(parse_int(text) * calendar.SECOND, RFC3339)
    except NumError as wrong:
        raise QueryError(f"strconv.ParseInt: {wrong}") from None


def _within(text: str, start: str, end: str) -> bool:
    at, first, last = _parse(text).ns, _parse(start).ns, _parse(end).ns
    return first < at < last


def _truncate(text: str, duration: str) -> str:
    """time.Time.Truncate: multiples of the duration since the year 1."""
    at, step = _parse(text), _duration(duration)
    ns = at.ns - (at.ns - _ZERO) % step if step > 0 else at.ns
    return times.format_time(ns, RFC3339, at.zone)


FUNCTIONS: tuple[Function, ...] = (
    declare("time_since", "string, string, string", "string", _since,
            "the duration from a time to another, or to now where that is ''; '' as layout is RFC 3339", env=True,
            asks="clock"),
    declare("time_now", None, "string", _local, "the time in RFC 3339", env=True, asks="clock"),
    declare("time_now_utc", None, "string",
            lambda env: times.format_time(_now(env), RFC3339), "the time in RFC 3339, in UTC", env=True, asks="clock"),
    declare("time_to_cron", "string", "string", _to_cron, "a cron expression of a time in RFC 3339"),
    declare("time_add", "string, string", "string", _add, "a time in RFC 3339 and a duration later"),
    declare("time_parse", "string, string", "string", _read,
            "a time of another layout in RFC 3339; a number as layout is for seconds since 1970"),
    declare("time_utc", "string", "string", lambda text: times.format_time(_parse(text).ns, RFC3339),
            "a time in RFC 3339, in UTC"),
    declare("time_diff", "string, string", "string",
            lambda start, end: _between(_parse(start).ns, _parse(end).ns), "the duration between two times"),
    declare("time_before", "string, string", "bool",
            lambda time, limit: _parse(time).ns < _parse(limit).ns, "whether a time is before another"),
    declare("time_after", "string, string", "bool",
            lambda time, limit: _parse(time).ns > _parse(limit).ns, "whether a time is after another"),
    declare("time_between", "string, string, string", "bool", _within, "whether a time is between two others"),
    declare("time_truncate", "string, string", "string", _truncate, "a time rounded down to multiples of a duration"),
)
