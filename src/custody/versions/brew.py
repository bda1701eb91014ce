"""Homebrew's versions, a formula's revision behind an underscore: `1.7.1_2` (Homebrew's Version and PkgVersion).

A version is a row of numbers, words and marks. From the oldest on, what may stand at one place: `alpha`, `beta`, `pre`
and `rc`, each with its number; nothing; `.post1`; words, among them patches such as `p1`; numbers. Zeros say nothing in
front of a word and at the end. `HEAD` is newer than any, and each HEAD as new as another.

Homebrew compares words with marks as texts, and so goes in a circle for some: 1.0rc1 is before 1.0, that before 1.0b,
and that before 1.0rc1. Of such a pair no order is told here.
"""

from __future__ import annotations

import functools
import re
from itertools import zip_longest
from typing import Any, NamedTuple

from custody.errors import MalformedError

_REVISION = re.compile(r"(.+?)(?:_([0-9]+))?\Z")
_HEAD = re.compile(r"HEAD(?:-.*)?\Z")
_TOKEN = re.compile(
    r"(?P<alpha>alpha[0-9]*|a[0-9]+)|(?P<beta>beta[0-9]*|b[0-9]+)|(?P<pre>pre[0-9]*)|(?P<rc>rc[0-9]*)"
    r"|(?P<patch>p[0-9]*)|(?P<post>.post[0-9]+)|(?P<number>[0-9]+)|(?P<word>[a-z]+)", re.IGNORECASE | re.ASCII)
_DIGITS = re.compile(r"[0-9]+")
_PRERELEASES = {"alpha": 0, "beta": 1, "pre": 2, "rc": 3}
_BEFORE, _END, _WORD, _NUMBER = 0, 1, 2, 3


class _Token(NamedTuple):
    rank: tuple[Any, ...]
    """Sorts as Homebrew does, where it goes in no circle."""
    text: str
    """As it is written."""


_Version = tuple[bool, tuple[_Token, ...], int]
_NOTHING = _Token((_END,), "")
_ZERO = (_NUMBER, 0)


def key(version: str) -> Any:
    return functools.cmp_to_key(_compare)(_read(version))


def sortable(version: str) -> tuple[Any, ...]:
    """A tuple that sorts as `key` does. Raises ValueError for what some words make no row with: marks of what was
    before a release, patches in capitals, and a `post` behind anything but a dot.
    """
    head, tokens, revision = _read(version)
    if any(rank[0] == _BEFORE or (rank[0] == _WORD and rank[1] != text[:len(rank[1])]) for rank, text in tokens):
        raise ValueError("a mark that Homebrew compares with words as a text")
    return (head, *(token.rank for token in tokens), _NOTHING.rank, revision)


def _read(version: str) -> _Version:
    match = _REVISION.match(version.strip())
    if match is None:
        raise ValueError("empty")
    text, revision = match[1], int(match[2] or 0)
    if _HEAD.match(text):
        return True, (), revision
    tokens: list[_Token] = []
    for part in _TOKEN.finditer(text):
        if not part["number"]:
            _drop_zeros(tokens)
        tokens.append(_Token(_rank(part), part[0]))
    if not tokens:
        raise ValueError("no number and no word")
    _drop_zeros(tokens)
    return False, tuple(tokens), revision


def _drop_zeros(tokens: list[_Token]) -> None:
    while tokens and tokens[-1].rank == _ZERO:
        tokens.pop()


def _rank(part: re.Match[str]) -> tuple[Any, ...]:
    kind, text = part.lastgroup or "", part[0]
    if kind == "word":
        return _WORD, text, 0
    digits = _DIGITS.search(text)
    count = int(digits[0]) if digits else 0
    if kind == "number":
        return _NUMBER, count
    if kind in _PRERELEASES:
        return _BEFORE, _PRERELEASES[kind], count
    return _WORD, "p" if kind == "patch" else ".", count


def _compare(left: _Version, right: _Version) -> int:
    if left[0] != right[0]:
        return 1 if left[0] else -1
    for mine, yours in zip_longest(left[1], right[1], fillvalue=_NOTHING):
        if mine.rank != yours.rank:
            return _order(mine, yours)
    return (left[2] > right[2]) - (left[2] < right[2])


def _order(mine: _Token, yours: _Token) -> int:
    order = 1 if mine.rank > yours.rank else -1
    if _as_texts(mine, yours) and order != (1 if mine.text > yours.text else -1):
        raise MalformedError("Homebrew version", got=f"{mine.text} against {yours.text}",
                             expected="words and marks of which Homebrew says one order")
    return order


def _as_texts(mine: _Token, yours: _Token) -> bool:
    """Whether Homebrew compares the two as they are written: words with all that is no number, patches with posts."""
    ranks = mine.rank, yours.rank
    if not all(rank[0] in (_BEFORE, _WORD) for rank in ranks):
        return False
    kinds = ["before" if rank[0] == _BEFORE else rank[1] if rank[1] in ("p", ".") else "word" for rank in ranks]
    return "word" in kinds or ("before" not in kinds and kinds[0] != kinds[1])
