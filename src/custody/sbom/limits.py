"""What one image may ask of this machine, and the account of what it has asked for so far."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from custody.errors import MalformedError


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one layer, but where it says of the image."""

    entries: int = 5_000_000
    path: int = 4096
    """Bytes in a name: PATH_MAX of Linux, beyond which no runtime makes a file."""
    records: int = 1_000_000
    """Records in extended headers and regions of sparse files, beyond twenty for each entry."""
    size: int = 32 << 30
    """Uncompressed bytes."""
    ratio: int = 150
    """Uncompressed over compressed bytes, from `ratio_from` bytes on: gzip reaches 1,030, software 2 to 10."""
    ratio_from: int = 1 << 30
    facts: int = 500_000
    """Packages and other facts."""
    file: int = 2 << 30
    """A program that is looked into; metadata has limits of its own, by kind."""
    parsed: int = 256 << 20
    """Bytes of metadata in all layers of the image; JSON counts as a quarter of the memory that it would take."""
    layers: int = 500
    """Of the image; Docker stops at 127."""
    names: int = 48 << 20
    """Compressed bytes that the names of all layers of the image are kept in."""
    kept: int = 96 << 20
    """About how many bytes the facts of all layers of the image take."""
    packages: int = 50_000
    """Different ones, of the image."""
    tree: int = 64 << 20
    """About how many bytes the folders and symbolic links take that facts and their layers make necessary."""
    steps: int = 5_000_000
    """Parts of names that are looked at because a symbolic link was followed."""


class Account:
    """Counts what all layers of one image take together of one limit; several threads may charge it."""

    def __init__(self, limit: int, of: str) -> None:
        self._left = self._limit = limit
        self._of = of
        self._lock = threading.Lock()

    def charge(self, amount: int, where: str) -> None:
        """Raises MalformedError where the limit is passed."""
        with self._lock:
            self._left -= amount
            left = self._left
        if left < 0:
            raise MalformedError(where, got=f"an image with more than {self._limit} {self._of}", expected="fewer")
