"""RPM versions: `[epoch:]version[-release]` (rpm-version(7)): `~` sorts before the end, `^` after it."""

from __future__ import annotations

import re
from typing import Any

_SEGMENT = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")


def key(version: str) -> Any:
    epoch, colon, rest = version.strip().partition(":")
    if not colon or not epoch.isdigit():
        epoch, rest = "0", version.strip()
    if not rest:
        raise ValueError("not an RPM version")
    upstream, _, release = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch), _part(upstream), _part(release)


def _part(text: str) -> tuple[Any, ...]:
    result: list[Any] = []
    for segment in _SEGMENT.findall(text):
        if segment.isdigit():
            result.append((4, int(segment)))
        else:
            result.append((0,) if segment == "~" else (2,) if segment == "^" else (3, segment))
    return (*result, (1,))
