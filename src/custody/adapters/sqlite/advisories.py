"""Advisories in SQLite, by ecosystem and name."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import cast

import msgspec

from custody.adapters.sqlite.database import Database
from custody.formats.kev import Exploited, ExploitedCatalogue
from custody.formats.osv import Advisory, cve_of
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.ports.advisories import AdvisoryStatus, Changes

_MIGRATIONS = (
    "CREATE TABLE advisory (id TEXT PRIMARY KEY, modified TEXT NOT NULL, withdrawn INTEGER NOT NULL, "
    "record BLOB NOT NULL) WITHOUT ROWID; "
    "CREATE TABLE affected (ecosystem TEXT, name TEXT, id TEXT REFERENCES advisory, PRIMARY KEY (ecosystem, name, id)) "
    "WITHOUT ROWID; CREATE INDEX affected_id ON affected (id); "
    "CREATE TABLE import (at TEXT NOT NULL, digest TEXT NOT NULL)",
    # Records kept before had neither upstream nor all ratings, and names that are compared otherwise now: import again.
    "DELETE FROM affected; DELETE FROM advisory; DELETE FROM import; "
    "CREATE TABLE alias (name TEXT, id TEXT REFERENCES advisory, PRIMARY KEY (name, id)) WITHOUT ROWID; "
    "CREATE INDEX alias_id ON alias (id); "
    "CREATE TABLE exploited (cve TEXT PRIMARY KEY, added TEXT NOT NULL, due TEXT NOT NULL, "
    "ransomware INTEGER NOT NULL) WITHOUT ROWID; "
    "CREATE TABLE exploited_catalogue (version TEXT NOT NULL, released TEXT NOT NULL)",
    # Of records kept before nobody knows the upstream here: import again.
    "DELETE FROM alias; DELETE FROM affected; DELETE FROM advisory; DELETE FROM import; "
    "CREATE TABLE upstream (name TEXT, id TEXT REFERENCES advisory, PRIMARY KEY (name, id)) WITHOUT ROWID; "
    "CREATE INDEX upstream_id ON upstream (id); "
    "CREATE TABLE change (ecosystem TEXT, name TEXT, number INTEGER NOT NULL, PRIMARY KEY (ecosystem, name)) "
    "WITHOUT ROWID; CREATE INDEX change_number ON change (number); "
    "CREATE TABLE epoch (id TEXT NOT NULL); INSERT INTO epoch VALUES (lower(hex(randomblob(8))))")
_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Advisory)


class SqliteAdvisories:
    """AdvisoryStore in one file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _MIGRATIONS, durable=False)

    def add(self, advisories: Iterable[Advisory], now: datetime) -> int:
        count = 0
        with self._database.write() as db:
            number = _number(db)
            for advisory in advisories:
                modified = format_rfc3339(parse_rfc3339(advisory.modified))
                row = db.execute("SELECT modified FROM advisory WHERE id = ?", (advisory.id,)).fetchone()
                if row is not None and parse_rfc3339(row[0]) >= parse_rfc3339(modified):
                    continue
                db.execute("INSERT OR REPLACE INTO change SELECT ecosystem, name, ? FROM affected WHERE id = ?",
                           (number, advisory.id))
                for table in ("affected", "alias", "upstream"):
                    db.execute(f"DELETE FROM {table} WHERE id = ?", (advisory.id,))  # noqa: S608 - constants
                db.execute("INSERT OR REPLACE INTO advisory VALUES (?, ?, ?, ?)",
                           (advisory.id, modified, advisory.withdrawn, _ENCODER.encode(advisory)))
                if not advisory.withdrawn:
                    db.executemany("INSERT OR IGNORE INTO affected VALUES (?, ?, ?)",
                                   [(package.ecosystem, package.name, advisory.id) for package in advisory.affected])
                    db.executemany("INSERT OR IGNORE INTO alias VALUES (?, ?)",
                                   [(name, advisory.id) for name in (*advisory.aliases, *advisory.cves)])
                    db.executemany("INSERT OR IGNORE INTO upstream VALUES (?, ?)",
                                   [(name, advisory.id) for upstream in advisory.upstream
                                    for name in dict.fromkeys((upstream, cve_of(upstream) or upstream))])
                    db.executemany("INSERT OR REPLACE INTO change VALUES (?, ?, ?)",
                                   [(package.ecosystem, package.name, number) for package in advisory.affected])
                count += 1
            _imported(db, now)
        return count

    def add_exploited(self, catalogue: ExploitedCatalogue, now: datetime) -> bool:
        with self._database.write() as db:
            row = db.execute("SELECT released FROM exploited_catalogue").fetchone()
            if row is not None and parse_rfc3339(row[0]) > parse_rfc3339(catalogue.released):
                return False
            db.execute("INSERT OR REPLACE INTO change SELECT '', cve, ? FROM exploited", (_number(db),))
            db.execute("DELETE FROM exploited")
            db.execute("DELETE FROM exploited_catalogue")
            db.execute("INSERT INTO exploited_catalogue VALUES (?, ?)", (catalogue.version, catalogue.released))
            db.executemany("INSERT OR REPLACE INTO exploited VALUES (?, ?, ?, ?)",
                           [(entry.cve, entry.added, entry.due, entry.ransomware) for entry in catalogue.entries])
            db.execute("INSERT OR REPLACE INTO change SELECT '', cve, ? FROM exploited", (_number(db),))
            _imported(db, now)
        return True

    def exploited(self, cves: Iterable[str]) -> Mapping[str, Exploited]:
        entries: dict[str, Exploited] = {}
        for cve in cves:
            for _, added, due, ransomware in self._database.rows("SELECT * FROM exploited WHERE cve = ?", cve):
                entries[cve] = Exploited(cve=cve, added=str(added), due=str(due), ransomware=bool(ransomware))
        return entries

    def named(self, names: Iterable[str]) -> Sequence[Advisory]:
        records: dict[str, bytes] = {}
        for name in names:
            for id_, record in self._database.rows(
                    "SELECT id, record FROM advisory WHERE NOT withdrawn AND (id = ? OR id IN "
                    "(SELECT id FROM alias WHERE name = ?))", name, name):
                records[str(id_)] = cast(bytes, record)
        return [_DECODER.decode(records[id_]) for id_ in sorted(records)]

    def speaking(self, names: Iterable[str]) -> Sequence[Advisory]:
        asked = list(names)
        records = {advisory.id: advisory for advisory in self.named(asked)}
        for name in asked:
            for (record,) in self._database.rows("SELECT record FROM upstream JOIN advisory USING (id) WHERE name = ?",
                                                 name):
                advisory = _DECODER.decode(cast(bytes, record))
                records[advisory.id] = advisory
        return [records[id_] for id_ in sorted(records)]

    def changes(self, cursor: str) -> Changes:
        ((epoch, last),) = self._database.rows("SELECT id, (SELECT coalesce(max(number), 0) FROM change) FROM epoch")
        before, _, number = cursor.partition(" ")
        now = f"{epoch} {last}"
        if before != epoch or not number.isdigit() or int(number) > cast(int, last):
            return Changes(now, (), complete=False)
        return Changes(now, tuple((str(ecosystem), str(name)) for ecosystem, name in self._database.rows(
            "SELECT ecosystem, name FROM change WHERE number > ? ORDER BY ecosystem, name", int(number))))

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
        catalogue = self._database.rows("SELECT version, (SELECT count(*) FROM exploited) FROM exploited_catalogue")
        last = self._database.rows("SELECT at, digest FROM import ORDER BY rowid DESC LIMIT 1")
        return AdvisoryStatus(
            advisories=cast(int, total), ecosystems=ecosystems, newest=parse_rfc3339(newest) if newest else None,
            imported_at=parse_rfc3339(last[0][0]) if last else None, digest=str(last[0][1]) if last else "",
            exploited=cast(int, catalogue[0][1]) if catalogue else None,
            exploited_version=str(catalogue[0][0]) if catalogue else "")


def _number(db: sqlite3.Connection) -> int:
    """Of the next change."""
    return cast(int, db.execute("SELECT coalesce(max(number), 0) + 1 FROM change").fetchone()[0])


def _imported(db: sqlite3.Connection, now: datetime) -> None:
    digest = hashlib.sha256()
    for row in db.execute("SELECT id, modified FROM advisory ORDER BY id"):
        digest.update(f"{row[0]} {row[1]}\n".encode())
    for row in db.execute("SELECT version, released FROM exploited_catalogue"):
        digest.update(f"exploited {row[0]} {row[1]}\n".encode())
    db.execute("INSERT INTO import VALUES (?, ?)", (format_rfc3339(now), "sha256:" + digest.hexdigest()))
