"""Which Maven artifact an archive of Java is, by the SHA-1 of its bytes: what repositories list their files by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol


class Artifact(NamedTuple):
    group: str
    name: str
    version: str


class Project(NamedTuple):
    """What versions are of, by a number that is its own."""

    number: int
    group: str
    name: str


class Archive(NamedTuple):
    sha1: bytes
    project: int
    version: str


class Replaced(NamedTuple):
    """What became of what was handed over."""

    archives: int
    """How many there are now."""
    repeated: int
    """Projects whose number or name came before, which were left out."""
    orphaned: int
    """Archives of a project that is not there, which were left out."""


class JavaArchives(Protocol):
    """A sum that it does not have says nothing of the archive."""

    def find(self, sums: Iterable[str]) -> Mapping[str, Artifact]:
        """Of those in hexadecimal digits, small letters, the ones that it knows."""

    def edition(self) -> str:
        """Another text after each change, by which what was read with another edition is told apart."""


class JavaArchiveStore(JavaArchives, Protocol):
    def count(self) -> int: ...

    def clear(self) -> None: ...

    def projects(self) -> Iterator[Project]:
        """All of them, by their numbers."""

    def archives(self) -> Iterator[Archive]:
        """All of them, each of a project that is there."""

    def replace(self, projects: Iterable[Project], archives: Iterable[Archive]) -> Replaced:
        """All of it at once; where either raises, or no archive is left, what was there stays. 20 bytes of a SHA-1
        each, of one that comes twice the first. Nobody waits while they are read, projects before archives.
        """


class JavaArchiveTables(Protocol):
    """trivy-java-db's database as rows, as they stand there. Raises MalformedError, UnsupportedError."""

    def projects(self) -> Iterator[Project]: ...

    def archives(self) -> Iterator[Archive]: ...

    def close(self) -> None: ...
