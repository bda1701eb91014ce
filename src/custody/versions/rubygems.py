"""RubyGems versions: parts of digits and of letters; letters make a prerelease (Gem::Version)."""

from __future__ import annotations

import re
from typing import Any

from custody.versions.padding import padded

_PART = re.compile(r"[0-9]+|[a-z]+", re.IGNORECASE)


def key(version: str) -> Any:
    text = version.strip().replace("-", ".pre.")
    if not re.match(r"[0-9]+(?:\.[0-9A-Za-z]+)*\Z", text) and not re.match(r"[0-9]+[0-9A-Za-z.]*\Z", text):
        raise ValueError("not a RubyGems version")
    result: list[tuple[int, Any]] = []
    for part in _PART.findall(text):
        if not part.isdigit():
            while result and result[-1] == (1, 0) and all(kind for kind, _ in result):
                result.pop()
        result.append((1, int(part)) if part.isdigit() else (0, part))
    return padded(result, (1, 0))
