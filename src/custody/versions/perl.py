"""Perl versions, as version.pm compares them: `v1.2.3` and `1.2.3` by their numbers; `1.002003`, a decimal number, by
three digits at a time, so that 1.9 is newer than 1.10.
"""

from __future__ import annotations

import re
from typing import Any

from custody.versions.padding import padded

_DOTTED = re.compile(r"v[0-9]+(?:(?:\.[0-9]+)+(?:_[0-9]+)?)?\Z|[0-9]*(?:\.[0-9]+){2,}(?:_[0-9]+)?\Z")
_DECIMAL = re.compile(r"(?P<whole>[0-9]*)(?:\.(?P<rest>[0-9]*(?:_[0-9]+)?))?\Z")


def key(version: str) -> Any:
    text = version.strip()
    if _DOTTED.match(text):
        return padded([int(part or 0) for part in text.replace("_", "").removeprefix("v").split(".")], 0)
    match = _DECIMAL.match(text)
    if match is None or not any(char.isdigit() for char in text):
        raise ValueError("no version of version.pm")
    rest = (match["rest"] or "").replace("_", "")
    rest += "0" * (-len(rest) % 3)
    return padded([int(match["whole"] or 0), *(int(rest[place:place + 3]) for place in range(0, len(rest), 3))], 0)
