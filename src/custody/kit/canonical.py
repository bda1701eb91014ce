"""JSON Canonicalization Scheme (RFC 8785): the one spelling of a JSON value, for hashing and signing."""

from __future__ import annotations

import math
from json.encoder import encode_basestring
from typing import Any

from custody.errors import MalformedError

_MAX_INTEGER = 2**53 - 1


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of plain data. Raises MalformedError for what I-JSON cannot carry."""
    parts: list[str] = []
    _write(value, parts)
    try:
        return "".join(parts).encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedError("canonical JSON", got="a lone surrogate", expected="Unicode text (RFC 7493)") from None


def _write(value: Any, parts: list[str]) -> None:
    if value is None or isinstance(value, bool):
        parts.append({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, str):
        parts.append(encode_basestring(value))
    elif isinstance(value, int):
        if abs(value) > _MAX_INTEGER:
            raise MalformedError("canonical JSON", got=value, expected="an integer within ±(2^53 - 1)")
        parts.append(str(int(value)))
    elif isinstance(value, float):
        parts.append(_number(value))
    elif isinstance(value, (list, tuple)):
        parts.append("[")
        for position, element in enumerate(value):
            if position:
                parts.append(",")
            _write(element, parts)
        parts.append("]")
    elif isinstance(value, dict):
        parts.append("{")
        for position, key in enumerate(_sorted(value)):
            if position:
                parts.append(",")
            parts.append(encode_basestring(key))
            parts.append(":")
            _write(value[key], parts)
        parts.append("}")
    else:
        raise MalformedError("canonical JSON", got=type(value).__name__, expected="plain JSON data")


def _sorted(keys: dict[Any, Any]) -> list[str]:
    """By their UTF-16 code units (RFC 8785 section 3.2.3), which in ASCII are the characters."""
    plain = all(isinstance(key, str) and key.isascii() for key in keys)
    return sorted(keys) if plain else sorted(keys, key=_utf16)


def _utf16(key: Any) -> bytes:
    if not isinstance(key, str):
        raise MalformedError("canonical JSON", got=key, expected="text as every key")
    return key.encode("utf-16-be", "surrogatepass")


def _number(value: float) -> str:
    """ECMAScript's Number.prototype.toString (RFC 8785 section 3.2.2.3)."""
    if not math.isfinite(value):
        raise MalformedError("canonical JSON", got=value, expected="a finite number")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    digits, point = _shortest(abs(value))
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    power = point - 1
    head = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{sign}{head}e{'+' if power > 0 else '-'}{abs(power)}"


def _shortest(value: float) -> tuple[str, int]:
    """The shortest digits that read back as `value`, and where the decimal point stands after the first of them."""
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    stripped = digits.lstrip("0")
    return stripped.rstrip("0"), point - (len(digits) - len(stripped))
