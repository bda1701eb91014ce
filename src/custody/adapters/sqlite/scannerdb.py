"""Grype's `vulnerability.db` of schema 6, opened to be read: a file of others, which may have been made to do harm.

SQLite is told to run nothing of it: only named tables, that are tables, are read, no function is called, and the work
is bounded by the file's size.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from custody.errors import MalformedError, UnsupportedError
from custody.ports.scannerdb import Handle, System, Vulnerability

_TABLES = ("db_metadata", "providers", "vulnerability_handles", "blobs", "packages", "operating_systems",
           "affected_package_handles", "affected_cpe_handles", "cpes")
_LATER = ("unaffected_package_handles", "known_exploited_vulnerability_handles", "epss_handles", "epss_metadata")
"""Tables that came with later additions to the schema."""
_READ = frozenset((*_TABLES, *_LATER))
_LONGEST = 16 << 20
_OPS = 100_000
_OPS_OF_A_BYTE = 8
_LIMITS = ((sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST), (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 100_000),
           (sqlite3.SQLITE_LIMIT_ATTACHED, 0), (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 1),
           (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 50), (sqlite3.SQLITE_LIMIT_COLUMN, 200))
_HANDLES = ("SELECT vulnerability_id, {} FROM {} WHERE vulnerability_id IN (SELECT id FROM vulnerability_handles "
            "WHERE provider_id = ?) ORDER BY vulnerability_id, id")


class SqliteScannerTables:
    """ScannerTables of one file, which nobody writes meanwhile."""

    def __init__(self, path: Path) -> None:
        """Raises MalformedError, UnsupportedError where it is another database."""
        self._where = str(path)
        self._left = path.stat().st_size * _OPS_OF_A_BYTE + 50_000_000
        self._db = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1", uri=True,
                                   isolation_level=None, check_same_thread=False)
        for limit, value in _LIMITS:
            self._db.setlimit(limit, value)
        self._db.text_factory = bytes
        with self._reading():
            for setting in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON", "mmap_size = 0"):
                self._db.execute(f"PRAGMA {setting}")
            stated = {called: (kind, sql) for name, kind, sql in self._db.execute(
                "SELECT name, type, sql FROM sqlite_schema") if (called := _text(name)) in _READ}
        self._there = frozenset(stated)
        absent = [name for name in _TABLES if name not in stated]
        if absent:
            self.close()
            raise UnsupportedError(self._where, f"an SQLite database without a table {absent[0]}",
                                   hint="Grype's database of schema 6 is read")
        for name, (kind, sql) in stated.items():
            if kind != b"table" or not sql.upper().startswith(b"CREATE TABLE ") or self._computes(name):
                self.close()
                raise UnsupportedError(self._where, f"{name} is no table that holds its rows itself")
        self._db.set_authorizer(_allowed)
        self._db.set_progress_handler(self._worked, _OPS)

    def close(self) -> None:
        self._db.close()

    def schema(self) -> tuple[int, int, int]:
        row = self._first("SELECT model, revision, addition FROM db_metadata")
        if row is None or not all(isinstance(value, int) for value in row):
            raise MalformedError(f"{self._where}: db_metadata", got=row, expected="three numbers")
        return row[0], row[1], row[2]

    def built(self) -> str:
        row = self._first("SELECT build_timestamp FROM db_metadata")
        return _text(row[0]) if row else ""

    def providers(self) -> list[str]:
        return [_text(row[0]) for row in self._rows("SELECT id FROM providers ORDER BY id")]

    def records(self, provider: str) -> Iterator[tuple[Vulnerability, list[Handle]]]:
        systems = {row[0]: System(*map(_text, row[1:])) for row in self._rows(
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
            yield Vulnerability(_text(name), _text(status), _text(published), _text(modified), _text(withdrawn),
                                self._blob(blob)), handles

    def exploited(self) -> Iterator[bytes]:
        if "known_exploited_vulnerability_handles" in self._there:
            for row in self._rows("SELECT blob_id FROM known_exploited_vulnerability_handles ORDER BY cve"):
                yield self._blob(row[0])

    def scored(self) -> str:
        row = self._first("SELECT date FROM epss_metadata") if "epss_metadata" in self._there else None
        return _text(row[0]) if row else ""

    def scores(self) -> Iterator[tuple[str, float, float]]:
        if "epss_handles" in self._there:
            for cve, score, percentile in self._rows("SELECT cve, epss, percentile FROM epss_handles ORDER BY cve"):
                if not isinstance(score, float | int) or not isinstance(percentile, float | int):
                    raise MalformedError(f"{self._where}: epss_handles", got=(score, percentile), expected="numbers")
                yield _text(cve), float(score), float(percentile)

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
                handles.append(Handle(kind, _text(known[0]), _text(known[1]),
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
                *parts, software = map(_text, known)
                handles.append(Handle("cpe", software, ":".join(parts), None, self._blob(blob)))
            yield number, handles

    def _computes(self, table: str) -> bool:
        """Whether a column of it is computed when it is read: authorizers are not asked about that."""
        with self._reading():
            return any(row[6] for row in self._db.execute(f"PRAGMA table_xinfo({table})"))

    def _has_channels(self) -> bool:
        """Since 6.0.3."""
        return self.schema() >= (6, 0, 3)

    def _blob(self, number: object) -> bytes:
        row = self._first("SELECT value FROM blobs WHERE id = ?", number)
        if row is None or not isinstance(row[0], bytes):
            raise MalformedError(f"{self._where}: blobs", got=number, expected="a row that is there")
        return row[0]

    def _first(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        with self._reading():
            row: tuple[Any, ...] | None = self._db.execute(statement, values).fetchone()
            return row

    def _rows(self, statement: str, *values: object) -> Iterator[tuple[Any, ...]]:
        with self._reading():
            for row in self._db.execute(statement, values):  # noqa: UP028 - which would close it after the database
                yield row

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OverflowError) as error:
            raise MalformedError(self._where, got=str(error), expected="a whole SQLite database of Grype's",
                                 hint="is the file whole? fetch it again") from None

    def _worked(self) -> int:
        self._left -= _OPS
        return self._left < 0


def _allowed(action: int, table: str | None, _column: str | None, _database: str | None, _view: str | None) -> int:
    if action == sqlite3.SQLITE_SELECT or (action == sqlite3.SQLITE_READ and table in _READ):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)
