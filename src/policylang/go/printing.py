"""JSON data as Go writes it: fmt.Sprint, `%#v` and encoding/json. All numbers are float64 there."""

from __future__ import annotations

import re
from typing import Any

from policylang.budget import too_large
from policylang.go.numbers import NumError, format_float, parse_float, quote

_ESCAPED = re.compile(r'["\\\x00-\x1f<>&\u2028\u2029]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_UNDERSCORED = re.compile(r"[+-]?(?:0[xX]_?)?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*(?:\.[0-9a-fA-F]*(?:_[0-9a-fA-F]+)*)?"
                          r"(?:[eEpP][+-]?[0-9]+(?:_[0-9]+)*)?")
LONGEST = 1 << 24  # characters that anything is written in
_EXACT = 1 << 53
_INFINITE = float("inf")


def floating(value: float) -> float:
    """As the float64 that encoding/json would have read; infinite where it is beyond."""
    try:
        return float(value)
    except OverflowError:
        return _INFINITE if value > 0 else -_INFINITE


class _Text:
    """What is being written. A value of few objects can be a text without end, where it holds the same ones often."""

    __slots__ = ("left", "limit", "parts")

    def __init__(self, limit: int) -> None:
        self.parts: list[str] = []
        self.left = self.limit = limit

    def add(self, part: str) -> None:
        self.left -= len(part)
        if self.left < 0:
            raise too_large(self.limit - self.left, self.limit)
        self.parts.append(part)


def sprint(value: Any, limit: int = LONGEST) -> str:
    """Go's fmt.Sprint of JSON data. BudgetExceeded for more than `limit` characters."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is int or kind is float:
        return str(value) if kind is int and -1_000_000 < value < 1_000_000 else format_float(floating(value))
    if value is None:
        return "<nil>"
    if kind is bool:
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if not isinstance(value, (list, dict)):
        return str(value)
    text = _Text(limit)
    _print(value, text)
    return "".join(text.parts)


def _print(value: Any, text: _Text) -> None:
    if isinstance(value, list):
        text.add("[")
        for at, member in enumerate(value):
            if at:
                text.add(" ")
            _print(member, text)
        text.add("]")
    elif isinstance(value, dict):
        text.add("map[")
        for at, key in enumerate(sorted(value)):
            text.add(f"{' ' if at else ''}{key}:")
            _print(value[key], text)
        text.add("]")
    else:
        text.add(sprint(value))


def syntax(value: Any) -> str:
    """`%#v` of JSON data held in an interface."""
    if value is None:
        return "interface {}(nil)"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return format_float(floating(value))
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(map(syntax, value)) + "}"
    return "map[string]interface {}{" + ", ".join(f"{quote(key)}:{syntax(value[key])}" for key in sorted(value)) + "}"


def json_number(value: float) -> str:
    """A number as encoding/json writes a float64. ValueError for NaN and infinities."""
    if isinstance(value, int) and -_EXACT <= value <= _EXACT:
        return str(int(value))
    value = floating(value)
    if value != value or value in (_INFINITE, -_INFINITE):
        raise ValueError(f"json: unsupported value: {format_float(value)}")
    if value and not 1e-6 <= abs(value) < 1e21:
        return re.sub(r"e-0(\d)\Z", r"e-\1", format_float(value, "e"))
    return format_float(value, "f")


def json_text(text: str) -> str:
    return '"' + _ESCAPED.sub(_json_escape, text) + '"' if _ESCAPED.search(text) else f'"{text}"'


def _json_escape(match: re.Match[str]) -> str:
    char = match[0]
    return _SHORT.get(char) or f"\\u{ord(char):04x}"


def marshal(value: Any, limit: int = LONGEST) -> str:
    """JSON as Go's encoding/json writes it: sorted keys, `<`, `>` and `&` escaped.

    ValueError for NaN and infinities, BudgetExceeded for more than `limit` characters.
    """
    text = _Text(limit)
    _write(value, text)
    return "".join(text.parts)


def _write(value: Any, text: _Text) -> None:
    if value is None:
        text.add("null")
    elif isinstance(value, str):
        text.add(json_text(value))
    elif isinstance(value, bool):
        text.add("true" if value else "false")
    elif isinstance(value, (int, float)):
        text.add(json_number(value))
    elif isinstance(value, list):
        mark = "["
        for member in value:
            text.add(mark)
            _write(member, text)
            mark = ","
        text.add("]" if value else "[]")
    elif isinstance(value, dict):
        mark = "{"
        for key in sorted(value):
            text.add(f"{mark}{json_text(key)}:")
            _write(value[key], text)
            mark = ","
        text.add("}" if value else "{}")
    else:
        text.add("{}")  # a Go struct without public fields, as an expression reference is


def indented(value: Any, limit: int = LONGEST) -> str:
    """json.MarshalIndent with two spaces."""
    text = _Text(limit)
    _indent(value, "\n", text)
    return "".join(text.parts)


def _indent(value: Any, line: str, text: _Text) -> None:
    deeper = line + "  "
    if isinstance(value, list) and value:
        mark = "["
        for member in value:
            text.add(mark + deeper)
            _indent(member, deeper, text)
            mark = ","
        text.add(f"{line}]")
    elif isinstance(value, dict) and value:
        mark = "{"
        for key in sorted(value):
            text.add(f"{mark}{deeper}{json_text(key)}: ")
            _indent(value[key], deeper, text)
            mark = ","
        text.add(f"{line}}}")
    else:
        _write(value, text)


def read_number(text: str) -> float | None:
    """What strconv.ParseFloat reads; None where it refuses."""
    if "_" in text and _UNDERSCORED.fullmatch(text):
        text = text.replace("_", "")
    try:
        return parse_float(text)
    except NumError:
        return None
