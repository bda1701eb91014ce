"""What all database readers share: a file of pages, of which each is read at most once, and whole values of many pages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

LARGEST = 32 << 20
"""Bytes of one value: the largest header of an RPM package, of a kernel with all its modules, has about eight."""
_CHEAP = 8
"""A byte of a page is that much less work than one that is parsed."""


class Pages:
    """A file of pages of one size. Raises ValueError for what is beyond its end."""

    def __init__(self, file: BinaryIO, size: int, spend: Callable[[int], None]) -> None:
        self._file, self.size, self._spend = file, size, spend
        file.seek(0, 2)
        self.length = file.tell()
        self._known: set[int] = set()

    def at(self, offset: int, size: int) -> bytes:
        """Bytes anywhere."""
        if offset + size > self.length:
            raise ValueError(f"{size} bytes at {offset}, of a file of {self.length}")
        self._spend(size // _CHEAP)
        self._file.seek(offset)
        return self._file.read(size)

    def page(self, number: int) -> bytes:
        return self.at(number * self.size, self.size)

    def fresh(self, number: int) -> bytes:
        """A page that nothing else may lead to: pages in circles, or in two places, end here."""
        if number in self._known:
            raise ValueError(f"two ways to page {number}")
        self._known.add(number)
        return self.page(number)
