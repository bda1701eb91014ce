"""How an object differs from what was expected, line by line, in JSON."""

from __future__ import annotations

import difflib
import json
from typing import Any


def legend() -> str:
    return "- only in expected, + only in actual"


def shown(expected: Any, actual: Any) -> str:
    """A unified difference with three lines around; keys in order, so that only what differs is in it."""
    left, right = (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).splitlines()
                   for document in (expected, actual))
    return "\n".join([*difflib.unified_diff(left, right, lineterm="", n=3)][2:])
