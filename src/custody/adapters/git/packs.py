"""How large an object in a pack becomes, from its header and those of the deltas that it is made of (gitformat-pack).

A delta says the size of what it makes; a few bytes may copy the object below a million times. git believes it.
"""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path

from dulwich.object_store import PackBasedObjectStore
from dulwich.objects import ObjectID
from dulwich.pack import Pack

from custody.errors import MalformedError

_OFFSET_DELTA, _REFERENCE_DELTA = 6, 7
_MAX_CHAIN = 4096
"""git's own limit is 4095 (pack.depth)."""
_MAX_WORK = 4 << 30
"""Bytes of all objects of a chain together."""
_HEAD = 1024


class PackSizes:
    """Checks objects of one object store, and remembers which it has checked."""

    def __init__(self, store: PackBasedObjectStore) -> None:
        self._store = store
        self._maps: dict[str, mmap.mmap] = {}
        self._known: dict[tuple[str, int], tuple[int, int]] = {}
        """By pack and offset: the largest object of the chain, and the bytes of all of them."""

    def close(self) -> None:
        for mapped in self._maps.values():
            mapped.close()

    def check(self, object_id: bytes, most: int) -> None:
        """Raises MalformedError where the object, or one that it is made of, has more than `most` bytes, or they are
        too many. Objects that are in no pack are not looked at.
        """
        pack, offset = self._locate(object_id)
        if pack is None:
            return
        where = f"object {object_id.decode('ascii', 'replace')}"
        chain: list[tuple[tuple[str, int], int]] = []
        largest = total = 0
        while pack is not None:
            key = (str(pack.data.path), offset)
            if key in self._known:
                largest, total = self._known[key]
                break
            try:
                size, base, reference = _entry(self._mapped(key[0]), offset)
            except (IndexError, zlib.error) as error:
                raise MalformedError(where, got=f"a pack's entry that ends early: {error}", expected="a whole one",
                                     hint="git fsck") from None
            chain.append((key, size))
            if len(chain) > _MAX_CHAIN:
                raise MalformedError(where, got=f"a chain of more than {_MAX_CHAIN} deltas", expected="a shorter one")
            if reference:
                pack, offset = self._locate(reference)
            elif base:
                offset -= base
            else:
                break
        for key, size in reversed(chain):
            largest, total = max(largest, size), total + size
            self._known[key] = largest, total
        if largest > most:
            raise MalformedError(where, got=f"{largest} bytes", expected=f"at most {most}")
        if total > _MAX_WORK:
            raise MalformedError(where, got=f"deltas of {total} bytes together", expected=f"at most {_MAX_WORK}")

    def _locate(self, object_id: bytes) -> tuple[Pack | None, int]:
        for store in (self._store, *self._store.alternates):
            for pack in store.packs if isinstance(store, PackBasedObjectStore) else ():
                try:
                    return pack, pack.index.object_offset(ObjectID(object_id))
                except KeyError:
                    continue
        return None, 0

    def _mapped(self, path: str) -> mmap.mmap:
        if path not in self._maps:
            with Path(path).open("rb") as file:
                self._maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[path]


def _entry(data: mmap.mmap, offset: int) -> tuple[int, int, bytes]:
    """Its size once it is made (or that of the delta, if that is more), how far in front its base is, or the base's id
    in hexadecimal digits. Raises IndexError and zlib.error.
    """
    if not 0 < offset < len(data):
        raise IndexError(f"offset {offset}")
    byte = data[offset]
    kind, size, shift, at = byte >> 4 & 7, byte & 15, 4, offset + 1
    while byte & 0x80:
        byte = data[at]
        size |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if shift > 70:
            raise IndexError("a size without an end")
    if kind == _OFFSET_DELTA:
        byte = data[at]
        base, at = byte & 0x7F, at + 1
        while byte & 0x80:
            byte = data[at]
            base = (base + 1) << 7 | byte & 0x7F
            at += 1
            if base >> 64:
                raise IndexError("an offset without an end")
        if not base:
            raise IndexError("a delta of itself")
        return max(size, _made(data[at:at + _HEAD])), base, b""
    if kind == _REFERENCE_DELTA:
        return max(size, _made(data[at + 20:at + 20 + _HEAD])), 0, data[at:at + 20].hex().encode()
    return size, 0, b""


def _made(compressed: bytes) -> int:
    """What a delta begins with: the size of its base and of what it makes, seven bits a byte; the larger one."""
    head = zlib.decompressobj().decompress(compressed, 24)
    sizes, at = [], 0
    for _ in range(2):
        size = shift = 0
        while True:
            byte = head[at]
            size |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if not byte & 0x80:
                break
        sizes.append(size)
    return max(sizes)
