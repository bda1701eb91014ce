"""Where a tiled transparency log keeps its files (C2SP tlog-tiles), and the index of what it already holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class TileReader(Protocol):
    """Anything that a log can be read from: its directory, its HTTP address."""

    def read(self, path: str) -> bytes | None:
        """The file at `checkpoint` or `tile/…`; None where there is none."""


class TileStore(TileReader, Protocol):
    """Storage of one log with one writer.

    The writer keeps this order, and the store keeps what it acknowledged across a crash at any point:
    write (entries and tiles), then swap_checkpoint. A file that no checkpoint covers may be overwritten later by
    other bytes; a file that one covers never is.
    """

    def write(self, files: Mapping[str, bytes]) -> None:
        """Store all of these. When it returns they are durable, each whole; after an error any of them may be there."""

    def checkpoint(self) -> bytes | None:
        """The last checkpoint that was swapped in: the log's truth. None for a log that does not exist yet."""

    def swap_checkpoint(self, old: bytes | None, new: bytes) -> None:
        """Compare and swap: durable before it is published at `checkpoint`. ConflictError where it is not `old`."""

    def discard(self, folder: str) -> None:
        """Forget the partial tiles in a folder such as `tile/0/000.p`; the full tile is durable and published."""

    def close(self) -> None:
        """Let go of the writer's lock."""


class LeafIndex(Protocol):
    """Leaf hash → log index. Derived from the log: it may lag behind it, and is caught up on start."""

    def size(self) -> int:
        """How many of the log's first leaves are indexed."""

    def find(self, leaf: bytes) -> int | None:
        """The index of a 32-byte leaf hash."""

    def add(self, first: int, leaves: Sequence[bytes]) -> None:
        """Index leaves first, first + 1, …; all or none of them."""

    def clear(self) -> None:
        """Forget everything."""

    def close(self) -> None: ...
