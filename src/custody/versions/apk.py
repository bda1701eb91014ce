"""Alpine versions: `1.2.3a_rc1_p2~hash-r4` (apk-package(5), "Version"); leading zeros make a part sort as text."""

from __future__ import annotations

import re
from typing import Any

_SHAPE = re.compile(r"(?P<digits>[0-9]+(?:\.[0-9]+)*)(?P<letters>[a-z]+[0-9]*)?"
                    r"(?P<suffixes>(?:_[a-z]+[0-9]*)*)"
                    r"(?:~(?P<hash>[0-9a-f]+))?(?P<revision>-r[0-9]*)?\Z")
_SUFFIX = re.compile(r"_([a-z]+)([0-9]*)")
_BEFORE = ("alpha", "beta", "pre", "rc")
_AFTER = ("cvs", "svn", "git", "hg", "p")


def key(version: str) -> Any:
    match = _SHAPE.match(version.strip())
    if match is None:
        raise ValueError("not an Alpine version")
    first, *rest = match["digits"].split(".")
    # The kinds of parts, lowest first: early suffix 0, end 2, revision 3, hash 4, suffix number 5, late suffix 6,
    # letter 7, digits 8.
    result: list[Any] = [(8, 1, int(first))]
    result += [(8, 0, part) if part[0] == "0" else (8, 1, int(part)) for part in rest]
    if match["letters"]:
        letters = match["letters"].rstrip("0123456789")
        result.append((7, letters))
        if len(letters) < len(match["letters"]):
            result.append((8, 1, int(match["letters"][len(letters):])))
    for name, number in _SUFFIX.findall(match["suffixes"]):
        if name in _BEFORE:
            result.append((0, _BEFORE.index(name)))
        elif name in _AFTER:
            result.append((6, _AFTER.index(name)))
        else:
            result.append((0, -1))  # what apk does not know, it sorts first
        if number:
            result.append((5, int(number)))
    if match["hash"]:
        result.append((4, match["hash"]))
    if match["revision"]:
        result.append((3, int(match["revision"][2:] or 0)))
    return (*result, (2,))
