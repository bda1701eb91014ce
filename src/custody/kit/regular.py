"""Regular files, links to them too. A pipe or a device is refused, and never waited for."""

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
    where = f"{role} {path}".strip()
    with opened(path, role) as stream:
        try:
            data = stream.read(limit + 1)
        except OSError as error:
            raise UsageError(f"{where}: {error.strerror}") from None
    if len(data) > limit:
        raise MalformedError(where, got=f"more than {limit} bytes", expected=f"at most {limit}")
    return data
