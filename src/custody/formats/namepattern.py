"""Patterns of names with parts between `/`: repositories, and who may use them."""

from __future__ import annotations

import re2

from custody.errors import MalformedError

_MAX_PATTERN = 512


class Pattern:
    """Text with `*`, any characters but `/`, and `**`, one or more whole parts between two `/`.

    `team/*` is team/app and neither team nor team/app/test; `team/**` is both team/app and team/app/test; `**` is all.
    """

    def __init__(self, text: str, where: str) -> None:
        """Raises MalformedError."""
        if not 0 < len(text) <= _MAX_PATTERN or not text.isprintable():
            raise MalformedError(where, got=text, expected=f"printable text of 1 to {_MAX_PATTERN} characters")
        parts = text.split("/")
        if any("**" in part and part != "**" for part in parts):
            raise MalformedError(where, got=text, expected="** alone between two /, such as team/**")
        self.text = text
        self._expression = re2.compile("/".join(
            "[^/]+(?:/[^/]+)*" if part == "**" else "[^/]*".join(re2.escape(piece) for piece in part.split("*"))
            for part in parts))

    def matches(self, text: str) -> bool:
        return self._expression.fullmatch(text) is not None
