"""Decisions in SQLite: bodies compressed, what many of them name kept once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import zstandard

from custody.adapters.sqlite.database import Database
from custody.errors import MalformedError
from custody.ports.decisions import DecisionSearch, KeptDecision

_MIGRATIONS = (
    "CREATE TABLE decision (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, uid TEXT NOT NULL, "
    "course TEXT NOT NULL, operation TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, "
    "username TEXT NOT NULL, verdict TEXT NOT NULL, inputs TEXT NOT NULL, policies TEXT NOT NULL, "
    "reason TEXT NOT NULL, body BLOB NOT NULL); "
    "CREATE INDEX decision_at ON decision (at); CREATE INDEX decision_uid ON decision (uid); "
    "CREATE INDEX decision_inputs ON decision (inputs); "
    "CREATE TABLE part (digest TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID; "
    "CREATE TABLE uses (digest TEXT NOT NULL, decision INTEGER NOT NULL REFERENCES decision ON DELETE CASCADE, "
    "PRIMARY KEY (digest, decision)) WITHOUT ROWID; CREATE INDEX uses_decision ON uses (decision)",)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_BODY = 256 << 20
_NAMED = 100
_PRUNED = 1000  # decisions of one transaction
_COLUMNS = "at, uid, course, operation, kind, namespace, name, username, verdict, inputs, policies, reason, body"
_READ = f"SELECT (SELECT group_concat(digest) FROM uses WHERE decision = id), {_COLUMNS} FROM decision"  # noqa: S608
_INSERT = f"INSERT INTO decision (id, {_COLUMNS}) VALUES ({', '.join('?' * (1 + len(_COLUMNS.split(','))))})"  # noqa: S608 - constants
_SEARCHED = {"verdict": "verdict", "kind": "kind", "namespace": "namespace", "name": "name", "username": "username",
             "course": "course"}


class SqliteDecisions:
    """DecisionStore in one file, which is its owner's alone: requests are as private as what was asked for."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._database = Database(path, _MIGRATIONS, durable=False)
        self._compressor = zstandard.ZstdCompressor(level=1)  # for one thread at a time: within a transaction

    def keep(self, decisions: Sequence[KeptDecision], parts: Mapping[str, bytes]) -> None:
        with self._database.write() as db:
            for digest, data in parts.items():
                if db.execute("SELECT 1 FROM part WHERE digest = ?", (digest,)).fetchone() is None:
                    db.execute("INSERT INTO part VALUES (?, ?)", (digest, self._compressor.compress(data)))
            last = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'decision'").fetchone()
            first = last[0] + 1 if last is not None else 1
            compress = self._compressor.compress
            db.executemany(_INSERT, [
                (number, _microseconds(kept.at), kept.uid, kept.course, kept.operation, kept.kind, kept.namespace,
                 kept.name, kept.username, kept.verdict, kept.inputs_digest, kept.policies_digest, kept.reason,
                 compress(kept.body)) for number, kept in enumerate(decisions, first)])
            db.executemany("INSERT INTO uses VALUES (?, ?)", sorted(
                (digest, number) for number, kept in enumerate(decisions, first) for digest in {*kept.parts}))

    def named(self, name: str) -> Sequence[KeptDecision]:
        query = f"{_READ} WHERE uid = ? OR (inputs >= ? AND inputs < ?) ORDER BY id DESC LIMIT {_NAMED}"
        decompressor = zstandard.ZstdDecompressor()
        rows = self._database.read(query, name, name, name + "\U0010ffff").fetchall()
        return [self._kept(row, decompressor) for row in rows]

    def search(self, search: DecisionSearch, *, newest_first: bool = True, limit: int | None = None
               ) -> Iterator[KeptDecision]:
        tests, values = ["1"], list[object]()
        for moment, test in ((search.since, "at >= ?"), (search.until, "at < ?")):
            if moment is not None:
                tests.append(test)
                values.append(_microseconds(moment))
        for field, column in _SEARCHED.items():
            if value := getattr(search, field):
                tests.append(f"{column} = ?")
                values.append(value)
        order = "DESC" if newest_first else "ASC"
        query = f"{_READ} WHERE {' AND '.join(tests)} ORDER BY id {order} LIMIT ?"
        decompressor = zstandard.ZstdDecompressor()  # for one thread at a time
        for row in self._database.read(query, *values, -1 if limit is None else limit):
            yield self._kept(row, decompressor)

    def part(self, digest: str) -> bytes | None:
        row = self._database.read("SELECT data FROM part WHERE digest = ?", digest).fetchone()
        return None if row is None else self._decompressed(row[0], digest, zstandard.ZstdDecompressor())

    def prune(self, before: datetime, most: int) -> int:
        gone = 0
        while True:
            with self._database.write() as db:
                old = [row[0] for row in db.execute("SELECT id FROM decision WHERE at < ? ORDER BY id LIMIT ?",
                                                    (_microseconds(before), _PRUNED))]
                if not old and self._size(db) > most:
                    old = [row[0] for row in db.execute("SELECT id FROM decision ORDER BY id LIMIT ?", (_PRUNED,))]
                if not old:
                    return gone
                db.executemany("DELETE FROM decision WHERE id = ?", [(number,) for number in old])
                db.execute("DELETE FROM part WHERE digest NOT IN (SELECT digest FROM uses)")
                gone += len(old)

    def close(self) -> None:
        self._database.close()

    @staticmethod
    def _size(db: Any) -> int:
        """Bytes of the pages that are in use: those of what went are used again, and the file stays as large."""
        pages, free, size = (db.execute(f"PRAGMA {name}").fetchone()[0]
                             for name in ("page_count", "freelist_count", "page_size"))
        return cast(int, (pages - free) * size)

    def _kept(self, row: Sequence[Any], decompressor: zstandard.ZstdDecompressor) -> KeptDecision:
        (parts, at, uid, course, operation, kind, namespace, name, username, verdict, inputs, policies, reason,
         body) = row
        return KeptDecision(at=_EPOCH + at * _MICROSECOND, uid=uid, course=course, operation=operation, kind=kind,
                            namespace=namespace, name=name, username=username, verdict=verdict, inputs_digest=inputs,
                            policies_digest=policies, reason=reason, body=self._decompressed(body, uid, decompressor),
                            parts=tuple(parts.split(",")) if parts else ())

    @staticmethod
    def _decompressed(data: bytes, where: str, decompressor: zstandard.ZstdDecompressor) -> bytes:
        try:
            return decompressor.decompress(data, max_output_size=_MAX_BODY)
        except zstandard.ZstdError as error:
            raise MalformedError(f"kept decision {where}", got=str(error), expected="zstd") from None


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
