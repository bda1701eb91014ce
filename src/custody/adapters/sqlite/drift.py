"""What is known of running images, in SQLite; a file that its owner alone reads and writes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from custody.adapters.sqlite.database import Database
from custody.ports.drift import KeptIndex

_MIGRATIONS = (
    "CREATE TABLE layer (diff TEXT PRIMARY KEY, data BLOB NOT NULL); "
    "CREATE TABLE executables (digest TEXT PRIMARY KEY, name TEXT NOT NULL, platform TEXT NOT NULL, "
    "files INTEGER NOT NULL, at INTEGER NOT NULL, data BLOB NOT NULL); "
    "CREATE TABLE named (name TEXT NOT NULL, platform TEXT NOT NULL, digest TEXT NOT NULL REFERENCES executables "
    "ON DELETE CASCADE, PRIMARY KEY (name, platform)) WITHOUT ROWID; CREATE INDEX named_digest ON named (digest); "
    "CREATE TABLE baseline (digest TEXT PRIMARY KEY, data BLOB NOT NULL); "
    "CREATE TABLE witness (name TEXT PRIMARY KEY, at INTEGER NOT NULL, data BLOB NOT NULL)",)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INDEXES = 4 << 30
"""Bytes that indexes of images may take; those that were made first go first."""
_LAYERS = 2 << 30
"""Bytes that listings of layers may take."""


class SqliteDrift:
    """DriftStore in one file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._database = Database(path, _MIGRATIONS)

    def layer(self, diff_id: str) -> bytes | None:
        row = self._database.read("SELECT data FROM layer WHERE diff = ?", diff_id).fetchone()
        return None if row is None else cast(bytes, row[0])

    def keep_layer(self, diff_id: str, data: bytes) -> None:
        with self._database.write() as db:
            db.execute("INSERT OR REPLACE INTO layer VALUES (?, ?)", (diff_id, data))
            total = cast(int, db.execute("SELECT sum(length(data)) FROM layer").fetchone()[0])
            for old, size in db.execute("SELECT diff, length(data) FROM layer ORDER BY rowid").fetchall():
                if total <= _LAYERS or old == diff_id:
                    break
                db.execute("DELETE FROM layer WHERE diff = ?", (old,))
                total -= size

    def index(self, digest: str, platform: str) -> bytes | None:
        row = self._database.read("SELECT data FROM executables WHERE digest = ?", digest).fetchone()
        if row is None:
            row = self._database.read(
                "SELECT data FROM executables JOIN named USING (digest) WHERE named.name = ? AND named.platform = ?",
                digest, platform).fetchone()
        return None if row is None else cast(bytes, row[0])

    def keep_index(self, kept: KeptIndex, names: Collection[str], data: bytes) -> None:
        with self._database.write() as db:
            db.execute("INSERT INTO executables VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET "
                       "name = excluded.name, platform = excluded.platform, files = excluded.files, at = excluded.at, "
                       "data = excluded.data",
                       (kept.digest, kept.name, kept.platform, kept.files, _microseconds(kept.at), data))
            db.executemany("INSERT OR REPLACE INTO named VALUES (?, ?, ?)",
                           [(name, kept.platform, kept.digest) for name in dict.fromkeys(names)])
            total = cast(int, db.execute("SELECT sum(length(data)) FROM executables").fetchone()[0])
            for old, size in db.execute("SELECT digest, length(data) FROM executables ORDER BY at").fetchall():
                if total <= _INDEXES:
                    break
                if old != kept.digest:
                    db.execute("DELETE FROM executables WHERE digest = ?", (old,))
                    total -= size

    def indexes(self) -> Sequence[KeptIndex]:
        return [KeptIndex(digest, name, platform, files, size, _EPOCH + at * _MICROSECOND)
                for digest, name, platform, files, size, at in self._database.read(
                    "SELECT digest, name, platform, files, length(data), at FROM executables ORDER BY name, digest")]

    def forget(self, digest: str) -> bool:
        with self._database.write() as db:
            gone = db.execute("DELETE FROM executables WHERE digest = ?", (digest,)).rowcount
        return bool(gone)

    def baselines(self) -> Mapping[str, bytes]:
        return dict(self._database.read("SELECT digest, data FROM baseline ORDER BY digest").fetchall())

    def keep_baselines(self, baselines: Mapping[str, bytes]) -> None:
        with self._database.write() as db:
            db.executemany("INSERT OR REPLACE INTO baseline VALUES (?, ?)", list(baselines.items()))

    def forget_baseline(self, digest: str) -> bool:
        with self._database.write() as db:
            return bool(db.execute("DELETE FROM baseline WHERE digest = ?", (digest,)).rowcount)

    def witnesses(self) -> Mapping[str, bytes]:
        return dict(self._database.read("SELECT name, data FROM witness ORDER BY name").fetchall())

    def keep_witness(self, name: str, data: bytes) -> None:
        with self._database.write() as db:
            db.execute("INSERT OR REPLACE INTO witness VALUES (?, ?, ?)",
                       (name, _microseconds(datetime.now(UTC)), data))

    def forget_witnesses(self, before: datetime) -> int:
        with self._database.write() as db:
            return db.execute("DELETE FROM witness WHERE at < ?", (_microseconds(before),)).rowcount

    def close(self) -> None:
        self._database.close()


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
