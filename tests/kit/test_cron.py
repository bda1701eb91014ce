"""Schedules: the answers are those of aptible/supercronic/cronexpr 0.2.48 and robfig/cron 1.2.0."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from custody.errors import MalformedError
from custody.kit.cron import Schedule, standard

_SATURDAY = datetime(2026, 2, 28, 12, 30, 45, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(("text", "expected"), [
    ("* * * * *", "2026-02-28T12:31:00"),
    ("30 12 * * *", "2026-03-01T12:30:00"),
    ("*/20 * * * *", "2026-02-28T12:40:00"),
    ("5/25 * * * *", "2026-02-28T12:55:00"),
    ("0 9-17/4 * * mon-fri", "2026-03-02T09:00:00"),
    ("0 0 1 jan *", "2027-01-01T00:00:00"),
    ("0 0 29 2 *", "2028-02-29T00:00:00"),
    ("0 0 13 * 5", "2026-03-06T00:00:00"),
    ("0 0 L * *", "2026-03-31T00:00:00"),
    ("0 0 1W 8 *", "2026-08-03T00:00:00"),
    ("0 0 LW 5 *", "2026-05-29T00:00:00"),
    ("0 0 * * 5L", "2026-03-27T00:00:00"),
    ("0 0 * * 7#2", "2026-03-08T00:00:00"),
    ("15 10 12 1 1 ? 2030", "2030-01-01T12:10:15"),
    ("@daily", "2026-03-01T00:00:00"),
    ("@hourly", "2026-02-28T13:00:00"),
    ("@yearly", "2027-01-01T00:00:00"),
    ("0 0 * * 05", "2026-03-01T00:00:00"),
])
def test_when_a_schedule_is_due_next(text: str, expected: str) -> None:
    due = Schedule(text).after(_SATURDAY)
    assert due is not None
    assert due.isoformat() == f"{expected}+00:00"


def test_a_day_that_never_comes_is_due_never() -> None:
    assert Schedule("0 0 31 2 *").after(_SATURDAY) is None
    assert Schedule("0 0 * * * 2020").after(_SATURDAY) is None


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
                                  "*/0 * * * *", "*/60 * * * *", "9-5 * * * *", "9-5/2 * * * *", "x * * * *",
                                  "5-7 * * * 5-7", "@midnight", "@every 1h", "0 0 * * 5#6", "* " * 1000])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(MalformedError, match=r"^spec.schedule: got .*, expected "):
        Schedule(text)


def test_hours_are_those_of_a_zone_and_a_time_that_a_clock_leaves_out_is_due_after_it() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert str(Schedule("30 9 * * *").after(_SATURDAY, berlin)) == "2026-03-01 09:30:00+01:00"
    forward = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert str(Schedule("30 2 29 3 *").after(forward, berlin)) == "2026-03-29 03:30:00+02:00"


@pytest.mark.parametrize(("text", "expected"), [
    ("* * * * *", True), ("@midnight", True), ("@every 1h30m", True), ("@every", False), ("@reboot", False),
    ("0 0 * * sun", True), ("0 0 * * 7", False), ("0 0 * * sunday", False), ("0 0 L * *", False),
    ("0 0 * * * *", False), ("*/5 * * * ?", True), ("5-1 * * * *", False), ("5/2 * * * *", True),
    ("1-2-3 * * * *", False), ("*/0 * * * *", False), ("1/2/3 * * * *", False),
])
def test_what_a_cleanup_policy_may_be_due_by(text: str, expected: bool) -> None:
    assert standard(text) is expected
