"""Keys of versions as bytes, which sort as the versions do: what a database puts in order without knowing them."""

from __future__ import annotations

from typing import Any

_TUPLE, _TEXT, _END = b"\x03", b"\x02", b"\x00"
"""The end of a tuple sorts before all that may go on: where one begins as the other, the shorter is smaller."""


def encode(key: Any) -> bytes:
    """A key of numbers, texts and tuples of such: of two, bytes compare as Python compares them, where it can."""
    parts: list[bytes] = []
    _encode(key, parts)
    return b"".join(parts)


def _encode(key: Any, parts: list[bytes]) -> None:
    if isinstance(key, tuple):
        parts.append(_TUPLE)
        for part in key:
            _encode(part, parts)
        parts.append(_END)
    elif isinstance(key, str):
        # A zero ends the text: those within are written as a one, and what follows says which was there.
        text = key.encode("utf-8", "surrogatepass")
        parts += (_TEXT, text.replace(b"\x01", b"\x01\x02").replace(b"\x00", b"\x01\x01"), _END)
    else:
        parts.append(_number(key))


def _number(number: int) -> bytes:
    """Small ones are a byte; others say how many bytes they have, and negative ones say both backwards."""
    if 0 <= number < 0x60:
        return bytes((0x20 + number,))
    size = max(1, (abs(number).bit_length() + 7) // 8)
    data = abs(number).to_bytes(size, "big")
    if number > 0:
        return (bytes((0x80 + size,)) if size < 0x7F else b"\xff" + size.to_bytes(2, "big")) + data
    if size > 0x18:
        raise ValueError("a negative number of more than 24 bytes")
    return bytes((0x1F - size,)) + bytes(0xFF - byte for byte in data)
