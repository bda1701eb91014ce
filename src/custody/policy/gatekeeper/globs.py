"""Names as Gatekeeper's matches and exclusions write them (Gatekeeper pkg/wildcard)."""

from __future__ import annotations


def wildcard(pattern: str, text: str) -> bool:
    """A star at the beginning, the end, or both (Gatekeeper pkg/wildcard)."""
    first, last = pattern.startswith("*"), pattern.endswith("*")
    if first and last:
        return pattern[1:].removesuffix("*") in text
    if first:
        return text.endswith(pattern[1:])
    return text.startswith(pattern[:-1]) if last else text == pattern
