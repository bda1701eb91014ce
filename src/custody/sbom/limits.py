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
    facts: int = 2_000_000
    """Packages and other facts."""
    file: int = 2 << 30
    """A program that is looked into; metadata has limits of its own, by kind."""
    holes: int = 1 << 30
    """Bytes that sparse programs of the image have beyond what is stored of them."""
    parsed: int = 256 << 20
    """Work on metadata in all layers of the image, in bytes: see `catalogers.work`."""
    layers: int = 500
    """Of the image; Docker stops at 127."""
    names: int = 48 << 20
    """Compressed bytes that the names of all layers of the image are kept in."""
    kept: int = 96 << 20
    """About how many bytes the facts of all layers of the image take."""
    packages: int = 25_000
    """Different ones, of the image."""
    tree: int = 64 << 20
    """About how many bytes the folders take that facts make necessary; symbolic links may take a quarter more."""
    unread: int = 10_000
    """Files of a layer that are counted because they, or their facts, are beyond the other limits."""
    steps: int = 5_000_000
    """Parts of names that are looked at because a symbolic link was followed."""


class FullError(Exception):
    """What is not read of an image, because the rest has taken all that it may; the message says which limit."""


class Account:
    """Counts what all layers of one image take together of one limit; several threads may charge it."""

    def __init__(self, limit: int, of: str, reserve: int = 0) -> None:
        """`reserve`: beyond the limit, for what says that something was left out."""
        self._limit, self._reserve, self._of = limit, reserve, of
        self._left = limit + reserve
        self._lock = threading.Lock()

    @property
    def spent(self) -> int:
        return self._limit + self._reserve - self._left

    def charge(self, amount: int, where: str) -> None:
        """Raises MalformedError where the limit is passed, reserve and all."""
        with self._lock:
            self._left -= amount
            left = self._left
        if left < 0:
            raise MalformedError(where, got=f"an image with more than {self._limit} {self._of}", expected="fewer")

    def take(self, amount: int) -> None:
        """As `charge`, but where the limit would be passed nothing is charged, and FullError raised."""
        with self._lock:
            if self._left - amount < self._reserve:
                raise FullError(f"beyond the image's {self._limit} {self._of}")
            self._left -= amount
