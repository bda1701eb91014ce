"""Advisories in SQLite, by ecosystem and name.

What one record says of one package is a row of its own beside the others of that name, so that a scan reads and
decodes what it asks for and no more: a bundle of a kernel's has hundreds of entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import cast

import msgspec

from custody.adapters.sqlite.advisorybatch import RULES, Batch, digest_of
from custody.adapters.sqlite.database import Database
from custody.formats.epss import Epss, EpssScores
from custody.formats.kev import Exploited, ExploitedCatalogue
from custody.formats.osv import Advisory, Affected
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.ports.advisories import ANY, AdvisoryStatus, Changes, Entry, Feed, Reach, SourceStatus
from custody.vulns.severity import rates

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
    "CREATE TABLE epoch (id TEXT NOT NULL); INSERT INTO epoch VALUES (lower(hex(randomblob(8))))",
    # Of records kept before nobody knows the publisher, nor what it says beyond versions: import again.
    "DROP TABLE alias; DROP TABLE upstream; DROP TABLE affected; DROP TABLE advisory; DELETE FROM import; "
    "DELETE FROM change; UPDATE epoch SET id = lower(hex(randomblob(8))); "
    "CREATE TABLE advisory (number INTEGER PRIMARY KEY, source TEXT NOT NULL, part TEXT NOT NULL, id TEXT NOT NULL, "
    "modified TEXT NOT NULL, withdrawn INTEGER NOT NULL, digest BLOB NOT NULL, record BLOB NOT NULL, "
    "UNIQUE (source, part, id)); CREATE INDEX advisory_id ON advisory (id); "
    "CREATE TABLE ecosystem (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE); "
    "CREATE TABLE affected (ecosystem INTEGER, name TEXT, advisory INTEGER, place INTEGER, entry BLOB NOT NULL, "
    "PRIMARY KEY (ecosystem, name, advisory, place)) WITHOUT ROWID; "
    "CREATE INDEX affected_advisory ON affected (advisory, place); "
    "CREATE TABLE alias (name TEXT, advisory INTEGER, PRIMARY KEY (name, advisory)) WITHOUT ROWID; "
    "CREATE INDEX alias_advisory ON alias (advisory); "
    "CREATE TABLE upstream (name TEXT, advisory INTEGER, PRIMARY KEY (name, advisory)) WITHOUT ROWID; "
    "CREATE INDEX upstream_advisory ON upstream (advisory); "
    "CREATE TABLE source (name TEXT PRIMARY KEY, at TEXT NOT NULL, origin TEXT NOT NULL, records INTEGER NOT NULL, "
    "newest TEXT) WITHOUT ROWID; "
    "CREATE TABLE counted (ecosystem TEXT PRIMARY KEY, advisories INTEGER NOT NULL) WITHOUT ROWID; "
    "CREATE TABLE score (cve TEXT PRIMARY KEY, score REAL NOT NULL, percentile REAL NOT NULL) WITHOUT ROWID; "
    "CREATE TABLE scores (version TEXT NOT NULL, day TEXT NOT NULL); "
    "CREATE TABLE feed (address TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID",
    # Bounds of entries that are there already come with the next import (`advisorybatch`); until then there are none.
    "CREATE TABLE bounded (ecosystem INTEGER, name TEXT, advisory INTEGER, place INTEGER, low BLOB, high BLOB, "
    "entry BLOB NOT NULL, PRIMARY KEY (ecosystem, name, advisory, place)) WITHOUT ROWID; "
    "INSERT INTO bounded SELECT ecosystem, name, advisory, place, NULL, NULL, entry FROM affected; "
    "DROP TABLE affected; ALTER TABLE bounded RENAME TO affected; "
    "CREATE INDEX affected_advisory ON affected (advisory, place); "
    "CREATE TABLE bounds (rules TEXT NOT NULL); INSERT INTO bounds VALUES ('')",
    # So do the names of records that rate something.
    "CREATE TABLE rater (name TEXT, advisory INTEGER, PRIMARY KEY (name, advisory)) WITHOUT ROWID; "
    "CREATE INDEX rater_advisory ON rater (advisory); "
    "ALTER TABLE affected ADD COLUMN exact INTEGER NOT NULL DEFAULT 0; UPDATE bounds SET rules = ''")
_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Advisory)
_ENTRY, _FEED = msgspec.msgpack.Decoder(Affected), msgspec.msgpack.Decoder(Feed)


_NAMED = ("SELECT number FROM advisory WHERE id IN ({})", "SELECT advisory FROM alias WHERE name IN ({})")
_AT_ONCE, _PAIRS = 500, 250
"""Values in one question; SQLite takes 999 in all its versions."""


class SqliteAdvisories:
    """AdvisoryStore in one file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _MIGRATIONS, durable=False)
        self._ecosystems: dict[str, int] = {}
        self._batch: Batch | None = None
        """Of the transaction that is under way: only whoever has the database's lock has one."""

    @contextmanager
    def together(self) -> Iterator[None]:
        with self._writing():
            yield

    @contextmanager
    def _writing(self) -> Iterator[Batch]:
        """The batch of the transaction that is under way, or a new one, which is summed up at its end."""
        with self._database.write() as db:
            if self._batch is not None:
                yield self._batch
                return
            self._batch = Batch(db)
            try:
                yield self._batch
                self._batch.done()
            finally:
                self._batch = None

    def add(self, advisories: Iterable[Advisory], now: datetime, origin: str = "") -> int:
        count = 0
        with self._writing() as batch:
            db = batch.db
            for advisory in advisories:
                batch.sources[advisory.source] = now, origin
                modified = format_rfc3339(parse_rfc3339(advisory.modified))
                row = db.execute("SELECT number, modified FROM advisory WHERE source = ? AND part = ? AND id = ?",
                                 (advisory.source, advisory.part, advisory.id)).fetchone()
                if row is not None:
                    if parse_rfc3339(row[1]) >= parse_rfc3339(modified):
                        continue
                    batch.drop(row[0])
                batch.put(advisory, modified)
                count += 1
            batch.now = now
        return count

    def replace(self, source: str, part: str, advisories: Iterable[Advisory], now: datetime, origin: str = "") -> int:
        count = 0
        with self._writing() as batch:
            batch.sources[source], batch.now = (now, origin), now
            db = batch.db
            left = {id_: (number, digest, modified) for number, id_, digest, modified in db.execute(
                "SELECT number, id, digest, modified FROM advisory WHERE source = ? AND part = ?", (source, part))}
            taken: set[str] = set()
            for advisory in advisories:
                if advisory.id in taken:
                    continue
                taken.add(advisory.id)
                known = left.pop(advisory.id, None)
                advisory = msgspec.structs.replace(advisory, source=source, part=part)
                stated = format_rfc3339(parse_rfc3339(advisory.modified)) if advisory.modified else ""
                if known is not None:
                    if known[1] == digest_of(advisory) and stated in ("", known[2]):
                        continue
                    batch.drop(known[0])
                batch.put(advisory, stated or format_rfc3339(now))
                count += 1
            for number, _, _ in left.values():
                batch.drop(number)
                count += 1
        return count

    def remove(self, name: str) -> int:
        with self._writing() as batch:
            db = batch.db
            rows = db.execute("SELECT number, source FROM advisory WHERE source = ? OR id = ?", (name, name)).fetchall()
            for number, source in rows:
                batch.sources.setdefault(source, None)
                batch.drop(number)
            count = len(rows)
            if name == "kev":
                db.execute("INSERT OR REPLACE INTO change SELECT '', cve, ? FROM exploited", (batch.number,))
                count += db.execute("DELETE FROM exploited").rowcount
                db.execute("DELETE FROM exploited_catalogue")
            if name == "epss":
                count += db.execute("DELETE FROM score").rowcount
                db.execute("DELETE FROM scores")
        return count

    def records(self, source: str = "") -> Iterator[Advisory]:
        last = ("", "", "")
        while rows := self._database.rows(
                "SELECT number, record, source, part, id FROM advisory WHERE (source, part, id) > (?, ?, ?) AND "
                "(? = '' OR source = ?) ORDER BY source, part, id LIMIT 1000", *last, source, source):
            for row in rows:
                yield self._whole(cast(int, row[0]), cast(bytes, row[1]))
            last = (str(rows[-1][2]), str(rows[-1][3]), str(rows[-1][4]))

    def add_exploited(self, catalogue: ExploitedCatalogue, now: datetime) -> bool:
        with self._writing() as batch:
            db = batch.db
            row = db.execute("SELECT released FROM exploited_catalogue").fetchone()
            if row is not None and parse_rfc3339(row[0]) > parse_rfc3339(catalogue.released):
                return False
            batch.now = now
            db.execute("INSERT OR REPLACE INTO change SELECT '', cve, ? FROM exploited", (batch.number,))
            db.execute("DELETE FROM exploited")
            db.execute("DELETE FROM exploited_catalogue")
            db.execute("INSERT INTO exploited_catalogue VALUES (?, ?)", (catalogue.version, catalogue.released))
            db.executemany("INSERT OR REPLACE INTO exploited VALUES (?, ?, ?, ?)",
                           [(entry.cve, entry.added, entry.due, entry.ransomware) for entry in catalogue.entries])
            db.execute("INSERT OR REPLACE INTO change SELECT '', cve, ? FROM exploited", (batch.number,))
        return True

    def add_scores(self, scores: EpssScores, now: datetime) -> bool:
        with self._writing() as batch:
            db = batch.db
            row = db.execute("SELECT day FROM scores").fetchone()
            if row is not None and parse_rfc3339(row[0]) > parse_rfc3339(scores.day):
                return False
            db.execute("DELETE FROM score")
            db.execute("DELETE FROM scores")
            db.execute("INSERT INTO scores VALUES (?, ?)", (scores.version, scores.day))
            db.executemany("INSERT OR REPLACE INTO score VALUES (?, ?, ?)",
                           ((entry.cve, entry.score, entry.percentile) for entry in scores.entries))
            batch.now = now
        return True

    def exploited(self, cves: Iterable[str]) -> Mapping[str, Exploited]:
        return {str(cve): Exploited(cve=str(cve), added=str(added), due=str(due), ransomware=bool(ransomware))
                for cve, added, due, ransomware in self._among("SELECT * FROM exploited WHERE cve IN ({})", cves)}

    def scores(self, cves: Iterable[str]) -> Mapping[str, Epss]:
        return {str(cve): Epss(cve=str(cve), score=cast(float, score), percentile=cast(float, percentile))
                for cve, score, percentile in self._among(
                    "SELECT cve, score, percentile FROM score WHERE cve IN ({})", cves)}

    def named(self, names: Iterable[str]) -> Sequence[Advisory]:
        return self._valid(_NAMED, names)

    def raters(self, names: Iterable[str]) -> Sequence[Advisory]:
        if self._database.rows("SELECT rules FROM bounds") != [(RULES,)]:
            return [record for record in self._valid(_NAMED, names, whole=False) if rates(record)]
        records = {cast(int, number): cast(bytes, record) for number, record in self._among(
            "SELECT number, record FROM rater JOIN advisory ON number = advisory WHERE name IN ({})", names)}
        return sorted(map(_DECODER.decode, records.values()), key=_place)

    def speaking(self, names: Iterable[str]) -> Sequence[Advisory]:
        return self._valid((*_NAMED, "SELECT advisory FROM upstream WHERE name IN ({})"), names)

    def changes(self, cursor: str) -> Changes:
        ((epoch, last),) = self._database.rows("SELECT id, (SELECT coalesce(max(number), 0) FROM change) FROM epoch")
        before, _, number = cursor.partition(" ")
        now = f"{epoch} {last}"
        if before != epoch or not number.isdigit() or int(number) > cast(int, last):
            return Changes(now, (), complete=False)
        return Changes(now, tuple((str(ecosystem), str(name)) for ecosystem, name in self._database.rows(
            "SELECT ecosystem, name FROM change WHERE number > ? ORDER BY ecosystem, name", int(number))))

    def find(self, ecosystem: str, name: str) -> Sequence[Advisory]:
        return self.find_all(ecosystem, (name,)).get(name, [])

    def find_all(self, ecosystem: str, names: Iterable[str]) -> Mapping[str, Sequence[Advisory]]:
        number = self._ecosystem(ecosystem)
        if number is None:
            return {}
        entries: dict[str, dict[int, list[Affected]]] = {}
        heads: dict[int, Advisory] = {}
        for name, place, record, entry in self._among(
                "SELECT name, advisory, record, entry FROM affected JOIN advisory ON number = advisory "
                "WHERE ecosystem = ? AND name IN ({})", names, number):
            key = cast(int, place)
            if key not in heads:
                heads[key] = _DECODER.decode(cast(bytes, record))
            entries.setdefault(str(name), {}).setdefault(key, []).append(_ENTRY.decode(cast(bytes, entry)))
        return {name: sorted((_with(heads[key], rows) for key, rows in records.items()), key=_place)
                for name, records in entries.items()}

    def ahead(self, ecosystem: str, versions: Iterable[tuple[str, bytes | None]]) -> Mapping[str, Sequence[Entry]]:
        first: dict[str, bytes | None] = {}
        for asked, key in versions:
            before = first.setdefault(asked, key)
            first[asked] = None if key is None or before is None else min(key, before)
        heads: dict[int, Advisory] = {}
        told: dict[str, list[Entry]] = {}
        for name, place, record, entry, bounded, low, high, exact in self._asked(
                ecosystem, "SELECT asked.name, number, record, entry, (SELECT rules FROM place) = (SELECT rules FROM "
                "bounds) AS bounded, low, high, exact FROM asked CROSS JOIN affected ON affected.ecosystem = (SELECT "
                "ecosystem FROM place) AND affected.name = asked.name AND (asked.key IS NULL OR NOT bounded OR "
                "coalesce(asked.key < high, 1)) CROSS JOIN advisory ON number = advisory", first.items()):
            number = cast(int, place)
            if number not in heads:
                heads[number] = _DECODER.decode(cast(bytes, record))
            told.setdefault(str(name), []).append(Entry(heads[number], _ENTRY.decode(cast(bytes, entry)), Reach(
                cast("bytes | None", low), cast("bytes | None", high), bool(exact)) if bounded else ANY))
        for entries in told.values():
            entries.sort(key=_spoken)
        return told

    def known(self, ecosystem: str, names: Iterable[str]) -> set[str]:
        return {str(name) for (name,) in self._asked(
            ecosystem, "SELECT name FROM asked WHERE EXISTS (SELECT 1 FROM affected WHERE affected.ecosystem = (SELECT "
            "ecosystem FROM place) AND affected.name = asked.name)", ((name, None) for name in names))}

    def reached(self, ecosystem: str, versions: Iterable[tuple[str, bytes | None]]) -> set[tuple[str, bytes | None]]:
        return {(str(name), cast("bytes | None", key)) for name, key in self._asked(
            ecosystem, "SELECT name, key FROM asked WHERE EXISTS (SELECT 1 FROM affected WHERE affected.ecosystem = "
            "(SELECT ecosystem FROM place) AND affected.name = asked.name AND (asked.key IS NULL OR "
            "(SELECT rules FROM place) <> (SELECT rules FROM bounds) OR "
            "(coalesce(low <= asked.key, 1) AND coalesce(asked.key < high, 1))))", versions)}

    def _asked(self, ecosystem: str, sql: str,
               versions: Iterable[tuple[str, bytes | None]]) -> Iterator[tuple[object, ...]]:
        number = self._ecosystem(ecosystem)
        rows = [*dict.fromkeys(versions)] if number is not None else []
        for start in range(0, len(rows), _PAIRS):
            batch = rows[start:start + _PAIRS]
            yield from self._database.rows(
                "WITH place (ecosystem, rules) AS (VALUES (?, ?)), asked (name, key) AS (VALUES "
                + ", ".join(["(?, ?)"] * len(batch)) + ") " + sql, number, RULES, *(value for row in batch
                                                                                 for value in row))

    def count(self, ecosystem: str) -> int:
        rows = self._database.rows("SELECT advisories FROM counted WHERE ecosystem = ?", ecosystem)
        return cast(int, rows[0][0]) if rows else 0

    def status(self) -> AdvisoryStatus:
        ecosystems: dict[str, int] = {str(name)[1:]: cast(int, count) for name, count in self._database.rows(
            "SELECT ecosystem, advisories FROM counted WHERE ecosystem LIKE '=%' ORDER BY ecosystem")}
        sources = tuple(SourceStatus(
            name=str(name), records=cast(int, count), newest=parse_rfc3339(newest) if newest else None,
            imported_at=parse_rfc3339(at), origin=str(origin)) for name, at, origin, count, newest in
            self._database.rows("SELECT name, at, origin, records, newest FROM source ORDER BY name"))
        catalogue = self._database.rows("SELECT version, (SELECT count(*) FROM exploited) FROM exploited_catalogue")
        scores = self._database.rows("SELECT day, (SELECT count(*) FROM score) FROM scores")
        last = self._database.rows("SELECT at, digest FROM import ORDER BY rowid DESC LIMIT 1")
        return AdvisoryStatus(
            advisories=sum(source.records for source in sources), ecosystems=ecosystems,
            newest=max((source.newest for source in sources if source.newest), default=None),
            imported_at=parse_rfc3339(last[0][0]) if last else None, digest=str(last[0][1]) if last else "",
            exploited=cast(int, catalogue[0][1]) if catalogue else None,
            exploited_version=str(catalogue[0][0]) if catalogue else "",
            scored=cast(int, scores[0][1]) if scores else None, scored_on=str(scores[0][0])[:10] if scores else "",
            sources=sources)

    def catalogue(self) -> ExploitedCatalogue | None:
        rows = self._database.rows("SELECT version, released FROM exploited_catalogue")
        return ExploitedCatalogue(version=str(rows[0][0]), released=str(rows[0][1]), entries=tuple(
            Exploited(cve=str(cve), added=str(added), due=str(due), ransomware=bool(ransomware))
            for cve, added, due, ransomware in self._database.rows("SELECT * FROM exploited ORDER BY cve"))
        ) if rows else None

    def all_scores(self) -> EpssScores | None:
        rows = self._database.rows("SELECT version, day FROM scores")
        return EpssScores(version=str(rows[0][0]), day=str(rows[0][1]), entries=tuple(
            Epss(cve=str(cve), score=cast(float, score), percentile=cast(float, percentile))
            for cve, score, percentile in self._database.rows("SELECT * FROM score ORDER BY cve"))) if rows else None

    def feed(self, address: str) -> Feed:
        rows = self._database.rows("SELECT state FROM feed WHERE address = ?", address)
        return _FEED.decode(cast(bytes, rows[0][0])) if rows else Feed(address=address)

    def feeds(self) -> Sequence[Feed]:
        return [_FEED.decode(cast(bytes, state)) for (state,) in self._database.rows(
            "SELECT state FROM feed ORDER BY address")]

    def keep(self, feed: Feed) -> None:
        with self._database.write() as db:
            db.execute("INSERT OR REPLACE INTO feed VALUES (?, ?)", (feed.address, _ENCODER.encode(feed)))

    def _ecosystem(self, name: str) -> int | None:
        if name not in self._ecosystems:  # of those that are not there yet nothing is kept
            for (number,) in self._database.rows("SELECT number FROM ecosystem WHERE name = ?", name):
                self._ecosystems[name] = cast(int, number)
        return self._ecosystems.get(name)

    def _valid(self, queries: Sequence[str], names: Iterable[str], *, whole: bool = True) -> Sequence[Advisory]:
        names = tuple(names)
        numbers = {cast(int, number) for query in queries for (number,) in self._among(query, names)}
        heads = {cast(int, number): _DECODER.decode(cast(bytes, record)) for number, record in self._among(
            "SELECT number, record FROM advisory WHERE NOT withdrawn AND number IN ({})", numbers)}
        if not whole:
            return sorted(heads.values(), key=_place)
        entries: dict[int, list[Affected]] = {}
        for number, entry in self._among("SELECT advisory, entry FROM affected WHERE advisory IN ({}) "
                                         "ORDER BY advisory, place", heads):
            entries.setdefault(cast(int, number), []).append(_ENTRY.decode(cast(bytes, entry)))
        return sorted((_with(head, entries.get(number, ())) for number, head in heads.items()), key=_place)

    def _whole(self, number: int, record: bytes) -> Advisory:
        rows = self._database.rows("SELECT entry FROM affected WHERE advisory = ? ORDER BY place", number)
        return _with(_DECODER.decode(record), [_ENTRY.decode(cast(bytes, entry)) for (entry,) in rows])

    def _among(self, sql: str, values: Iterable[object], *before: object) -> Iterator[tuple[object, ...]]:
        """Rows for any of the values, asked for many at a time; `{}` in the text stands for them."""
        asked = [*dict.fromkeys(values)]
        for start in range(0, len(asked), _AT_ONCE):
            batch = asked[start:start + _AT_ONCE]
            yield from self._database.rows(sql.format(",".join("?" * len(batch))), *before, *batch)


def _with(head: Advisory, entries: Iterable[Affected]) -> Advisory:
    return msgspec.structs.replace(head, affected=tuple(entries))


def _place(advisory: Advisory) -> tuple[str, str, str]:
    return advisory.id, advisory.source, advisory.part


def _spoken(entry: Entry) -> tuple[str, str, str]:
    return _place(entry.advisory)
