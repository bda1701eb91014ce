"""Versions of programs that no package manager brought: Node.js, OpenSSL, nginx, calendar versions, and Conan's.

Numbers with dots, a missing one 0; one letter behind the last is a patch (OpenSSL 1.1.1k), as are `p1` and `_292`;
words for what was before (`rc1`, `-beta.2`, `alpha`) are before. What is anything else has no place.
"""

from __future__ import annotations

import re
from typing import Any

_SHAPE = re.compile(r"v?(?P<numbers>[0-9]+(?:\.[0-9]+)*)(?P<letters>[a-z]{0,2}(?![a-z0-9]))?"
                    r"(?:[-._ ]?(?P<word>dev|alpha|a|beta|b|milestone|m|preview|pre|rc|cr)[-._]?(?P<number>[0-9]*)"
                    r"(?:\.[0-9]+)*)?(?:(?:[-._]?p|[-_]|u)(?P<patch>[0-9]+))?(?:\+[0-9a-z.-]*)?\Z")
_WORDS = {"dev": 0, "alpha": 1, "a": 1, "beta": 2, "b": 2, "milestone": 3, "m": 3, "preview": 4, "pre": 4, "rc": 5,
          "cr": 5}
_RELEASED = 6


def key(version: str) -> Any:
    match = _SHAPE.match(version.strip().lower())
    if match is None:
        raise ValueError("not numbers with '.' between them, and a letter, a patch or a word such as rc1 behind them")
    numbers = [int(part) for part in match["numbers"].split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    letters = match["letters"] or ""
    word = _WORDS[match["word"]] if match["word"] else _RELEASED
    return tuple(numbers), word, int(match["number"] or 0), (len(letters), letters), int(match["patch"] or 0)
