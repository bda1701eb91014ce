"""Time as an argument: whatever needs "now" is given a Clock, so that tests and replays decide what it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from custody.errors import CustodyError, MalformedError

Clock = Callable[[], datetime]
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)\Z")


class ClockError(CustodyError):
    """The clock is outside of when a service is valid: what would be signed now could not be verified."""

    code = "clock"
    http_status = 503

    def __init__(self, service: str, now: datetime, expected: str) -> None:
        super().__init__(f"{service}: the clock says {now:%Y-%m-%dT%H:%M:%SZ}, {expected}",
                         hint="set the machine's clock right")


def system_clock() -> datetime:
    return datetime.now(UTC)


def parse_rfc3339(text: object, where: str = "time") -> datetime:
    """An aware datetime in UTC, cut to microseconds. Raises MalformedError."""
    match = _RFC3339.match(text) if isinstance(text, str) else None
    if match is None:
        raise MalformedError(where, got=text, expected="a time such as 2026-01-31T12:00:00Z (RFC 3339)")
    fraction = (match[7] or "0").ljust(6, "0")[:6]
    zone = "+00:00" if match[8] in "Zz" else match[8]
    try:
        return datetime.fromisoformat(
            f"{match[1]}-{match[2]}-{match[3]}T{match[4]}:{match[5]}:{match[6]}.{fraction}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise MalformedError(where, got=text, expected="a day and an hour that exist (RFC 3339)") from None


def format_rfc3339(moment: datetime) -> str:
    """`2026-01-31T12:00:00Z`, with microseconds only where there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
