"""What layers were found to hold, in SQLite; the least recently used go when there are too many bytes."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import zstandard

from custody.adapters.sqlite.database import Database

_MIGRATIONS = ("CREATE TABLE layer (key TEXT PRIMARY KEY, used INTEGER NOT NULL, value BLOB NOT NULL)",)
_MAX_VALUE = 256 << 20


class SqliteLayerCache:
    """LayerCache in one file of at most about `capacity` bytes."""

    def __init__(self, path: Path, capacity: int = 1 << 30) -> None:
        self._database = Database(path, _MIGRATIONS, durable=False)
        self._capacity = capacity

    def get(self, key: str) -> bytes | None:
        rows = self._database.rows("SELECT value FROM layer WHERE key = ?", key)
        if not rows:
            return None
        with self._database.write() as db:
            db.execute("UPDATE layer SET used = (SELECT max(used) + 1 FROM layer) WHERE key = ?", (key,))
        try:
            return zstandard.ZstdDecompressor().decompress(cast(bytes, rows[0][0]), max_output_size=_MAX_VALUE)
        except zstandard.ZstdError:
            return None

    def put(self, key: str, value: bytes) -> None:
        with self._database.write() as db:
            db.execute("INSERT OR REPLACE INTO layer VALUES (?, (SELECT coalesce(max(used), 0) + 1 FROM layer), ?)",
                       (key, zstandard.compress(value, 3)))
            total = cast(int, db.execute("SELECT sum(length(value)) FROM layer").fetchone()[0])
            for old, size in db.execute("SELECT key, length(value) FROM layer ORDER BY used").fetchall():
                if total <= self._capacity or old == key:
                    break
                db.execute("DELETE FROM layer WHERE key = ?", (old,))
                total -= size
