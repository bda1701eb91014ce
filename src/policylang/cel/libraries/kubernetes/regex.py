"""kubernetes.regex: `text.find(pattern)`, `text.findAll(pattern, limit)`."""

from __future__ import annotations

from policylang.cel.libraries.kubernetes.prices import FIND
from policylang.cel.library import Library, Overload, function
from policylang.cel.types import INT, STRING, list_of
from policylang.cel.values.patterns import compiled

_HEAD = "Illegal regex: "


def _find(text: str, pattern: str) -> str:
    match = compiled(pattern, _HEAD).search(text)
    return match.group() if match else ""


def _find_all(text: str, pattern: str, most: int = -1) -> list[str]:
    """An empty match directly after a match is passed over, as Go does."""
    texts: list[str] = []
    end = -1
    for match in compiled(pattern, _HEAD).finditer(text):
        if 0 <= most <= len(texts):
            break
        if match.start() == match.end() == end:
            continue
        end = match.end()
        texts.append(match.group())
    return texts


LIBRARY = Library("kubernetes.regex", functions=(
    function("find", Overload("string_find_string", (STRING, STRING), STRING, _find, FIND, member=True)),
    function("findAll",
             Overload("string_find_all_string", (STRING, STRING), list_of(STRING), _find_all, FIND, member=True),
             Overload("string_find_all_string_int", (STRING, STRING, INT), list_of(STRING), _find_all, FIND,
                      member=True)),
))
