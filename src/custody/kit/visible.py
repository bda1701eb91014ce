"""Text of others for a terminal: names, messages and titles that must not move its cursor or write own lines."""

from __future__ import annotations


def visible(text: str, keep: str = "") -> str:
    """`text` with every character that is not printable, but for those in `keep`, as Python escapes it.

    Those are control characters, ends of lines, and what turns the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else ascii(char)[1:-1] for char in text)
