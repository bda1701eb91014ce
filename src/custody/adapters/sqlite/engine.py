"""SQLite for the SQL of `relational`: one file, one writer, readers that wait for nobody."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from custody.adapters.relational.engine import Dialect, Row
from custody.adapters.sqlite.database import Database

DIALECT = Dialect(identity="INTEGER PRIMARY KEY AUTOINCREMENT", bytes="BLOB", clustered=" WITHOUT ROWID",
                  skipping="")


class _Session:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, *values: object) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        self._connection.executemany(sql, rows)


class SqliteEngine:
    """Engine over one file, which is its owner's alone: what runs where is as private as what is wrong with it."""

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._database = Database(path, DIALECT.migrations(migrations))

    @contextmanager
    def write(self) -> Iterator[_Session]:
        with self._database.write() as connection:
            yield _Session(connection)

    def read(self, sql: str, *values: object) -> list[Row]:
        return self._database.read(sql, *values).fetchall()

    def close(self) -> None:
        self._database.close()
