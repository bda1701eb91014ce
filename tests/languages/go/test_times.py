"""Layouts, zones and the calendar: facts, and layouts with zones and odd texts as OPA's time builtins have them."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import peer
from tests.languages.rego_builtins.opa import serving

from policylang.go.calendar import WEEKDAYS, TimeError, add_date, civil, days_from, moment, zone
from policylang.go.times import LAYOUTS, RFC3339, format_time, parse_time

MOMENTS = (0, 1735689600123456789, 1582977600500000000, -1234567890123456789, 1718000000000000000)
ZONES = ("", "UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Nope/Zone")
ODD = ("2006 06 Jan January 1 01 _2 2 02 Mon Monday 15 3 03 4 04 5 05 PM pm MST -07 Z07 -070000 Z07:00:00 002 __2 .000 "
       ".999 ,00 .0007 Janus _2006")
KNOWN = tuple(LAYOUTS)[:10]  # by name in OPA
TEXTS = (
    "2020-02-29T12:30:45Z", "2021-02-29T12:30:45Z", "2020-02-29T12:30:45.123456789+05:30", "2020-13-01T00:00:00Z",
    "2020-01-01T25:00:00Z", "2020-01-01T00:00:61Z", "2020-01-01 00:00:00", "", "abc", "2020-01-01T00:00:00Zx",
    "2020-01-01T00:00:00.1234567891234Z", "2020-01-01T00:00:00", "2300-01-01T00:00:00Z", "2020-01-01T00:00:00+25:00",
    "2020-1-1T00:00:00Z", "2020-01-01T1:00:00Z", "2020-01-01T00:00:00,5Z", "Mon Jan  2 15:04:05 2006",
    "Mon Jan 2 15:04:05 MST 2006", "Mon, 02 Jan 2006 15:04:05 -0700", "02 Jan 06 15:04 GMT+3", "3:04PM", "13:04PM",
    "12:30AM", "2020-060", "2006-01-02", "15:04:05.5", "02-Jan-70", "1/2/2006 3:4:5 PM", "jan 5 1999",
    "Monday, 02-Jan-06 15:04:05 CEST", "2021-366")
SHAPES = (*KNOWN, "3:04PM", "2006-002", "02-Jan-06", "1/2/2006 3:4:5 PM", "Jan _2 2006", "2006-01-02T15:04:05.999")


def test_the_calendar() -> None:
    assert days_from(1970, 1, 1) == 0
    assert moment(2024, 2, 30) == moment(2024, 3, 1)
    assert civil(moment(1, 1, 1))[:3] == (1, 1, 1)
    assert civil(moment(9999, 12, 31, 23, 59, 59, 5))[:7] == (9999, 12, 31, 23, 59, 59, 5)
    assert civil(0).weekday == 4
    assert civil(add_date(moment(2023, 1, 31), 0, 1, 0))[:3] == (2023, 3, 3)


def test_daylight_saving_time() -> None:
    berlin = zone("Europe/Berlin")
    assert format_time(moment(2024, 3, 31, 2, 30, where=berlin), where=berlin) == "2024-03-31T03:30:00+02:00"
    assert format_time(moment(2024, 7, 1, where=berlin), "2006-01-02 MST -07", berlin) == "2024-07-01 CEST +02"


def _mine(name: str, arguments: list[Any]) -> tuple[str, Any]:
    try:
        if name == "time.format":
            ns, where, layout = arguments[0]
            return "value", format_time(ns, LAYOUTS[layout] if layout in KNOWN else layout, zone(where))
        if name == "time.weekday":
            return "value", WEEKDAYS[civil(arguments[0][0], zone(arguments[0][1])).weekday]
        layout = LAYOUTS[arguments[0]] if arguments[0] in KNOWN else arguments[0]
        found = parse_time(layout if len(arguments) == 2 else RFC3339, arguments[-1]).ns
        if not -(1 << 63) <= found < 1 << 63:
            raise TimeError("time outside of valid range")
    except TimeError as wrong:
        return "eval_builtin_error", f"{name}: {wrong}"
    return "value", found


@pytest.mark.peer
def test_layouts_and_texts_as_opa_reads_and_writes_them(tmp_path: Path) -> None:
    asked: list[tuple[str, list[Any]]] = [
        ("time.format", [[*each]]) for each in product(MOMENTS, ZONES, (*KNOWN, ODD))]
    asked += [("time.weekday", [[*each]]) for each in product(MOMENTS, ZONES)]
    asked += [("time.parse_ns", [layout, text]) for layout, text in product(SHAPES, TEXTS)]
    asked += [("time.parse_rfc3339_ns", [text]) for text in TEXTS]
    with serving(peer("opa"), tmp_path) as opa:
        answers = opa.calls(asked)
    wrong = [(each, theirs, _mine(*each))
             for each, theirs in zip(asked, answers, strict=True) if _mine(*each) != theirs]
    assert wrong == []
