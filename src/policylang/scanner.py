"""Tokens of a program, found by one compiled regular expression with named groups."""

from __future__ import annotations

import re
from typing import NamedTuple

from policylang.source import Source, SourceError


class Token(NamedTuple):
    """`kind` is the group that matched, or END."""

    kind: str
    text: str
    start: int
    end: int


END = "end"
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


def scan(source: Source, master: re.Pattern[str], *, skip: frozenset[str] = frozenset({"space", "comment"}),
         bad: dict[str, str] | None = None, deepest: int | None = None) -> list[Token]:
    """All tokens and a last one of kind END.

    `master` must match at least one character wherever it matches. A group named in `bad` raises with that message
    (`{}` becomes the text), as does a character that nothing matches. Where more than `deepest` brackets are open,
    reading ends: the parser refuses the program before it is there.
    """
    text, match = source.text, master.match
    tokens: list[Token] = []
    at = depth = 0
    while at < len(text):
        lexeme = match(text, at)
        if lexeme is None:
            raise SourceError(f"illegal token {text[at]!r}", source, at)
        kind, end = lexeme.lastgroup or "", lexeme.end()
        if bad and kind in bad:
            raise SourceError(bad[kind].replace("{}", lexeme[0][:40]), source, at)
        if kind not in skip:
            tokens.append(Token(kind, lexeme[0], at, end))
            if deepest is not None:
                depth += _BRACKETS.get(lexeme[0], 0)
                if depth > deepest:
                    break
        at = end
    tokens.append(Token(END, "", at, at))
    return tokens
