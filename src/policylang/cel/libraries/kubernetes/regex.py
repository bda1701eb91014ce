"""kubernetes.regex: `text.find(pattern)`, `text.findAll(pattern, limit)`."""

from __future__ import annotations

from typing import Any

from policylang.cel.libraries.kubernetes.prices import FIND
from policylang.cel.library import Library, Overload, function
from policylang.cel.types import INT, STRING, list_of
from policylang.cel.values.errors import CelError
from policylang.go.regex import PatternError, compiled


def _find(text: str, pattern: str) -> str:
    match = _compiled(pattern).search(text)
    return match.group() if match else ""


def _find_all(text: str, pattern: str, most: int = -1) -> list[str]:
    """An empty match directly after a match is passed over, as Go does."""
    texts: list[str] = []
    end = -1
    for match in _compiled(pattern).finditer(text):
        if 0 <= most <= len(texts):
            break
        if match.start() == match.end() == end:
            continue
        end = match.end()
        texts.append(match.group())
    return texts


def _compiled(pattern: str) -> Any:
    try:
        return compiled(pattern)
    except PatternError as wrong:
        raise CelError(f"Illegal regex: {wrong.message}") from None


LIBRARY = Library("kubernetes.regex", functions=(
    function("find", Overload("string_find_string", (STRING, STRING), STRING, _find, FIND, member=True)),
    function("findAll",
             Overload("string_find_all_string", (STRING, STRING), list_of(STRING), _find_all, FIND, member=True),
             Overload("string_find_all_string_int", (STRING, STRING, INT), list_of(STRING), _find_all, FIND,
                      member=True)),
))
