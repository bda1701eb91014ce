"""Values as Kubernetes and Go write them: quantities, durations, numbers as text, and wildcards.

Sources: k8s.io/apimachinery pkg/api/resource (quantity), Go's time.ParseDuration and fmt's `%v`, and the wildcards of
Kyverno, where `*` is any text and `?` any one character.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from custody.kit.canonical import canonical

_QUANTITY = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?(?:([KMGTPE]i|[numkMGTPE]?)|[eE]([+-]?\d{1,9}))\Z", re.ASCII)
_BINARY = {unit: 1024 ** power for power, unit in enumerate(("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_LARGEST = 2**63 - 1
_DURATION = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6,
          "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_FLOAT = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|infinity|nan)\Z", re.ASCII | re.IGNORECASE)


@lru_cache(4096)
def quantity(text: str) -> Fraction | None:
    """`1.5Gi`, `250m`, `3e2` as a number, capped at 2^63 - 1 and rounded up to nano; None if it is no quantity."""
    found = _QUANTITY.match(text) if len(text) <= 64 else None
    if found is None or not (found[2] or found[3]):
        return None
    digits, fraction = found[2] or "", found[3] or ""
    value = Fraction(int(digits + fraction or "0"), 10 ** len(fraction))
    if found[5] is not None:
        value *= Fraction(10) ** max(-64, min(64, int(found[5])))
    elif found[4] in _BINARY:
        value *= _BINARY[found[4]]
    else:
        value *= Fraction(10) ** _DECIMAL[found[4] or ""]
    if value.denominator != 1:
        value = Fraction(-(-value.numerator * 10**9 // value.denominator), 10**9)
    value = min(value, Fraction(_LARGEST))
    return -value if found[1] == "-" else value


@lru_cache(4096)
def duration(text: str) -> int | None:
    """Nanoseconds of `1h30m`, `24h`, `-1.5s`; None if Go's time.ParseDuration would refuse it."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    total, at = 0, 0
    while at < len(rest):
        found = _DURATION.match(rest, at)
        if found is None or not (found[1] or found[2]) or len(found[0]) > 40:
            return None
        unit = _UNITS[found[3]]
        total += int(found[1] or 0) * unit
        if found[2]:
            total += int(found[2]) * unit // 10 ** len(found[2])
        at = found.end()
    if not rest or total > _LARGEST:
        return None
    return -total if text[0] == "-" else total


def format_duration(nanoseconds: int) -> str:
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


def number(text: str) -> float | None:
    """What Go's strconv.ParseFloat reads, without hexadecimal floats."""
    return float(text) if _FLOAT.match(text) and len(text) < 400 else None


def exponent(value: float) -> str:
    """Go's strconv.FormatFloat(value, 'E', -1, 64): 8080.0 is `8.08E+03`."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"inf": "+Inf", "-inf": "-Inf"}.get(str(value), "NaN")
    sign, digits, power = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    power = int(power) + len(text) - 1 if text else 0
    text = text.rstrip("0") or "0"
    return f"{'-' if sign else ''}{text[0]}{'.' + text[1:] if text[1:] else ''}E{power:+03d}"


def sprint(value: Any) -> str:
    """Go's fmt.Sprint of JSON data, whose numbers are all float64."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "<nil>", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        value = float(max(-10**300, min(10**300, value)) if isinstance(value, int) else value)
        short = exponent(value)
        power = int(short.partition("E")[2] or 0)
        if power < -4 or power >= 6:
            return short.replace("E", "e")
        return format(Decimal(repr(value)).normalize(), "f")
    if isinstance(value, list):
        return "[" + " ".join(map(sprint, value)) + "]"
    return "map[" + " ".join(f"{key}:{sprint(value[key])}" for key in sorted(value)) + "]"


def marshal(value: Any) -> str:
    """JSON text as Go would write it into a string."""
    return canonical(value).decode().replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def same(one: Any, other: Any) -> bool:
    """Equality of JSON data in which true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@lru_cache(4096)
def wildcard(pattern: str) -> Callable[[str], bool]:
    """A matcher of whole texts. Linear in the text for each `*`, so that nobody can stall it with a text."""
    if pattern == "*":
        return lambda _: True
    if "*" not in pattern and "?" not in pattern:
        return pattern.__eq__
    if "?" not in pattern:
        first, *middle, last = pattern.split("*")
        shortest = sum(map(len, (first, last, *middle)))

        def by_parts(text: str) -> bool:
            if len(text) < shortest or not text.startswith(first) or not text.endswith(last):
                return False
            at, end = len(first), len(text) - len(last)
            for part in middle:
                at = text.find(part, at, end)
                if at < 0:
                    return False
                at += len(part)
            return True

        return by_parts
    return lambda text: _by_steps(pattern, text)


def _by_steps(pattern: str, text: str) -> bool:
    at = here = mark = 0
    star = -1
    while here < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, mark = at, here
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[here]):
            at += 1
            here += 1
        elif star >= 0:
            mark += 1
            at, here = star + 1, mark
        else:
            return False
    return not pattern[at:].strip("*")


def glob(pattern: str, text: str) -> bool:
    return wildcard(pattern)(text)
