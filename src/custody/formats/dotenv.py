"""`.env` files as gotenv reads them in its strict form: names and values, with variables put in."""

from __future__ import annotations

import re
from collections.abc import Mapping

from custody.errors import MalformedError
from policylang.go import regex
from policylang.go.spaces import SPACE

_LINE = (r"\A\s*(?:export\s+)?([\w.]+)(?:\s*=\s*|:\s+?)('(?s:.*)'|\"(?s:.*)\"|[^#\n]+)?\s*(?:#.*)?\z")
"""For RE2, which takes no longer for a line that ends unlike what it begins like."""
_VARIABLE = re.compile(r"(\\)?\$\{?([A-Z0-9_]+)?\}?")
_ESCAPED = re.compile(r"\\([^$])")
_LONGEST = 64 * 1024
"""Bytes of a line: the buffer of Go's scanner."""
_MOST = 16 * 1024 * 1024
"""Characters of all values together: a few lines that name each other twice would fill any memory."""


def parse(data: bytes, where: str, environment: Mapping[str, str]) -> dict[str, str]:
    """`environment`: variables that outweigh those of the file. Raises MalformedError."""
    values: dict[str, str] = {}
    left = _MOST
    for line in _lines(data, where):
        match = regex.compiled(_LINE).search(line)
        if match is None:
            raise MalformedError(where, got=line[:100], expected="NAME=value")
        value = _value((match[2] or "").strip(SPACE), values, environment, left)
        if value is None:
            raise MalformedError(where, got=f"{match[1]}, whose variables make too much of it",
                                 expected=f"at most {_MOST} characters of all values")
        values[match[1]] = value
        left -= len(value)
    return values


def _lines(data: bytes, where: str) -> list[str]:
    """With those that a quoted value goes on over; without comments and empty ones."""
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedError(where, got=str(error)[:100], expected="UTF-8") from None
    read = re.split(r"\r\n|\r|\n", text)
    if any(len(line) > _LONGEST // 4 and len(line.encode()) >= _LONGEST for line in read):
        raise MalformedError(where, got="a line too long", expected=f"less than {_LONGEST} bytes")
    lines: list[str] = []
    at = 0
    while at < len(read):
        line = read[at].strip(SPACE)
        at += 1
        if not line or line[0] == "#":
            continue
        parts = [line]
        quote = _open_quote(line)
        while quote:
            if at == len(read):
                raise MalformedError(where, got="a value without its last quote", expected=f"a {quote} that ends it")
            parts.append(read[at])
            end = read[at].rfind(quote)
            at += 1
            if end >= 0 and not (end and parts[-1][end - 1] == "\\"):
                quote = ""
        lines.append("\n".join(parts))
    return lines


def _open_quote(line: str) -> str:
    """The quote that a value begins with and does not end with on its line."""
    sign = line.find("=")
    if sign < 0:
        sign = line.find(":")
    value = line[sign + 1:].strip(SPACE) if 0 < sign < len(line) - 1 else ""
    if not value or value[0] not in "\"'":
        return ""
    end = value[1:].strip(SPACE).rfind(value[0])
    return "" if end >= 0 and value[end] != "\\" else value[0]


def _value(text: str, values: Mapping[str, str], environment: Mapping[str, str], most: int) -> str | None:
    """None where it would be longer than `most` characters."""
    quote = text[0] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else ""
    if quote:
        text = text[1:-1]
    if quote == "'":
        return text if len(text) <= most else None
    if quote:
        text = _ESCAPED.sub(r"\1", text.replace("\\n", "\n").replace("\\r", "\r"))

    parts: list[str] = []
    at = 0
    for match in _VARIABLE.finditer(text):
        name = match[2]
        meant = match[0][1:] if match[1] else environment.get(name, values.get(name, "")) if name else match[0]
        parts += (text[at:match.start()], meant)
        at = match.end()
        most -= len(parts[-2]) + len(meant)
        if most < 0:
            return None
    return "".join([*parts, text[at:]]) if most >= len(text) - at else None
