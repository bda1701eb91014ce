"""Java properties (java.util.Properties.load) in UTF-8, as magiconair/properties reads them; `${ }` stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping

from custody.errors import MalformedError

_BLANK = " \f\t"
_ESCAPED = {"f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_UNICODE = re.compile(r"[0-9a-fA-F]{4}")
_DEEPEST = 64
_MOST = 1_000_000
"""Characters of values that others refer to, each as often as one does."""


def parse(data: bytes, where: str, environment: Mapping[str, str]) -> dict[str, str]:
    """`environment`: what `${NAME}` may name beside the file's own, which decides only whether it is well formed.

    Raises MalformedError, for references in a circle, too.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedError(where, got=str(error)[:100], expected="UTF-8") from None
    values = _Reader(text, where).read()
    left = _MOST
    for name, value in values.items():
        left = _check(value, (name,), values, environment, where, left)
    return values


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self._text, self._at, self._where = text, 0, where

    def read(self) -> dict[str, str]:
        values: dict[str, str] = {}
        while letter := self._next():
            if letter in "\r\n" or letter in _BLANK:
                continue
            if letter in "#!":
                while (letter := self._next()) and letter not in "\r\n":
                    pass
                continue
            self._at -= 1
            name = self._until(" \f\t\r\n:=")
            if self._at == len(self._text):
                if name:
                    values[name] = ""
                break
            if not name:
                raise MalformedError(self._where, got="a value without a name", expected="name=value")
            self._blank()
            if self._text[self._at:self._at + 1] in (":", "="):
                self._at += 1
            self._blank()
            values[name] = self._until("\r\n", lines=True)
            self._next()
        return values

    def _next(self) -> str:
        letter = self._text[self._at:self._at + 1]
        self._at += 1
        return letter

    def _blank(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in _BLANK:
            self._at += 1

    def _until(self, stops: str, *, lines: bool = False) -> str:
        """`lines`: an escaped line's end goes on in the next one."""
        made: list[str] = []
        while self._at < len(self._text):
            letter = self._text[self._at]
            if letter in stops:
                break
            self._at += 1
            if letter != "\\":
                made.append(letter)
            elif lines and self._text[self._at:self._at + 1] in ("\r", "\n"):
                self._at += 1
                self._blank()
            else:
                made.append(self._escape())
        return "".join(made)

    def _escape(self) -> str:
        letter = self._next()
        if not letter:
            raise MalformedError(self._where, got="a backslash at the end", expected="a sign behind it")
        if letter != "u":
            return _ESCAPED.get(letter, letter)
        digits = _UNICODE.match(self._text, self._at)
        if digits is None:
            raise MalformedError(self._where, got=f"\\u{self._text[self._at:self._at + 4]}", expected="four digits")
        self._at += 4
        code = int(digits[0], 16)
        return "\ufffd" if 0xd800 <= code < 0xe000 else chr(code)


def _check(value: str, names: tuple[str, ...], values: Mapping[str, str], environment: Mapping[str, str], where: str,
           left: int) -> int:
    if len(names) > 1:
        left -= len(value)
    if len(names) > _DEEPEST or left < 0:
        raise MalformedError(where, got=f"{names[0]}, which refers to too much", expected="fewer references")
    start = value.find("${")
    while start >= 0:
        end = value.find("}", start + 2)
        if end < 0:
            raise MalformedError(where, got=f"{names[-1]}: {value[start:][:50]}", expected="${name}")
        name = value[start + 2:end]
        if name in names:
            raise MalformedError(where, got=f"{name}, which refers to itself", expected="references without a circle")
        left = _check(values.get(name, environment.get(name, "")), (*names, name), values, environment, where, left)
        start = value.find("${", end)
    return left
