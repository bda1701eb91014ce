"""vcpkg's versions, a port's version behind `#`: `1.2.3#4` (vcpkg-tool, `compare_any` of versions.cpp).

Numbers with dots, and behind them what semantic versions have; one with fewer numbers is before the same with more. A
date, `2024-01-31.1`, sorts among its kind as those do. Any other text is a name of its own, which has an order only
among the versions of its port. Which scheme a port declares is not kept where it is installed, so that, as in
`vcpkg update`, a version is taken for what it looks like.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from custody.errors import MalformedError

_PORT = re.compile(r"(?s)([^#]+)(?:#([0-9]+))?\Z")
_NUMBER = "(?:0|[1-9][0-9]*)"
_IDENTIFIER = f"(?:[0-9]*[A-Za-z-][0-9A-Za-z-]*|{_NUMBER})"
_DOTTED = re.compile(rf"({_NUMBER}(?:\.{_NUMBER})*)(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"
                     r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?\Z")
_Version = tuple[str, tuple[Any, ...] | None, int]


def key(version: str) -> Any:
    return functools.cmp_to_key(_compare)(_read(version))


def sortable(version: str) -> tuple[Any, ...]:
    """A tuple that sorts as `key` does. Raises ValueError for a text that is no number and no date."""
    text, parts, port = _read(version)
    if parts is None:
        raise ValueError(f"{text}: neither numbers with '.' between them nor a date")
    return *parts, port


def _read(version: str) -> _Version:
    match = _PORT.match(version.strip())
    if match is None:
        raise ValueError("not a text with a number behind '#'")
    return match[1], _parts(match[1]), int(match[2] or 0)


def _parts(text: str) -> tuple[Any, ...] | None:
    match = _DOTTED.match(text)
    if match is None:
        return None
    numbers = tuple(map(int, match[1].split(".")))
    if not all(map(_readable, numbers)):
        return None
    return numbers, (0, tuple(map(_identifier, match[2].split(".")))) if match[2] else (1,)


def _identifier(text: str) -> tuple[int, Any]:
    return (0, int(text)) if text.isdigit() and _readable(int(text)) else (1, text)


def _readable(number: int) -> bool:
    """Whether vcpkg takes the digits for a number: of those near 2^64 not all."""
    return number // 10 <= (1 << 64) // 10 - number % 10


def _compare(left: _Version, right: _Version) -> int:
    if left[0] != right[0]:
        if left[1] is None or right[1] is None:
            raise MalformedError("vcpkg version", got=f"{left[0]} against {right[0]}",
                                 expected="numbers with '.' between them or dates, which alone have an order")
        if left[1] != right[1]:
            return 1 if left[1] > right[1] else -1
    return (left[2] > right[2]) - (left[2] < right[2])
