"""A file that one process holds at a time, and that says which. The system lets go of it when that process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class HeldError(Exception):
    """Another process has it."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"process {holder}")
        self.holder = holder
        """Its number, or `unknown`."""


def hold(path: Path) -> int:
    """The open file, which `os.close` lets go of. Raises HeldError, OSError."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise HeldError(holder) from None
    except BaseException:
        os.close(handle)
        raise
    with contextlib.suppress(OSError):  # on a full disk the number is missed by people only
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Alone among the processes that write into the folder; waits until it is."""
    handle = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
