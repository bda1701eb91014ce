"""Fields of documents, each checked and named where it is not what it must be; and the ranges that most state."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from custody.errors import MalformedError
from custody.formats.osv import Affected, Range
from custody.kit import members, strictjson
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.kit.members import mapping as mapping

MAX_LIST = 2_000_000
_LONGEST = 65536
_SUMMARY = 500
_DAY = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(:\d\d(?:\.\d+)?)?)?(?: ?(?:UTC|Z|[+]00:?00))?\Z")

EVERY = Range("ECOSYSTEM", (("introduced", "0"),))
"""All versions, and no fix is known."""


def until(fixed: str) -> Range:
    """All versions before one."""
    return Range("ECOSYSTEM", (("introduced", "0"), ("fixed", fixed)))


def through(last: str) -> Range:
    """All versions up to one, and that too."""
    return Range("ECOSYSTEM", (("introduced", "0"), ("last_affected", last)))


def document(data: bytes, where: str, largest: int, *, depth: int = 64) -> Any:
    return strictjson.loads(data, where, max_size=largest, max_depth=depth)


def child(entry: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    """Empty where there is none."""
    value = entry.get(key)
    return {} if value is None else mapping(value, f"{where}.{key}")


def text(entry: dict[str, Any], key: str, where: str) -> str:
    return members.text(entry, key, where, _LONGEST)


def optional(entry: dict[str, Any], key: str, where: str) -> str:
    """Empty where there is none."""
    return "" if entry.get(key) in (None, "") else text(entry, key, where)


def items(entry: dict[str, Any], key: str, where: str) -> list[Any]:
    """Empty where there is none."""
    return members.items(entry, key, where, MAX_LIST)


def texts(entry: dict[str, Any], key: str, where: str) -> list[str]:
    value = items(entry, key, where)
    if not all(isinstance(item, str) and len(item) <= _LONGEST for item in value):
        raise MalformedError(f"{where}.{key}", got=value, expected="texts")
    return value


def moment(value: Any, where: str) -> str:
    """RFC 3339 of a publisher's time: a day, a time without a zone (UTC), seconds since 1970 or their thousandths."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value / 1000 if value > 1e11 else value
        try:
            return format_rfc3339(datetime.fromtimestamp(seconds, UTC))
        except (ValueError, OverflowError, OSError):
            raise MalformedError(where, got=value, expected="a time since 1970") from None
    match = _DAY.match(value) if isinstance(value, str) else None
    if match is not None:
        value = f"{match[1]}T{match[2] or '00:00'}{match[3] or ':00'}Z"
    parse_rfc3339(value, where)
    return str(value)


def summary(*candidates: Any) -> str:
    """The first line of the first that says something."""
    for candidate in candidates:
        if isinstance(candidate, str) and candidate.strip():
            return candidate.strip().partition("\n")[0][:_SUMMARY]
    return ""


class Fixes:
    """What a document says of packages, gathered: several fixed versions of one are several ranges."""

    def __init__(self) -> None:
        self._rows: dict[Affected, dict[Range, None]] = {}

    def add(self, said: Affected, *ranges: Range) -> None:
        """`said` without ranges."""
        self._rows.setdefault(said, {}).update(dict.fromkeys(ranges))

    def affected(self) -> tuple[Affected, ...]:
        return tuple(Affected(said.ecosystem, said.name, tuple(ranges), said.versions, said.severity, said.ratings,
                              said.status, said.reason, said.module, said.by)
                     for said, ranges in self._rows.items())
