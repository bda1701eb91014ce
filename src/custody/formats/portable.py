"""PE files: whether one is an assembly of .NET, and the strings of its version resource.

Microsoft, "PE Format" ("Optional Header Data Directories", "The .rsrc Section") and "VS_VERSIONINFO"; ECMA-335 II.25.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import BinaryIO

_RESOURCES, _CLI = 2, 14
"""Places among the data directories of the optional header."""
_VERSION = 16
"""RT_VERSION, a type of resources."""
_OPTIONAL = 240
"""Bytes of an optional header with all directories; one may say that it is shorter, and be read all the same."""
_SECTIONS = 96
"""As many as Windows loads."""
_ENTRIES = 4096
_LARGEST = 64 << 10
"""Bytes of a version resource, whose lengths are of 16 bits."""
_KEYS = ("ProductVersion", "FileVersion", "ProductName", "InternalName", "OriginalFilename", "CompanyName")


@dataclass(frozen=True, slots=True)
class Portable:
    assembly: bool
    """It has a CLI header."""
    strings: dict[str, str] = field(default_factory=dict)
    """Of the version resource's first language, by name: `ProductVersion`, `InternalName`, …"""


def read(file: BinaryIO) -> Portable:
    """Raises ValueError for what is no PE file, or one with a header that leads nowhere."""
    try:
        return _read(file)
    except struct.error as error:
        raise ValueError(f"a PE file that ends in its headers: {error}") from error


def _read(file: BinaryIO) -> Portable:
    head = _at(file, 0, 64)
    (start,) = struct.unpack_from("<I", head, 0x3C)
    coff = _at(file, start, 24)
    if head[:2] != b"MZ" or coff[:4] != b"PE\0\0":
        raise ValueError("no PE file")
    sections, size = struct.unpack_from("<H", coff, 6)[0], struct.unpack_from("<H", coff, 20)[0]
    optional = _at(file, start + 24, _OPTIONAL)
    (magic,) = struct.unpack_from("<H", optional, 0)
    first = 112 if magic == 0x20B else 96  # PE32+ or PE32
    (count,) = struct.unpack_from("<I", optional, first - 4)
    directories = [struct.unpack_from("<II", optional, first + 8 * place) if place < count else (0, 0)
                   for place in (_RESOURCES, _CLI)]
    (resources, _), (cli, _) = directories
    table = _at(file, start + 24 + size, 40 * min(sections, _SECTIONS))
    rows = [struct.unpack_from("<IIII", table, 40 * place + 8) for place in range(min(sections, _SECTIONS))]
    strings = _strings(file, rows, resources) if resources else {}
    return Portable(cli != 0, strings)


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _offset(rows: list[tuple[int, int, int, int]], address: int) -> int | None:
    """Where in the file an address in memory is; `rows`: size, address, size in the file, offset of each section."""
    for size, start, stored, offset in rows:
        if start <= address < start + max(size, stored):
            return offset + address - start
    return None


def _strings(file: BinaryIO, rows: list[tuple[int, int, int, int]], resources: int) -> dict[str, str]:
    base = _offset(rows, resources)
    entry = None if base is None else _entry(file, base, 0, _VERSION)
    for _ in range(2):  # names, then languages: the first of each
        if base is None or entry is None or not entry & 1 << 31:
            return {}
        entry = _entry(file, base, entry & 0x7FFFFFFF, None)
    if base is None or entry is None or entry & 1 << 31:
        return {}
    address, size = struct.unpack("<II", _at(file, base + entry, 8))
    place = _offset(rows, address)
    return {} if place is None else _parse(_at(file, place, min(size, _LARGEST)))


def _entry(file: BinaryIO, base: int, offset: int, identifier: int | None) -> int | None:
    """Where the entry of this number leads in a resource directory; with None the first one."""
    named, numbered = struct.unpack_from("<HH", _at(file, base + offset, 16), 12)
    count = min(named + numbered, _ENTRIES)
    table = _at(file, base + offset + 16, 8 * count)
    for place in range(count):
        number, target = struct.unpack_from("<II", table, 8 * place)
        if identifier is None or number == identifier:
            return int(target)
    return None


def _parse(resource: bytes) -> dict[str, str]:
    """`String` structures: two lengths and a type, the key, zeros up to four bytes, the value."""
    strings: dict[str, str] = {}
    for key in _KEYS:
        spelled = key.encode("utf-16-le") + b"\0\0"
        place = resource.find(spelled)
        if place < 6 or place % 2:
            continue
        (length,) = struct.unpack_from("<H", resource, place - 4)
        start = place + len(spelled)
        start += -start % 4
        value = resource[start:start + 2 * length].decode("utf-16-le", "replace").partition("\0")[0].strip()
        if value:
            strings[key] = value
    return strings
