"""Patterns that are no map and no list: `*.io/* | !x`, `>=1Gi & <=2Gi`, `1-5`, true, 7, null (pkg/engine/pattern).

Durations are tried first, then quantities, then wildcards.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from policylang.go.durations import parse as duration
from policylang.go.numbers import format_float
from policylang.go.printing import read_number
from policylang.go.quantities import number as quantity
from policylang.go.wildcards import wildcard

_NUMBER = r"([-|+]?[0-9]+(?:\.[0-9]+)?[A-Za-z]*)"
_RANGE = re.compile(rf"{_NUMBER}-{_NUMBER}\Z")
_NOT_RANGE = re.compile(rf"{_NUMBER}!-{_NUMBER}\Z")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "": lambda a, b: a == b, "!": lambda a, b: a != b, ">": lambda a, b: a > b, "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b}

Scalar = Callable[[Any], bool]


def operator(pattern: str) -> str:
    """The operator that a text pattern begins with; `-` and `!-` for ranges."""
    if len(pattern) < 2:
        return ""
    for sign in (">=", "<=", ">", "<", "!"):
        if pattern.startswith(sign):
            return sign
    return "!-" if _NOT_RANGE.match(pattern) else "-" if _RANGE.match(pattern) else ""


@lru_cache(4096, typed=True)
def scalar(pattern: str | int | float | bool | None) -> Scalar:
    """Whether a value, which is no list, matches a pattern."""
    if isinstance(pattern, str):
        choices = [[_condition(part.strip(" ")) for part in choice.strip(" ").split("&")]
                   for choice in pattern.split("|")]
        if len(choices) == 1 and len(choices[0]) == 1:
            only = choices[0][0]
            return lambda value: value == pattern or only(value)
        return lambda value: value == pattern or any(
            all(condition(value) for condition in choice) for choice in choices)
    if isinstance(pattern, bool):
        return lambda value: value is pattern
    if pattern is None:
        return lambda value: not isinstance(value, (dict, list)) and not value
    text = _integer if isinstance(pattern, int) else read_number

    def by_number(value: Any) -> bool:
        if isinstance(value, bool):
            return False
        if isinstance(value, str):
            return text(value) == pattern
        return isinstance(value, (int, float)) and value == pattern

    return by_number


@lru_cache(4096, typed=True)
def leaf(pattern: str | int | float | bool | None) -> Scalar:
    """The same for any value: of a list, each element must match."""
    matches = scalar(pattern)
    return lambda value: all(map(matches, value)) if type(value) is list else matches(value)


def plain_text(pattern: Any) -> tuple[str, str] | None:
    """(operator, operand) of a text pattern that only compares with one text or wildcard; None for others.

    The operator is "" or "!"; the operand is neither a duration nor a quantity, which match numbers too.
    """
    if not isinstance(pattern, str) or "|" in pattern or "&" in pattern:
        return None
    written = pattern.strip(" ")
    sign = operator(written)
    operand = written[len(sign):].strip()
    if sign not in ("", "!") or duration(operand) is not None or quantity(operand) is not None:
        return None
    return sign, operand


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,19}", text) else None


def _condition(pattern: str) -> Scalar:
    sign = operator(pattern)
    if sign in ("-", "!-"):
        bounds = (_RANGE if sign == "-" else _NOT_RANGE).match(pattern)
        low, high = bounds.groups() if bounds else ("", "")
        above, below = (">=", "<=") if sign == "-" else ("<", ">")
        left, right = _condition(f"{above} {low}"), _condition(f"{below} {high}")
        if sign == "-":
            return lambda value: left(value) and right(value)
        return lambda value: left(value) or right(value)
    operand = pattern[len(sign):].strip()
    compare = _COMPARE[sign]
    as_duration, as_quantity = duration(operand), quantity(operand)
    match = wildcard(operand)

    def check(value: Any) -> bool:
        if as_duration is not None or as_quantity is not None:
            text = _number_text(value)
            if text is not None:
                if as_duration is not None and (elapsed := duration(text)) is not None:
                    return compare(elapsed, as_duration)
                if as_quantity is not None and (size := quantity(text)) is not None:
                    return compare(size, as_quantity)
        if sign not in ("", "!"):
            return False
        text = value if type(value) is str else _value_text(value)
        return text is not None and match(text) == (sign == "")

    return check


def _number_text(value: Any) -> str | None:
    if value is None:
        return "0"
    if isinstance(value, float):
        return f"{value:f}"
    return value if isinstance(value, str) else str(value) if type(value) is int else None


def _value_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return format_float(value, "E") if isinstance(value, float) else str(value) if isinstance(value, int) else None
