"""The port to where blobs are kept: content by digest, written once; and drafts, the files that uploads grow in.

Contract: what `publish` returns None for is durable under its digest, and hashes to it. A file under a digest is only
ever replaced by bytes that were proven to be that digest's. A draft belongs to one caller at a time; what `size` counts
is what was hashed and what is in the file, also after a write that failed. One process writes; any number may read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from custody.errors import CustodyError


class Draft(Protocol):
    """Bytes on their way in. Not thread safe."""

    size: int
    """Bytes that are in the file and in the hash."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. Raises StorageError; `size` then says how much was kept, and more may be appended later."""

    def complete(self, digest: str) -> None:
        """Make the bytes durable and close the file for good.

        Raises VerificationError where they are not `digest`, StorageError; the draft is discarded by both.
        """

    def suspend(self) -> None:
        """Close the file and keep it for a later `write` or `Blobs.resume`."""

    def discard(self) -> None:
        """Remove the file."""


class Stray(NamedTuple):
    """Something among the blobs that is not one."""

    path: Path
    reason: str


class BlobFiles(Protocol):
    """What any process may do, beside the one that writes too."""

    def path(self, digest: str) -> Path | None:
        """A file with the blob's bytes, or None. They are not verified again: readers hash what they read."""

    def entries(self) -> Iterator[str | Stray]:
        """Digests of all files, and what else lies among them."""

    def quarantine(self, digest: str, inode: int) -> bool:
        """Take a blob whose bytes changed out of reach, keeping it for inspection; False where it is another file by
        now than the one with that inode."""

    def quarantined(self) -> tuple[int, int]:
        """Number and bytes of the files in quarantine."""

    def drafts(self) -> list[str]: ...


class Blobs(BlobFiles, Protocol):
    """The one process that writes."""

    def changes(self) -> int:
        """A number that is another one after a file may have gone, whoever removed it."""

    def absent(self, sizes: Mapping[str, int]) -> list[str]:
        """Those digests of which there is no file, or one of another size."""

    def draft(self, name: str, algorithm: str = "sha256") -> Draft:
        """A new, empty draft; `name` is 48 lower-case hexadecimal digits."""

    def resume(self, name: str) -> Draft | None:
        """The draft with that name, all of it read and hashed again; None where there is none."""

    def publish(self, contents: Sequence[tuple[str, Draft | bytes]]) -> list[CustodyError | None]:
        """Give completed drafts, and bytes, their digests' names; one outcome for each.

        Bytes are hashed first: VerificationError where they are not the digest's. StorageError where they cannot be
        written.
        """

    def delete(self, digests: Collection[str]) -> None: ...

    def discard_draft(self, name: str) -> None: ...

    def close(self) -> None: ...
