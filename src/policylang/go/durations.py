"""Go's time.Duration: whole nanoseconds, written `1h30m`, `24h`, `-1.5s`."""

from __future__ import annotations

import re
from functools import lru_cache

_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6,
          "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_OVERFLOW = 2**63
LARGEST = 2**63 - 1


class DurationError(ValueError):
    """What time.ParseDuration refuses, in its words."""


@lru_cache(4096)
def parse(text: str) -> int | None:
    """Nanoseconds, or None if time.ParseDuration would refuse it."""
    try:
        return read(text)
    except DurationError:
        return None


def read(text: str) -> int:
    """Nanoseconds. Raises DurationError in Go's words."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest or len(text) > 1024:
        raise DurationError(f"time: invalid duration {_quoted(text)}")
    total, at = 0, 0
    while at < len(rest):
        part = _PART.match(rest, at)
        whole, fraction, unit = part.groups() if part else ("", "", "")
        if part is None or not (whole or fraction) or int(whole or "0") > _OVERFLOW:
            raise DurationError(f"time: invalid duration {_quoted(text)}")
        if not unit:
            if rest[part.end():part.end() + 1] == ".":
                raise DurationError(f"time: missing unit in duration {_quoted(text)}")
            raise DurationError(f"time: missing unit in duration {_quoted(text)}")
        size = _UNITS.get(unit)
        if size is None:
            raise DurationError(f"time: unknown unit {_quoted(unit)} in duration {_quoted(text)}")
        total += int(whole or "0") * size
        if fraction:
            digits = fraction[:18]  # what Go reads before its int64 would overflow
            total += int(float(int(digits)) * (float(size) / float(10 ** len(digits))))
        at = part.end()
        if total > _OVERFLOW:
            raise DurationError(f"time: invalid duration {_quoted(text)}")
    if text[0] == "-":
        return -total
    if total > LARGEST:
        raise DurationError(f"time: invalid duration {_quoted(text)}")
    return total


def _quoted(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(char if char.isprintable() and char not in '"\\' else
                         f"\\{char}" if char in '"\\' else _escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "replace"))


def show(nanoseconds: int) -> str:
    """As Go prints a time.Duration: `25h0m0s`, `1.5s`, `0s`."""
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest == 0:
        return "0s"
    if rest < 10**9:
        unit, size = ("ns", 1) if rest < 10**3 else ("µs", 10**3) if rest < 10**6 else ("ms", 10**6)
        return f"{sign}{_plain(rest, size)}{unit}"
    minutes, seconds = divmod(rest, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{head}{_plain(seconds, 10**9)}s"


def _plain(value: int, size: int) -> str:
    whole, part = divmod(value, size)
    return f"{whole}.{str(part).rjust(len(str(size)) - 1, '0').rstrip('0')}" if part else str(whole)
