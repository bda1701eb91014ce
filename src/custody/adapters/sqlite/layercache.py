"""What layers were found to hold, in SQLite; the least recently used go when there are too many bytes.

It is trusted for nothing, so that its loss stops nothing: where it cannot be opened, read or written to, that is said
once, and layers are read. Nor is one taken that another user may have written: it would say what is in an image.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import zstandard

from custody.adapters.sqlite.database import Database
from custody.errors import CustodyError, StorageError

_LOG = logging.getLogger(__name__)
_MIGRATIONS = ("CREATE TABLE layer (key TEXT PRIMARY KEY, used INTEGER NOT NULL, value BLOB NOT NULL)",)
_MAX_VALUE = 256 << 20


class SqliteLayerCache:
    """LayerCache in one file of at most about `capacity` bytes."""

    def __init__(self, path: Path, capacity: int = 1 << 30) -> None:
        self._capacity = capacity
        self._database: Database | None = None
        with self._tolerated():
            for place in (path.parent, path):
                _refuse_others(place)
            self._database = Database(path, _MIGRATIONS, durable=False)

    def get(self, key: str) -> bytes | None:
        with self._tolerated():
            if self._database is None:
                return None
            rows = self._database.rows("SELECT value FROM layer WHERE key = ?", key)
            if not rows:
                return None
            with self._database.write() as db:
                db.execute("UPDATE layer SET used = (SELECT max(used) + 1 FROM layer) WHERE key = ?", (key,))
            try:
                return zstandard.ZstdDecompressor().decompress(cast(bytes, rows[0][0]), max_output_size=_MAX_VALUE)
            except zstandard.ZstdError:
                return None
        return None

    def put(self, key: str, value: bytes) -> None:
        with self._tolerated():
            if self._database is None:
                return
            with self._database.write() as db:
                db.execute("INSERT OR REPLACE INTO layer VALUES (?, (SELECT coalesce(max(used), 0) + 1 FROM layer), ?)",
                           (key, zstandard.compress(value, 3)))
                total = cast(int, db.execute("SELECT sum(length(value)) FROM layer").fetchone()[0])
                for old, size in db.execute("SELECT key, length(value) FROM layer ORDER BY used").fetchall():
                    if total <= self._capacity or old == key:
                        break
                    db.execute("DELETE FROM layer WHERE key = ?", (old,))
                    total -= size

    @contextmanager
    def _tolerated(self) -> Iterator[None]:
        try:
            yield
        except (CustodyError, OSError, sqlite3.Error) as error:
            self._database = None
            _LOG.warning("what is known of layers is not used: %s", getattr(error, "message", None) or error)


def _refuse_others(place: Path) -> None:
    """Raises StorageError for what is another user's, or what everybody may write to; what is not there passes."""
    try:
        status = place.stat()
    except FileNotFoundError:
        return
    if status.st_uid not in (os.geteuid(), 0):
        raise StorageError(f"{place} is of user {status.st_uid}, who may have written it")
    if status.st_mode & 0o002 and not status.st_mode & stat.S_ISVTX:  # of a sticky folder each file has its owner
        raise StorageError(f"{place} may be written to by everybody (mode {status.st_mode & 0o777:03o})")
