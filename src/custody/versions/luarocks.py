"""LuaRocks versions: numbers and words in a row, and behind a hyphen the rockspec's revision (LuaRocks, "Rockspec
format", version).

A word takes the place of a number far above all (`dev`, `scm`, `cvs`) or below zero (`rc`, `pre`, `beta`, `alpha`), any
other the place of its first letter's code among thousandths; a number behind it counts in hundred-thousandths.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from custody.versions.padding import padded

_REVISION = re.compile(r"(.*)-([0-9]+)\Z", re.DOTALL)
_PART = re.compile(r"(?:([0-9]+)|([A-Za-z]+))[._-]*")
_UNIT = 100_000
_WORDS = {"dev": 120_000_000 * _UNIT, "scm": 110_000_000 * _UNIT, "cvs": 100_000_000 * _UNIT, "rc": -1000 * _UNIT,
          "pre": -10_000 * _UNIT, "beta": -100_000 * _UNIT, "alpha": -1_000_000 * _UNIT}
_Version = tuple[tuple[Any, ...], int | None]


def key(version: str) -> Any:
    return functools.cmp_to_key(_compare)(_read(version))


def sortable(version: str) -> tuple[Any, ...]:
    """A tuple that sorts as `key` does. Raises ValueError for a version without a revision, which is as new as each of
    its revisions.
    """
    parts, revision = _read(version)
    if revision is None:
        raise ValueError("no revision")
    return (*parts, revision)


def _read(version: str) -> _Version:
    text = version.strip()
    match = _REVISION.match(text)
    text, revision = (match[1], int(match[2])) if match else (text, None)
    parts: list[int] = []
    word: int | None = None
    place = 0
    while place < len(text):
        part = _PART.match(text, place)
        if part is None:
            raise ValueError("not numbers and words with '.', '-' or '_' between them")
        if part[2]:
            word = _WORDS.get(part[2], ord(part[2][0]) * _UNIT // 1000)
        else:
            parts.append(int(part[1]) * _UNIT if word is None else word + int(part[1]))
            word = None
        place = part.end()
    if word is not None:
        parts.append(word)
    if not parts and revision is None:
        raise ValueError("empty")
    return padded(parts, 0), revision


def _compare(left: _Version, right: _Version) -> int:
    """A revision counts only where both have one."""
    if left[0] != right[0]:
        return -1 if left[0] < right[0] else 1
    if left[1] is None or right[1] is None or left[1] == right[1]:
        return 0
    return -1 if left[1] < right[1] else 1
