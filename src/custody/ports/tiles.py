"""Where a tiled transparency log keeps its files (C2SP tlog-tiles), its truth, and the index of what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class TileReader(Protocol):
    """Anything that a log can be read from: its directory, its HTTP address."""

    def read(self, path: str) -> bytes | None:
        """The file at `checkpoint` or `tile/…`; None where there is none."""


class TileStore(TileReader, Protocol):
    """Where one log's files are: a folder, a bucket. It needs no lock: `CheckpointStore` decides who writes.

    The writer keeps this order, and what the store acknowledged it keeps across a crash at any point:
    stage, swap the checkpoint (`CheckpointStore`), write tiles and then `checkpoint`. So a file is only written once a
    checkpoint covers it, and two writers of one path write the same bytes.
    """

    def stage(self, name: str, data: bytes) -> None:
        """Keep bytes aside under a name such as `300-6b86…`, which begins with a tree's size. They are durable when it
        returns, and so is all that was written before; after an error they may be there."""

    def staged(self, name: str) -> bytes | None:
        """What was staged under that name."""

    def unstage(self, size: int) -> None:
        """Forget what was staged for trees of at most `size` leaves: later checkpoints are durable and cover it."""

    def write(self, files: Mapping[str, bytes]) -> None:
        """Store all of these, each whole, to be read at once and durable with the next `stage`; after an error any of
        them may be there. What is staged for the last checkpoint is written again when the log is opened."""

    def discard(self, folder: str) -> None:
        """Forget the partial tiles in a folder such as `tile/0/000.p`; the full one is written."""

    def close(self) -> None: ...


class CheckpointStore(Protocol):
    """One log's last checkpoint: its truth, and the only thing that two writers must not both change.

    A folder's is held by one process; a database's or a bucket's compares and swaps by itself.
    """

    def load(self) -> bytes | None:
        """The last one that was swapped in. None for a log that does not exist yet."""

    def swap(self, old: bytes | None, new: bytes) -> None:
        """Compare and swap, durable when it returns. ConflictError where it is not `old`; after any other error it may
        have happened."""

    def close(self) -> None:
        """Let go of the log, where it is held."""


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
