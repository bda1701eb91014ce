"""Gentoo versions: `1.2.3a_beta1_p2-r4` (Package Manager Specification, 3.2 and 3.3)."""

from __future__ import annotations

import re
from typing import Any

_SHAPE = re.compile(r"(?P<numbers>[0-9]+(?:\.[0-9]+)*)(?P<letter>[a-z]?)"
                    r"(?P<suffixes>(?:_(?:alpha|beta|pre|rc|p)[0-9]*)*)"
                    r"(?:-r(?P<revision>[0-9]+))?\Z")
_SUFFIX = re.compile(r"_(alpha|beta|pre|rc|p)([0-9]*)")
_ORDER = {"alpha": 0, "beta": 1, "pre": 2, "rc": 3, "p": 5}
_END = (4,)


def key(version: str) -> Any:
    match = _SHAPE.match(version.strip())
    if match is None:
        raise ValueError("not a Gentoo version")
    first, *rest = match["numbers"].split(".")
    # Behind the first, a leading zero makes a part the digits behind a decimal point.
    numbers = (int(first), *((0, 0, part.rstrip("0")) if part[0] == "0" else (1, int(part), "") for part in rest))
    suffixes = tuple((_ORDER[name], int(number or 0)) for name, number in _SUFFIX.findall(match["suffixes"]))
    return (numbers, match["letter"], (*suffixes, _END), int(match["revision"] or 0))
