"""Files as catalogers get them: of a layer or a folder, once, in pieces; or in memory or on disk, where one seeks."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol, cast

_SPOOL = 8 << 20


class Content(Protocol):
    """A file of a layer or folder, which is read once at most; `stored`: without its holes."""

    @property
    def path(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def stored(self) -> int: ...

    def peek(self, count: int) -> bytes:
        """What it begins with: `count` bytes, or fewer where no more are at hand or in it."""

    def pieces(self) -> Iterator[bytes]: ...


class Member(Content, Protocol):
    """What a layer or folder has under one name; `target` is what a link says."""

    @property
    def kind(self) -> str: ...

    @property
    def target(self) -> str: ...


class Watcher(Protocol):
    """Sees the bytes of a layer's files as they are read."""

    def watch(self, entry: Member) -> Any:
        """A `Member` in the place of this one, or None."""

    def done(self, watched: Any) -> None:
        """When whoever cares for it has read of it what they want."""


class Whole:
    """A file in memory, to be read more than once."""

    def __init__(self, entry: Content) -> None:
        self.path: str = entry.path
        self.size: int = entry.size
        self.stored: int = entry.stored
        self._content = b"".join(entry.pieces())

    def peek(self, count: int) -> bytes:
        return self._content[:count]

    def pieces(self) -> Iterator[bytes]:
        return iter((self._content,))


def sought(pieces: Iterator[bytes]) -> BinaryIO:
    """A file of these bytes: in memory, and there only once, where they are few."""
    first: list[bytes] = []
    size = 0
    for piece in pieces:
        first.append(piece)
        size += len(piece)
        if size > _SPOOL:
            break
    else:
        return io.BytesIO(b"".join(first))
    file = tempfile.TemporaryFile()  # noqa: SIM115 - its reader closes it
    file.writelines(first)
    first.clear()
    file.writelines(pieces)
    file.seek(0)
    return cast(BinaryIO, file)


def head_of(pieces: Iterator[bytes], size: int) -> bytes:
    """At least `size` bytes, if there are."""
    first = b""
    for piece in pieces:
        first += piece
        if len(first) >= size:
            break
    return first
