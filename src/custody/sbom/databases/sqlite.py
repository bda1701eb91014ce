"""The rows of one table of an SQLite database (sqlite.org, "Database File Format").

No SQL is run: a hostile schema may be a view that never ends, and SQLite's own library is not made for hostile files.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

from custody.sbom.databases.pages import LARGEST, Pages

Value = int | float | bytes | None
MAGIC = b"SQLite format 3\0"
_INTERIOR, _LEAF = 5, 13
_COLUMNS = 200
_SIZES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)
_DEPTH = 40


def rows(file: BinaryIO, table: str, spend: Callable[[int], None] = lambda _: None) -> Iterator[tuple[Value, ...]]:
    """Each row's columns, text as its bytes; where the row's number stands for a column, that number.

    Raises ValueError for a file that is none, that has no such table, or is broken.
    """
    head = file.read(100)
    if len(head) < 100 or not head.startswith(MAGIC):
        raise ValueError("not an SQLite database")
    size, = struct.unpack_from(">H", head, 16)
    size = 65536 if size == 1 else size
    if size < 512 or size & size - 1 or size - head[20] < 480:
        raise ValueError(f"pages of {size} bytes")
    encoding, = struct.unpack_from(">I", head, 56)
    if encoding not in (0, 1):
        raise ValueError("an SQLite database whose text is not UTF-8")
    tree = _Tree(Pages(file, size, spend), size - head[20])
    for kind, name, _, root, *_ in tree.rows(1):
        if kind == b"table" and name == table.encode():
            if not isinstance(root, int):
                raise ValueError(f"table {table} on no page")
            yield from tree.rows(root)
            return
    raise ValueError(f"an SQLite database without a table {table}")


class _Tree:
    """B-trees of tables. `usable`: bytes of a page but for those that extensions of SQLite reserve."""

    def __init__(self, pages: Pages, usable: int) -> None:
        self._pages, self._usable = pages, usable

    def rows(self, root: int) -> Iterator[tuple[Value, ...]]:
        waiting = [(root, 0)]
        while waiting:
            number, depth = waiting.pop()
            if number < 1 or depth > _DEPTH:
                raise ValueError(f"page {number} at depth {depth}")
            page = self._pages.fresh(number - 1)
            start = 100 if number == 1 else 0
            kind, count = page[start], int.from_bytes(page[start + 3:start + 5], "big")
            if kind not in (_INTERIOR, _LEAF):
                raise ValueError(f"page {number} of a table, of kind {kind}")
            first = start + (12 if kind == _INTERIOR else 8)
            if first + 2 * count > self._usable:
                raise ValueError(f"{count} cells on page {number}")
            cells = struct.unpack_from(f">{count}H", page, first)
            if kind == _LEAF:
                for place in cells:
                    yield self._row(page, place)
            else:
                below = [*(_number(page, place) for place in cells), _number(page, start + 8)]
                waiting.extend((number, depth + 1) for number in reversed(below))

    def _row(self, page: bytes, place: int) -> tuple[Value, ...]:
        size, place = _varint(page, place)
        number, place = _varint(page, place)
        return _columns(self._payload(page, place, size), number)

    def _payload(self, page: bytes, place: int, size: int) -> bytes:
        """A row's bytes: the first of them on the page, the others on a chain of overflow pages."""
        usable = self._usable
        if size > LARGEST:
            raise ValueError(f"a row of {size} bytes, expected at most {LARGEST}")
        if size <= usable - 35:
            return _part(page, place, size)
        least = (usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (usable - 4)
        local = least if local > usable - 35 else local
        parts = [_part(page, place, local)]
        left, following = size - local, _number(page, place + local)
        while left:
            if following < 1:
                raise ValueError(f"a row that lacks {left} bytes")
            page = self._pages.fresh(following - 1)
            following = _number(page, 0)
            parts.append(page[4:min(usable, 4 + left)])
            left -= len(parts[-1])
        return b"".join(parts)


def _part(page: bytes, place: int, size: int) -> bytes:
    if place + size > len(page):
        raise ValueError("a cell beyond its page")
    return page[place:place + size]


def _number(page: bytes, place: int) -> int:
    return int.from_bytes(_part(page, place, 4), "big")


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for offset in range(place, place + 8):
        byte = _part(data, offset, 1)[0]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, offset + 1
    return value << 8 | _part(data, place + 8, 1)[0], place + 9


def _columns(record: bytes, number: int) -> tuple[Value, ...]:
    length, place = _varint(record, 0)
    if length > len(record):
        raise ValueError("a row whose header is longer than it is")
    columns: list[Value] = []
    at = length
    while place < length:
        kind, place = _varint(record, place)
        if kind in (10, 11) or len(columns) == _COLUMNS:
            raise ValueError(f"a column of kind {kind}")
        size = (kind - 12) // 2 if kind >= 12 else _SIZES[kind]
        data = _part(record, at, size)
        at += size
        if kind >= 12:
            columns.append(data)
        elif kind == 0:
            columns.append(None if columns else number)  # INTEGER PRIMARY KEY is the row's number
        elif kind == 7:
            columns.append(struct.unpack(">d", data)[0])
        else:
            columns.append(kind - 8 if kind >= 8 else int.from_bytes(data, "big", signed=True))
    return tuple(columns)
