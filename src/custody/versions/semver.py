"""Semantic Versioning 2.0.0 section 11, as npm, Cargo and Go use it; a leading `v` and missing parts are allowed.

Dart's pub orders build metadata too (`key_with_build`); NuGet has four parts and ignores case (`nuget_key`).
"""

from __future__ import annotations

import re
from typing import Any

_SHAPE = re.compile(r"[vV=]?(?P<numbers>[0-9]+(?:\.[0-9]+)*)(?:-?(?P<pre>[0-9A-Za-z.-]*?))?(?:\+(?P<build>.*))?\Z")


def key(version: str) -> Any:
    return _split(version)[:2]


def key_with_build(version: str) -> Any:
    numbers, pre, build = _split(version)
    return numbers, pre, _identifiers(build) if build else ()


def nuget_key(version: str) -> Any:
    return _split(version.lower())[:2]


def _split(version: str) -> tuple[tuple[int, ...], Any, str]:
    match = _SHAPE.match(version.strip())
    if match is None:
        raise ValueError("not a semantic version")
    numbers = [int(part) for part in match["numbers"].split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    pre = match["pre"] or ""
    return tuple(numbers), (0, _identifiers(pre)) if pre else (1,), match["build"] or ""


def _identifiers(text: str) -> tuple[Any, ...]:
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in text.split("."))
