"""indexOf() and lastIndexOf() from a position, as cel-go 0.26 has them: past the end there is nothing to find.

The specification of the strings library wants an error there (string_ext/value_errors).
"""

from __future__ import annotations

from collections.abc import Callable

from policylang.cel.libraries.kubernetes.prices import WALK
from policylang.cel.library import Library, Overload, function
from policylang.cel.types import INT, STRING
from policylang.cel.values.errors import CelError


def _from(find: Callable[[str, str, int], int]) -> Callable[[str, str, int], int]:
    def index(text: str, part: str, start: int) -> int:
        if not part:
            return start
        if start < 0:
            raise CelError(f"index out of range: {start}")
        return find(text, part, start)
    return index


def _last(text: str, part: str, start: int) -> int:
    return text.rfind(part, 0, start + len(part)) if start < len(text) else -1


# Takes the place of what the strings library before it has.
LIBRARY = Library("kubernetes.strings", functions=(
    function("indexOf", Overload("string_index_of_string_int", (STRING, STRING, INT), INT, _from(str.find), WALK,
                                 member=True)),
    function("lastIndexOf",
             Overload("string_last_index_of_string_int", (STRING, STRING, INT), INT, _from(_last), WALK,
                      member=True)),
))
