"""The ports to a registry's index: which repository holds which blobs, manifests and tags.

Contract: everything in one `transaction` happens together, and is durable when that ends, or not at all. Its reads see
what it did, and nothing that they saw changes before it ends, so that who checks and then writes does both in it. Other
reads see what is committed. Tag history is append-only: `put_manifest`, `delete_manifest` and `delete_tag` add to it,
nothing removes from it. Raises StorageError where the disk does not take a transaction.

All of it is synchronous: whoever calls is in a thread that may wait (docs/decisions/0011-ports.md).
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


class Holdings(Protocol):
    """What a repository holds."""

    def has_blob(self, name: str, digest: str) -> bool: ...

    def sizes(self, name: str, digests: Collection[str]) -> dict[str, int]:
        """Sizes of those blobs that the repository holds."""

    def absent_manifests(self, name: str, digests: Collection[str]) -> set[str]:
        """Those manifests that the repository does not hold."""

    def manifest(self, name: str, reference: str) -> Descriptor | None:
        """By tag or digest."""

    def blob_is_used(self, digest: str) -> bool:
        """Whether any repository has it, as a blob or a manifest."""


class Transaction(Holdings, Protocol):
    def part(self) -> AbstractContextManager[object]:
        """What fails in it did not happen, and the rest of the transaction goes on."""

    def link_blob(self, name: str, digest: str, size: int) -> None: ...

    def unlink_blob(self, name: str, digest: str) -> bool: ...

    def put_manifest(self, name: str, descriptor: Descriptor, subject: str | None, tags: list[str],
                     at: datetime) -> None: ...

    def delete_manifest(self, name: str, digest: str, at: datetime) -> bool:
        """Removes its tags too."""

    def delete_tag(self, name: str, tag: str, at: datetime) -> bool: ...


class RepositoryListings(Protocol):
    """For who browses."""

    def names(self, after: str, limit: int) -> list[str]:
        """Names of repositories that hold something, sorted."""

    def has_repository(self, name: str) -> bool: ...

    def tags(self, name: str, after: str, limit: int) -> list[str]: ...

    def history(self, name: str, tag: str) -> list[TagEvent]:
        """What a tag pointed at, oldest first."""

    def referrers(self, name: str, subject: str, artifact_type: str | None, after: str) -> Iterator[Descriptor]:
        """By digest, read as they are asked for."""


class RepositoryInventory(Holdings, Protocol):
    """For who looks through all of it."""

    def holders(self, digest: str) -> list[str]:
        """The repositories that have it, as a blob or a manifest."""

    def digests(self) -> Iterator[str]:
        """All that any repository holds, sorted, each once."""


class Repositories(RepositoryInventory, RepositoryListings, Protocol):
    def transaction(self) -> AbstractContextManager[Transaction]: ...

    def removals(self) -> int:
        """A number that is another one after a repository may have lost something, whoever took it away; also while
        that is being committed."""
