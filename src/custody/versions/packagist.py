"""Composer versions: four numbers and a stability, as composer/semver makes of them before it compares.

They are then in the order of PHP's version_compare: any word < dev < alpha < beta < RC < number < pl. What Composer
would not take for a version is compared by that order alone: Packagist's advisories have some.
"""

from __future__ import annotations

import re
from typing import Any

_PART = re.compile(r"[0-9]+|[^0-9.]+")
_WORDS = (("dev", 0), ("alpha", 1), ("a", 1), ("beta", 2), ("b", 2), ("rc", 3), ("c", 3), ("pl", 6), ("p", 6))
"""By what a word begins with: PHP compares no more of it, and takes `post1` for `p`."""
_END = (4,)
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+){0,3}(?!\.?[0-9])")
_BUILD = re.compile(r"\+\S+\Z")
_STABLE = re.compile(r"[._-]?stable(?:[.-]?[0-9]+)*(?:[.-]?dev)?\Z")


def key(version: str) -> Any:
    text = version.strip().lower()
    if text[:1] == "v" and text[1:2].isdigit():
        text = text[1:]
    text = _STABLE.sub("", _BUILD.sub("", text))
    if numbers := _NUMBERS.match(text):
        text = numbers[0] + ".0" * (3 - numbers[0].count(".")) + text[numbers.end():]
    text = re.sub(r"[-_+]", ".", text)
    if not text:
        raise ValueError("empty")
    parts: list[Any] = []
    for part in _PART.findall(text):
        if part.isdigit():
            parts.append((5, int(part)))
        else:
            rank = next((rank for word, rank in _WORDS if part.startswith(word)), -1)
            parts.append((rank, part if rank < 0 else ""))
    return (*parts, _END)
