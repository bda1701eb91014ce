"""Composer versions, ordered as PHP's version_compare does: any word < dev < alpha < beta < RC < number < pl."""

from __future__ import annotations

import re
from typing import Any

_PART = re.compile(r"[0-9]+|[^0-9.]+")
_WORDS = (("dev", 0), ("alpha", 1), ("a", 1), ("beta", 2), ("b", 2), ("rc", 3), ("c", 3), ("pl", 6), ("p", 6))
"""By what a word begins with: PHP compares no more of it, and takes `post1` for `p`."""
_END = (4,)


def key(version: str) -> Any:
    text = re.sub(r"[-_+]", ".", version.strip().lower())
    if text[:1] == "v" and text[1:2].isdigit():
        text = text[1:]
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
