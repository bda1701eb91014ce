"""The port to a registry's index: which repository holds which blobs, manifests and tags.

Contract: every method is one transaction, durable when it returns. Tag history is append-only: `set_tag` and
`delete_tag` add to it, nothing removes from it.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol

from custody.formats.oci import Descriptor


class TagEvent(NamedTuple):
    tag: str
    digest: str | None
    """None: the tag was deleted."""
    at: datetime


class Repositories(Protocol):
    def names(self) -> list[str]: ...

    def has_repository(self, name: str) -> bool: ...

    def link_blob(self, name: str, digest: str, size: int) -> None: ...

    def has_blob(self, name: str, digest: str) -> bool: ...

    def unlink_blob(self, name: str, digest: str) -> bool: ...

    def blob_is_used(self, digest: str) -> bool:
        """Whether any repository still has it, as a blob or a manifest."""

    def put_manifest(self, name: str, descriptor: Descriptor, subject: str | None, tags: list[str],
                     at: datetime) -> None: ...

    def manifest(self, name: str, reference: str) -> Descriptor | None:
        """By tag or digest."""

    def delete_manifest(self, name: str, digest: str, at: datetime) -> bool:
        """Removes its tags too."""

    def delete_tag(self, name: str, tag: str, at: datetime) -> bool: ...

    def tags(self, name: str, after: str, limit: int | None) -> list[str]: ...

    def history(self, name: str, tag: str) -> list[TagEvent]: ...

    def referrers(self, name: str, subject: str, artifact_type: str | None, after: str,
                  limit: int) -> list[Descriptor]: ...
