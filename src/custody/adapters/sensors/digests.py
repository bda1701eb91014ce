"""SHA-256 of executed files, each read once as long as it stays as it is."""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict

_KEPT = 65536
_CHUNK = 1 << 20
_SETTLED = 1_000_000_000
"""Nanoseconds since a file was changed, within which it may be changed again with the same times: before Linux 6.13
the clock of files ticks some hundred times a second."""
_Key = tuple[int, int, int, int, int]


class Digests:
    """By device, inode, times of contents and inode, and size: who can set all of them back has the kernel's clock."""

    def __init__(self, largest: int = 256 << 20) -> None:
        """`largest`: of files with more bytes than that nothing is said."""
        self._largest = largest
        self._known: OrderedDict[_Key, str] = OrderedDict()

    def of(self, descriptor: int) -> str | None:
        """64 hexadecimal digits; None where the file cannot be read, is too large, or changes while it is read."""
        try:
            key = _key(descriptor)
            digest = self._known.get(key)
            if digest is None:
                if key[4] > self._largest:
                    return None
                digest = _hash(descriptor, key[4])
                if _key(descriptor) != key:
                    return None
                if abs(time.time_ns() - key[3]) > _SETTLED:
                    self._known[key] = digest
                    if len(self._known) > _KEPT:
                        self._known.popitem(last=False)
        except OSError:
            return None
        return digest


def _key(descriptor: int) -> _Key:
    stat = os.fstat(descriptor)
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size


def _hash(descriptor: int, size: int) -> str:
    digest, at = hashlib.sha256(), 0
    while at <= size:
        chunk = os.pread(descriptor, _CHUNK, at)
        if not chunk:
            break
        digest.update(chunk)
        at += len(chunk)
    return digest.hexdigest()
