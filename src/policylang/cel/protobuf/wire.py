"""The protobuf wire format: fields of a message as (number, wire type, value)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from policylang.cel.values.values import Uint
from policylang.errors import InvalidError

VARINT, FIXED64, BYTES, START, STOP, FIXED32 = range(6)


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and where it ends."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise InvalidError("protobuf", got="a number without an end", expected="a varint of at most 10 bytes")
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value & 0xffff_ffff_ffff_ffff, at
        shift += 7


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Numbers are unsigned as they stand; a group's value are the bytes between its tags. InvalidError."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == VARINT:
            value, at = varint(data, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
            value = int.from_bytes(_take(data, at, size), "little")
            at += size
        elif kind == BYTES:
            size, at = varint(data, at)
            value = _take(data, at, size)
            at += size
        elif kind == START:
            end = _group_end(data, at, number)
            value = data[at:end]
            _, at = varint(data, end)
        else:
            raise InvalidError("protobuf", got=f"wire type {kind}", expected="0, 1, 2, 3 or 5")
        if not number:
            raise InvalidError("protobuf", got="field number 0", expected="1 or more")
        yield number, kind, value


def _take(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise InvalidError("protobuf", got=f"{len(data) - at} bytes", expected=f"{size} bytes")
    return data[at:at + size]


def _group_end(data: bytes, at: int, number: int) -> int:
    """Where the end tag of a group starts."""
    open_groups = [number]
    while at < len(data):
        start = at
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == STOP:
            if tag >> 3 != open_groups.pop():
                break
            if not open_groups:
                return start
        elif kind == START:
            open_groups.append(tag >> 3)
        elif kind == VARINT:
            _, at = varint(data, at)
        elif kind == BYTES:
            size, at = varint(data, at)
            at += size
        else:
            at += 8 if kind == FIXED64 else 4
    raise InvalidError("protobuf", got="a group without an end", expected="its end tag")


def signed(value: int, bits: int) -> int:
    """Two's complement of the lowest bits."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def zigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)


# What a number on the wire is, by the kind of its field.
NUMBERS: dict[str, Callable[[int], Any]] = {
    "double": lambda raw: struct.unpack("<d", raw.to_bytes(8, "little"))[0],
    "float": lambda raw: struct.unpack("<f", (raw & 0xffff_ffff).to_bytes(4, "little"))[0],
    "int64": lambda raw: signed(raw, 64), "sfixed64": lambda raw: signed(raw, 64),
    "int32": lambda raw: signed(raw, 32), "sfixed32": lambda raw: signed(raw, 32),
    "uint64": Uint, "fixed64": Uint, "uint32": lambda raw: Uint(raw & 0xffff_ffff), "fixed32": Uint,
    "bool": bool, "sint32": zigzag, "sint64": zigzag,
}


def packed(kind: str, raw: bytes) -> Iterable[int]:
    """The numbers of a packed field."""
    size = 8 if kind in ("double", "fixed64", "sfixed64") else 4 if kind in ("float", "fixed32", "sfixed32") else 0
    if size:
        for at in range(0, len(raw) - size + 1, size):
            yield int.from_bytes(raw[at:at + size], "little")
        return
    at = 0
    while at < len(raw):
        value, at = varint(raw, at)
        yield value
