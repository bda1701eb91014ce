"""Maven versions (Maven POM reference, "Version Order Specification")."""

from __future__ import annotations

import functools
import re
from typing import Any

_TOKEN = re.compile(r"([-.]?)([0-9]+|[^0-9-.]+|(?=[-.]|\Z))")
_ORDER = {"alpha": 0, "beta": 1, "milestone": 2, "rc": 3, "cr": 3, "snapshot": 4, "": 5, "final": 5, "ga": 5,
          "release": 5, "sp": 6}
_SHORT = {"a": "alpha", "b": "beta", "m": "milestone"}
_Token = tuple[str, int | str]
_END = (1, 4, "\U0010ffff")
"""Behind the qualifiers that make a version older, before the nulls, behind which something newer stands always."""


def key(version: str) -> Any:
    return functools.cmp_to_key(_compare)(tuple(_tokens(version.strip().lower())))


def sortable(version: str) -> tuple[Any, ...]:
    """A tuple that sorts as `key` does. Raises ValueError where there is none.

    Maven compares a version that ends with whatever the other has there, so that its order goes in a circle for
    qualifiers behind a dot: 1.foo < 1-alpha < 1 < 1.foo, and 1.0.rc < 1 < 1-foo < 1.0.rc. Those have no place in a
    row, but for the ones that make a version older and stand behind no null: `4.1.2.RC1`.
    """
    ranks: list[Any] = []
    before = False
    for token in _tokens(version.strip().lower()):
        rank = _rank(token)
        if rank[0] == 0 and (rank[1] >= 5 or before):
            raise ValueError("its place depends on what it is compared with")
        before = _null(token)
        ranks.append(rank)
    return (*ranks, _END)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    last = None
    text = "0" + text if text[:1] in (".", "-") else text
    for match in _TOKEN.finditer(text):
        separator, value = match[1], match[2]
        if not separator and not value:
            continue
        if not separator and tokens:
            separator = "-"  # from digits to letters and back counts as a hyphen
        if value and not value.isdigit():
            after = text[match.end():match.end() + 1]
            value = _SHORT.get(value, value) if after.isdigit() else value
        tokens.append((separator, int(value) if value.isdigit() else value or 0))
        last = match
    if last is None:
        raise ValueError("empty")
    # Trailing nulls go, and so do those before each hyphen that is left.
    place = len(tokens) - 1
    while place > 0:
        if _null(tokens[place]) and (place == len(tokens) - 1 or tokens[place + 1][0] == "-"):
            del tokens[place]
        place -= 1
    return tokens


def _null(token: _Token) -> bool:
    return token[1] == 0 or (isinstance(token[1], str) and _ORDER.get(token[1]) == 5)


def _compare(left: tuple[_Token, ...], right: tuple[_Token, ...]) -> int:
    for place in range(max(len(left), len(right))):
        left_token = left[place] if place < len(left) else _padding(right[place])
        right_token = right[place] if place < len(right) else _padding(left[place])
        left_rank, right_rank = _rank(left_token), _rank(right_token)
        if left_rank != right_rank:
            return -1 if left_rank < right_rank else 1
    return 0


def _padding(token: _Token) -> _Token:
    return token[0], 0 if isinstance(token[1], int) else ""


def _rank(token: _Token) -> tuple[Any, ...]:
    separator, value = token
    if isinstance(value, int):
        return (2 if separator == "-" else 3), value, ""
    return (0 if separator == "." else 1), _ORDER.get(value, 7), "" if value in _ORDER else value
