"""Tokens of JMESPath, under the names that go-jmespath's errors give them."""

from __future__ import annotations

import re
from typing import Any

from policylang.go.jsontext import JSONError, decode
from policylang.go.numbers import quote
from policylang.scanner import Token, scan
from policylang.source import Source, SourceError

_MASTER = re.compile(r"""
    (?P<space>[ \t\n\r]+)
  | (?P<tUnquotedIdentifier>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<tDot>\.) | (?P<tStar>\*) | (?P<tComma>,) | (?P<tColon>:) | (?P<tCurrent>@)
  | (?P<tLbrace>\{) | (?P<tRbrace>\}) | (?P<tRbracket>\]) | (?P<tLparen>\() | (?P<tRparen>\))
  | (?P<tFilter>\[\?) | (?P<tFlatten>\[\]) | (?P<tLbracket>\[)
  | (?P<tNumber>-[0-9]*|[0-9]+)
  | (?P<tStringLiteral>'(?:[^'\\]|\\'|\\(?!'))*')
  | (?P<tJSONLiteral>`(?:[^`\\]|\\.)*`)
  | (?P<tQuotedIdentifier>"(?:[^"\\]|\\.)*")
  | (?P<tOr>\|\|) | (?P<tPipe>\|) | (?P<tAnd>&&) | (?P<tExpref>&)
  | (?P<tLTE><=) | (?P<tLT><) | (?P<tGTE>>=) | (?P<tGT>>) | (?P<tNE>!=) | (?P<tNot>!) | (?P<tEQ>==) | (?P<tUnknown>=)
  | (?P<open>['`"])
  | (?P<bad>.)
""", re.VERBOSE | re.DOTALL)


def tokens(source: Source) -> list[Token]:
    """All tokens, the last one of kind tEOF. SourceError in go-jmespath's words."""
    scanned = scan(source, _MASTER)
    for at, token in enumerate(scanned):
        if token.kind == "tQuotedIdentifier":
            scanned[at] = token._replace(text=_json(token.text, token, source))
        elif token.kind == "open":
            raise SourceError(f"SyntaxError: Unclosed delimiter: {token.text}", source, len(source.text))
        elif token.kind == "bad":
            raise SourceError(f"SyntaxError: Unknown char: {quote(token.text, True, chr(39))}", source, token.start)
    scanned[-1] = scanned[-1]._replace(kind="tEOF")
    return scanned


def string(token: Token) -> str:
    """The text of a tStringLiteral: `\\'` is the only escape."""
    return token.text[1:-1].replace("\\'", "'")


def literal(token: Token, source: Source) -> Any:
    """The value that a tJSONLiteral is JSON for."""
    return _json(token.text[1:-1].replace("\\`", "`"), token, source)


def _json(text: str, token: Token, source: Source) -> Any:
    try:
        return decode(text)
    except JSONError as wrong:
        raise SourceError(str(wrong), source, token.start) from None
