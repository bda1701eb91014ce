"""Hash tables of Berkeley DB, `Packages` of RHEL 5 to 8 and others (libdb, src/dbinc/db_page.h)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

from custody.sbom.databases.pages import LARGEST, Pages

_MAGIC = 0x061561
_HASH_META, _HASH, _HASH_UNSORTED, _OVERFLOW = 8, 13, 2, 7
_IN_PAGE, _OFF_PAGE = 1, 3
_HEAD = 26


def is_hash(head: bytes) -> bool:
    """Whether a file that begins so is one, of either byte order."""
    return len(head) >= 26 and head[25] == _HASH_META and _MAGIC in struct.unpack_from("<I", head, 12) + (
        struct.unpack_from(">I", head, 12))


def values(file: BinaryIO, spend: Callable[[int], None] = lambda _: None) -> Iterator[tuple[bytes, bytes]]:
    """Each key and its value. Raises ValueError for what is broken, encrypted, or has several values for a key."""
    head = file.read(72)
    if len(head) < 72 or not is_hash(head):
        raise ValueError("not a hash table of Berkeley DB")
    order = "<" if struct.unpack_from("<I", head, 12)[0] == _MAGIC else ">"
    size, = struct.unpack_from(order + "I", head, 20)
    last, = struct.unpack_from(order + "I", head, 32)
    if not 512 <= size <= 65536 or size & size - 1:
        raise ValueError(f"pages of {size} bytes")
    if head[24]:
        raise ValueError("an encrypted database")
    table = _Table(Pages(file, size, spend), order)
    if (last + 1) * size > table.pages.length:
        raise ValueError(f"{last + 1} pages of {size} bytes, in a file of {table.pages.length}")
    for number in range(1, last + 1):
        yield from table.pairs(number)


class _Table:
    def __init__(self, pages: Pages, order: str) -> None:
        self.pages, self._order = pages, order

    def pairs(self, number: int) -> Iterator[tuple[bytes, bytes]]:
        page = self.pages.page(number)
        if page[25] not in (_HASH, _HASH_UNSORTED):
            return
        count, = struct.unpack_from(self._order + "H", page, 20)
        if count % 2 or _HEAD + 2 * count > len(page):
            raise ValueError(f"{count} items on page {number}")
        places = struct.unpack_from(f"{self._order}{count}H", page, _HEAD)
        for item in range(0, count, 2):
            yield self._item(page, places, item), self._item(page, places, item + 1)

    def _item(self, page: bytes, places: tuple[int, ...], item: int) -> bytes:
        """Items fill a page from its end: each ends where the item before it begins."""
        place, end = places[item], places[item - 1] if item else len(page)
        if not _HEAD <= place < end <= len(page):
            raise ValueError(f"an item from {place} to {end}")
        kind = page[place]
        if kind == _IN_PAGE:
            return page[place + 1:end]
        if kind != _OFF_PAGE or end - place < 12:
            raise ValueError(f"an item of kind {kind}")
        return self._chain(*struct.unpack_from(self._order + "II", page, place + 4))

    def _chain(self, number: int, size: int) -> bytes:
        if size > LARGEST:
            raise ValueError(f"a value of {size} bytes, expected at most {LARGEST}")
        parts: list[bytes] = []
        left = size
        while left:
            page = self.pages.fresh(number)
            if number == 0 or page[25] != _OVERFLOW:
                raise ValueError(f"a value that goes on at page {number}, which is none of one")
            number, = struct.unpack_from(self._order + "I", page, 16)
            length, = struct.unpack_from(self._order + "H", page, 22)
            if not 0 < length <= min(left, len(page) - _HEAD):
                raise ValueError(f"{length} bytes of a value that lacks {left}")
            parts.append(page[_HEAD:_HEAD + length])
            left -= length
        return b"".join(parts)
