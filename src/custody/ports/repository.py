"""The port to a version-controlled source: objects by id, whose bytes are verified against it.

Contract: every method raises NotFoundError for what is not there, VerificationError where stored bytes do not hash to
their id, MalformedError for objects that are not well formed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from custody.formats.gitobject import Commit, File, Tag


class Repository(Protocol):
    @property
    def place(self) -> str:
        """Where a person finds it."""

    def resolve(self, name: str) -> str:
        """The commit id of a branch, tag, `HEAD` or full id."""

    def tags(self, name: str) -> tuple[Tag, ...]:
        """The annotated tags on the way from a name to its commit, the first one first; none where there is none."""

    def commit(self, commit_id: str) -> Commit: ...

    def history(self, start: str, stop: frozenset[str] = frozenset()) -> Iterator[Commit]:
        """Every commit reachable from `start`, all parents included, without `stop` and what is behind it."""

    def files(self, commit: Commit) -> list[File]:
        """All files of the commit's tree, sorted by path."""

    def blob(self, blob_id: str) -> bytes: ...
