"""CocoaPods versions: numbers, then parts of letters and of digits, with which it is a prerelease (CocoaPods Core,
`Pod::Version`).

Zeros behind the last other number do not count, nor does what stands behind a `+`. Of a prerelease's parts a number is
before a text, as in Semantic Versioning, and the shorter of two that begin alike is older.
"""

from __future__ import annotations

import re
from typing import Any

_VERSION = re.compile(r"([0-9]+(?:\.[0-9A-Za-z-]+)*)(?:\+[0-9A-Za-z.-]+)?\Z")
_PART = re.compile(r"[0-9]+|[A-Za-z]+")


def key(version: str) -> Any:
    match = _VERSION.match(version.strip(" \t\r\n\f\v"))
    if match is None:
        raise ValueError("not numbers with dots, and what may stand behind them")
    numbers: list[int] = []
    parts = _PART.findall(match[1])
    for part in parts:
        if not part.isdigit():
            break
        numbers.append(int(part))
    before = tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts[len(numbers):])
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), 0 if before else 1, before
