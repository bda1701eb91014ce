"""Words of a condition. The language has no tokens of its own: what a run of characters is depends on what may follow.

`Cursor` stands at a place in the text and takes what it is asked for, as libsinsp's filter parser does
(userspace/libsinsp/filter/parser.cpp); which words libsinsp takes only by their beginning is kept.
"""

from __future__ import annotations

import re

from policylang.source import Source, SourceError

_BLANK = re.compile(r"[ \t\b\r\n]+")
NOT = re.compile(r"not[ \t\n\v\f\r]+")
IDENTIFIER = re.compile(r"[a-zA-Z]+[a-zA-Z0-9_]*")
FIELD = re.compile(r"[a-zA-Z]+[a-zA-Z0-9_]*(?:\.[a-zA-Z]+[a-zA-Z0-9_]*)+")
ARGUMENT = re.compile(r"""[^\]\["' \t\n\v\f\r]+""")
NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[+-]?[0-9]+\.?[0-9]*(?:[eE][+-][0-9]+)?")
BARE = re.compile(r"""[^()"' \t\n\v\f\r=,]+""")
_QUOTED = re.compile(r""""(?:[^"\\\0]|\\[^\0])*"|'(?:[^'\\\0]|\\[^\0])*'""")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
# An escaped blank is a backslash: old rule files rely on it.
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", " ": "\\", "\\": "\\", "/": "/"}

UNARY = ("exists",)
NUMERIC = ("<=", "<", ">=", ">")
TEXTUAL = ("==", "=", "!=", "glob ", "iglob ", "contains ", "icontains ", "bcontains ", "startswith ", "bstartswith ",
           "endswith ", "regex ")
LISTED = ("intersects", "in", "pmatch")
MODIFIERS = ("oneof", "anyof", "allof")
OPERATORS = tuple(operator.strip() for operator in UNARY + NUMERIC + TEXTUAL + LISTED)


class Cursor:
    """`at` is the offset of the next character, `last` the text that was taken last."""

    __slots__ = ("at", "last", "source", "text")

    def __init__(self, source: Source, at: int = 0) -> None:
        self.source = source
        self.text = source.text
        self.at = at
        self.last = ""

    def error(self, message: str, at: int | None = None) -> SourceError:
        return SourceError(message, self.source, self.at if at is None else at, kind="LOAD_ERR_COMPILE_CONDITION")

    def blank(self) -> bool:
        blanks = _BLANK.match(self.text, self.at)
        if blanks:
            self.at = blanks.end()
        return blanks is not None

    def word(self, word: str) -> bool:
        if self.text.startswith(word, self.at):
            self.at += len(word)
            self.last = word
            return True
        return False

    def match(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self.text, self.at)
        if match is None:
            return False
        self.at = match.end()
        self.last = match[0]
        return True

    def operator(self, words: tuple[str, ...]) -> bool:
        """One of `words`; those that end in a blank must be followed by one, of any kind."""
        for word in words:
            if self.word(word.strip()):
                return word[-1] != " " or self.blank()
        return False

    def quoted(self) -> bool:
        """A quoted text; `last` becomes what it stands for. An unterminated one is no match."""
        literal = _QUOTED.match(self.text, self.at)
        if literal is None:
            return False
        quote, start = literal[0][0], self.at

        def escape(match: re.Match[str]) -> str:
            letter = match[1]
            if letter in "\"'" and letter != quote:
                raise self.error(f"invalid \\{letter} escape in {quote}-quoted string", start + match.start())
            meant = letter if letter == quote else _ESCAPES.get(letter)
            if meant is None:
                raise self.error(f"unsupported string escape sequence: \\{letter}", start + match.start())
            return meant

        body = literal[0][1:-1]
        start += 1
        self.last = _ESCAPE.sub(escape, body) if "\\" in body else body
        self.at = literal.end()
        return True
