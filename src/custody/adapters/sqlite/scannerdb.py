"""Grype's `vulnerability.db` of schema 6, opened to be read as a file of others (`foreign`)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from custody.adapters.sqlite.foreign import ForeignTables, text
from custody.errors import MalformedError
from custody.ports.scannerdb import Handle, System, Vulnerability

_TABLES = ("db_metadata", "providers", "vulnerability_handles", "blobs", "packages", "operating_systems",
           "affected_package_handles", "affected_cpe_handles", "cpes")
_LATER = ("unaffected_package_handles", "known_exploited_vulnerability_handles", "epss_handles", "epss_metadata")
"""Tables that came with later additions to the schema."""
_HANDLES = ("SELECT vulnerability_id, {} FROM {} WHERE vulnerability_id IN (SELECT id FROM vulnerability_handles "
            "WHERE provider_id = ?) ORDER BY vulnerability_id, id")


class SqliteScannerTables(ForeignTables):
    """ScannerTables of one file, which nobody writes meanwhile."""

    def __init__(self, path: Path) -> None:
        """Raises MalformedError, UnsupportedError where it is another database."""
        super().__init__(path, _TABLES, _LATER, "Grype's database of schema 6 is read")

    def schema(self) -> tuple[int, int, int]:
        row = self._first("SELECT model, revision, addition FROM db_metadata")
        if row is None or not all(isinstance(value, int) for value in row):
            raise MalformedError(f"{self._where}: db_metadata", got=row, expected="three numbers")
        return row[0], row[1], row[2]

    def built(self) -> str:
        row = self._first("SELECT build_timestamp FROM db_metadata")
        return text(row[0]) if row else ""

    def providers(self) -> list[str]:
        return [text(row[0]) for row in self._rows("SELECT id FROM providers ORDER BY id")]

    def records(self, provider: str) -> Iterator[tuple[Vulnerability, list[Handle]]]:
        systems = {row[0]: System(*map(text, row[1:])) for row in self._rows(
            "SELECT id, name, release_id, major_version, minor_version, label_version, channel FROM operating_systems"
            if self._has_channels() else
            "SELECT id, name, release_id, major_version, minor_version, label_version, '' FROM operating_systems")}
        told = [self._told(provider, systems, "affected", "affected_package_handles"), self._products(provider)]
        if "unaffected_package_handles" in self._there:
            told.append(self._told(provider, systems, "unaffected", "unaffected_package_handles"))
        waiting = [next(groups, None) for groups in told]
        for number, name, status, published, modified, withdrawn, blob in self._rows(
                "SELECT id, name, status, published_date, modified_date, withdrawn_date, blob_id "
                "FROM vulnerability_handles WHERE provider_id = ? ORDER BY id", provider):
            handles: list[Handle] = []
            for place, group in enumerate(waiting):
                if group is not None and group[0] == number:
                    handles += group[1]
                    waiting[place] = next(told[place], None)
            yield Vulnerability(text(name), text(status), text(published), text(modified), text(withdrawn),
                                self._blob(blob)), handles

    def exploited(self) -> Iterator[bytes]:
        if "known_exploited_vulnerability_handles" in self._there:
            for row in self._rows("SELECT blob_id FROM known_exploited_vulnerability_handles ORDER BY cve"):
                yield self._blob(row[0])

    def scored(self) -> str:
        row = self._first("SELECT date FROM epss_metadata") if "epss_metadata" in self._there else None
        return text(row[0]) if row else ""

    def scores(self) -> Iterator[tuple[str, float, float]]:
        if "epss_handles" in self._there:
            for cve, score, percentile in self._rows("SELECT cve, epss, percentile FROM epss_handles ORDER BY cve"):
                if not isinstance(score, float | int) or not isinstance(percentile, float | int):
                    raise MalformedError(f"{self._where}: epss_handles", got=(score, percentile), expected="numbers")
                yield text(cve), float(score), float(percentile)

    def _told(self, provider: str, systems: dict[Any, System], kind: Literal["affected", "unaffected"], table: str
              ) -> Iterator[tuple[int, list[Handle]]]:
        rows = self._rows(_HANDLES.format("operating_system_id, package_id, blob_id", table), provider)
        for number, group in groupby(rows, key=itemgetter(0)):
            handles = []
            for _, system, package, blob in group:
                known = self._first("SELECT ecosystem, name FROM packages WHERE id = ?", package)
                if known is None or (system is not None and system not in systems):
                    raise MalformedError(f"{self._where}: {table}", got=f"package {package}, system {system}",
                                         expected="rows that are there")
                handles.append(Handle(kind, text(known[0]), text(known[1]),
                                      None if system is None else systems[system], self._blob(blob)))
            yield number, handles

    def _products(self, provider: str) -> Iterator[tuple[int, list[Handle]]]:
        rows = self._rows(_HANDLES.format("cpe_id, blob_id", "affected_cpe_handles"), provider)
        for number, group in groupby(rows, key=itemgetter(0)):
            handles = []
            for _, cpe, blob in group:
                known = self._first("SELECT part, vendor, product, target_software FROM cpes WHERE id = ?", cpe)
                if known is None:
                    raise MalformedError(f"{self._where}: cpes", got=cpe, expected="a row that is there")
                *parts, software = map(text, known)
                handles.append(Handle("cpe", software, ":".join(parts), None, self._blob(blob)))
            yield number, handles

    def _has_channels(self) -> bool:
        """Since 6.0.3."""
        return self.schema() >= (6, 0, 3)

    def _blob(self, number: object) -> bytes:
        row = self._first("SELECT value FROM blobs WHERE id = ?", number)
        if row is None or not isinstance(row[0], bytes):
            raise MalformedError(f"{self._where}: blobs", got=number, expected="a row that is there")
        return row[0]
