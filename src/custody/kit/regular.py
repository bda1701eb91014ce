"""Files, read to a limit. Where they are regular ones, links to them too, a pipe or a device is refused, and never
waited for."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from custody.errors import MalformedError, UsageError


def opened(path: Path, role: str = "") -> BinaryIO:
    """`role` says what the file is, as errors call it. Raises UsageError."""
    where = f"{role} {path}".strip()
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # a name with a NUL in it is a ValueError
        raise UsageError(f"{where}: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UsageError(f"{where}: is no regular file")
    return os.fdopen(handle, "rb")


def read(path: Path, limit: int, role: str = "") -> bytes:
    """All that is in it. Raises UsageError, MalformedError for more than `limit` bytes."""
    with opened(path, role) as stream:
        return _all(stream, limit, f"{role} {path}".strip())


def limited(path: Path, limit: int, role: str = "") -> bytes:
    """The same of a pipe or a device too, which shells put in a file's place: no more is read than `limit` allows."""
    where = f"{role} {path}".strip()
    try:
        stream = path.open("rb")
    except (OSError, ValueError) as error:
        raise UsageError(f"{where}: {getattr(error, 'strerror', None) or error}") from None
    with stream:
        return _all(stream, limit, where)


def _all(stream: BinaryIO, limit: int, where: str) -> bytes:
    try:
        data = stream.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror}") from None
    if len(data) > limit:
        raise MalformedError(where, got=f"more than {limit} bytes", expected=f"at most {limit}")
    return data
