"""ZIP archives, read without trust: only the central directory and the members that are asked for (PKWARE APPNOTE 6.3).

An archive may be a part of a file, so that an archive stored in another is read where it is. What a program puts in
front of it does not count: places are told from where the directory ends, as Go and Java do it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

_END = struct.Struct("<4sHHHHIIH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_ENTRY = struct.Struct("<4sHHHHHHIIIHHHHHII")
_LOCAL = struct.Struct("<4s22xHH")
_COMMENT = 65_535
_DIRECTORY = 64 << 20
"""Bytes of a central directory: a million members."""
_PIECE = 256 << 10
STORED, DEFLATED = 0, 8


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the central directory."""

    name: str
    method: int
    packed: int
    size: int
    """Bytes of its content, as the directory says."""
    place: int
    """Of its local header in the file."""
    checksum: int
    encrypted: bool
    mode: int = 0
    """File type and permissions as Unix has them; 0 of who has none."""


class Archive:
    """The archive in `length` bytes of a file from `start`; all of the file without a length.

    Raises ValueError where there is none, where its directory is not what its end says, and where that has more than
    `most` bytes.
    """

    def __init__(self, file: BinaryIO, start: int = 0, length: int | None = None, *, most: int = _DIRECTORY) -> None:
        self._file, self._start, self._most = file, start, most
        self._end = file.seek(0, 2) if length is None else start + length
        tail = self._at(max(start, self._end - _COMMENT - _END.size), _COMMENT + _END.size)
        self._directory, self.count, self._shift = self._find(tail, self._end - len(tail))
        self.size = len(self._directory)
        """Bytes of the directory."""

    def members(self, telling: Callable[[bytes], object]) -> Iterator[Member]:
        """Those whose names, as bytes, are `telling`. Raises ValueError for a directory that is cut or miscounted."""
        directory, place, count, size = self._directory, 0, 0, _ENTRY.size
        unpack = _ENTRY.unpack_from
        while place + size <= len(directory):
            (signature, _, _, flags, method, _, _, checksum, packed, unpacked, name_size, extra_size, comment_size,
             _, _, attributes, offset) = unpack(directory, place)
            if signature != b"PK\1\2":
                break
            name = directory[place + size:place + size + name_size]
            extra = place + size + name_size
            place = extra + extra_size + comment_size
            count += 1
            if telling(name):
                if 0xFFFFFFFF in (packed, unpacked, offset):
                    unpacked, packed, offset = _wide(directory[extra:extra + extra_size], unpacked, packed, offset)
                yield Member(_spelled(name), method, packed, unpacked, offset + self._shift, checksum, bool(flags & 1),
                             attributes >> 16)
        if place != len(directory) or count & 0xFFFF != self.count & 0xFFFF:
            raise ValueError(f"a directory of {self.count} members that has {count}")

    def stored(self, member: Member) -> tuple[int, int] | None:
        """Start and length of its content in the file, where that is there as it is; raises ValueError."""
        if member.method != STORED or member.encrypted:
            return None
        start, length = self._data(member)
        if length != member.size:
            raise ValueError("a stored member of two sizes")
        return start, length

    def content(self, member: Member, most: int) -> bytes:
        """Raises ValueError for more than `most` bytes, and for what is not what the directory says."""
        if member.size > most:
            raise ValueError(f"a member of {member.size} bytes, expected at most {most}")
        content = b"".join(self.pieces(member))
        if zlib.crc32(content) != member.checksum:
            raise ValueError("a member with another checksum")
        return content

    def pieces(self, member: Member) -> Iterator[bytes]:
        """The content, never more than the directory says. Raises ValueError."""
        start, length = self._data(member)
        if member.encrypted or member.method not in (STORED, DEFLATED):
            raise ValueError("a member that is encrypted, or neither stored nor deflated")
        inflater = zlib.decompressobj(-15) if member.method == DEFLATED else None
        left = member.size
        while length > 0:
            self._file.seek(start)
            data = self._file.read(min(_PIECE, length))
            if not data:
                break
            start, length = start + len(data), length - len(data)
            more = True
            while more:
                piece, more = data, False
                if inflater is not None:
                    try:
                        piece = inflater.decompress(data, _PIECE)
                    except zlib.error as error:
                        raise ValueError(f"a member that cannot be inflated: {error}") from error
                    data = inflater.unconsumed_tail
                    more = bool(data) or len(piece) == _PIECE  # after a full piece zlib may hold more that is inflated
                left -= len(piece)
                if left < 0:
                    raise ValueError("a member of more bytes than its directory says")
                yield piece
        if left:
            raise ValueError("a member of fewer bytes than its directory says")

    def _at(self, place: int, size: int) -> bytes:
        if place < self._start:
            raise ValueError("a place outside of the archive")
        if place >= self._end:
            return b""
        self._file.seek(place)
        return self._file.read(min(size, self._end - place))

    def _data(self, member: Member) -> tuple[int, int]:
        head = self._at(member.place, _LOCAL.size)
        if len(head) < _LOCAL.size or head[:4] != b"PK\3\4":
            raise ValueError("a member without a local header")
        _, name_size, extra_size = _LOCAL.unpack(head)
        start = member.place + _LOCAL.size + int(name_size) + int(extra_size)
        if start + member.packed > self._end:
            raise ValueError("a member beyond the archive")
        return start, member.packed

    def _find(self, tail: bytes, base: int) -> tuple[bytes, int, int]:
        """The central directory, how many members it says it has, and what places are to be moved by."""
        place = len(tail)
        while (place := tail.rfind(b"PK\5\6", 0, place)) >= 0:
            if place + _END.size > len(tail):
                continue
            _, _, _, _, count, size, offset, _ = _END.unpack_from(tail, place)
            end = base + place
            if 0xFFFFFFFF in (size, offset) or count == 0xFFFF:
                end, count, size, offset = self._wide_end(end, count, size, offset)
            start = end - size
            if size > self._most:
                raise ValueError(f"a directory of {size} bytes")
            if start < self._start or start - offset < self._start:
                continue
            directory = self._at(start, size)
            if directory[:4] == b"PK\1\2" or not size:
                return directory, count, start - offset
        raise ValueError("no ZIP archive")

    def _wide_end(self, end: int, count: int, size: int, offset: int) -> tuple[int, int, int, int]:
        """APPNOTE 4.3.14: the record for large archives is in front of its locator, which is in front of the end."""
        place = end - _LOCATOR.size
        locator = self._at(place, _LOCATOR.size) if place >= self._start else b""
        if locator[:4] != b"PK\6\7":
            return end, count, size, offset
        stated = self._start + int(_LOCATOR.unpack(locator)[2])
        for record in (place - _END64.size, stated):
            data = self._at(record, _END64.size) if record >= self._start else b""
            if len(data) == _END64.size and data[:4] == b"PK\6\6":
                _, _, _, _, _, _, _, count, size, offset = _END64.unpack(data)
                return record, count, size, offset
        raise ValueError("an end of a large archive that is nowhere")


def _wide(extra: bytes, unpacked: int, packed: int, offset: int) -> tuple[int, int, int]:
    """APPNOTE 4.5.3: those of the three that have no room in the entry itself, in this order."""
    place = 0
    while place + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, place)
        if kind == 1:
            field = extra[place + 4:place + 4 + size]
            values = [*struct.unpack_from(f"<{min(len(field) // 8, 3)}Q", field)]
            result = []
            for value in (unpacked, packed, offset):
                if value == 0xFFFFFFFF and not values:
                    raise ValueError("a large member without its size")
                result.append(values.pop(0) if value == 0xFFFFFFFF else value)
            return result[0], result[1], result[2]
        place += 4 + size
    return unpacked, packed, offset


def _spelled(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")
