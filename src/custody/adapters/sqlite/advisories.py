"""Advisories in SQLite, by ecosystem and name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import cast

import msgspec

from custody.adapters.sqlite.database import Database
from custody.formats.osv import Advisory
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.ports.advisories import AdvisoryStatus

_MIGRATIONS = (
    "CREATE TABLE advisory (id TEXT PRIMARY KEY, modified TEXT NOT NULL, withdrawn INTEGER NOT NULL, "
    "record BLOB NOT NULL) WITHOUT ROWID; "
    "CREATE TABLE affected (ecosystem TEXT, name TEXT, id TEXT REFERENCES advisory, PRIMARY KEY (ecosystem, name, id)) "
    "WITHOUT ROWID; CREATE INDEX affected_id ON affected (id); "
    "CREATE TABLE import (at TEXT NOT NULL, digest TEXT NOT NULL)",)
_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Advisory)


class SqliteAdvisories:
    """AdvisoryStore in one file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _MIGRATIONS, durable=False)

    def add(self, advisories: Iterable[Advisory], now: datetime) -> int:
        count = 0
        with self._database.write() as db:
            for entry in advisories:
                modified = format_rfc3339(parse_rfc3339(entry.modified))
                row = db.execute("SELECT modified FROM advisory WHERE id = ?", (entry.id,)).fetchone()
                if row is not None and parse_rfc3339(row[0]) >= parse_rfc3339(modified):
                    continue
                db.execute("DELETE FROM affected WHERE id = ?", (entry.id,))
                db.execute("INSERT OR REPLACE INTO advisory VALUES (?, ?, ?, ?)",
                           (entry.id, modified, entry.withdrawn, _ENCODER.encode(entry)))
                if not entry.withdrawn:
                    db.executemany("INSERT OR IGNORE INTO affected VALUES (?, ?, ?)",
                                   [(package.ecosystem, package.name, entry.id) for package in entry.affected])
                count += 1
            digest = hashlib.sha256()
            for row in db.execute("SELECT id, modified FROM advisory ORDER BY id"):
                digest.update(f"{row[0]} {row[1]}\n".encode())
            db.execute("INSERT INTO import VALUES (?, ?)", (format_rfc3339(now), "sha256:" + digest.hexdigest()))
        return count

    def find(self, ecosystem: str, name: str) -> Sequence[Advisory]:
        rows = self._database.rows("SELECT record FROM affected JOIN advisory USING (id) "
                                   "WHERE ecosystem = ? AND name = ? ORDER BY id", ecosystem, name)
        return [_DECODER.decode(cast(bytes, row[0])) for row in rows]

    def count(self, ecosystem: str) -> int:
        ((count,),) = self._database.rows("SELECT count(DISTINCT id) FROM affected WHERE ecosystem = ?", ecosystem)
        return cast(int, count)

    def status(self) -> AdvisoryStatus:
        ecosystems: dict[str, int] = {}
        for name, count in self._database.rows("SELECT CASE instr(ecosystem, ':') WHEN 0 THEN ecosystem ELSE "
                                               "substr(ecosystem, 1, instr(ecosystem, ':') - 1) END AS base, "
                                               "count(DISTINCT id) FROM affected GROUP BY base ORDER BY base"):
            ecosystems[str(name)] = cast(int, count)
        ((total, newest),) = self._database.rows("SELECT count(*), max(modified) FROM advisory WHERE NOT withdrawn")
        last = self._database.rows("SELECT at, digest FROM import ORDER BY rowid DESC LIMIT 1")
        return AdvisoryStatus(
            advisories=cast(int, total), ecosystems=ecosystems, newest=parse_rfc3339(newest) if newest else None,
            imported_at=parse_rfc3339(last[0][0]) if last else None, digest=str(last[0][1]) if last else "")
