"""Where advisories are kept for matching."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from custody.formats.epss import Epss, EpssScores
from custody.formats.kev import Exploited, ExploitedCatalogue
from custody.formats.osv import Advisory, Affected


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a store holds of one publisher."""

    name: str
    records: int
    """Without withdrawn ones."""
    newest: datetime | None
    """The latest `modified` of its records."""
    imported_at: datetime
    """When it was last read, whether or not anything in it was new."""
    origin: str
    """From where: a file or an address."""


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """How far an update has come with one address, for the next to go on from there."""

    address: str
    etag: str = ""
    last_modified: str = ""
    """Both as the server said them."""
    cursor: str = ""
    """The newest of the list of changes that was read: RFC 3339."""
    checked: str = ""
    """When it last answered."""
    failure: str = ""
    """Why it did not the last time; empty where it did."""


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
    scored: int | None = None
    """CVEs that EPSS scores; None where no scores were imported."""
    scored_on: str = ""
    """The day of the scores."""
    sources: tuple[SourceStatus, ...] = ()


class Changes(msgspec.Struct, frozen=True):
    """For which names advisories came, changed or went."""

    cursor: str
    """What to ask with the next time."""
    names: tuple[tuple[str, str], ...]
    """Ecosystem and normalised name; ('', a CVE) where the catalogue of exploited vulnerabilities changed."""
    complete: bool = True
    """False where nobody knows any more: anything may have changed."""


class Reach(NamedTuple):
    """Between which keys of versions (`versions.sortable`) an entry of an advisory may affect any."""

    low: bytes | None
    high: bytes | None
    """Nothing below `low` is affected, and nothing from `high` on; None where there is no bound."""
    exact: bool = False
    """All between them is, by the one range of the entry."""


ANY = Reach(None, None)
"""Of an entry of which nobody knows it."""


class Entry(NamedTuple):
    """What a record says of a package."""

    advisory: Advisory
    """Its `affected` does not count."""
    affected: Affected
    reach: Reach


class AdvisoryReader(Protocol):
    """What a scan asks. Records by identifier; withdrawn ones are never found."""

    def find(self, ecosystem: str, name: str) -> Sequence[Advisory]:
        """Those with an `affected` entry of exactly this ecosystem, release included, and normalised name; each with
        those entries alone.
        """
        ...

    def find_all(self, ecosystem: str, names: Iterable[str]) -> Mapping[str, Sequence[Advisory]]:
        """What `find` says of each of these names, without those of which it says nothing."""
        ...

    def known(self, ecosystem: str, names: Iterable[str]) -> set[str]:
        """Those of these names that `find` says something of."""
        ...

    def reached(self, ecosystem: str, versions: Iterable[tuple[str, bytes | None]]) -> set[tuple[str, bytes | None]]:
        """Of names, each with the key of a version (`versions.sortable`), those that what `find` says may affect, or be
        undecided of: of all others it does not. None is a version without a key, which may be any.
        """
        ...

    def ahead(self, ecosystem: str, versions: Iterable[tuple[str, bytes | None]]) -> Mapping[str, Sequence[Entry]]:
        """What `find` says of names, each with the key of a version as `reached` has it, that may speak of that version
        or of a later one, in the order of `find`. Entries that end before it may be left out.
        """
        ...

    def named(self, names: Iterable[str]) -> Sequence[Advisory]:
        """Those with one of these identifiers or hashes of files, or with one of them as an alias."""
        ...

    def raters(self, names: Iterable[str]) -> Sequence[Advisory]:
        """Those `named` that may say how bad their vulnerability is (`severity.rates`), without what they say of
        packages.
        """
        ...

    def speaking(self, names: Iterable[str]) -> Sequence[Advisory]:
        """Those `named`, and those whose `upstream` has one of these vulnerabilities, alone or with others."""
        ...

    def exploited(self, cves: Iterable[str]) -> Mapping[str, Exploited]:
        """What the catalogue says of those of these CVEs that it has."""
        ...

    def scores(self, cves: Iterable[str]) -> Mapping[str, Epss]:
        """What EPSS says of those of these CVEs that it has."""
        ...

    def count(self, ecosystem: str) -> int:
        """How many advisories there are for this ecosystem, release included."""
        ...

    def status(self) -> AdvisoryStatus: ...


class AdvisoryWriter(Protocol):
    """What an import adds to. Each call happens whole or not at all. `origin` is where it came from, for people."""

    def together(self) -> AbstractContextManager[None]:
        """All calls within it happen whole or not at all."""
        ...

    def add(self, advisories: Iterable[Advisory], now: datetime, origin: str = "") -> int:
        """The number that were new or newer: of two of one publisher and identifier the later `modified` stays."""
        ...

    def replace(self, source: str, part: str, advisories: Iterable[Advisory], now: datetime, origin: str = "") -> int:
        """The whole truth of a part of a publisher's: what is not among these goes. The number that came, changed or
        went. One without a `modified` is of now where it changed.
        """
        ...

    def add_exploited(self, catalogue: ExploitedCatalogue, now: datetime) -> bool:
        """Take it in place of the one that is there; False where that one was released later."""
        ...

    def add_scores(self, scores: EpssScores, now: datetime) -> bool:
        """Take them in place of those that are there; False where those are of a later day."""
        ...


class AdvisoryKeeper(Protocol):
    """What somebody asks who keeps the store up to date."""

    def remove(self, name: str) -> int:
        """All of a publisher (`debian-tracker`; `kev` and `epss` too), or the records of one identifier; how many."""
        ...

    def records(self, source: str = "") -> Iterator[Advisory]:
        """All, or a publisher's, withdrawn ones too, by publisher, part and identifier."""
        ...

    def catalogue(self) -> ExploitedCatalogue | None:
        """All that CISA's says; None where it was not imported."""
        ...

    def all_scores(self) -> EpssScores | None:
        """None where there are none."""
        ...

    def feed(self, address: str) -> Feed:
        """How far it was read; of one that never was, an empty one."""
        ...

    def feeds(self) -> Sequence[Feed]: ...

    def keep(self, feed: Feed) -> None: ...


class AdvisoryChanges(Protocol):
    """What somebody asks who judged everything before."""

    def changes(self, cursor: str) -> Changes:
        """Since the answer that had this cursor; '' for one who was never here: everything."""
        ...


class AdvisoryStore(AdvisoryReader, AdvisoryWriter, AdvisoryChanges, AdvisoryKeeper, Protocol):
    """All."""
