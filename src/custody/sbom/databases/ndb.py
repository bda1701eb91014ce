"""RPM's own database, `Packages.db` of SUSE and others (rpm, lib/backend/ndb/rpmpkg.c): slots that lead to blobs."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

from custody.sbom.databases.pages import LARGEST, Pages

MAGIC = b"RpmP"
_PAGE, _SLOT, _BLOCK = 4096, 16, 16
_MOST = 4096
"""Pages of slots: a million packages."""


def values(file: BinaryIO, spend: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
    """The header of each package. Raises ValueError."""
    pages = Pages(file, _PAGE, spend)
    magic, version, _, count = struct.unpack("<4s3I", pages.at(0, 16))
    if magic != MAGIC or version != 0 or not 1 <= count <= _MOST:
        raise ValueError(f"not an RPM database of version 0: {magic!r}, {version}, {count} pages of slots")
    known: set[int] = set()
    for number in range(count):
        page = pages.page(number)
        for place in range(2 * _SLOT if number == 0 else 0, _PAGE, _SLOT):  # two slots of the first are its head
            mark, package, block, _ = struct.unpack_from("<4s3I", page, place)
            if mark != b"Slot":
                raise ValueError(f"no slot at {number * _PAGE + place}")
            if not package:
                continue
            if block in known:
                raise ValueError(f"two packages at block {block}")
            known.add(block)
            start, owner, _, size = struct.unpack("<4s3I", pages.at(block * _BLOCK, 16))
            if start != b"BlbS" or owner != package or size > LARGEST:
                raise ValueError(f"no header of package {package} at block {block}")
            yield pages.at(block * _BLOCK + 16, size)
