"""Words as BuildKit's shell lexer splits them where no variable is set, and the here-documents among them."""

from __future__ import annotations

import re
from typing import NamedTuple

from policylang.go.spaces import SPACE

_HEREDOC = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)\Z")
_SPECIAL = "@*#?-$!0"
_ESCAPE = "\\"
_DEEPEST = 100
"""Substitutions one within the other."""


class Heredoc(NamedTuple):
    name: str
    """Of the line that ends it."""
    tabs: bool
    """Whether tabs before it count for nothing (`<<-`)."""


def heredocs(line: str) -> list[Heredoc]:
    """Of a line, in their order. A line whose quotes or braces do not close has none. Raises ValueError."""
    try:
        words = _Lexer(line, quotes=True, escapes=True).words()
    except _UnclosedError:
        return []
    return [made for word in words if (made := heredoc(word)) is not None]


def heredoc(word: str) -> Heredoc | None:
    """`<<EOF`, `3<<-"EOF"`; None for another word. Raises ValueError for one with quotes that do not close."""
    match = _HEREDOC.match(word)
    if match is None or not match[3]:
        return None
    try:
        words = _Lexer(match[3], quotes=False, escapes=False).words()
    except _UnclosedError as wrong:
        raise ValueError(f"the here-document {word}: {wrong}") from None
    return Heredoc(words[0], match[2] == "-") if len(words) == 1 else None


class _UnclosedError(ValueError):
    """The text ends in a quote or a brace."""


class _Lexer:
    """`quotes`, `escapes`: whether they are part of the words."""

    def __init__(self, text: str, *, quotes: bool, escapes: bool) -> None:
        self._text, self._at = text, 0
        self._quotes, self._escapes = quotes, escapes
        self._depth = 0
        self._word: list[str] = []
        """One for all levels: what stands in braces drops what stood before them, as in BuildKit."""

    def words(self) -> list[str]:
        return self._until("")[1]

    def _peek(self) -> str:
        return self._text[self._at:self._at + 1]

    def _next(self) -> str:
        letter = self._peek()
        self._at += 1
        return letter

    def _until(self, stop: str) -> tuple[str, list[str]]:
        self._word.clear()
        text: list[str] = []
        words: list[str] = []
        inside = False

        def plain(letter: str) -> None:
            nonlocal inside
            if letter not in SPACE:
                self._word.append(letter)
                inside = True
            elif inside and self._word:
                words.append("".join(self._word))
                self._word.clear()
                inside = False

        def raw(letters: str) -> None:
            nonlocal inside
            if letters:
                self._word.append(letters)
            inside = True

        while letter := self._peek():
            if stop and letter == stop:
                self._at += 1
                break
            if letter == "$":
                part = self._variable()
                for inner in part:
                    plain(inner)
            elif letter in "'\"<":
                part = {"'": self._single, '"': self._double, "<": self._arrow}[letter]()
                raw(part)
            else:
                part = self._next()
                if part == _ESCAPE:
                    if self._escapes:
                        raw(part)
                        text.append(part)
                    if not (part := self._next()):
                        break
                    raw(part)
                else:
                    plain(part)
            text.append(part)
        else:
            if stop:
                raise _UnclosedError(f"no {stop}")
        if self._word:
            words.append("".join(self._word))
            self._word.clear()
        return "".join(text), words

    def _single(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise _UnclosedError("no '")
        part = self._text[self._at + 1:end]
        self._at = end + 1
        return f"'{part}'" if self._quotes else part

    def _double(self) -> str:
        made = [self._next()] if self._quotes else [self._next()][:0]
        while letter := self._peek():
            if letter == '"':
                self._at += 1
                return "".join(made) + ('"' if self._quotes else "")
            if letter == "$":
                made.append(self._variable())
                continue
            self._at += 1
            if letter == _ESCAPE:
                if self._escapes:
                    made.append(letter)
                following = self._peek()
                if not following:
                    continue
                if following in f'"${_ESCAPE}':
                    letter = self._next()
            made.append(letter)
        raise _UnclosedError('no "')

    def _arrow(self) -> str:
        self._at += 1
        if self._peek() != "<":
            return "<"
        start = self._at
        self._at += 1
        while self._peek() and self._peek() in "\t\r ":
            self._at += 1
        return "<" + self._text[start:self._at]

    def _variable(self) -> str:
        """As it is written, since none is set."""
        self._at += 1
        if self._peek() != "{":
            return "$" + self._name()
        self._at += 1
        if self._peek() in ("", "{", "}", ":"):
            raise _UnclosedError("a substitution without a name")
        name = self._name()
        sign = self._next()
        if sign == "}":
            return f"${{{name}}}"
        if sign == ":":
            sign = self._next()
            if sign in ("#", "%"):
                raise _UnclosedError(f"a substitution with :{sign}")
            return f"${{{name}:{sign}{self._part('}', escapes=False)}}}"
        if sign and sign in "+-?#%":
            return f"${{{name}{sign}{self._part('}', escapes=sign in '#%')}}}"
        if sign != "/":
            raise _UnclosedError(f"a substitution with {sign}")
        if self._peek() == "/":
            self._at += 1
        pattern = self._part("/", escapes=True)
        return f"${{{name}/{pattern}/{self._part('}', escapes=True)}}}"

    def _part(self, stop: str, *, escapes: bool) -> str:
        before, self._escapes = self._escapes, escapes
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} substitutions one within the other")
        try:
            return self._until(stop)[0]
        finally:
            self._escapes = before
            self._depth -= 1

    def _name(self) -> str:
        start = self._at
        first = self._peek()
        if first.isdecimal():
            while self._peek().isdecimal():
                self._at += 1
        elif first and first in _SPECIAL:
            self._at += 1
        else:
            while (letter := self._peek()) and (letter.isalpha() or letter.isdecimal() or letter == "_"):
                self._at += 1
        return self._text[start:self._at]
