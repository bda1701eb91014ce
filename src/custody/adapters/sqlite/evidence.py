"""Verified evidence in SQLite, compressed; a file that its owner alone reads and writes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import zstandard

from custody.adapters.sqlite.database import Database
from custody.ports.evidence import KeptEvidence

_MIGRATIONS = ("CREATE TABLE evidence (key TEXT PRIMARY KEY, gathered INTEGER NOT NULL, data BLOB NOT NULL); "
               "CREATE INDEX evidence_gathered ON evidence (gathered)",)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_DATA = 256 << 20


class SqliteEvidence:
    """EvidenceStore in one file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._database = Database(path, _MIGRATIONS, durable=False)

    def get(self, key: str) -> KeptEvidence | None:
        row = self._database.read("SELECT gathered, data FROM evidence WHERE key = ?", key).fetchone()
        if row is None:
            return None
        try:
            data = zstandard.ZstdDecompressor().decompress(cast(bytes, row[1]), max_output_size=_MAX_DATA)
        except zstandard.ZstdError:  # a damaged file keeps nothing
            return None
        return KeptEvidence(_EPOCH + cast(int, row[0]) * _MICROSECOND, data)

    def put(self, key: str, kept: KeptEvidence) -> None:
        compressed = zstandard.compress(kept.data, 3)
        with self._database.write() as db:
            db.execute("INSERT OR REPLACE INTO evidence VALUES (?, ?, ?)",
                       (key, _microseconds(kept.gathered), compressed))

    def prune(self, before: datetime, most: int) -> int:
        with self._database.write() as db:
            gone = db.execute("DELETE FROM evidence WHERE gathered < ?", (_microseconds(before),)).rowcount
            total = cast(int, db.execute("SELECT coalesce(sum(length(data)), 0) FROM evidence").fetchone()[0])
            for key, size in db.execute("SELECT key, length(data) FROM evidence ORDER BY gathered").fetchall():
                if total <= most:
                    break
                db.execute("DELETE FROM evidence WHERE key = ?", (key,))
                total -= size
                gone += 1
        return gone

    def close(self) -> None:
        self._database.close()


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
