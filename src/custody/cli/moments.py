"""Moments as they are typed: a time, a day, or how long ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import click

from custody.errors import CustodyError, UsageError
from custody.kit.clock import parse_rfc3339, system_clock

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1),
          "w": timedelta(weeks=1)}


class Moment(click.ParamType[datetime]):
    """`7d` or `90m` ago, `2026-11-29` or an RFC 3339 time."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:  # noqa: ARG002
        if isinstance(value, datetime):
            return value
        text = str(value)
        if ago := _AGO.fullmatch(text):
            return system_clock() - int(ago[1]) * _UNITS[ago[2]]
        try:
            return parse_rfc3339(f"{text}T00:00:00Z" if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else text)
        except CustodyError:
            option = param.opts[0] if param is not None else "time"
            raise UsageError(f"{option}: got {text}, expected 7d, 90m, 2026-11-29 or 2026-11-29T08:00:00Z") from None
