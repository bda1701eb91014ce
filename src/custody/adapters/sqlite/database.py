"""SQLite as custody opens it: write-ahead log, foreign keys, numbered migrations; one writer at a time."""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from custody.errors import CustodyError


class Database:
    """One connection, shared between threads under a lock; transactions are `with database.write() as db`.

    It is closed by `close`, or with the object.
    """

    def __init__(self, path: Path, migrations: Sequence[str], *, durable: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        weakref.finalize(self, self._db.close)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._db.execute("PRAGMA foreign_keys=ON")
            self._migrate(path, migrations)
        except sqlite3.DatabaseError as error:
            raise CustodyError(f"{path}: {error}", hint="restore it from a copy; a cache or advisories.db may be "
                                                        "deleted and is made again") from None

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk may have ended it already, or left the COMMIT undone
                    self._db.execute("ROLLBACK")
                raise

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _migrate(self, path: Path, migrations: Sequence[str]) -> None:
        have = self._db.execute("PRAGMA user_version").fetchone()[0]
        if have > len(migrations):
            raise CustodyError(f"{path}: schema {have} is newer than this custody knows ({len(migrations)})",
                               hint="use the custody that wrote it, or a newer one")
        for number, script in enumerate(migrations[have:], have + 1):
            self._db.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version={number}; COMMIT;")
