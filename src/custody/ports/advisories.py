"""Where advisories are kept for matching."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from custody.formats.kev import Exploited, ExploitedCatalogue
from custody.formats.osv import Advisory


class AdvisoryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a store holds."""

    advisories: int
    """Without withdrawn ones."""
    ecosystems: Mapping[str, int]
    """Advisories per ecosystem, releases counted together: `Debian`."""
    newest: datetime | None
    """The latest `modified` of all records."""
    imported_at: datetime | None
    digest: str
    """Over the identifiers and times of all records, and the exploited catalogue's version: the database's version."""
    exploited: int | None = None
    """CVEs of the Known Exploited Vulnerabilities catalogue; None where none was imported."""
    exploited_version: str = ""


class Changes(msgspec.Struct, frozen=True):
    """For which names advisories came, changed or went."""

    cursor: str
    """What to ask with the next time."""
    names: tuple[tuple[str, str], ...]
    """Ecosystem and normalised name; ('', a CVE) where the catalogue of exploited vulnerabilities changed."""
    complete: bool = True
    """False where nobody knows any more: anything may have changed."""


class AdvisoryReader(Protocol):
    """What a scan asks. Records by identifier; withdrawn ones are never found."""

    def find(self, ecosystem: str, name: str) -> Sequence[Advisory]:
        """Those with an `affected` entry of exactly this ecosystem, release included, and normalised name."""
        ...

    def named(self, names: Iterable[str]) -> Sequence[Advisory]:
        """Those with one of these identifiers, or with one of them as an alias."""
        ...

    def speaking(self, names: Iterable[str]) -> Sequence[Advisory]:
        """Those `named`, and those whose `upstream` has one of these vulnerabilities, alone or with others."""
        ...

    def exploited(self, cves: Iterable[str]) -> Mapping[str, Exploited]:
        """What the catalogue says of those of these CVEs that it has."""
        ...

    def count(self, ecosystem: str) -> int:
        """How many advisories there are for this ecosystem, release included."""
        ...

    def status(self) -> AdvisoryStatus: ...


class AdvisoryWriter(Protocol):
    """What an import adds to."""

    def add(self, advisories: Iterable[Advisory], now: datetime) -> int:
        """All or none; the number that were new or newer: of two of one identifier the later `modified` stays."""
        ...

    def add_exploited(self, catalogue: ExploitedCatalogue, now: datetime) -> bool:
        """Take it in place of the one that is there; False where that one was released later."""
        ...


class AdvisoryChanges(Protocol):
    """What somebody asks who judged everything before."""

    def changes(self, cursor: str) -> Changes:
        """Since the answer that had this cursor; '' for one who was never here: everything."""
        ...


class AdvisoryStore(AdvisoryReader, AdvisoryWriter, AdvisoryChanges, Protocol):
    """All."""
