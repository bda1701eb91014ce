"""Tokens of Rego: names, numbers, strings, template strings and signs, with the comments apart."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from policylang.rego.syntax.tree import Comment
from policylang.rego.values.numbers import Number, TooBig, read
from policylang.scanner import END, Token
from policylang.source import Source, SourceError

_MASTER = re.compile(r"""
    (?P<space>[ \t\r\n]+)
  | (?P<comment>\#[^\n]*)
  | (?P<template>\$["`])
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<raw>`[^`]*`)
  | (?P<sign>:=|==|!=|<=|>=|[=<>+\-*/%&|.,;:()\[\]{}])
  | (?P<unclosed>["`])
""", re.VERBOSE | re.ASCII)

KEYWORDS = frozenset({"package", "import", "as", "default", "else", "not", "null", "true", "false", "some", "with"})
FUTURE = frozenset({"contains", "every", "if", "in"})  # of v1, and of `import future.keywords`
LATER = frozenset({"and", "or", "not"})  # by `import future.keywords.and` … or `import rego.v2`: and, or, `not {…}`
_DEEPEST_TEMPLATE = 10
DEEPEST = 120  # brackets within brackets
_OPENING = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


class Lexed(NamedTuple):
    tokens: list[Token]
    comments: list[Comment]


def lex(source: Source, start: int = 0, end: int | None = None) -> Lexed:
    """The tokens in `source.text[start:end]`, the last of kind END."""
    text = source.text
    stop = len(text) if end is None else end
    tokens: list[Token] = []
    comments: list[Comment] = []
    at, depth = start, 0
    if at == 0 and text[:1] == "\ufeff":
        at = 1  # a byte order mark
    while at < stop:
        match = _MASTER.match(text, at, stop)
        if match is None:
            raise error(f"illegal token {text[at]!r}", source, at)
        kind, after = match.lastgroup or "", match.end()
        if kind == "comment":
            comments.append(Comment(at, after, text[at + 1:after].removesuffix("\r")))
        elif kind == "template":
            after = _template_end(source, after, stop, text[at + 1])
            tokens.append(Token(kind, text[at:after], at, after))
        elif kind == "unclosed":
            raise error("non-terminated string", source, at)
        elif kind != "space":
            if kind == "number" and after < stop and (text[after].isalnum() or text[after] == "_"):
                raise error("illegal number format", source, at)
            if kind == "sign":
                depth += _OPENING.get(match[0], 0)
                if depth > DEEPEST:
                    raise error("expression nested too deeply", source, at)
            tokens.append(Token(kind, match[0], at, after))
        at = after
    tokens.append(Token(END, "", stop, stop))
    return Lexed(tokens, comments)


def error(message: str, source: Source, at: int, hint: str | None = None) -> SourceError:
    return SourceError(f"rego_parse_error: {message}", source, at, kind="rego_parse_error", hint=hint)


def _template_end(source: Source, at: int, stop: int, quote: str) -> int:
    """The offset after the closing quote of the template string whose text starts at `at`."""
    for part in template_parts(source, at, stop, quote):
        at = part[1]
    return at + 1


def template_parts(source: Source, at: int, stop: int, quote: str, depth: int = 0) -> list[tuple[int, int, bool]]:
    """(start, end, is expression) of each part up to the closing quote; an expression's braces are not in it."""
    text, parts, begin, opened = source.text, [], at, at
    while at < stop:
        sign = text[at]
        if sign == "\\" and (quote == '"' or text[at + 1:at + 2] == "{"):
            at += 2
        elif sign == quote:
            parts.append((begin, at, False))
            return parts
        elif sign == "\n" and quote == '"':
            break
        elif sign == "{":
            close = _closing_brace(source, at, stop, depth)
            parts += [(begin, at, False), (at + 1, close, True)]
            at = begin = close + 1
        else:
            at += 1
    raise error("non-terminated string", source, opened - 2)


def _closing_brace(source: Source, opening: int, stop: int, outer: int) -> int:
    depth, at = 0, opening
    while at < stop:
        match = _MASTER.match(source.text, at, stop)
        if match is None or match.lastgroup == "unclosed":
            break
        at = match.end()
        if match.lastgroup == "template":
            if outer == _DEEPEST_TEMPLATE:
                raise error("template strings nested too deeply", source, match.start())
            at = template_parts(source, at, stop, match[0][1], outer + 1)[-1][1] + 1
        if match.lastgroup == "sign":
            depth += {"{": 1, "}": -1}.get(match[0], 0)
            if depth == 0:
                return at - 1
    raise error("non-terminated template expression", source, opening)


def number(token: Token, source: Source, negative: bool = False) -> Number:
    try:
        return read(("-" if negative else "") + token.text)
    except TooBig:
        raise error("number too big", source, token.start) from None


def string(token_text: str, source: Source, at: int) -> str:
    """The value of a quoted string with JSON's escapes."""
    if "\\" not in token_text and token_text.isascii():
        return token_text[1:-1]
    try:
        value: str = json.loads(token_text, strict=False)
    except ValueError:
        raise error("illegal string escape sequence", source, at) from None
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value
