"""Decisions in SQLite: bodies compressed many at a time, what many of them name kept once.

Decisions of a moment are much alike: together they take a tenth of the room and a fifth of the work. What is written
at once goes to SQLite in few statements, since each of them gives the interpreter to the event loop and waits for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    "PRIMARY KEY (digest, decision)) WITHOUT ROWID; CREATE INDEX uses_decision ON uses (decision)",
    # A batch is called by the number of its first decision. Rows of before have a compressed body of their own.
    "CREATE TABLE batch (id INTEGER PRIMARY KEY, data BLOB NOT NULL); ALTER TABLE decision ADD COLUMN batch INTEGER; "
    "ALTER TABLE decision ADD COLUMN start INTEGER; ALTER TABLE decision ADD COLUMN size INTEGER")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_BODY = 256 << 20
_BATCH = 256 * 1024  # bytes of bodies that are compressed together: a single one is read in some 0.2 ms
_NAMED = 100
_PRUNED = 1000  # decisions of one transaction
_LAST = (1 << 63) - 1  # the largest number of a row
_COLUMNS = ("id, at, uid, course, operation, kind, namespace, name, username, verdict, inputs, policies, reason, body, "
            "batch, start, size")
_READ = f"SELECT (SELECT group_concat(digest) FROM uses WHERE decision = id), {_COLUMNS} FROM decision"  # noqa: S608
_ROWS = (64, 8, 1)  # of one statement; few lengths, since SQLite keeps each statement compiled
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
            numbered = list(enumerate(decisions, last[0] + 1 if last is not None else 1))
            rows: list[tuple[object, ...]] = []
            for batch in _batches(numbered):
                start = 0
                for number, kept in batch:
                    rows.append((number, _microseconds(kept.at), kept.uid, kept.course, kept.operation, kept.kind,
                                 kept.namespace, kept.name, kept.username, kept.verdict, kept.inputs_digest,
                                 kept.policies_digest, kept.reason, b"", batch[0][0], start, len(kept.body)))
                    start += len(kept.body)
                data = self._compressor.compress(b"".join(kept.body for _, kept in batch))
                db.execute("INSERT INTO batch VALUES (?, ?)", (batch[0][0], data))
            _insert(db, f"decision ({_COLUMNS})", rows)
            _insert(db, "uses", sorted((digest, number) for number, kept in numbered for digest in {*kept.parts}))

    def named(self, name: str) -> Sequence[KeptDecision]:
        query = f"{_READ} WHERE uid = ? OR (inputs >= ? AND inputs < ?) ORDER BY id DESC LIMIT {_NAMED}"
        return [*self._whole(self._database.read(query, name, name, name + "\U0010ffff").fetchall())]

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
        yield from self._whole(self._database.read(query, *values, -1 if limit is None else limit))

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
                db.execute("DELETE FROM batch WHERE id < coalesce((SELECT coalesce(batch, 0) FROM decision ORDER BY id "
                           "LIMIT 1), ?)", (_LAST,))
                gone += len(old)

    def close(self) -> None:
        self._database.close()

    @staticmethod
    def _size(db: Any) -> int:
        """Bytes of the pages that are in use: those of what went are used again, and the file stays as large."""
        pages, free, size = (db.execute(f"PRAGMA {name}").fetchone()[0]
                             for name in ("page_count", "freelist_count", "page_size"))
        return cast(int, (pages - free) * size)

    def _whole(self, rows: Iterable[Sequence[Any]]) -> Iterator[KeptDecision]:
        """With their bodies. Those that were let go of meanwhile are left out."""
        decompressor = zstandard.ZstdDecompressor()  # for one thread at a time
        read, bodies = 0, b""  # the last batch: neighbours are in one
        for (parts, _, at, uid, course, operation, kind, namespace, name, username, verdict, inputs, policies, reason,
             body, batch, start, size) in rows:
            if batch is None:
                body = self._decompressed(body, uid, decompressor)
            else:
                if batch != read:
                    row = self._database.read("SELECT data FROM batch WHERE id = ?", batch).fetchone()
                    if row is None:
                        continue
                    read, bodies = batch, self._decompressed(row[0], uid, decompressor)
                body = bodies[start:start + size]
            yield KeptDecision(at=_EPOCH + at * _MICROSECOND, uid=uid, course=course, operation=operation, kind=kind,
                               namespace=namespace, name=name, username=username, verdict=verdict, inputs_digest=inputs,
                               policies_digest=policies, reason=reason, body=body,
                               parts=tuple(parts.split(",")) if parts else ())

    @staticmethod
    def _decompressed(data: bytes, where: str, decompressor: zstandard.ZstdDecompressor) -> bytes:
        try:
            return decompressor.decompress(data, max_output_size=_MAX_BODY)
        except zstandard.ZstdError as error:
            raise MalformedError(f"kept decision {where}", got=str(error), expected="zstd") from None


def _batches(numbered: Sequence[tuple[int, KeptDecision]]) -> Iterator[Sequence[tuple[int, KeptDecision]]]:
    """Neighbours whose bodies are compressed together."""
    first = size = 0
    for at, (_, kept) in enumerate(numbered):
        if at > first and size + len(kept.body) > _BATCH:
            yield numbered[first:at]
            first, size = at, 0
        size += len(kept.body)
    if numbered:
        yield numbered[first:]


def _insert(db: sqlite3.Connection, into: str, rows: Sequence[tuple[object, ...]]) -> None:
    at = 0
    for count in _ROWS:
        while len(rows) - at >= count:
            values = f"({', '.join('?' * len(rows[at]))})"
            db.execute(f"INSERT INTO {into} VALUES {', '.join([values] * count)}",  # noqa: S608 - constants
                       [value for row in rows[at:at + count] for value in row])
            at += count


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
