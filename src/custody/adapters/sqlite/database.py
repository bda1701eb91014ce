"""SQLite as custody opens it: write-ahead log, foreign keys, numbered migrations; one writer at a time."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from custody.errors import CustodyError, StorageError, StorageFullError

_NEEDED = 128 * 1024  # bytes that SQLite wants beside a database to open it: an index of its write-ahead log
_OF_THE_DISK = (sqlite3.OperationalError, sqlite3.DatabaseError)
"""Exactly these; those that are made of the second are faults of a statement. The second itself: a changed file."""


class Database:
    """One connection that writes, shared between threads under a lock; transactions are `with database.write() as db`.

    `rows` reads on it too, and so waits for a transaction of another thread; `read` has a connection for each thread,
    and waits for nobody: what a transaction did is read on the connection that it gave. It is closed by `close`, or
    with the object.
    """

    def __init__(self, path: Path, migrations: Sequence[str], *, durable: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        except sqlite3.OperationalError as error:
            raise StorageError(f"{path}: {error}", hint="it has to be a file that this user may read and write"
                               ) from None
        weakref.finalize(self, self._db.close)
        self._readers = threading.local()
        self._all_readers: list[sqlite3.Connection] = []
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._db.execute("PRAGMA foreign_keys=ON")
            self._migrate(path, migrations)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and _room(path.parent) < _NEEDED:
                raise StorageFullError(f"{path}: {error}: the disk is full",
                                       hint="make room on the disk of the data directory, and start again") from None
            raise CustodyError(f"{path}: {error}", hint="restore it from a copy; a cache or advisories.db may be "
                                                        "deleted and is made again") from None

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction, durable when it ends; one inside another ends with that, and can fail without it.

        Raises StorageError where the disk does not take it: nothing of it happened then.
        """
        with self._lock:
            begin, commit, rollback = (("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK") if self._depth == 0 else
                                       ("SAVEPOINT part", "RELEASE part", "ROLLBACK TO part"))
            try:
                self._db.execute(begin)
                self._depth += 1
                try:
                    yield self._db
                    self._db.execute(commit)
                except BaseException:
                    # A full disk may have ended the transaction already.
                    if self._db.in_transaction:
                        with contextlib.suppress(sqlite3.OperationalError):
                            self._db.execute(rollback)
                    raise
                finally:
                    self._depth -= 1
            except sqlite3.DatabaseError as error:
                if type(error) in _OF_THE_DISK:
                    raise _storage_error(error) from None
                raise

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def read(self, sql: str, *values: object) -> sqlite3.Cursor:
        """What is committed."""
        try:
            return self._reader().execute(sql, values)
        except sqlite3.DatabaseError as error:
            if type(error) in _OF_THE_DISK:
                raise _storage_error(error) from None
            raise

    def close(self) -> None:
        with self._lock:
            for reader in list(self._all_readers):
                reader.close()
            self._db.close()

    def _reader(self) -> sqlite3.Connection:
        reader: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if reader is None:
            reader = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None, timeout=30)
            weakref.finalize(self, reader.close)
            reader.execute("PRAGMA query_only=ON")
            self._readers.connection = reader
            self._all_readers.append(reader)  # atomic, and not under the lock: that is held by a transaction
        return reader

    def _migrate(self, path: Path, migrations: Sequence[str]) -> None:
        have = self._db.execute("PRAGMA user_version").fetchone()[0]
        if have > len(migrations):
            raise CustodyError(f"{path}: schema {have} is newer than this custody knows ({len(migrations)})",
                               hint="use the custody that wrote it, or a newer one")
        for number, script in enumerate(migrations[have:], have + 1):
            self._db.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version={number}; COMMIT;")


def _storage_error(error: sqlite3.DatabaseError) -> StorageError:
    """The message names no path: clients get it."""
    if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
        return StorageFullError(f"index: {error}", hint="make room on the disk of the data directory")
    if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
        return StorageError(f"index: {error}: another process has been writing to it",
                            hint="try again when that has ended")
    return StorageError(f"index: {error}", hint="the disk of the data directory, or its index, failed")


def _room(folder: Path) -> int:
    """Bytes that are free on its disk."""
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize
