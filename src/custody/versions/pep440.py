"""Python versions (PEP 440, "Summary of permitted suffixes and relative ordering"); older styles sort before them."""

from __future__ import annotations

import re
from typing import Any

_SHAPE = re.compile(r"""v?(?:(?P<epoch>[0-9]+)!)?(?P<release>[0-9]+(?:\.[0-9]+)*)
    (?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_n>[0-9]+)?)?
    (?:-(?P<post_only>[0-9]+)|(?P<post>[-_.]?(?:post|rev|r)[-_.]?(?P<post_n>[0-9]+)?))?
    (?P<dev>[-_.]?dev[-_.]?(?P<dev_n>[0-9]+)?)?
    (?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?\Z""", re.VERBOSE)
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)*\Z")
_PRE = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}
_OLD_PIECES = re.compile(r"[0-9]+|[a-z]+|[-.]|[^0-9a-z.-]+")
_OLD_NAMES = {"pre": "c", "preview": "c", "rc": "c", "-": "final-", "dev": "@"}
_LAST = (2,)


def key(version: str) -> Any:
    if _NUMBERS.match(version):  # as most are
        return 0, _release(version), _LAST, -1, _LAST, ()
    text = version.strip().lower()
    match = _SHAPE.match(text)
    if match is None:
        return -1, _old(text)
    posted, developed = bool(match["post"] or match["post_only"]), bool(match["dev"])
    pre: tuple[Any, ...] = _LAST
    if match["pre"]:
        pre = (1, _PRE.get(match["pre"], match["pre"]), int(match["pre_n"] or 0))
    elif developed and not posted:
        pre = (0,)
    post = int(match["post_only"] or match["post_n"] or 0) if posted else -1
    dev = (1, int(match["dev_n"] or 0)) if developed else _LAST
    local = [(1, int(part)) if part.isdigit() else (0, part)
             for part in re.split(r"[-_.]", match["local"] or "") if part]
    return int(match["epoch"] or 0), _release(match["release"]), pre, post, dev, tuple(local)


def _release(text: str) -> tuple[int, ...]:
    """`1.2.0` and `1.2` are one."""
    release = list(map(int, text.split(".")))
    while release and not release[-1]:
        release.pop()
    return tuple(release)


def _old(text: str) -> tuple[str, ...]:
    """The order that setuptools had before PEP 440: numbers after words, `final` where nothing is said."""
    parts: list[str] = []
    for piece in [*_OLD_PIECES.findall(text), "final"]:
        if piece == ".":
            continue
        if piece.isdigit():
            parts.append(piece.zfill(8))
            continue
        word = "*" + _OLD_NAMES.get(piece, piece)
        if word < "*final":
            while parts and parts[-1] == "*final-":
                parts.pop()
        while parts and parts[-1] == "00000000":
            parts.pop()
        parts.append(word)
    return tuple(parts)
