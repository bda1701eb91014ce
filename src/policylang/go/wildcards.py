"""Kyverno's wildcards: `*` is any text, `?` any one character. Linear in the text for each `*`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache


@lru_cache(4096)
def wildcard(pattern: str) -> Callable[[str], bool]:
    """A matcher of whole texts."""
    if pattern == "*":
        return lambda _: True
    if "?" not in pattern:
        return starred(pattern)
    if not pattern.strip("*?"):
        fewest = pattern.count("?")
        return (lambda text: len(text) >= fewest) if "*" in pattern else lambda text: len(text) == fewest
    return lambda text: _by_steps(pattern, text)


def has_wildcard(pattern: str) -> bool:
    """Whether it may match another text than itself."""
    return "*" in pattern or "?" in pattern


def starred(pattern: str) -> Callable[[str], bool]:
    """A matcher where only `*` has a meaning: the leftmost place of what is between two is never worse than another."""
    first, *middle = pattern.split("*")
    if not middle:
        return pattern.__eq__
    last = middle.pop()
    middle = [part for part in middle if part]
    if not middle and not last:
        return lambda text: text.startswith(first)
    if not middle and not first:
        return lambda text: text.endswith(last)
    shortest = sum(map(len, (first, last, *middle)))

    def matches(text: str) -> bool:
        if len(text) < shortest or not text.startswith(first) or not text.endswith(last):
            return False
        at, end = len(first), len(text) - len(last)
        for part in middle:
            at = text.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True

    return matches


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
