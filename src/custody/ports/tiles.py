"""Where a tiled transparency log keeps its files (C2SP tlog-tiles), its truth, and the index of what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol


class TileReader(Protocol):
    """Anything that a log can be read from: its directory, its HTTP address."""

    def read(self, path: str) -> bytes | None:
        """The file at `checkpoint` or `tile/…`; None where there is none."""


class LogReader(TileReader, Protocol):
    """A log, or one shard of it, that can be read entry by entry, whether it keeps tiles or not."""

    @property
    def first(self) -> int:
        """The index of its first entry, as the log counts: shards before it have the others."""

    def entries(self, start: int, size: int) -> Iterator[bytes]:
        """Of the tree of `size` leaves those from `start` on, by their place in it. Raises VerificationError."""

    def frontier(self, index: int, size: int, /) -> Sequence[bytes]:
        """The roots of the complete trees that the first `index` of `size` leaves are made of, the largest first."""


class TileStore(TileReader, Protocol):
    """Where one log's files are: a folder, a bucket. Who may write is decided by a `CheckpointStore`.

    A writer stages what is new, swaps its checkpoint in, and only then lets `place` and `publish` show it. The store
    keeps what it acknowledged across a crash at any point.
    """

    def stage(self, name: str, files: Mapping[str, bytes]) -> None:
        """Make files durable for `place`, under a name that no other tree has: `300-6b86…`, its size and root.

        A store that others may write to keeps them aside, since they may lose the swap. One that this process holds
        alone may put them in their places at once: files that no checkpoint covers may be overwritten by other bytes,
        a file that one covers never is. After an error any of them may be there.
        """

    def place(self, name: str) -> None:
        """Put what is staged under that name in its places, each file whole, durable when it returns. Asked again after
        an error, or by another writer, it does so once more; where nothing is staged there is nothing to do."""

    def publish(self, checkpoint: bytes) -> None:
        """Show it as `checkpoint`; whether that survives a crash does not matter, since it is compared on opening."""

    def discard(self, folder: str) -> None:
        """Forget the partial tiles in a folder such as `tile/0/000.p`; the full tile is durable and published."""

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
