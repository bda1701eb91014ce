"""Reads what people have into the store: any kind of document of `sources`, as a file, a folder or a zip archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from custody.errors import CustodyError, MalformedError, UsageError
from custody.formats.kev import ExploitedCatalogue
from custody.formats.osv import Advisory
from custody.ports.advisories import AdvisoryWriter
from custody.vulns import sources
from custody.vulns.documents import documents


@dataclass(slots=True)
class Imported:
    """What one import did."""

    read: int = 0
    """Documents."""
    added: int = 0
    withdrawn: int = 0
    errata: int = 0
    """Errata that mend bugs and name no vulnerability: they are not kept."""
    catalogues: list[str] = field(default_factory=list)
    """What became of each catalogue of exploited vulnerabilities."""
    refused: list[str] = field(default_factory=list)
    """Why each document that no source could read was left out."""


def import_advisories(store: AdvisoryWriter, path: Path, now: datetime,
                      progress: Callable[[int], None] | None = None) -> Imported:
    """Add all records under `path` in one transaction. Single records that are malformed are left out and counted.

    Raises UsageError where there is nothing, MalformedError for hostile archives, for a catalogue of exploited
    vulnerabilities that is broken, and where no document is one that a source reads.
    """
    result = Imported()
    catalogues: list[ExploitedCatalogue] = []
    hint = ", or ".join(source.files for source in reversed(sources.SOURCES))
    largest = max(source.largest for source in sources.SOURCES)

    def told() -> Iterator[Advisory | ExploitedCatalogue]:
        for name, data in documents(path, largest, hint):
            result.read += 1
            if progress:
                progress(1)
            source = sources.of(data)
            try:
                records = tuple(source.read(data, name))
            except CustodyError as error:
                if source.whole:
                    raise
                result.refused.append(error.message)
                continue
            yield from records

    def advisories() -> Iterator[Advisory]:
        for record in told():
            if isinstance(record, ExploitedCatalogue):
                catalogues.append(record)
                continue
            result.withdrawn += record.withdrawn
            if record.vulnerability:
                yield record
            else:
                result.errata += 1
        if len(result.refused) == result.read - len(catalogues) and not catalogues:
            rows = [source for source in sources.SOURCES if not source.whole]
            if not result.read:
                raise MalformedError(str(path), got="no JSON files",
                                     expected=" or ".join(source.many for source in rows) + " (*.json)")
            raise UsageError(f"{path}: none of {result.read} documents is "
                             f"{' or '.join(source.one for source in rows)}: {result.refused[0]}")

    result.added = store.add(advisories(), now)
    for catalogue in catalogues:
        taken = store.add_exploited(catalogue, now)
        fate = "" if taken else ": older than the one that is there, and not taken"
        result.catalogues.append(f"{len(catalogue.entries)} known exploited vulnerabilities, "
                                 f"version {catalogue.version}{fate}")
    return result
