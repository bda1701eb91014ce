"""Reads what people have into the store: any kind of document of `sources`, as a file, a folder or an archive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from custody.errors import CustodyError, MalformedError, UsageError
from custody.formats.advisories.snapshot import Snapshot
from custody.formats.epss import EpssScores
from custody.formats.kev import ExploitedCatalogue
from custody.formats.osv import Advisory
from custody.ports.advisories import AdvisoryWriter
from custody.vulns import sources
from custody.vulns.documents import documents
from custody.vulns.sources import Said

if TYPE_CHECKING:
    from custody.vulns.databases.files import Contents


_KEPT, _LONGEST_SAID = 100, 500
_SKEW = timedelta(days=2)
"""That clocks and calendars may differ."""


@dataclass(slots=True)
class Imported:
    """What one import did."""

    read: int = 0
    """Documents."""
    records: int = 0
    """What they say, whether or not it was kept; a document that could not be read is one. Catalogues are none."""
    added: int = 0
    withdrawn: int = 0
    errata: int = 0
    """Errata that mend bugs and name no vulnerability: they are not kept."""
    catalogues: list[str] = field(default_factory=list)
    """What became of each document that is no list of advisories."""
    refused: list[str] = field(default_factory=list)
    """Why each document, or row of a database, that could not be read was left out: of the first `_KEPT`."""
    refusals: int = 0
    """How many there were."""

    def refuse(self, reason: str, count: int = 1) -> None:
        """Texts of others stand in reasons: they are cut."""
        self.refusals += count
        if len(self.refused) < _KEPT:
            self.refused.append(_cut(reason))


def _cut(said: str) -> str:
    return said if len(said) <= _LONGEST_SAID else f"{said[:_LONGEST_SAID]}…"


def import_advisories(store: AdvisoryWriter, path: Path, now: datetime,
                      progress: Callable[[int], None] | None = None, origin: str = "",
                      publishers: AbstractSet[str] | None = None) -> Imported:
    """Add all records under `path` in one transaction. Single records that are malformed are left out and counted.

    `publishers`: whose they may be, `feeds.publishers`; a mirror of one publisher replaces the advisories of no other.
    Raises UsageError where there is nothing, MalformedError for hostile archives, for a catalogue, a feed or a tracker
    that is broken, and where no document is one that a source reads.
    """
    hint = ", or ".join(source.files for source in reversed(sources.SOURCES))
    return take(store, documents(path, sources.limit, hint), now, progress, str(path), origin or str(path),
                publishers)


def import_database(store: AdvisoryWriter, contents: Contents, now: datetime, origin: str) -> Imported:
    """Add what another scanner's database says, in one transaction. Raises MalformedError where it is broken."""
    result = Imported(read=1)
    with store.together():
        for said in contents.said():
            _take(store, said, result, now, origin)
    left_out = sorted(contents.left_out.items())
    result.catalogues += [_cut(f"{count} {why}, left out") for why, count in left_out[:_KEPT]]
    if more := left_out[_KEPT:]:
        result.catalogues.append(f"{sum(count for _, count in more)} of {len(more)} kinds more, left out")
    return result


def take(store: AdvisoryWriter, stated: Iterable[tuple[str, bytes]], now: datetime,
         progress: Callable[[int], None] | None, where: str, origin: str,
         publishers: AbstractSet[str] | None = None) -> Imported:
    """Add what documents say, each with its name; as `import_advisories` does."""
    result = Imported()
    with store.together():
        others = _told(stated, result, progress, now)
        if publishers is not None:
            others = _of(others, publishers, where)
        for said in others:
            if isinstance(said, Advisory):
                _add(store, chain([said], others), result, now, origin)
            else:
                _take(store, said, result, now, origin)
        if result.refusals == result.read:
            _refuse(result, where)
    return result


def _add(store: AdvisoryWriter, rows: Iterable[Said], result: Imported, now: datetime, origin: str) -> None:
    """Single records, until something else comes, which is taken after them."""
    behind: list[Said] = []

    def records() -> Iterator[Advisory]:
        for said in rows:
            if not isinstance(said, Advisory):
                behind.append(said)
                return
            result.records += 1
            result.withdrawn += said.withdrawn
            if said.vulnerability:
                yield said
            else:
                result.errata += 1

    result.added += store.add(records(), now, origin)
    for said in behind:
        _take(store, said, result, now, origin)


def _take(store: AdvisoryWriter, said: Said, result: Imported, now: datetime, origin: str) -> None:
    if isinstance(said, Snapshot):
        def counted(advisories: Iterable[Advisory]) -> Iterator[Advisory]:
            for advisory in advisories:
                result.records += 1
                yield advisory

        result.added += store.replace(said.source, said.part, counted(said.advisories), now, origin)
        return
    if isinstance(said, ExploitedCatalogue):
        fate = "" if store.add_exploited(said, now) else ": older than what is there, and not taken"
        result.catalogues.append(
            f"{len(said.entries)} known exploited vulnerabilities, version {_cut(said.version)}{fate}")
    elif isinstance(said, EpssScores):
        fate = "" if store.add_scores(said, now) else ": older than those that are there, and not taken"
        result.catalogues.append(f"{len(said.entries)} EPSS scores of {said.day[:10]}{fate}")


def _told(stated: Iterable[tuple[str, bytes]], result: Imported,
          progress: Callable[[int], None] | None, now: datetime) -> Iterator[Said]:
    latest = (now + _SKEW).strftime("%Y-%m-%d")
    for name, data in stated:
        result.read += 1
        if progress:
            progress(1)
        source = sources.of(data)
        if source.whole:  # one by one: the transaction ends with it where it is broken
            yield from _until(source.read(data, name), latest, name)
            continue
        try:
            records = tuple(_until(source.read(data, name), latest, name))
        except CustodyError as error:
            result.refuse(error.message)
            result.records += 1
            continue
        yield from records


def _until(said: Iterable[Said], latest: str, where: str) -> Iterator[Said]:
    """Raises MalformedError for what is of a day to come: no later one would ever take its place."""
    for entry in said:
        stated = entry.modified if isinstance(entry, Advisory) else entry.released if isinstance(
            entry, ExploitedCatalogue) else entry.day if isinstance(entry, EpssScores) else ""
        if stated[:10] > latest:
            raise MalformedError(where, got=f"a time to come, {stated}", expected=f"one until {latest}",
                                 hint="is this machine's clock right?")
        yield entry


def _of(said: Iterator[Said], publishers: AbstractSet[str], where: str) -> Iterator[Said]:
    for entry in said:
        if isinstance(entry, Advisory | Snapshot) and publishers.isdisjoint(
                (entry.source, entry.source.partition("/")[0])):
            raise MalformedError(where, got=f"advisories of {entry.source}",
                                 expected=f"those of {', '.join(sorted(publishers)) or 'nobody'}")
        yield entry


def _refuse(result: Imported, where: str) -> None:
    """Where nothing was read of which anything counts."""
    rows = [source for source in reversed(sources.SOURCES) if not source.whole]
    if not result.read:
        raise MalformedError(where, got="no documents",
                             expected=" or ".join(source.many for source in rows) + " (*.json, *.xml, *.csv)")
    raise UsageError(f"{where}: none of {result.read} documents is "
                     f"{' or '.join(source.one for source in rows)}: {result.refused[0]}")
