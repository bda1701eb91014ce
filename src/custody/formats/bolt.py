"""bbolt's files (github.com/etcd-io/bbolt, internal/common: `page.go`, `meta.go`, `bucket.go`): B+trees of buckets.

A file is pages of one size; the two first are meta pages, of which the one of the later transaction counts. A page has
a head of 16 bytes and then elements of 16: of a branch, where its key is and which page is below; of a leaf, where its
key and value are. A bucket is a value: the page of its root, or, where that is 0, the page itself behind it. Numbers
are little-endian, as they are on the machines that write such files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from mmap import mmap

from custody.errors import MalformedError, UnsupportedError

_MAGIC, _VERSION = 0xED0CDAED, 2
_HEAD = 16
_BRANCH, _LEAF, _META = 1, 2, 4
_BUCKET = 1
_DEPTH = 32
_SIZES = (512, 1 << 20)
_TIMES, _LEAST = 64, 1 << 20
_PAGE, _ELEMENT, _BELOW = struct.Struct("<QHHI"), struct.Struct("<IIII"), struct.Struct("<IIQ")
_META_PAGE, _ROOT = struct.Struct("<IIIIQQQQQQ"), struct.Struct("<QQ")


def is_database(head: bytes) -> bool:
    """By the first 24 bytes of a file."""
    return len(head) >= 24 and struct.unpack_from("<I", head, _HEAD) == (_MAGIC,)


class Bucket:
    """Keys in their order, and what they stand for: bytes, or a bucket. Made by `Database`, and by other buckets."""

    def __init__(self, database: Database, root: int, inline: bytes) -> None:
        self._database, self._root, self._inline = database, root, inline

    def items(self) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """Raises MalformedError where a page is not what it must be, or pages lead back to each other."""
        waiting = [(self._root, 0)]
        while waiting:
            number, depth = waiting.pop()
            page = self._page(number, depth, walked=True)
            if page.leaf:
                for place in range(page.count):
                    yield page.key(place), self._value(page, place)
            else:
                waiting.extend((page.below(place), depth + 1) for place in reversed(range(page.count)))

    def buckets(self) -> Iterator[tuple[bytes, Bucket]]:
        for key, value in self.items():
            if isinstance(value, Bucket):
                yield key, value

    def get(self, key: bytes) -> bytes | Bucket | None:
        """Found by halves; None where it is not there."""
        number, depth = self._root, 0
        while True:
            page = self._page(number, depth)
            low, high = 0, page.count
            while low < high:
                middle = (low + high) // 2
                if page.key(middle) <= key:
                    low = middle + 1
                else:
                    high = middle
            if page.leaf:
                return self._value(page, low - 1) if low and page.key(low - 1) == key else None
            if not page.count:
                return None
            number, depth = page.below(max(low - 1, 0)), depth + 1

    def bucket(self, key: bytes) -> Bucket | None:
        value = self.get(key)
        return value if isinstance(value, Bucket) else None

    def _page(self, number: int, depth: int, *, walked: bool = False) -> _Page:
        if depth > _DEPTH:
            raise self._database.broken(f"page {number} at depth {depth}", f"at most {_DEPTH}")
        if number == 0:
            return _Page(self._database, self._inline, 0, len(self._inline), "inline")
        return self._database.page(number, walked=walked)

    def _value(self, page: _Page, place: int) -> bytes | Bucket:
        flags, value = page.value(place)
        if not flags & _BUCKET:
            return value
        if len(value) < _ROOT.size:
            raise self._database.broken(f"a bucket of {len(value)} bytes", f"{_ROOT.size} at least")
        root, _ = _ROOT.unpack_from(value)
        return Bucket(self._database, root, value[_ROOT.size:] if root == 0 else b"")


class Database:
    """A file that is open. All walks together pass at most four times as many pages as it has, and all keys and values
    together have at most 64 times its bytes: what leads to more, by pages in several places or elements that overlap,
    is made to take long.
    """

    def __init__(self, data: bytes | mmap, where: str) -> None:
        """Raises MalformedError for what is none or cut off, UnsupportedError for another version of the format."""
        self._data, self._where = data, where
        metas = [meta for size in _sizes(data) if (meta := self._meta(size)) is not None]
        if not metas:
            raise self.broken("no meta page that its checksum is of", "two, of which one was written whole")
        _, self._size, root, high = max(metas)
        self._pages = len(data) // self._size
        if high > self._pages:
            raise self.broken(f"{self._pages} pages", f"{high}, as its meta page says: it is cut off")
        self._left = 4 * self._pages + 64
        self._bytes = _TIMES * len(data) + _LEAST
        self.root = Bucket(self, root, b"")

    def broken(self, got: str, expected: str) -> MalformedError:
        return MalformedError(self._where, got=got, expected=expected, hint="is the file whole? fetch it again")

    def page(self, number: int, *, walked: bool) -> _Page:
        start = number * self._size
        if number < 2 or number >= self._pages:
            raise self.broken(f"page {number}", f"one of {self._pages}")
        stated, _, _, overflow = _PAGE.unpack_from(self._data, start)
        if stated != number or number + overflow >= self._pages:
            raise self.broken(f"page {stated} and {overflow} behind it where {number} is", "the page of that number")
        self._left -= (1 + overflow) * walked
        if self._left < 0:
            raise self.broken("pages that are in several places", "a tree")
        return _Page(self, self._data, start, start + (1 + overflow) * self._size, str(number))

    def spend(self, size: int) -> None:
        """For a key or a value. Raises MalformedError where they have too many bytes together."""
        self._bytes -= size
        if self._bytes < 0:
            raise self.broken("elements that are in several places", "a tree")

    def _meta(self, start: int) -> tuple[int, int, int, int] | None:
        """Transaction, size of pages, root, number of pages: of the meta page there, if it is one and whole."""
        if start + _HEAD + _META_PAGE.size > len(self._data):
            return None
        magic, version, size, _, root, _, _, high, transaction, checksum = _META_PAGE.unpack_from(
            self._data, start + _HEAD)
        if magic != _MAGIC or not _PAGE.unpack_from(self._data, start)[1] & _META:
            return None
        if checksum != _fnv(self._data[start + _HEAD:start + _HEAD + _META_PAGE.size - 8]):
            return None
        if version != _VERSION:
            raise UnsupportedError(self._where, f"a bbolt file of version {version}; expected {_VERSION}")
        if size & size - 1 or not _SIZES[0] <= size <= _SIZES[1]:
            raise self.broken(f"pages of {size} bytes", f"a power of two from {_SIZES[0]} to {_SIZES[1]}")
        return transaction, size, root, high


class _Page:
    """A branch or a leaf."""

    def __init__(self, database: Database, data: bytes | mmap, start: int, end: int, name: str) -> None:
        self._database, self._data, self._end, self._name = database, data, end, name
        if end - start < _HEAD:
            raise database.broken(f"page {name} of {end - start} bytes", f"{_HEAD} at least")
        _, kind, self.count, _ = _PAGE.unpack_from(data, start)
        self._elements = start + _HEAD
        if kind not in (_BRANCH, _LEAF) or self._elements + 16 * self.count > end:
            raise database.broken(f"page {name} of kind {kind} with {self.count} elements", "a branch or a leaf")
        self.leaf = kind == _LEAF

    def key(self, place: int) -> bytes:
        start = self._elements + 16 * place
        if self.leaf:
            _, position, size, _ = _ELEMENT.unpack_from(self._data, start)
        else:
            position, size, _ = _BELOW.unpack_from(self._data, start)
        return self._part(start + position, size)

    def below(self, place: int) -> int:
        return int(_BELOW.unpack_from(self._data, self._elements + 16 * place)[2])

    def value(self, place: int) -> tuple[int, bytes]:
        start = self._elements + 16 * place
        flags, position, size, length = _ELEMENT.unpack_from(self._data, start)
        return flags, self._part(start + position + size, length)

    def _part(self, start: int, size: int) -> bytes:
        if start + size > self._end:
            raise self._database.broken(f"an element beyond page {self._name}", "one on it")
        self._database.spend(size)
        return self._data[start:start + size]


def _sizes(data: bytes | mmap) -> tuple[int, ...]:
    """Where meta pages may begin: at the start, and behind a page of the size that the first says, or of any."""
    stated = struct.unpack_from("<I", data, _HEAD + 8)[0] if len(data) >= _HEAD + 12 else 0
    return tuple(dict.fromkeys((0, stated, *(512 << shift for shift in range(12)))))


def _fnv(data: bytes) -> int:
    """FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
