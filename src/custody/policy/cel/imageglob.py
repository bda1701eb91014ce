"""Globs of image names as ImageValidatingPolicies write them (github.com/gobwas/glob, without separators)."""

from __future__ import annotations

import re
from collections.abc import Callable

from custody.errors import MalformedError

_MAX = 1024


def image_glob(text: str, where: str) -> Callable[[str], bool]:
    """`*` and `**` any text, `?` one letter, `[a-z]` and `[!a-z]` one of some, `{a,b}` one of these.

    Raises MalformedError.
    """
    if len(text) > _MAX:
        raise MalformedError(where, got=f"{len(text)} characters", expected=f"at most {_MAX}")
    if not set(text) & set("[{\\"):
        from policylang.go.wildcards import wildcard

        return wildcard(re.sub(r"\*+", "*", text))
    try:
        pattern = re.compile("".join(_parts(text)), re.DOTALL)
    except (ValueError, re.error):
        raise MalformedError(where, got=text, expected="a glob, each [ and { closed") from None
    return lambda name: pattern.fullmatch(name) is not None


def _parts(text: str) -> list[str]:
    """As parts of a regular expression. Raises ValueError."""
    parts: list[str] = []
    depth = at = 0
    while at < len(text):
        letter = text[at]
        at += 1
        if letter == "\\":
            if at == len(text):
                raise ValueError
            parts.append(re.escape(text[at]))
            at += 1
        elif letter == "*":
            if not parts or parts[-1] != ".*":
                parts.append(".*")
        elif letter == "?":
            parts.append(".")
        elif letter == "[":
            end = text.index("]", at)
            chosen = text[at:end]
            mark = "^" if chosen.startswith("!") else ""
            chosen = chosen.removeprefix("!")
            if not chosen:
                raise ValueError
            body = "-".join(map(re.escape, chosen.split("-"))) if len(chosen) == 3 and chosen[1] == "-" else (
                re.escape(chosen))
            parts.append(f"[{mark}{body}]")
            at = end + 1
        elif letter == "{":
            depth += 1
            parts.append("(?:")
        elif letter == "}" and depth:
            depth -= 1
            parts.append(")")
        elif letter == "," and depth:
            parts.append("|")
        else:
            parts.append(re.escape(letter))
    if depth:
        raise ValueError
    return parts
