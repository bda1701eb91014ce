"""Places in programs: sections of PE and Mach-O files by name, and what addresses in memory of ELF files lead to.

Microsoft, "PE Format" ("Section Table"); Apple, mach-o/loader.h (`segment_command_64`, `section_64`); System V ABI,
"Program Header".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

_MACH_O = b"\xcf\xfa\xed\xfe"
_SEGMENT = 0x19
"""LC_SEGMENT_64."""
_LOAD = 1
"""PT_LOAD."""
_MOST = 1000
_LONGEST = 1 << 20


def sections(head: bytes, name: bytes) -> Iterator[tuple[int, int]]:
    """Offset and size of each section of this name, by the first bytes of a PE file or a 64-bit Mach-O file.

    Raises struct.error where they end too early.
    """
    if head[:2] == b"MZ":
        (start,) = struct.unpack_from("<I", head, 0x3C)
        count, optional = struct.unpack_from("<H12xH", head, start + 6)
        for place in range(min(count, _MOST)):
            row = head[start + 24 + optional + 40 * place:][:40]
            if row[:8].rstrip(b"\0") == name:
                size, offset = struct.unpack_from("<II", row, 16)
                yield offset, size
    elif head[:4] == _MACH_O:
        (commands,) = struct.unpack_from("<I", head, 16)
        place = 32
        for _ in range(min(commands, _MOST)):
            kind, size = struct.unpack_from("<II", head, place)
            if kind == _SEGMENT:
                (count,) = struct.unpack_from("<I", head, place + 64)
                for field in range(place + 72, min(place + 72 + 80 * count, len(head)), 80):
                    if head[field:field + 16].rstrip(b"\0") == name:
                        length, offset = struct.unpack_from("<QI", head, field + 40)
                        yield offset, length
            place += max(size, 8)


def string(file: BinaryIO, section: bytes, which: int) -> bytes | None:
    """What a pointer to a Go string (an address, a length) leads to in an ELF file; None where that is not in it.

    `section` is `.go.buildinfo`: after its magic the size of a pointer, the byte order, then the pointers.
    """
    width, order = section[14], ">" if section[15] & 1 else "<"
    if width not in (4, 8):
        return None
    word = order + ("Q" if width == 8 else "I")
    (pointer,) = struct.unpack_from(word, section, 16 + which * width)
    header = _at(file, pointer, 2 * width)
    if header is None or len(header) < 2 * width:
        return None
    address, length = struct.unpack(word + word[1], header)
    return b"" if not length else _at(file, address, length) if length <= _LONGEST else None


def _at(file: BinaryIO, address: int, size: int) -> bytes | None:
    """Bytes of an ELF file by their address in memory."""
    file.seek(0)
    head = file.read(64)
    wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    (start,) = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)
    length, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
    if length < (56 if wide else 32) or start > 1 << 62:
        return None
    file.seek(start)
    table = file.read(length * min(count, _MOST))
    for place in range(0, len(table) - length + 1, length):
        if wide:
            kind, offset, begin, stored = struct.unpack_from(order + "I4xQQ8xQ", table, place)
        else:
            kind, offset, begin, stored = struct.unpack_from(order + "III4xI", table, place)
        if kind == _LOAD and begin <= address < begin + stored and offset < 1 << 62:
            file.seek(offset + address - begin)
            return file.read(size)
    return None
