"""cel.lib.ext.strings: positions are in code points; what makes texts asks the meter first."""

from __future__ import annotations

from typing import Any

from policylang.budget import Meter
from policylang.cel.cost.prices import FORMAT, QUOTE
from policylang.cel.cost.units import CONSTANT, Cost
from policylang.cel.libraries.ext.format import fill
from policylang.cel.library import Function, Library, Overload
from policylang.cel.types import DYN, INT, STRING, Type, list_of
from policylang.cel.values.errors import CelError
from policylang.go.spaces import SPACE

_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TEXTS = list_of(STRING)


_QUOTED = str.maketrans({"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
                         "\\": "\\\\", '"': '\\"'})


def _quote(value: str) -> str:
    """In quotes; what is not printable stays as it is."""
    return f'"{value.translate(_QUOTED)}"'


def _char_at(text: str, at: int) -> str:
    if not 0 <= at <= len(text):
        raise CelError(f"index out of range: {at}")
    return text[at:at + 1]


def _index_of(text: str, part: str, start: int = 0) -> int:
    if not part:
        return start
    if not 0 <= start <= len(text):
        raise CelError(f"index out of range: {start}")
    return text.find(part, start)


def _last_index_of(text: str, part: str, start: int | None = None) -> int:
    if start is None:
        return text.rfind(part)
    if not part:
        return start
    if not 0 <= start <= len(text):
        raise CelError(f"index out of range: {start}")
    return text.rfind(part, 0, start + len(part))


def _join(texts: list[Any], separator: str = "", *, meter: Meter) -> str:
    if any(type(text) is not str for text in texts):
        raise CelError("no such overload")
    meter.fit(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _replace(text: str, old: str, new: str, count: int = -1, *, meter: Meter) -> str:
    occurrences = text.count(old)
    if count >= 0:
        occurrences = min(occurrences, count)
    meter.fit(len(text) + occurrences * max(0, len(new) - len(old)))
    return text.replace(old, new, max(count, -1))


def _split(text: str, separator: str, count: int = -1, *, meter: Meter) -> list[str]:
    if count == 0:
        return []
    meter.spend(text.count(separator) >> 2)
    if separator:
        return text.split(separator, count - 1 if count > 0 else -1)
    if 0 < count < len(text):
        return [*text[:count - 1], text[count - 1:]]
    return list(text)


def _substring(text: str, start: int, end: int | None = None) -> str:
    if end is None:
        if not 0 <= start <= len(text):
            raise CelError(f"index out of range: {start}")
        return text[start:]
    if start > end:
        raise CelError(f"invalid substring range. start: {start}, end: {end}")
    if not 0 <= start <= len(text):
        raise CelError(f"index out of range: {start}")
    if not 0 <= end <= len(text):
        raise CelError(f"index out of range: {end}")
    return text[start:end]


def _format(text: str, arguments: list[Any], meter: Meter) -> str:
    return fill(text, arguments, meter)


def _member(name: str, *overloads: tuple[str, tuple[Type, ...], Type, Any], cost: Cost,
            metered: bool = False) -> Function:
    return Function(name, tuple(Overload(*overload, cost, member=True, metered=metered) for overload in overloads))


LIBRARY = Library("cel.lib.ext.strings", functions=(
    _member("charAt", ("string_char_at_int", (STRING, INT), STRING, _char_at), cost=CONSTANT),
    _member("indexOf", ("string_index_of_string", (STRING, STRING), INT, _index_of),
            ("string_index_of_string_int", (STRING, STRING, INT), INT, _index_of), cost=CONSTANT),
    _member("lastIndexOf", ("string_last_index_of_string", (STRING, STRING), INT, _last_index_of),
            ("string_last_index_of_string_int", (STRING, STRING, INT), INT, _last_index_of), cost=CONSTANT),
    _member("lowerAscii", ("string_lower_ascii", (STRING,), STRING, lambda text: text.translate(_LOWER)),
            cost=CONSTANT),
    _member("upperAscii", ("string_upper_ascii", (STRING,), STRING, lambda text: text.translate(_UPPER)),
            cost=CONSTANT),
    _member("replace",
            ("string_replace_string_string", (STRING, STRING, STRING), STRING,
             lambda text, old, new, meter: _replace(text, old, new, meter=meter)),
            ("string_replace_string_string_int", (STRING, STRING, STRING, INT), STRING,
             lambda text, old, new, count, meter: _replace(text, old, new, count,
                                                           meter=meter)), cost=CONSTANT, metered=True),
    _member("split",
            ("string_split_string", (STRING, STRING), _TEXTS,
             lambda text, separator, meter: _split(text, separator, meter=meter)),
            ("string_split_string_int", (STRING, STRING, INT), _TEXTS,
             lambda text, separator, count, meter: _split(text, separator, count,
                                                          meter=meter)), cost=CONSTANT, metered=True),
    _member("substring", ("string_substring_int", (STRING, INT), STRING, _substring),
            ("string_substring_int_int", (STRING, INT, INT), STRING, _substring), cost=CONSTANT),
    _member("trim", ("string_trim", (STRING,), STRING, lambda text: text.strip(SPACE)), cost=CONSTANT),
    _member("format", ("string_format", (STRING, list_of(DYN)), STRING, _format), cost=FORMAT, metered=True),
    Function("strings.quote", (Overload("strings_quote", (STRING,), STRING, _quote, QUOTE),)),
    _member("join", ("list_join", (_TEXTS,), STRING, lambda texts, meter: _join(texts, meter=meter)),
            ("list_join_string", (_TEXTS, STRING), STRING,
             lambda texts, separator, meter: _join(texts, separator, meter=meter)), cost=CONSTANT, metered=True),
    _member("reverse", ("string_reverse", (STRING,), STRING, lambda text: text[::-1]), cost=CONSTANT),
))
SINCE = {"format": 1, "strings.quote": 1, "join": 2, "reverse": 3}
