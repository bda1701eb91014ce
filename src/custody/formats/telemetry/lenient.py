"""JSON of events, read so that nobody whose process, file or pod has an odd name is overlooked.

Bytes that are no UTF-8, lone surrogates and numbers out of range come from names that an attacker may choose. A typed
reader refuses them, and the event would not be judged; so they are brought to something that can be read, and counted.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import msgspec

from custody.errors import MalformedError

_T = TypeVar("_T")
LARGEST = 64 << 20
"""Bytes of one document, or of one request with events."""
_REPAIRED = 4 << 20
"""Bytes of what is repaired: that takes a second at most for each MiB, and mostly for each 16."""
_SHOWN = 80
_OPENS, _CLOSES = b"[{", b"]}"
DEEPEST = 200
"""Objects and lists in each other that are read; what is deeper is null. Kubernetes' own are not half as deep."""
_NESTING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


class Repairs:
    """How many events were read only after they had been repaired."""

    def __init__(self) -> None:
        self.count = 0


def decode(data: bytes, decoder: msgspec.json.Decoder[_T], repairs: Repairs, expected: str) -> _T:
    """Raises MalformedError, which `expected` ends."""
    if len(data) > LARGEST:
        raise MalformedError("", got=f"{len(data)} bytes", expected=f"at most {LARGEST}")
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as wrong:
        cut = shallow(data) if len(data) <= _REPAIRED else data
        for repaired in (cut if cut is not data else None, _repaired(cut)):
            if repaired is None:
                continue
            try:
                value = decoder.decode(repaired)
            except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
                continue
            repairs.count += 1
            return value
        raise MalformedError("", got=_shown(data), expected=f"{expected}: {str(wrong)[:200]}") from None


def shallow(data: bytes) -> bytes:
    """The same document with null for what is nested deeper than `DEEPEST`: a reader that gives up there would let
    whoever nests anything in an object choose that nobody looks at the rest of it, and at what stands beside it."""
    if data.count(b"[") + data.count(b"{") <= DEEPEST:
        return data
    kept: list[bytes] = []
    depth = begun = 0
    for token in _NESTING.finditer(data):
        mark = data[token.start()]
        if mark in _OPENS:
            depth += 1
            if depth == DEEPEST + 1:
                kept += (data[begun:token.start()], b"null")
        elif mark in _CLOSES:
            if depth == DEEPEST + 1:
                begun = token.end()
            depth -= 1
    if depth > DEEPEST:  # cut off within: it is no document, and whoever decodes it says so
        return data
    return b"".join((*kept, data[begun:])) if kept else data


def members(data: bytes, depth: int) -> list[bytes]:
    """The objects that stand `depth` deep in a document, which as a whole may be none: of a list 1, of a list in an
    object 2. One that is cut off is left out."""
    inside, begun, listed = 0, -1, False
    cut: list[bytes] = []
    for token in _NESTING.finditer(data):
        mark = data[token.start()]
        if mark in _OPENS:
            if inside == depth - 1:
                listed = mark == _OPENS[0]
            if inside == depth and listed and mark == _OPENS[1]:
                begun = token.start()
            inside += 1
        elif mark in _CLOSES:
            inside -= 1
            if inside == depth and begun >= 0:
                cut.append(data[begun:token.end()])
                begun = -1
    return cut


def _repaired(data: bytes) -> bytes | None:
    """The same document with what no reader takes replaced; None where that makes it none."""
    if len(data) > _REPAIRED:
        return None
    text = data.decode("utf-8", "replace")
    try:
        value = json.loads(text, parse_int=_whole, parse_float=_real, parse_constant=lambda _: None, strict=False)
        return json.dumps(value).encode("utf-8") if not _surrogates(text) else json.dumps(_plain(value)).encode("utf-8")
    except (ValueError, RecursionError):
        return None


def _whole(text: str) -> int | float:
    return int(text) if len(text) <= 20 and -(1 << 63) <= int(text) < 1 << 64 else _real(text)


def _real(text: str) -> float:
    value = float(text) if len(text) <= 400 else float("inf")
    return min(max(value, -1.7e308), 1.7e308)


def _surrogates(text: str) -> bool:
    return "\\ud" in text.lower()


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(member) for key, member in value.items()}
    return value


def _shown(data: bytes) -> str:
    return data[:_SHOWN].decode("utf-8", "replace") + ("…" if len(data) > _SHOWN else "")
