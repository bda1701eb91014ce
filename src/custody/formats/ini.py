"""INI files as go-ini reads them by default: sections of names and values, with conftest's types for the values."""

from __future__ import annotations

from math import isfinite
from typing import Any

from custody.errors import MalformedError
from policylang.go import printing
from policylang.go.spaces import SPACE

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_DEFAULT = "DEFAULT"


def parse(data: bytes, where: str) -> dict[str, dict[str, Any]]:
    """By section; what stands before the first one, and in one named DEFAULT, is left out.

    Numbers are floats, `true` and the like truths (not `1`, which is a number). Raises MalformedError.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedError(where, got=str(error)[:100], expected="UTF-8") from None
    sections = _Reader(text, where).read()
    return {name: {key: _typed(value) for key, value in section.items()} for name, section in sections.items()
            if name != _DEFAULT}


def _typed(text: str) -> Any:
    number = printing.read_number(text)
    if number is not None and isfinite(number):
        return number
    return text in _TRUE if text in _TRUE or text in _FALSE else text


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        lines = text.split("\n")
        self._lines = [line + "\n" for line in lines[:-1]] + [lines[-1]]
        self._at = 0
        self._where = where

    def read(self) -> dict[str, dict[str, str]]:
        sections: dict[str, dict[str, str]] = {_DEFAULT: {}}
        section = sections[_DEFAULT]
        numbered = 1
        while self._at < len(self._lines):
            line = self._next().lstrip(SPACE)
            if not line or line[0] in "#;":
                continue
            if line[0] == "[":
                end = line.rfind("]")
                if end < 2:
                    raise self._wrong(line, "[section]")
                section = sections.setdefault(line[1:end], {})
                numbered = 1
                continue
            name, rest = self._name(line)
            if name == "-":
                name = f"#{numbered}"
                numbered += 1
            value = self._value(rest)
            if not name:
                raise self._wrong(line, "name=value")
            section[name] = value
        return sections

    def _next(self) -> str:
        self._at += 1
        return self._lines[self._at - 1]

    def _name(self, line: str) -> tuple[str, str]:
        """(name, what stands behind the sign)."""
        quote = '"""' if line.startswith('"""') and len(line.encode()) > 6 else line[0] if line[0] in '"`' else ""
        if not quote:
            at = _first(line, "=:")
            if at < 1:
                raise self._wrong(line, "name=value")
            return line[:at].strip(SPACE), line[at + 1:]
        end = line.find(quote, len(quote))
        at = _first(line[end + len(quote):], "=:") if end >= 0 else -1
        if at < 0:
            raise self._wrong(line, "name=value")
        return line[len(quote):end].strip(SPACE), line[end + at + len(quote) + 1:]

    def _value(self, rest: str) -> str:
        line = rest.lstrip(SPACE)
        if not line:
            return ""
        quote = '"""' if line.startswith('"""') and len(line) > 3 else "`" if line[0] == "`" else ""
        if quote:
            end = line.rfind(quote, len(quote))
            return line[len(quote):end] if end >= 0 else self._more(line[len(quote):], quote)
        line = line.strip(SPACE)
        if line[-1] == "\\":
            return self._continued(line[:-1])
        if (at := _first(line, "#;")) >= 0:
            line = line[:at].strip(SPACE)
        if len(line) > 1 and line[0] in "'\"" and line.find(line[0], 1) == len(line) - 1:
            return line[1:-1]
        return line

    def _more(self, value: str, quote: str) -> str:
        """A quoted value over lines."""
        parts = [value]
        while self._at < len(self._lines):
            line = self._next()
            end = line.rfind(quote)
            if end >= 0:
                return "".join([*parts, line[:end]])
            parts.append(line)
        raise self._wrong(value, f"a {quote} that ends the value")

    def _continued(self, value: str) -> str:
        parts = [value]
        while self._at < len(self._lines):
            line = self._next().strip(SPACE)
            parts.append(line.removesuffix("\\"))
            if not line.endswith("\\"):
                break
        return "".join(parts)

    def _wrong(self, line: str, expected: str) -> MalformedError:
        return MalformedError(f"{self._where}: line {self._at}", got=line.strip(SPACE)[:100], expected=expected)


def _first(text: str, signs: str) -> int:
    """Where the first of the signs stands; -1 for none."""
    return min((at for at in map(text.find, signs) if at >= 0), default=-1)
