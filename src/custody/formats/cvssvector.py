"""CVSS vectors (FIRST: CVSS 2, 3.0, 3.1 and 4.0): their base score."""

from __future__ import annotations

from functools import lru_cache

import cvss

_MAX_VECTOR = 500  # characters; the longest of CVSS 4, with all optional metrics, has about 250


@lru_cache(16384)
def base_score(text: str) -> float | None:
    """0.0 to 10.0; None for what is no vector."""
    reader = (cvss.CVSS4 if text.startswith("CVSS:4") else cvss.CVSS3 if text.startswith("CVSS:3") else
              cvss.CVSS2 if text.lstrip("(").startswith("AV:") else None)
    if reader is None or len(text) > _MAX_VECTOR:
        return None
    try:
        return float(reader(text.strip("()")).base_score)
    except (cvss.exceptions.CVSSError, AttributeError, KeyError, ValueError):
        return None
