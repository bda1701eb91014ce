"""JSON data as Go writes it: fmt.Sprint, `%#v` and encoding/json. All numbers are float64 there."""

from __future__ import annotations

import re
from typing import Any

from custody.languages.go.numbers import NumError, format_float, parse_float, quote

_ESCAPED = re.compile(r'["\\\x00-\x1f<>&\u2028\u2029]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_UNDERSCORED = re.compile(r"[+-]?(?:0[xX]_?)?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*(?:\.[0-9a-fA-F]*(?:_[0-9a-fA-F]+)*)?"
                          r"(?:[eEpP][+-]?[0-9]+(?:_[0-9]+)*)?")
_EXACT = 1 << 53
_INFINITE = float("inf")


def floating(value: float) -> float:
    """As the float64 that encoding/json would have read; infinite where it is beyond."""
    try:
        return float(value)
    except OverflowError:
        return _INFINITE if value > 0 else -_INFINITE


def sprint(value: Any) -> str:
    """Go's fmt.Sprint of JSON data."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if value is None:
        return "<nil>"
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is float:
        return str(value) if kind is int and -1_000_000 < value < 1_000_000 else format_float(floating(value))
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, list):
        return "[" + " ".join(map(sprint, value)) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{sprint(value[key])}" for key in sorted(value)) + "]"
    return str(value)


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


def _json_escape(found: re.Match[str]) -> str:
    char = found[0]
    return _SHORT.get(char) or f"\\u{ord(char):04x}"


def marshal(value: Any) -> str:
    """JSON as Go's encoding/json writes it: sorted keys, `<`, `>` and `&` escaped. ValueError for NaN."""
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts)


def _write(value: Any, parts: list[str]) -> None:
    if value is None:
        parts.append("null")
    elif isinstance(value, str):
        parts.append(json_text(value))
    elif isinstance(value, bool):
        parts.append("true" if value else "false")
    elif isinstance(value, (int, float)):
        parts.append(json_number(value))
    elif isinstance(value, list):
        mark = "["
        for one in value:
            parts.append(mark)
            _write(one, parts)
            mark = ","
        parts.append("]" if value else "[]")
    elif isinstance(value, dict):
        mark = "{"
        for key in sorted(value):
            parts.append(f"{mark}{json_text(key)}:")
            _write(value[key], parts)
            mark = ","
        parts.append("}" if value else "{}")
    else:
        parts.append("{}")  # a Go struct without public fields, as an expression reference is


def indented(value: Any, margin: str = "") -> str:
    """json.MarshalIndent with two spaces."""
    deeper = margin + "  "
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"{deeper}{indented(one, deeper)}" for one in value) + f"\n{margin}]"
    if isinstance(value, dict) and value:
        inner = ",\n".join(f"{deeper}{json_text(key)}: {indented(value[key], deeper)}" for key in sorted(value))
        return f"{{\n{inner}\n{margin}}}"
    return marshal(value)


def read_number(text: str) -> float | None:
    """What strconv.ParseFloat reads; None where it refuses."""
    if "_" in text and _UNDERSCORED.fullmatch(text):
        text = text.replace("_", "")
    try:
        return parse_float(text)
    except NumError:
        return None
