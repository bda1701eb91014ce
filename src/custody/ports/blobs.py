"""The ports to where blobs are kept: content by digest, written once; and drafts, which uploads grow in.

Contract: what `publish` returns None for is durable under its digest, and hashes to it. What is under a digest is only
ever replaced by bytes that were proven to be that digest's. A draft belongs to one caller at a time; what `size` counts
is what was hashed and what is stored, also after a write that failed. One process writes; any number may read.

All of it is synchronous: whoever calls is in a thread that may wait (docs/decisions/0011-ports.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from custody.errors import CustodyError


class Blob(Protocol):
    """A blob that is open: it can be read to its end, whoever removes it meanwhile. Its bytes are not verified again:
    readers hash what they read."""

    @property
    def size(self) -> int:
        """Bytes that there are, which need not be those that the digest is of."""

    @property
    def version(self) -> str:
        """Another one after other bytes were put in its place."""

    @property
    def modified(self) -> float:
        """Seconds since 1970."""

    @property
    def place(self) -> str:
        """Where a person finds it."""

    def read(self, start: int, count: int) -> bytes:
        """The bytes from `start`, fewer only at the end. Any thread may. Raises OSError."""

    def fileno(self) -> int | None:
        """A file's descriptor, open as long as this is, for sending it without reading it; None where there is none."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None: ...


class BlobReader(Protocol):
    """What any process may do, beside the one that writes too."""

    def size(self, digest: str) -> int | None:
        """Bytes that there are; None where there is no such blob."""

    def open(self, digest: str) -> Blob | None:
        """Raises OSError where it is there and cannot be read."""


class Stray(NamedTuple):
    """Something among the blobs that is not one."""

    place: str
    reason: str


class BlobInventory(BlobReader, Protocol):
    """For who looks through all of it, in any process."""

    def entries(self) -> Iterator[str | Stray]:
        """Digests of all blobs, and what else lies among them."""

    def quarantine(self, digest: str, version: str) -> bool:
        """Take a blob whose bytes changed out of reach, keeping it for inspection; False where another version is there
        by now."""

    def quarantined(self) -> tuple[int, int]:
        """Number and bytes of what is in quarantine."""

    def drafts(self) -> list[str]: ...


class Draft(Protocol):
    """Bytes on their way in. Not thread safe."""

    size: int
    """Bytes that are stored and in the hash."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. Raises StorageError; `size` then says how much was kept, and more may be appended later."""

    def complete(self, digest: str) -> None:
        """Make the bytes durable and close the draft for good.

        Raises VerificationError where they are not `digest`, StorageError; the draft is discarded by both.
        """

    def suspend(self) -> None:
        """Let go of it, and keep it for a later `write` or `Drafts.resume`."""

    def discard(self) -> None: ...


class Drafts(Protocol):
    """For the one process that writes. Names are 48 lower-case hexadecimal digits."""

    def draft(self, name: str, algorithm: str = "sha256") -> Draft:
        """A new, empty draft."""

    def resume(self, name: str) -> Draft | None:
        """The draft with that name, all of it read and hashed again; None where there is none."""

    def drafts(self) -> list[str]: ...

    def discard_draft(self, name: str) -> None: ...


class Blobs(BlobInventory, Drafts, Protocol):
    """The one process that writes."""

    def changes(self) -> int:
        """A number that is another one after a blob may have gone, whoever removed it."""

    def absent(self, sizes: Mapping[str, int]) -> list[str]:
        """Those digests of which there is no blob, or one of another size."""

    def publish(self, contents: Sequence[tuple[str, Draft | bytes]]) -> list[CustodyError | None]:
        """Give completed drafts, and bytes, their digests' names; one outcome for each.

        Bytes are hashed first: VerificationError where they are not the digest's. StorageError where they cannot be
        written.
        """

    def delete(self, digests: Collection[str]) -> None: ...

    def close(self) -> None: ...
