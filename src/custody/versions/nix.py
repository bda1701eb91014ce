"""Nix versions (Nix manual, builtins.compareVersions): `pre` is before the end, other words after it, numbers last."""

from __future__ import annotations

import re
from typing import Any

_PART = re.compile(r"[0-9]+|[^0-9.-]+")


def key(version: str) -> Any:
    parts = _PART.findall(version.strip())
    return (*((3, int(part)) if part.isdigit() else (0,) if part == "pre" else (2, part) for part in parts), (1,))
