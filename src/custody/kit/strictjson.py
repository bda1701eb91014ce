"""JSON for security documents: no duplicate keys, no NaN or infinity, limited size, depth (RFC 8259, I-JSON RFC 7493).

Parsers differ on duplicate keys, so a document that has them can say one thing to the verifier and another to the
user; it is refused. Signed bytes are never written again from what is returned here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from custody.errors import MalformedError

_ESCAPED = re.compile(r"\\.", re.DOTALL)
_PIECE = 1 << 20
_STRING = re.compile(rb'"[^"]*+(?:"|\Z)')
"""One that is not closed goes to the end, so that no character is looked at twice."""
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b'[]{}"')))
MAX_SIZE = 64 * 1024 * 1024
MAX_DEPTH = 128
_VALUE = 72  # bytes that a value takes in CPython at least: an object of some 60, and its place in a list or dict


def loads(data: bytes | str, where: str, *, max_size: int = MAX_SIZE, max_depth: int = MAX_DEPTH) -> Any:
    """Decode one JSON document. Raises MalformedError, whose message begins with `where`."""
    if len(data) > max_size:
        raise MalformedError(where, got=f"{len(data)} bytes", expected=f"at most {max_size} bytes")
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
    except UnicodeDecodeError as error:
        raise MalformedError(where, got=f"byte {error.start} that is not UTF-8", expected="UTF-8") from None
    _check_depth(text, where, max_depth)

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise MalformedError(where, got=f"key {twice!r} twice in one object", expected="each key once")
        return result

    def no_constant(name: str) -> Any:
        raise MalformedError(where, got=name, expected="a finite number")

    def finite(number: str) -> float:
        value = float(number)
        if math.isinf(value):  # it would be written again as what is no JSON
            raise MalformedError(where, got=number, expected="a number that a double holds")
        return value

    try:
        value = json.loads(text, object_pairs_hook=no_duplicates, parse_constant=no_constant, parse_float=finite)
        if "\\ud" in text or "\\uD" in text:  # half of a surrogate pair is no text, and cannot be written again
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise MalformedError(where, got=f"{error.msg} at {place}", expected="one JSON document") from None
    except (RecursionError, ValueError) as error:
        raise MalformedError(where, got=str(error), expected="one JSON document") from None


def weight(data: bytes) -> int:
    """How many bytes the document takes about once it is parsed, from its length and the number of its values.

    Never much less than the truth, and cheap: about 1 ms a MiB. Three bytes such as `[],` take more than a hundred.
    """
    return len(data) + _VALUE * (data.count(b",") + data.count(b"[") + data.count(b"{"))


def _brackets(text: str) -> Iterator[bytes]:
    """Those outside of strings, a piece of the text at a time, so that it takes a little more memory than they do."""
    start, inside = 0, False
    while start < len(text):
        piece = text[start:start + _PIECE]
        if (len(piece) - len(piece.rstrip("\\"))) % 2:  # half of an escape
            piece = text[start:start + _PIECE + 1]
        length = len(piece)
        if "\\" in piece:
            piece = _ESCAPED.sub("", piece)
        marks = piece.encode("utf-8", "surrogatepass").translate(None, _NOT_BRACKETS)
        quotes = marks.count(b'"')
        yield _STRING.sub(b"", b'"' + marks if inside else marks)
        inside ^= quotes % 2 == 1
        start += length


def _check_depth(text: str, where: str, limit: int) -> None:
    if text.count("[") + text.count("{") <= limit:
        return
    brackets = left = b"".join(_brackets(text))
    for _ in range(limit // 2):  # the innermost level goes each time, or two; mostly nothing is left to count
        left = left.replace(b"[]", b"").replace(b"{}", b"")
        if not left:
            return
    depth = 0
    for char in brackets:
        depth += 1 if char in b"[{" else -1
        if depth > limit:
            raise MalformedError(where, got=f"nesting deeper than {limit}", expected=f"at most {limit} levels")
