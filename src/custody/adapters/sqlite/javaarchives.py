"""SHA-1 sums of Java archives in a file of their own, and trivy-java-db's database, from which they come."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from custody.adapters.sqlite.database import Database
from custody.adapters.sqlite.foreign import ForeignTables, text
from custody.errors import MalformedError
from custody.ports.javaarchives import Artifact

_MIGRATIONS = (
    "CREATE TABLE artifact (number INTEGER PRIMARY KEY, grouped TEXT NOT NULL, name TEXT NOT NULL, "
    "UNIQUE (grouped, name)); "
    "CREATE TABLE archive (sum BLOB PRIMARY KEY, artifact INTEGER NOT NULL, version TEXT NOT NULL) WITHOUT ROWID; "
    "CREATE TABLE edition (name TEXT NOT NULL)",)
_FIND = "SELECT sum, grouped, name, version FROM archive JOIN artifact ON number = artifact WHERE sum IN ({})"
_AT_ONCE = 500
_PIECE = 10_000


class SqliteJavaArchives:
    """JavaArchiveStore in one file."""

    def __init__(self, path: Path) -> None:
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

    def replace(self, rows: Iterable[tuple[bytes, Artifact]]) -> int:
        numbers: dict[tuple[str, str], int] = {}
        with self._database.write() as db:
            for statement in ("DELETE FROM archive", "DELETE FROM artifact", "DELETE FROM edition"):
                db.execute(statement)
            waiting: list[tuple[bytes, int, str]] = []
            for digest, told in rows:
                key = told.group, told.name
                number = numbers.setdefault(key, len(numbers) + 1)
                if number == len(numbers):
                    db.execute("INSERT OR IGNORE INTO artifact VALUES (?, ?, ?)", (number, *key))
                waiting.append((digest, number, told.version))
                if len(waiting) == _PIECE:
                    db.executemany("INSERT OR IGNORE INTO archive VALUES (?, ?, ?)", waiting)
                    waiting.clear()
            db.executemany("INSERT OR IGNORE INTO archive VALUES (?, ?, ?)", waiting)
            db.execute("INSERT INTO edition VALUES (?)", (secrets.token_hex(8),))
            return int(db.execute("SELECT count(*) FROM archive").fetchone()[0])


class TrivyJavaTables(ForeignTables):
    """JavaArchiveTables: `artifacts` and `indices` of schema 1 (trivy-java-db, pkg/db)."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, ("artifacts", "indices"), (), "trivy-java-db's database of schema 1 is read")

    def rows(self) -> Iterator[tuple[bytes, str, str, str]]:
        for digest, *told in self._rows("SELECT i.sha1, a.group_id, a.artifact_id, i.version FROM indices i "
                                        "JOIN artifacts a ON a.id = i.artifact_id"):
            if not isinstance(digest, bytes):
                raise MalformedError(f"{self._where}: indices.sha1", got=digest, expected="20 bytes")
            group, name, version = map(text, told)
            yield digest, group, name, version
