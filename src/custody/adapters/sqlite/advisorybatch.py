"""What one transaction writes to the advisories in SQLite, and sums up at its end."""

from __future__ import annotations

import hashlib
import sqlite3
from datetime import datetime
from typing import cast

import msgspec

from custody.formats.osv import Advisory, Affected, cve_of
from custody.kit.clock import format_rfc3339
from custody.vulns import reach, severity

_ENCODER, _ENTRY = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Affected)
_HEAD = msgspec.msgpack.Decoder(Advisory)
_AT_ONCE = 10_000
RULES = f"{reach.RULES} {severity.RULES}"
"""Those by which bounds and marks in a store were made."""


class Batch:
    """What one transaction writes."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.now: datetime | None = None
        """When something was last read; None where only something was removed."""
        self.number = cast(int, db.execute("SELECT coalesce(max(number), 0) + 1 FROM change").fetchone()[0])
        """Of the next change."""
        self.sources: dict[str, tuple[datetime, str] | None] = {}
        """When each was read, and from where; None where it only lost something."""
        self._ecosystems: dict[str, int] = dict(db.execute(
            "SELECT name, number FROM ecosystem").fetchall())
        self._touched: set[str] = set()
        self._mark()

    def _mark(self) -> None:
        """Bounds of all entries, and who rates something, anew, where that was found by other rules."""
        db = self.db
        if db.execute("SELECT rules FROM bounds").fetchone() == (RULES,):
            return
        last: tuple[object, ...] = (-1, "", -1, -1)
        while rows := db.execute("SELECT ecosystem, name, advisory, place, entry FROM affected WHERE "
                                 "(ecosystem, name, advisory, place) > (?, ?, ?, ?) ORDER BY 1, 2, 3, 4 LIMIT ?",
                                 (*last, _AT_ONCE)).fetchall():
            db.executemany("UPDATE affected SET low = ?, high = ?, exact = ? WHERE ecosystem = ? AND name = ? AND "
                           "advisory = ? AND place = ?",
                           [(*reach.reach(_ENTRY.decode(row[4])), *row[:4]) for row in rows])
            last = rows[-1][:4]
        db.execute("DELETE FROM rater")
        after = -1
        while rows := db.execute("SELECT number, record FROM advisory WHERE NOT withdrawn AND number > ? "
                                 "ORDER BY number LIMIT ?", (after, _AT_ONCE)).fetchall():
            for number, record in rows:
                self._rates(_HEAD.decode(record), number)
            after = rows[-1][0]
        db.execute("UPDATE bounds SET rules = ?", (RULES,))

    def put(self, advisory: Advisory, modified: str) -> None:
        """`modified` is what is compared; of a record that states none, when it was first seen."""
        db = self.db
        digest = digest_of(advisory)
        head = msgspec.structs.replace(advisory, affected=(), modified=advisory.modified or modified)
        number = db.execute("INSERT INTO advisory (source, part, id, modified, withdrawn, digest, record) "
                            "VALUES (?, ?, ?, ?, ?, ?, ?)", (
                                advisory.source, advisory.part, advisory.id, modified, advisory.withdrawn,
                                digest, _ENCODER.encode(head))).lastrowid
        if advisory.withdrawn:
            return
        db.executemany("INSERT INTO affected (ecosystem, name, advisory, place, low, high, exact, entry) VALUES "
                       "(?, ?, ?, ?, ?, ?, ?, ?)", [
            (self._ecosystem(entry.ecosystem), entry.name, number, place, *reach.reach(entry), _ENCODER.encode(entry))
            for place, entry in enumerate(advisory.affected)])
        db.executemany("INSERT OR IGNORE INTO alias VALUES (?, ?)",
                       [(name, number) for name in (*advisory.aliases, *advisory.cves, *advisory.hashes)])
        self._rates(advisory, cast(int, number))
        db.executemany("INSERT OR IGNORE INTO upstream VALUES (?, ?)",
                       [(name, number) for upstream in advisory.upstream
                        for name in dict.fromkeys((upstream, cve_of(upstream) or upstream))])
        db.executemany("INSERT OR REPLACE INTO change VALUES (?, ?, ?)",
                       [(package.ecosystem, package.name, self.number) for package in advisory.affected])

    def _rates(self, advisory: Advisory, number: int) -> None:
        if severity.rates(advisory):
            self.db.executemany("INSERT OR IGNORE INTO rater VALUES (?, ?)", [(name, number) for name in (
                advisory.id, *advisory.aliases, *advisory.cves, *advisory.hashes)])

    def drop(self, number: int) -> None:
        db = self.db
        for (ecosystem,) in db.execute("INSERT OR REPLACE INTO change SELECT ecosystem.name, affected.name, ? "
                                       "FROM affected JOIN ecosystem ON ecosystem.number = affected.ecosystem "
                                       "WHERE advisory = ? RETURNING ecosystem", (self.number, number)).fetchall():
            self._touched.add(ecosystem)
        for table in ("affected", "alias", "upstream", "rater"):
            db.execute(f"DELETE FROM {table} WHERE advisory = ?", (number,))  # noqa: S608 - constants
        db.execute("DELETE FROM advisory WHERE number = ?", (number,))

    def done(self) -> None:
        db = self.db
        for source, reading in self.sources.items():
            ((records, newest, remains),) = db.execute(
                "SELECT count(*) FILTER (WHERE NOT withdrawn), max(modified) FILTER (WHERE NOT withdrawn), count(*) "
                "FROM advisory WHERE source = ?", (source,))
            if reading is not None:
                db.execute("INSERT OR REPLACE INTO source VALUES (?, ?, ?, ?, ?)",
                           (source, format_rfc3339(reading[0]), reading[1], records, newest))
            else:
                db.execute("UPDATE source SET records = ?, newest = ? WHERE name = ?", (records, newest, source))
                if not remains:
                    db.execute("DELETE FROM source WHERE name = ?", (source,))
        bases = {name.partition(":")[0] for name in self._touched}
        for name in self._touched:
            self._count(name, "name = ?1", name)
        for base in bases:
            self._count("=" + base, "name = ?1 OR name GLOB ?1 || ':*'", base)
        digest = hashlib.sha256()
        for row in db.execute("SELECT source, part, id, modified FROM advisory ORDER BY source, part, id"):
            digest.update(f"{row[0]} {row[1]} {row[2]} {row[3]}\n".encode())
        for row in db.execute("SELECT version, released FROM exploited_catalogue"):
            digest.update(f"exploited {row[0]} {row[1]}\n".encode())
        for row in db.execute("SELECT version, day FROM scores"):
            digest.update(f"scores {row[0]} {row[1]}\n".encode())
        before = db.execute("SELECT at FROM import ORDER BY rowid DESC LIMIT 1").fetchone()
        at = format_rfc3339(self.now) if self.now else before[0] if before else ""
        if at:
            db.execute("DELETE FROM import")
            db.execute("INSERT INTO import VALUES (?, ?)", (at, "sha256:" + digest.hexdigest()))

    def _count(self, key: str, condition: str, name: str) -> None:
        ((count,),) = self.db.execute(
            f"SELECT count(DISTINCT advisory) FROM affected WHERE ecosystem IN "  # noqa: S608 - constants
            f"(SELECT number FROM ecosystem WHERE {condition})", (name,))
        if count:
            self.db.execute("INSERT OR REPLACE INTO counted VALUES (?, ?)", (key, count))
        else:
            self.db.execute("DELETE FROM counted WHERE ecosystem = ?", (key,))

    def _ecosystem(self, name: str) -> int:
        self._touched.add(name)
        if name not in self._ecosystems:
            self._ecosystems[name] = cast(int, self.db.execute("INSERT INTO ecosystem (name) VALUES (?)",
                                                                (name,)).lastrowid)
        return self._ecosystems[name]


def digest_of(advisory: Advisory) -> bytes:
    """Of all that it says but when it was modified."""
    return hashlib.sha256(_ENCODER.encode(msgspec.structs.replace(advisory, modified=""))).digest()[:16]
