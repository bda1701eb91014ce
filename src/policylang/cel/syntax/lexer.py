"""Tokens and literals of CEL (cel-spec langdef, "Syntax")."""

from __future__ import annotations

import re

from policylang.cel.syntax.issues import CompileError
from policylang.cel.values.values import INT_MAX, INT_MIN, UINT_MAX, Uint
from policylang.scanner import END, Token, scan
from policylang.source import Source, SourceError

LONGEST = 100_000  # characters of an expression, as cel-go

_MASTER = re.compile(
    r"""(?P<space>[ \t\r\n\f]+)
    |(?P<comment>//[^\n]*)
    |(?P<text>[bB]?(?:[rR](?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\r\n]*"|'[^'\r\n]*')
        |\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*'))
    |(?P<double>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
    |(?P<uint>(?:0x[0-9a-fA-F]+|\d+)[uU])
    |(?P<int>0x[0-9a-fA-F]+|\d+)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<quoted>`[A-Za-z0-9_.\-/ ]+`)
    |(?P<sign>==|!=|<=|>=|&&|\|\||[<>+\-*/%!?:,.()\[\]{}])
    |(?P<bad>.)""", re.VERBOSE | re.DOTALL | re.ASCII)

RESERVED = frozenset({"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop",
                      "package", "namespace", "return", "var", "void", "while"})
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\?\"'`])|x([0-9a-fA-F]{2})|X([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})"
                     r"|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.|\Z))", re.DOTALL)
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


_BRACKETS = 500  # more than the parser's levels can be


def tokens(source: Source) -> list[Token]:
    """All tokens and a last one; CompileError with cel-go's words."""
    if len(source.text) > LONGEST:
        raise CompileError.one(source, 0, "expression code point size exceeds limit: "
                                          f"size: {len(source.text)}, limit {LONGEST}")
    try:
        return scan(source, _MASTER, bad={"bad": "Syntax error: token recognition error at: '{}'"}, deepest=_BRACKETS)
    except SourceError as wrong:
        at = wrong.offset
        if source.text[at] in "\"'":
            rest = source.text[at:].split("\n", 1)[0]
            raise CompileError.one(source, at, f"Syntax error: token recognition error at: '{rest}'") from None
        raise CompileError.one(source, at, wrong.reason) from None


def text_value(token: Token, source: Source) -> str | bytes:
    """What a string or bytes literal stands for."""
    text = token.text
    at = 0
    is_bytes = text[0] in "bB"
    at += is_bytes
    raw = text[at] in "rR"
    at += raw
    quote = 3 if text.startswith(('"""', "'''"), at) and len(text) - at >= 6 else 1
    body = text[at + quote:len(text) - quote]
    if "\r" in body:  # line ends, of which a text has one kind
        body = body.replace("\r\n", "\n").replace("\r", "\n")
    if raw or "\\" not in body:
        return body.encode() if is_bytes else body
    where = token.start + at + quote
    parts: list[str | bytes] = []
    last = 0
    for escape in _ESCAPE.finditer(body):
        parts.append(body[last:escape.start()])
        last = escape.end()
        plain, small, large, four, eight, octal, bad = escape.groups()
        offset = where + escape.start()
        if plain is not None:
            parts.append(_PLAIN.get(plain, plain))
        elif bad is not None or (is_bytes and (four or eight)):
            raise CompileError.one(source, offset, f"Syntax error: token recognition error at: '{escape[0]}'")
        else:
            code = int(octal, 8) if octal else int(small or large or four or eight, 16)
            if is_bytes:
                parts.append(bytes([code]))
            elif code > 0x10ffff or 0xd800 <= code <= 0xdfff:
                raise CompileError.one(source, offset, "invalid unicode code point")
            else:
                parts.append(chr(code))
    parts.append(body[last:])
    if is_bytes:
        return b"".join(part if isinstance(part, bytes) else part.encode() for part in parts)
    return "".join(map(str, parts))


def number_value(token: Token, source: Source, negative: bool, at: int) -> int | float | Uint:
    """What a number literal with its sign stands for; `at` is where messages point."""
    text = token.text
    if token.kind == "double":
        value = float(f"-{text}" if negative else text)
        if value in (float("inf"), float("-inf")):
            raise CompileError.one(source, at, "invalid double literal")
        return value
    digits = text[:-1] if token.kind == "uint" else text
    hexadecimal = digits.startswith("0x")
    if len(digits) > 40:
        digits = digits[2:].lstrip("0") if hexadecimal else digits.lstrip("0")
        if len(digits) > 40:
            raise CompileError.one(source, at, f"invalid {token.kind} literal")
        digits = digits or "0"
    else:
        digits = digits[2:] if hexadecimal else digits
    number = int(digits, 16 if hexadecimal else 10)
    if token.kind == "uint":
        if number > UINT_MAX or negative:
            raise CompileError.one(source, at, "invalid uint literal")
        return Uint(number)
    number = -number if negative else number
    if not INT_MIN <= number <= INT_MAX:
        raise CompileError.one(source, at, "invalid int literal")
    return number


__all__ = ["END", "LONGEST", "RESERVED", "Token", "number_value", "text_value", "tokens"]
