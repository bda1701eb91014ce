"""A file that an upload grows in. What is in the file is what was hashed, whatever the disk says in between."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
from pathlib import Path

from custody.errors import StorageError, StorageFullError, VerificationError
from custody.kit import digest as digests

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ = 1 << 20
_AHEAD = 8 << 20  # bytes after which the disk is told to begin with them, so that the sync at the end is short
_SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h


_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)


def storage_error(action: str, error: OSError) -> StorageError:
    """The error of the house for one of the disk; the message names no path, since clients get it."""
    if error.errno in _FULL:
        return StorageFullError(f"{action}: {os.strerror(error.errno)}",
                                hint="make room on the disk of the data directory; what was there already is served")
    return StorageError(f"{action}: {os.strerror(error.errno) if error.errno else error}",
                        hint="the disk of the data directory failed; its system's log says more")


def _start_writing(handle: int, offset: int, count: int) -> None:
    """Ask the kernel to write these bytes out without waiting for it; other systems than Linux do so by themselves."""
    if _sync_file_range is not None:
        _sync_file_range(handle, ctypes.c_int64(offset), ctypes.c_int64(count), _SYNC_FILE_RANGE_WRITE)


class FileDraft:
    """Implements ports.blobs.Draft."""

    def __init__(self, path: Path, algorithm: str = "sha256", *, existing: bool = False) -> None:
        """Raises StorageError. `existing`: all bytes of the file are hashed again."""
        self.path = path
        self.size = 0
        self._started = 0
        self._states = {name: hashlib.new(name) for name in dict.fromkeys(("sha256", algorithm))}
        self._handle: int | None = None
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | (0 if existing else os.O_CREAT | os.O_EXCL), 0o644)
            if existing:
                self._read_all(self._states.values())
        except OSError as error:
            self.suspend()
            raise storage_error("upload", error) from None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        try:
            handle = self._open()
            while view:
                count = os.pwrite(handle, view, self.size)
                if count == 0:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                for state in self._states.values():
                    state.update(view[:count])
                self.size += count
                view = view[count:]
            if self.size - self._started >= _AHEAD:
                _start_writing(handle, self._started, self.size - self._started)
                self._started = self.size
        except OSError as error:
            self._truncate()
            raise storage_error("upload", error) from None

    def complete(self, digest: str) -> None:
        algorithm = digests.parse(digest).partition(":")[0]
        try:
            handle = self._open()
            if os.fstat(handle).st_size != self.size:
                raise OSError(errno.EIO, f"the file has {os.fstat(handle).st_size} bytes, {self.size} were written")
            if algorithm not in self._states:
                self._states[algorithm] = hashlib.new(algorithm)
                self._read_all([self._states[algorithm]])
            state = self._states[algorithm]
            if not digests.matches(state, digest):
                raise VerificationError(f"blob bytes are {state.name}:{state.hexdigest()}, expected {digest}")
            os.fsync(handle)
            self._handle = None
            os.close(handle)  # a quota may first be noticed here
        except OSError as error:
            self.discard()  # what reached the disk after a sync that failed nobody knows
            raise storage_error("upload", error) from None
        except VerificationError:
            self.discard()
            raise

    def suspend(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def discard(self) -> None:
        self.suspend()
        self.path.unlink(missing_ok=True)

    def _open(self) -> int:
        if self._handle is None:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        return self._handle

    def _read_all(self, states: object) -> None:
        handle = self._open()
        position = 0
        while chunk := os.pread(handle, _READ, position):
            for state in states:  # type: ignore[attr-defined]
                state.update(chunk)
            position += len(chunk)
        self.size = position

    def _truncate(self) -> None:
        """Bytes that were not hashed leave the file; where that fails too, `complete` sees that there are too many."""
        if self._handle is not None:
            try:
                os.ftruncate(self._handle, self.size)
            except OSError:
                self.suspend()
