"""Sparse files in tar: GNU's old headers, and its PAX records of versions 0.0, 0.1 and 1.0 (GNU tar manual, "Storing
Sparse Files"), read as Go's archive/tar does. A map says which regions of the file are stored; the rest is zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from custody.errors import MalformedError
from custody.formats.tar.header import integer, number

if TYPE_CHECKING:
    from custody.formats.tar.source import Source

MAJOR, MINOR, MAP = b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.map"
PARTS = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
Region = tuple[int, int]
"""Offset and length."""
_MAX_MAP = 1 << 20
_BLOCK = 512
_HOLE = bytes(1 << 16)


def read(source: Source, header: bytes, old: bool, pax: dict[bytes, bytes], name: bytes, size: int,
         stored: int) -> tuple[bytes, int, int, list[Region] | None]:
    """Name, size with holes, stored bytes that are left, and regions (None: it is no sparse file after all)."""
    where = f"{source.where}: sparse map"
    if old:
        if header[257:265] != b"ustar  \0":
            raise _wrong(where, "a sparse entry that is not GNU's")
        size = number(header[483:495], where)
        regions = list(_old(source, header, where))
    else:
        version = pax.get(MAJOR, b""), pax.get(MINOR, b"")
        if version not in ((b"0", b"0"), (b"0", b"1"), (b"1", b"0")) and (any(version) or not pax.get(MAP)):
            return name, size, stored, None
        name = pax.get(b"GNU.sparse.name") or name
        if stated := pax.get(b"GNU.sparse.size") or pax.get(b"GNU.sparse.realsize"):
            real = integer(stated)
            if real is None:
                raise _wrong(where, f"the size {stated[:40]!r}")
            size = real
        if version == (b"1", b"0"):
            numbers, taken = _from_data(source, stored, where)
            stored -= taken
        else:
            numbers = _from_records(pax, where)
        regions = list(zip(numbers[::2], numbers[1::2], strict=True))
    end = 0
    for offset, length in regions:
        if offset < end or length < 0 or offset + length > size:
            raise _wrong(where, f"{length} bytes at {offset} of {size}")
        end = offset + length
    if size < 0:
        raise _wrong(where, f"the size {size}")
    return name, size, stored, regions


def fill(regions: list[Region], size: int, stored: int, take: Callable[[int], Iterator[bytes]],
         where: str) -> Iterator[bytes]:
    """The file's bytes, holes and all. Raises MalformedError where the regions are not what is stored."""
    total = sum(length for _, length in regions)
    if total != stored:
        raise _wrong(f"{where}: sparse map", f"regions of {total} bytes, stored {stored}")
    at = 0
    for offset, length in [*regions, (size, 0)]:
        while at < offset:
            hole = _HOLE[:offset - at]
            at += len(hole)
            yield hole
        yield from take(length)
        at += length


def _old(source: Source, header: bytes, where: str) -> Iterator[Region]:
    """Four regions in the header, and 21 in each block behind it."""
    table, count, seen = header[386:483], 4, 97
    while seen < _MAX_MAP:
        for place in range(0, 24 * count, 24):
            if not table[place]:
                break
            yield number(table[place:place + 12], where), number(table[place + 12:place + 24], where)
        if not table[24 * count]:
            return
        table, count, seen = source.take(_BLOCK), 21, seen + _BLOCK
    raise _wrong(where, "more than 1 MiB")


def _from_records(pax: dict[bytes, bytes], where: str) -> list[int]:
    count = integer(pax.get(b"GNU.sparse.numblocks", b""))
    numbers = [integer(part) for part in pax[MAP].split(b",")] if pax.get(MAP) else []
    if count is None or len(numbers) != 2 * count:
        raise _wrong(where, f"{len(numbers)} numbers for {count} regions")
    return _whole(numbers, where)


def _from_data(source: Source, stored: int, where: str) -> tuple[list[int], int]:
    """The numbers in front of the data, one a line, their count first; and the bytes that they fill."""
    blocks: list[bytes] = []
    lines = 0

    def feed(needed: int) -> None:
        nonlocal lines
        while lines < needed:
            if (len(blocks) + 1) * _BLOCK > min(stored, _MAX_MAP):
                raise _wrong(where, "a map that goes beyond the data, or 1 MiB")
            blocks.append(source.take(_BLOCK))
            lines += blocks[-1].count(b"\n")

    feed(1)
    count = integer(b"".join(blocks).partition(b"\n")[0])
    if count is None or count < 0:
        raise _wrong(where, "no number of regions")
    feed(1 + 2 * count)
    numbers = [integer(line) for line in b"".join(blocks).split(b"\n", 2 * count + 1)[1:2 * count + 1]]
    return _whole(numbers, where), len(blocks) * _BLOCK


def _whole(numbers: list[int | None], where: str) -> list[int]:
    result = [value for value in numbers if value is not None]
    if len(result) != len(numbers):
        raise _wrong(where, "what is no number")
    return result


def _wrong(where: str, got: str) -> MalformedError:
    return MalformedError(where, got=got, expected="the regions of a sparse file, in order")
