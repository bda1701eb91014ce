"""Regular expressions that are not known before the program runs."""

from __future__ import annotations

from typing import Any

from policylang.budget import Meter
from policylang.cel.values.errors import CelError
from policylang.go import regex


def compiled(pattern: str, head: str = "") -> Any:
    """RE2's pattern; CelError in its words, after `head`, where it is none."""
    try:
        return regex.compiled(pattern)
    except regex.PatternError as wrong:
        raise CelError(head + wrong.message) from None


def matches(text: str, pattern: str, meter: Meter) -> bool:
    """Whether RE2 finds the pattern anywhere in the text."""
    meter.spend(32)
    if type(text) is not str or type(pattern) is not str:
        raise CelError("no such overload")
    return compiled(pattern).search(text) is not None
