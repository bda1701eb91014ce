"""JSON as Go's encoding/json reads it into an interface, with its error messages."""

from __future__ import annotations

import re
from json import JSONDecodeError, JSONDecoder
from typing import Any

from policylang.go.numbers import quote

DEEPEST = 10_000  # encoding/json's own limit
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS = {"t": "true", "f": "false", "n": "null"}
_SPACE = " \t\r\n"


class JSONError(ValueError):
    """What encoding/json refuses, in its words."""


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= 15 and text != "-0" else _floating(text)


def _floating(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise JSONError(f"json: cannot unmarshal number {text} into Go value of type float64")
    return value


def _constant(text: str) -> Any:
    raise ValueError(text)


_DECODER = JSONDecoder(parse_int=_integer, parse_float=_floating, parse_constant=_constant)


def decode(text: str) -> Any:
    """Plain data; whole numbers of up to fifteen digits as int, others as the nearest float. Raises JSONError."""
    try:
        value = _DECODER.decode(text)
    except JSONError:
        raise
    except (JSONDecodeError, ValueError):
        raise JSONError(_problem(text)) from None
    except RecursionError:
        raise JSONError("exceeded max depth") from None
    return without_surrogates(value) if "\\u" in text or "\\U" in text else value


def without_surrogates(value: Any) -> Any:
    """JSON's data, in which halves of surrogate pairs become U+FFFD."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [without_surrogates(member) for member in value]
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(member) for key, member in value.items()}
    return value


def _problem(text: str) -> str:
    """The scanner's message for a text that is no JSON."""
    text += " "  # as the scanner does at the end, to learn whether anything may end there
    at, state = 0, "value"
    stack: list[str] = []
    end = len(text)

    def unexpected(context: str) -> str:
        first = chr(text[at].encode(errors="surrogatepass")[0])  # encoding/json goes by bytes
        return f"invalid character {quote(first, mark=chr(39))} {context}"

    while at < end:
        char = text[at]
        if char in _SPACE:
            at += 1
            continue
        if state == "done":
            return unexpected("after top-level value")
        if state in ("key", "first key"):
            if char == "}" and state == "first key":
                stack.pop()
                at, state = at + 1, "after" if stack else "done"
                continue
            if char != '"':
                return unexpected("looking for beginning of object key string")
        elif state == "colon":
            if char != ":":
                return unexpected("after object key")
            at, state = at + 1, "value"
            continue
        elif state == "after":
            inside = stack[-1]
            if char == ",":
                at, state = at + 1, "key" if inside == "{" else "value"
                continue
            if char != ("}" if inside == "{" else "]"):
                return unexpected("after object key:value pair" if inside == "{" else "after array element")
            stack.pop()
            at, state = at + 1, "after" if stack else "done"
            continue
        # a value, or the text of a key
        after = "colon" if state in ("key", "first key") else "after" if stack else "done"
        if char == '"':
            at += 1
            while True:
                if at >= end:
                    return "unexpected end of JSON input"
                char = text[at]
                if char == '"':
                    break
                if char < " ":
                    return unexpected("in string literal")
                if char == "\\":
                    at += 1
                    if at >= end:
                        return "unexpected end of JSON input"
                    if text[at] == "u":
                        for _ in range(4):
                            at += 1
                            if at >= end:
                                return "unexpected end of JSON input"
                            if text[at] not in "0123456789abcdefABCDEF":
                                return unexpected("in \\u hexadecimal character escape")
                    elif text[at] not in '"\\/bfnrt':
                        return unexpected("in string escape code")
                at += 1
            at, state = at + 1, after
        elif char == "{":
            stack.append(char)
            at, state = at + 1, "first key"
        elif char == "[":
            stack.append(char)
            at += 1
            rest = len(text[at:]) - len(text[at:].lstrip(_SPACE))
            if text[at + rest:at + rest + 1] == "]":
                stack.pop()
                at, state = at + rest + 1, "after" if stack else "done"
            else:
                state = "value"
        elif char in _WORDS:
            for letter in _WORDS[char][1:]:
                at += 1
                if at >= end:
                    return "unexpected end of JSON input"
                if text[at] != letter:
                    return unexpected(f"in literal {_WORDS[char]} (expecting {quote(letter, mark=chr(39))})")
            at, state = at + 1, after
        elif char == "-" or char in "0123456789":
            number = _NUMBER.match(text, at)
            if number is None:
                at += 1
                return unexpected("in numeric literal") if at < end else "unexpected end of JSON input"
            at, state = number.end(), after
            if text[at:at + 1] in (".", "e", "E") and number[0][-1:] not in ".eE":
                broken = re.compile(r"[.eE][+-]?").match(text, at)
                mark = text[at]
                at = broken.end() if broken else at + 1
                if at >= end:
                    return "unexpected end of JSON input"
                return unexpected("after decimal point in numeric literal" if mark == "." else
                                  "in exponent of numeric literal")
        else:
            return unexpected("looking for beginning of value")
    return "unexpected end of JSON input"
