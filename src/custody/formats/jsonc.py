"""JSON with comments: `//` and `#` to the end of a line, `/*` to `*/`, and nothing else that JSON does not have.

As tools of Go read it (github.com/muhammadmuzzammil1998/jsonc), but for comments in which quotes and backslashes stand,
which are comments here.
"""

from __future__ import annotations

import re

from custody.errors import MalformedError

_PART = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|#[^\n]*|/\*.*?\*/|/\*', re.DOTALL)


def plain(text: str, where: str) -> str:
    """The JSON, on the same lines and in the same columns. Raises MalformedError for a comment without an end."""
    def blank(match: re.Match[str]) -> str:
        part = match[0]
        if part == "/*":
            line = text.count("\n", 0, match.start()) + 1
            raise MalformedError(f"{where}:{line}", got="/*", expected="*/ behind it")
        return part if part.startswith('"') else re.sub(r"[^\n]", " ", part)
    return _PART.sub(blank, text)
