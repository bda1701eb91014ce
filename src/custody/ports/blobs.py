"""The port to where blobs are kept: content by digest, written once, and uploads that survive a restart.

Contract: `commit` returns only when the bytes are durable under their digest, and raises VerificationError, leaving no
blob behind, where they do not hash to it. Writing a digest that is there already is not an error. Uploads are named by
random identifiers, belong to whoever knows the name, and may be continued after a crash from `size`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Upload(Protocol):
    name: str
    size: int
    """Bytes received so far."""

    def write(self, chunk: bytes) -> None: ...

    def commit(self, digest: str) -> None:
        """Raises VerificationError where the bytes are not `digest`."""

    def suspend(self) -> None:
        """Keep what was received for a later `resume`."""

    def abort(self) -> None: ...


class Blobs(Protocol):
    def path(self, digest: str) -> Path | None:
        """A file with the blob's bytes, or None. They are not verified again: readers hash what they read."""

    def digests(self) -> list[str]: ...

    def delete(self, digest: str) -> None: ...

    def quarantine(self, digest: str) -> None:
        """Take a blob whose bytes changed out of reach, keeping it for inspection."""

    def begin(self) -> Upload: ...

    def resume(self, name: str) -> Upload | None: ...
