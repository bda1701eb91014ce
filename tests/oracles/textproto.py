"""Protobuf's text format, read without a schema: a message is a list of (field, value)."""

from __future__ import annotations

import re
from typing import Any

Fields = list[tuple[str, Any]]
_TOKEN = re.compile(r"""(?:[\s,;]|\#[^\n]*)*(?:
    (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<any>\[[A-Za-z0-9_./-]+\])
    |(?P<word>[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+|[-+]?[A-Za-z0-9_.]+)
    |(?P<sign>[{}<>\[\]:])
    |(?P<end>\Z))""", re.VERBOSE | re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:([abfnrtv\\?\"'])|[xX]([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{4})"
                     rb"|U([0-9a-fA-F]{8}))", re.DOTALL)
_PLAIN = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


class Word(str):
    """A number, an enum's value or true and false, as it stands."""


def parse(text: str) -> Fields:
    return _Reader(text).message("")


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.kind, self.token = "", ""
        self.advance()

    def advance(self) -> None:
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            raise ValueError(f"text format at {self.text[self.at:self.at + 60]!r}")
        self.kind, self.at = found.lastgroup or "", found.end()
        self.token = found[self.kind]

    def message(self, close: str) -> Fields:
        fields: Fields = []
        while self.token != close:
            if self.kind not in ("word", "any"):
                raise ValueError(f"text format at {self.text[self.at - 20:self.at + 40]!r}: a field expected")
            name = self.token
            self.advance()
            if self.token == ":":
                self.advance()
            if self.token == "[":
                self.advance()
                while self.token != "]":
                    fields.append((name, self.value()))
                self.advance()
            else:
                fields.append((name, self.value()))
        if close:
            self.advance()
        return fields

    def value(self) -> Any:
        if self.kind == "text":
            parts = []
            while self.kind == "text":
                parts.append(unescape(self.token[1:-1].encode()))
                self.advance()
            return b"".join(parts)
        if self.token in ("{", "<"):
            close = "}" if self.token == "{" else ">"
            self.advance()
            return self.message(close)
        word = Word(self.token)
        self.advance()
        return word


def unescape(data: bytes) -> bytes:
    def one(found: re.Match[bytes]) -> bytes:
        plain, small, octal, four, eight = found.groups()
        if plain is not None:
            return _PLAIN.get(plain, plain)
        if small is not None:
            return bytes([int(small, 16)])
        if octal is not None:
            return bytes([int(octal, 8) & 0xff])
        return chr(int(four or eight, 16)).encode("utf-8", "surrogatepass")

    return _ESCAPE.sub(one, data)
