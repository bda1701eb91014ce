"""Which entries a log already holds: leaf hash → index, in SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from custody.adapters.sqlite.database import Database

_MIGRATIONS = ("CREATE TABLE leaf (hash BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID; "
               "CREATE TABLE progress (size INTEGER NOT NULL)",)


class SqliteLeaves:
    """Written after the log's checkpoint, without an fsync of its own: after a crash the log catches it up."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _MIGRATIONS, durable=False)

    def size(self) -> int:
        rows = self._database.rows("SELECT size FROM progress")
        return cast(int, rows[0][0]) if rows else 0

    def find(self, leaf: bytes) -> int | None:
        rows = self._database.rows("SELECT position FROM leaf WHERE hash = ?", leaf)
        return cast(int, rows[0][0]) if rows else None

    def add(self, first: int, leaves: Sequence[bytes]) -> None:
        with self._database.write() as db:
            db.executemany("INSERT OR IGNORE INTO leaf VALUES (?, ?)",
                           [(leaf, first + offset) for offset, leaf in enumerate(leaves)])
            db.execute("DELETE FROM progress")
            db.execute("INSERT INTO progress VALUES (?)", (first + len(leaves),))

    def clear(self) -> None:
        with self._database.write() as db:
            db.execute("DELETE FROM leaf")
            db.execute("DELETE FROM progress")

    def close(self) -> None:
        self._database.close()
