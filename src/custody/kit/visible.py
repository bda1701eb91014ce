"""Text of others for people: names, messages and titles that must not move a cursor, write own lines, or act in a log.

CI services read commands out of what a step prints: GitHub `::name::` where a line begins with it, spaces aside, and
`##[name]` anywhere in a line (actions/runner, ActionCommand.cs); Azure `##vso[…]`, TeamCity `##teamcity[…]`.
"""

from __future__ import annotations

import os
import re
from typing import TextIO

_SERVICES = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION")
_AT_START = re.compile(r"^([ \t]*):(?=:)", re.MULTILINE)
_ANYWHERE = re.compile(r"#(?=#[A-Za-z]*\[)")


def visible(text: str, keep: str = "", *, starts_line: bool = True) -> str:
    """`text` with every character that is not printable, but for those in `keep`, as Python escapes it.

    Those are control characters, ends of lines, and what turns the direction of writing. Where a CI service reads, a
    backslash stands in what it would take for a command. `starts_line`: only spaces stand before it in its line.
    """
    if not text.isprintable():
        text = "".join(char if char.isprintable() or char in keep else ascii(char)[1:-1] for char in text)
    if ("::" not in text and "##" not in text) or not _watched():
        return text
    first, end, rest = ("", "", text) if starts_line else text.partition("\n")
    return _ANYWHERE.sub(r"#\\", first + end + _AT_START.sub(r"\1\\:", rest))


def inert(document: str) -> str:
    """A JSON or XML document in whose texts a CI service that reads it takes nothing for a command: the same document,
    for who parses it, with other spellings of a character.
    """
    if ("::" not in document and "##" not in document) or not _watched():
        return document
    if document.lstrip()[:1] == "<":
        return _AT_START.sub(r"\1&#58;", document.replace("##", "#&#35;"))
    return document.replace("##", "#\\u0023") if document.lstrip()[:1] in ("{", "[") else document


def _watched() -> bool:
    return any(os.environ.get(name) for name in _SERVICES)


def terminal(stream: TextIO) -> TextIO:
    """The stream itself, for what custody draws on a terminal: bars, and lines that are written over."""
    own: TextIO = getattr(stream, "own", stream)
    return own


def rewritable(stream: TextIO) -> bool:
    """Whether lines may be written over there: a terminal that knows how (terminfo's `dumb` does not), without -q."""
    return stream.isatty() and not getattr(stream, "quiet", False) and os.environ.get("TERM", "") not in ("", "dumb")
