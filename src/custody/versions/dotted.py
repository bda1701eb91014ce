"""Versions that are whole numbers only: CRAN (R's package_version) and Hackage (Haskell PVP); more parts are newer."""

from __future__ import annotations

import re
from typing import Any


def key(version: str) -> Any:
    parts = re.split(r"[.-]", version.strip())
    if not all(part.isdigit() for part in parts):
        raise ValueError("not numbers with '.' and '-' between them")
    return tuple(int(part) for part in parts)
