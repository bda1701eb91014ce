"""Programs of .NET in a single file: the host, and behind it all assemblies with the `deps.json` that names packages.

dotnet/designs, "The Single-file Bundler", version 2 and later (.NET 5): a mark in the host says where the bundle's
header is, and that where `deps.json` is. A program whose file ends with its own sections has none, and is not looked
through.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec

from custody.sbom.catalogers.dotnet import read_dependencies
from custody.sbom.catalogers.fact import HOLDS, Fact, unknown

_MARK = hashlib.sha256(b".net core bundle\n").digest()
_ELF, _WINDOWS = b"\x7fELF", b"MZ"
_PIECE, _LARGEST_HOST, _LARGEST = 1 << 20, 512 << 20, 16 << 20
_HEADER = 4096
_WITHOUT = unknown(".NET bundle without deps.json")


def read(path: str, file: BinaryIO, spend: Callable[[int], None]) -> Iterator[Fact]:
    """The packages of a bundle; nothing for any other program. Raises ValueError for a bundle that is broken."""
    end = _end(file)
    size = file.seek(0, 2)
    if end is None or size <= end:
        return
    spend(min(end, _LARGEST_HOST) // 16)
    header = _header(file, min(end, _LARGEST_HOST))
    if not header:
        return
    if header > size:
        raise ValueError("a bundle whose header is beyond its file")
    content = _dependencies(file, header, size)
    if content is None:
        yield _WITHOUT
        return
    spend(4 * len(content))
    for fact in read_dependencies(path, content):
        if fact.type != HOLDS:  # its files are in this one
            yield msgspec.structs.replace(fact, evidence="deps.json of the bundle", form="part")


def _end(file: BinaryIO) -> int | None:
    """Where the host's own sections end; None for what has none that can be counted."""
    file.seek(0)
    head = file.read(1024)
    try:
        if head[:4] == _ELF:
            wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
            start, = struct.unpack_from(order + ("Q" if wide else "I"), head, 40 if wide else 32)
            entry, count = struct.unpack_from(order + "HH", head, 58 if wide else 46)
            return start + entry * count if start else None
        if head[:2] == _WINDOWS:
            place, = struct.unpack_from("<I", head, 60)
            count, = struct.unpack_from("<H", head, place + 6)
            optional, = struct.unpack_from("<H", head, place + 20)
            rows = [struct.unpack_from("<II", head, place + 24 + optional + 40 * row + 16) for row in range(count)]
            return max((size + offset for size, offset in rows), default=None)
    except struct.error:
        pass
    return None


def _header(file: BinaryIO, end: int) -> int:
    """The eight bytes before the mark; 0 in a host that was not made a bundle, and where there is no mark."""
    file.seek(0)
    start, rest = 0, b""
    while start < end and (piece := file.read(min(_PIECE, end - start))):
        block = rest + piece
        place = block.find(_MARK)
        if place >= 8:
            return int(struct.unpack_from("<Q", block, place - 8)[0])
        start += len(piece)
        rest = block[-len(_MARK) - 8:]
    return 0


def _dependencies(file: BinaryIO, header: int, size: int) -> bytes | None:
    """None where the bundle has none: one of .NET Core 3, or of a program that was published so."""
    file.seek(header)
    head = file.read(_HEADER)
    try:
        major, _, _ = struct.unpack_from("<IIi", head, 0)
        length, place = _length(head, 12)
        start, count = struct.unpack_from("<qq", head, place + length)
    except (struct.error, IndexError):
        raise ValueError("a bundle whose header is cut off") from None
    if major < 2 or not count:
        return None
    if start < 0 or not 0 < count <= _LARGEST or start + count > size:
        raise ValueError(f"a deps.json of {count} bytes at {start}")
    file.seek(start)
    return file.read(count)


def _length(data: bytes, place: int) -> tuple[int, int]:
    """Of a string, seven bits a byte, of which there are two at most."""
    value = data[place]
    if value < 0x80:
        return value, place + 1
    return value & 0x7F | data[place + 1] << 7, place + 2
