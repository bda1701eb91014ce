"""SHA-1 sums of Java archives in a file of their own, and trivy-java-db's database, from which they come."""

from __future__ import annotations

import secrets
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from custody.adapters.sqlite.database import Database
from custody.adapters.sqlite.foreign import ForeignTables, text
from custody.errors import MalformedError
from custody.ports.javaarchives import Archive, Artifact, Project, Replaced

_MIGRATIONS = (
    "CREATE TABLE artifact (number INTEGER PRIMARY KEY, grouped TEXT NOT NULL, name TEXT NOT NULL, "
    "UNIQUE (grouped, name)); "
    "CREATE TABLE archive (sum BLOB PRIMARY KEY, artifact INTEGER NOT NULL, version TEXT NOT NULL) WITHOUT ROWID; "
    "CREATE TABLE edition (name TEXT NOT NULL)",)
_FIND = "SELECT sum, grouped, name, version FROM archive JOIN artifact ON number = artifact WHERE sum IN ({})"
_PUT_PROJECT = "INSERT OR IGNORE INTO artifact VALUES (?, ?, ?)"
_PUT_ARCHIVE = "INSERT OR IGNORE INTO archive VALUES (?, ?, ?)"
_PLACED = "SELECT sum, artifact, version FROM archive WHERE artifact IN (SELECT number FROM artifact) ORDER BY sum"
_SIZES = ("SELECT (SELECT count(*) FROM artifact), (SELECT count(*) FROM archive), "
          "(SELECT count(*) FROM archive WHERE artifact IN (SELECT number FROM artifact))")
_AT_ONCE = 500
_PIECE = 10_000
_LONGEST = 64 << 10
"""Bytes of a value or row of trivy-java-db's; a name of Maven's has some hundred."""


class SqliteJavaArchives:
    """JavaArchiveStore in one file."""

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        self._database = Database(path, _MIGRATIONS, durable=False)

    def find(self, sums: Iterable[str]) -> Mapping[str, Artifact]:
        asked = [bytes.fromhex(text) for text in sums]
        known: dict[str, Artifact] = {}
        for start in range(0, len(asked), _AT_ONCE):
            part = asked[start:start + _AT_ONCE]
            for row in self._database.read(
                    _FIND.format(",".join("?" * len(part))), *part):
                known[bytes(row[0]).hex()] = Artifact(row[1], row[2], row[3])
        return known

    def edition(self) -> str:
        row = self._database.read("SELECT name FROM edition").fetchone()
        return str(row[0]) if row else ""

    def count(self) -> int:
        return int(self._database.read("SELECT count(*) FROM archive").fetchone()[0])

    def clear(self) -> None:
        with self._database.write() as db:
            _empty(db)

    def projects(self) -> Iterator[Project]:
        for row in self._database.read("SELECT number, grouped, name FROM artifact ORDER BY number"):
            yield Project(*row)

    def archives(self) -> Iterator[Archive]:
        for row in self._database.read(_PLACED):
            yield Archive(bytes(row[0]), row[1], row[2])

    def replace(self, projects: Iterable[Project], archives: Iterable[Archive]) -> Replaced:
        # Foreign rows are gathered in a file of their own: however long that takes, nobody waits for a lock; and which
        # archive is of which project is found by keys that are unique there.
        with (tempfile.TemporaryDirectory(prefix="java-archives-", dir=self._folder) as folder,
              closing(Database(Path(folder) / "gathered.db", _MIGRATIONS, durable=False)) as gathered):
            with gathered.write() as db:
                handed = _insert(db, _PUT_PROJECT, projects)
                _insert(db, _PUT_ARCHIVE, archives)
            kept, held, count = map(int, gathered.read(_SIZES).fetchone())
            done = Replaced(count, handed - kept, held - count)
            if not count:
                return done
            with self._database.write() as db:
                _empty(db)
                _insert(db, _PUT_PROJECT, gathered.read("SELECT number, grouped, name FROM artifact"))
                _insert(db, _PUT_ARCHIVE, gathered.read(_PLACED))
                db.execute("INSERT INTO edition VALUES (?)", (secrets.token_hex(8),))
            return done


def _empty(db: sqlite3.Connection) -> None:
    for statement in ("DELETE FROM archive", "DELETE FROM artifact", "DELETE FROM edition"):
        db.execute(statement)


def _insert(db: sqlite3.Connection, statement: str, rows: Iterable[tuple[Any, ...]]) -> int:
    """How many there were, also of those that are there already."""
    count, left = 0, iter(rows)
    while piece := list(islice(left, _PIECE)):
        db.executemany(statement, piece)
        count += len(piece)
    return count


class TrivyJavaTables(ForeignTables):
    """JavaArchiveTables: `artifacts` and `indices` of schema 1 (trivy-java-db, pkg/db)."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, ("artifacts", "indices"), (), "trivy-java-db's database of schema 1 is read",
                         longest=_LONGEST)

    def projects(self) -> Iterator[Project]:
        for number, group, name in self._rows("SELECT id, group_id, artifact_id FROM artifacts"):
            yield Project(self._number(number, "artifacts.id"), text(group), text(name))

    def archives(self) -> Iterator[Archive]:
        for digest, number, version in self._rows("SELECT sha1, artifact_id, version FROM indices"):
            if not isinstance(digest, bytes):
                raise MalformedError(f"{self._where}: indices.sha1", got=digest, expected="20 bytes")
            yield Archive(digest, self._number(number, "indices.artifact_id"), text(version))

    def _number(self, value: object, column: str) -> int:
        if not isinstance(value, int):
            raise MalformedError(f"{self._where}: {column}", got=value, expected="a number")
        return value
