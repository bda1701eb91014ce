"""Where verified evidence is kept beyond the process that verified it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol


class KeptEvidence(NamedTuple):
    """What was gathered about an image, as JSON of an EvidenceSet."""

    gathered: datetime
    data: bytes


class EvidenceStore(Protocol):
    """By a key that names the image and all that its evidence was verified by.

    What it gives counts as verified: whoever may write it, may vouch for any image.
    """

    def get(self, key: str) -> KeptEvidence | None: ...

    def put(self, key: str, kept: KeptEvidence) -> None:
        """In place of what was kept by this key. Raises StorageError."""
        ...

    def prune(self, before: datetime, most: int) -> int:
        """Let go of what was gathered earlier, and of the oldest while all have more than `most` bytes; how many."""
        ...
