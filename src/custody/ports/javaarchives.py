"""Which Maven artifact an archive of Java is, by the SHA-1 of its bytes: what repositories list their files by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol


class Artifact(NamedTuple):
    group: str
    name: str
    version: str


class JavaArchives(Protocol):
    """A sum that it does not have says nothing of the archive."""

    def find(self, sums: Iterable[str]) -> Mapping[str, Artifact]:
        """Of those in hexadecimal digits, small letters, the ones that it knows."""

    def edition(self) -> str:
        """Another text after each change, by which what was read with another edition is told apart."""


class JavaArchiveStore(JavaArchives, Protocol):
    def count(self) -> int: ...

    def replace(self, rows: Iterable[tuple[bytes, Artifact]]) -> int:
        """All of it at once, or nothing where `rows` raises: 20 bytes of a SHA-1 each, of one that comes twice the
        first. How many there are now."""


class JavaArchiveTables(Protocol):
    """trivy-java-db's database as rows. Raises MalformedError, UnsupportedError."""

    def rows(self) -> Iterator[tuple[bytes, str, str, str]]:
        """SHA-1, group, artifact, version, as they stand there."""

    def close(self) -> None: ...
