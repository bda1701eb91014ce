"""TOML (toml.io/en/v1.0.0) of others: bounded, because `tomllib` takes the square of a key's parts in memory.

A key of 100,000 parts, `a.a.a.…`, is 200 kB and takes 40 GB there.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

_PARTS = 24
"""Dots in a line that cost nothing: an address or a version in a text has fewer."""
_WORK, _TIMES, _TEXTS = 20_000, 16, 64
"""Parts of keys that are looked at, beyond so many for each byte (more where texts may have lines, with dots of their
own): many small files may not take what one may not."""
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')


def loads(data: bytes) -> dict[str, Any]:
    """Raises ValueError."""
    text = data.decode().removeprefix("\ufeff")
    if text.count(".") > _PARTS:
        _check(text)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("TOML nested too deep") from None


def _check(text: str) -> None:
    """A key has at most as many parts as its line has dots outside quotes; each is looked for below those of the table
    it is in.
    """
    work = above = 0
    if '"""' in text or "'''" in text:  # what is quoted is no matter of one line
        most = _WORK + _TEXTS * len(text)
    else:
        most = _WORK + _TIMES * len(text)
        text = _QUOTED.sub("", text)
    for line in text.split("\n"):
        parts = line.count(".")
        if line.lstrip()[:1] == "[":
            above = parts if parts > _PARTS else 0
        work += above + (parts * (parts + above) if parts > _PARTS else 0)
        if work > most:
            raise ValueError("TOML with keys of too many parts")
