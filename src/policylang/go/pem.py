"""PEM blocks as Go's encoding/pem finds them, in time that is linear in the text."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from typing import NamedTuple

_BEGIN, _END, _DASHES = b"-----BEGIN ", b"-----END ", b"-----"


class Block(NamedTuple):
    """`kind`: as `CERTIFICATE`; `data`: decoded; it is `text[start:end]`, with its last line's end."""

    kind: str
    data: bytes
    start: int
    end: int


def blocks(text: bytes) -> Iterator[Block]:
    """Those that are whole, with labels at the beginnings of lines; what is around and between them is passed over."""
    at, closing = 0, -1
    while (start := text.find(_BEGIN, at)) >= 0:
        at = start + len(_BEGIN)
        if start and text[start - 1:start] != b"\n":
            continue
        kind, _ = _line(text, at)
        if not kind.endswith(_DASHES):
            continue
        if closing < at:  # the next label of an end is looked for once, however many beginnings are before it
            closing = text.find(b"\n" + _END, at)
            if closing < 0:
                return
        label, after = _line(text, closing + 1 + len(_END))
        if label != kind:
            continue
        data = _body(text[at + len(kind):closing + 1])
        if data is not None:
            yield Block(kind[:-len(_DASHES)].decode("latin-1"), data, start, after)
            at = after


def _line(text: bytes, at: int) -> tuple[bytes, int]:
    """The rest of a line without blanks at its end, and where the next one begins."""
    end = text.find(b"\n", at)
    end = len(text) if end < 0 else end
    return text[at:end].rstrip(b" \t\r"), min(end + 1, len(text))


def _body(text: bytes) -> bytes | None:
    """What is encoded after the headers, if there are any; None of what is no base64."""
    lines = text.split(b"\n")
    for number, line in enumerate(lines):
        if b":" not in line and line.strip():
            lines = lines[number:]
            break
    encoded = b"".join(b"".join(lines).split())
    if len(encoded) % 4:
        return None
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except binascii.Error:
        return None
