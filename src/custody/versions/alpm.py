"""Arch Linux versions: `[epoch:]version[-release]` (vercmp(8)); unlike RPM's, dots count and nothing is before them.

Where one has a release and the other has none, vercmp takes them for one; here the one without is the older.
"""

from __future__ import annotations

import re
from typing import Any

_SEGMENT = re.compile(r"([^A-Za-z0-9]*)([0-9]+|[A-Za-z]+)")


def key(version: str) -> Any:
    epoch, colon, rest = version.strip().partition(":")
    if not colon:
        epoch, rest = "0", version.strip()
    upstream, dash, release = rest.rpartition("-")
    if not dash:
        upstream, release = rest, ""
    if not epoch.isdigit() or not upstream:
        raise ValueError("not a version of Arch Linux")
    return int(epoch), _part(upstream), (1, _part(release)) if release else (0,)


def _part(text: str) -> tuple[Any, ...]:
    result: list[Any] = []
    place = 0
    for match in _SEGMENT.finditer(text):
        separator, segment = match[1], match[2]
        value = (1, int(segment), "") if segment.isdigit() else (0, 0, segment)
        # Letters right behind digits are before the end, 1.0rc before 1.0; all else is behind it.
        result.append((0, 0, value) if place and not separator and not segment.isdigit() else
                      (2, len(separator), value))
        place = match.end()
    if place < len(text):
        raise ValueError("it ends with what is neither a letter nor a digit")
    return (*result, (1,))
