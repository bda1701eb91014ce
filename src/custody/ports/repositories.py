"""The port to a registry's index: which repository holds which blobs, manifests and tags.

Contract: every method is one transaction, durable when it returns; those inside `batch` are one transaction together.
Reads see what is committed, and in a batch what that did. Tag history is append-only: `put_manifest`, `delete_manifest`
and `delete_tag` add to it, nothing removes from it. Raises StorageError where the disk does not take a transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

from custody.formats.oci import Descriptor


class TagEvent(NamedTuple):
    tag: str
    digest: str | None
    """None: the tag was deleted."""
    at: datetime


class Repositories(Protocol):
    def batch(self) -> AbstractContextManager[object]: ...

    def names(self, after: str, limit: int) -> list[str]:
        """Names of repositories that hold something, sorted."""

    def has_repository(self, name: str) -> bool: ...

    def link_blob(self, name: str, digest: str, size: int) -> None: ...

    def has_blob(self, name: str, digest: str) -> bool: ...

    def sizes(self, name: str, digests: Collection[str]) -> dict[str, int]:
        """Sizes of those blobs that the repository holds."""

    def absent_manifests(self, name: str, digests: Collection[str]) -> set[str]:
        """Those manifests that the repository does not hold."""

    def unlink_blob(self, name: str, digest: str) -> bool: ...

    def blob_is_used(self, digest: str) -> bool:
        """Whether any repository still has it, as a blob or a manifest."""

    def holders(self, digest: str) -> list[str]:
        """The repositories that have it, as a blob or a manifest."""

    def digests(self) -> Iterator[str]:
        """All that any repository holds, sorted, each once."""

    def put_manifest(self, name: str, descriptor: Descriptor, subject: str | None, tags: list[str],
                     at: datetime) -> None: ...

    def manifest(self, name: str, reference: str) -> Descriptor | None:
        """By tag or digest."""

    def delete_manifest(self, name: str, digest: str, at: datetime) -> bool:
        """Removes its tags too."""

    def delete_tag(self, name: str, tag: str, at: datetime) -> bool: ...

    def tags(self, name: str, after: str, limit: int) -> list[str]: ...

    def history(self, name: str, tag: str) -> list[TagEvent]: ...

    def referrers(self, name: str, subject: str, artifact_type: str | None, after: str) -> Iterator[Descriptor]:
        """By digest, read as they are asked for."""
