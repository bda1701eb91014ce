"""Reads what people have: advisories as a JSON file, a folder of them or osv.dev's `all.zip`; CISA's catalogue."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from custody.errors import CustodyError, MalformedError, UsageError
from custody.formats import kev, osv
from custody.ports.advisories import AdvisoryStore

_MAX_FILES = 2_000_000
_MAX_TOTAL = 16 << 30
_MAX_RATIO = 300
_SHOWN = 5


@dataclass(slots=True)
class Imported:
    """What one import did."""

    read: int = 0
    added: int = 0
    withdrawn: int = 0
    errata: int = 0
    """Errata that mend bugs and name no vulnerability: they are not kept."""
    catalogues: list[str] = field(default_factory=list)
    """What became of each catalogue of exploited vulnerabilities."""
    refused: list[str] = field(default_factory=list)
    """Why each record that is not OSV was left out."""


def import_advisories(store: AdvisoryStore, path: Path, now: datetime,
                      progress: Callable[[int], None] | None = None) -> Imported:
    """Add all records under `path` in one transaction. Single records that are malformed are left out and counted.

    Raises UsageError where there is nothing, MalformedError for hostile archives, for a catalogue of exploited
    vulnerabilities that is broken, and where no record is OSV.
    """
    result = Imported()
    catalogues: list[kev.ExploitedCatalogue] = []

    def records() -> Iterator[osv.Advisory]:
        for name, data in _documents(path):
            result.read += 1
            if progress:
                progress(1)
            if kev.is_catalogue(data):
                catalogues.append(kev.read(data, name))
                continue
            try:
                record = osv.read(data, name)
            except CustodyError as error:
                result.refused.append(error.message)
                continue
            result.withdrawn += record.withdrawn
            if record.vulnerability:
                yield record
            else:
                result.errata += 1

    def checked() -> Iterator[osv.Advisory]:
        yield from records()
        if len(result.refused) == result.read - len(catalogues) and not catalogues:
            if not result.read:
                raise MalformedError(str(path), got="no JSON files", expected="OSV records (*.json)")
            raise UsageError(f"{path}: none of {result.read} documents is an OSV record: {result.refused[0]}")

    result.added = store.add(checked(), now)
    for catalogue in catalogues:
        taken = store.add_exploited(catalogue, now)
        fate = "" if taken else ": older than the one that is there, and not taken"
        result.catalogues.append(f"{len(catalogue.entries)} known exploited vulnerabilities, "
                                 f"version {catalogue.version}{fate}")
    return result


def _documents(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            yield str(file), _bytes(file)
    elif path.suffix == ".zip":
        yield from _zipped(path)
    elif path.is_file():
        yield str(path), _bytes(path)
    else:
        raise UsageError(f"{path}: no such file or folder", hint="a folder of OSV records, osv.dev's all.zip, or "
                                                                 "CISA's known_exploited_vulnerabilities.json")


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(max(osv.MAX_SIZE, kev.MAX_SIZE) + 1)  # one more than the reader accepts
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


def _zipped(path: Path) -> Iterator[tuple[str, bytes]]:
    """Entries one at a time, bounded by what they really inflate to and not by what the archive says."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > _MAX_FILES:
                raise MalformedError(str(path), got=f"{len(entries)} entries", expected=f"at most {_MAX_FILES}")
            total = 0
            for entry in entries:
                if entry.is_dir() or not entry.filename.endswith(".json"):
                    continue
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise MalformedError(f"{path}: {entry.filename}", got=f"compression method {entry.compress_type}",
                                         expected="stored or deflated, as OSV's archives are")
                with archive.open(entry) as stream:
                    data = stream.read(osv.MAX_SIZE + 1)
                total += len(data)
                big = len(data) > 1 << 20 and len(data) > _MAX_RATIO * max(1, entry.compress_size)
                if len(data) > osv.MAX_SIZE or total > _MAX_TOTAL or big:
                    raise MalformedError(f"{path}: {entry.filename}",
                                         got=f"{len(data)} bytes out of {entry.compress_size}",
                                         expected="records, not a decompression bomb")
                yield f"{path}: {entry.filename}", data
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:  # the last: a password is asked
        raise MalformedError(str(path), got=str(error), expected="a readable zip archive") from None
