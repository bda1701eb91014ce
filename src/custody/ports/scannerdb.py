"""Grype's database as rows: what `vulns.databases.grype` reads, whoever opens the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol


class Vulnerability(NamedTuple):
    """One publisher's record. Times are as they are written there, `2026-11-01 00:00:00+00:00`, or empty."""

    name: str
    status: str
    published: str
    modified: str
    withdrawn: str
    blob: bytes
    """JSON."""


class System(NamedTuple):
    """Of a distribution: `debian`, `12`; `ubuntu`, `22`, `04`."""

    name: str
    release: str
    major: str
    minor: str
    label: str
    channel: str


class Handle(NamedTuple):
    """What a record says of one package, or of one product by its CPE: `a:vendor:product`."""

    kind: Literal["affected", "unaffected", "cpe"]
    ecosystem: str
    name: str
    system: System | None
    blob: bytes
    """JSON."""


class ScannerTables(Protocol):
    """Raises MalformedError where the file is broken, and of any method UnsupportedError where a table is none."""

    def schema(self) -> tuple[int, int, int]:
        """Model, revision, addition."""

    def built(self) -> str:
        """When; as `Vulnerability.published`."""

    def providers(self) -> list[str]: ...

    def records(self, provider: str) -> Iterator[tuple[Vulnerability, list[Handle]]]:
        """All of a publisher's, each once."""

    def exploited(self) -> Iterator[bytes]:
        """JSON of each known exploited vulnerability."""

    def scored(self) -> str:
        """Of which day the scores are; empty where there are none."""

    def scores(self) -> Iterator[tuple[str, float, float]]:
        """CVE, EPSS, percentile."""
