"""A registry's index in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

from custody.adapters.sqlite.database import Database
from custody.formats.oci import Descriptor
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.kit.digest import is_digest
from custody.ports.repositories import TagEvent

_MIGRATIONS = ("""
    CREATE TABLE blob (repository TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
                       PRIMARY KEY (repository, digest)) WITHOUT ROWID;
    CREATE INDEX blob_digest ON blob (digest);
    CREATE TABLE manifest (repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL,
                           size INTEGER NOT NULL, subject TEXT, artifact_type TEXT, annotations TEXT NOT NULL,
                           PRIMARY KEY (repository, digest)) WITHOUT ROWID;
    CREATE INDEX manifest_digest ON manifest (digest);
    CREATE INDEX manifest_subject ON manifest (repository, subject, digest) WHERE subject IS NOT NULL;
    CREATE TABLE tag (repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL,
                      PRIMARY KEY (repository, tag)) WITHOUT ROWID;
    CREATE INDEX tag_digest ON tag (repository, digest);
    CREATE TABLE tag_history (number INTEGER PRIMARY KEY, repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT,
                              at TEXT NOT NULL);
    CREATE INDEX tag_history_tag ON tag_history (repository, tag)
    """, """
    CREATE TABLE repository (name TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;
    INSERT OR IGNORE INTO repository SELECT repository FROM blob;
    INSERT OR IGNORE INTO repository SELECT repository FROM manifest;
    CREATE TRIGGER blob_added AFTER INSERT ON blob BEGIN
        INSERT OR IGNORE INTO repository VALUES (NEW.repository); END;
    CREATE TRIGGER manifest_added AFTER INSERT ON manifest BEGIN
        INSERT OR IGNORE INTO repository VALUES (NEW.repository); END;
    CREATE TRIGGER blob_removed AFTER DELETE ON blob BEGIN
        DELETE FROM repository WHERE name = OLD.repository
            AND NOT EXISTS (SELECT 1 FROM blob WHERE repository = OLD.repository)
            AND NOT EXISTS (SELECT 1 FROM manifest WHERE repository = OLD.repository); END;
    CREATE TRIGGER manifest_removed AFTER DELETE ON manifest BEGIN
        DELETE FROM repository WHERE name = OLD.repository
            AND NOT EXISTS (SELECT 1 FROM blob WHERE repository = OLD.repository)
            AND NOT EXISTS (SELECT 1 FROM manifest WHERE repository = OLD.repository); END
    """)
_IN_QUERY = 500  # values; older SQLites take 999 in one statement


class _Holdings:
    """Implements ports.repositories.Holdings over a connection's `execute`."""

    def __init__(self, query: Callable[..., sqlite3.Cursor]) -> None:
        self._query = query

    def has_blob(self, name: str, digest: str) -> bool:
        return self._any("SELECT 1 FROM blob WHERE repository = ? AND digest = ?", name, digest)

    def sizes(self, name: str, digests: Collection[str]) -> dict[str, int]:
        return {digest: size for part in _parts(digests) for digest, size in self._query(
            f"SELECT digest, size FROM blob WHERE repository = ? AND digest IN ({part.marks})",  # noqa: S608
            name, *part.values)}

    def absent_manifests(self, name: str, digests: Collection[str]) -> set[str]:
        return set(digests).difference(digest for part in _parts(digests) for (digest,) in self._query(
            f"SELECT digest FROM manifest WHERE repository = ? AND digest IN ({part.marks})",  # noqa: S608
            name, *part.values))

    def manifest(self, name: str, reference: str) -> Descriptor | None:
        columns = "m.media_type, m.digest, m.size, m.annotations, m.artifact_type"
        if is_digest(reference):
            cursor = self._query(f"SELECT {columns} FROM manifest m WHERE repository = ? AND digest = ?",  # noqa: S608
                                 name, reference)
        else:
            cursor = self._query(
                f"SELECT {columns} FROM tag t JOIN manifest m ON m.repository = t.repository "  # noqa: S608
                "AND m.digest = t.digest WHERE t.repository = ? AND t.tag = ?", name, reference)
        row = cursor.fetchone()
        return _descriptor(row) if row else None

    def blob_is_used(self, digest: str) -> bool:
        return self._any("SELECT 1 FROM blob WHERE digest = ? UNION ALL "
                         "SELECT 1 FROM manifest WHERE digest = ? LIMIT 1", digest, digest)

    def _any(self, sql: str, *values: object) -> bool:
        return self._query(sql, *values).fetchone() is not None


class SqliteTransaction(_Holdings):
    """Implements ports.repositories.Transaction on the connection that writes."""

    def __init__(self, connection: sqlite3.Connection, part: Callable[[], AbstractContextManager[object]],
                 removing: Callable[[], None]) -> None:
        super().__init__(lambda sql, *values: connection.execute(sql, values))
        self._part = part
        self._removing = removing

    def part(self) -> AbstractContextManager[object]:
        return self._part()

    def link_blob(self, name: str, digest: str, size: int) -> None:
        self._query("INSERT OR IGNORE INTO blob VALUES (?, ?, ?)", name, digest, size)

    def unlink_blob(self, name: str, digest: str) -> bool:
        self._removing()
        return self._query("DELETE FROM blob WHERE repository = ? AND digest = ?", name, digest).rowcount > 0

    def put_manifest(self, name: str, descriptor: Descriptor, subject: str | None, tags: list[str],
                     at: datetime) -> None:
        self._query("INSERT OR REPLACE INTO manifest VALUES (?, ?, ?, ?, ?, ?, ?)", name, descriptor.digest,
                    descriptor.media_type, descriptor.size, subject, descriptor.artifact_type,
                    json.dumps(dict(descriptor.annotations), ensure_ascii=False))
        for tag in tags:
            before = self._query("SELECT digest FROM tag WHERE repository = ? AND tag = ?", name, tag).fetchone()
            if before is None or before[0] != descriptor.digest:
                self._query("INSERT OR REPLACE INTO tag VALUES (?, ?, ?)", name, tag, descriptor.digest)
                self._remember(name, tag, descriptor.digest, at)

    def delete_manifest(self, name: str, digest: str, at: datetime) -> bool:
        self._removing()
        for (tag,) in self._query("DELETE FROM tag WHERE repository = ? AND digest = ? RETURNING tag",
                                  name, digest).fetchall():
            self._remember(name, tag, None, at)
        return self._query("DELETE FROM manifest WHERE repository = ? AND digest = ?", name, digest).rowcount > 0

    def delete_tag(self, name: str, tag: str, at: datetime) -> bool:
        gone = self._query("DELETE FROM tag WHERE repository = ? AND tag = ?", name, tag).rowcount > 0
        if gone:
            self._remember(name, tag, None, at)
        return gone

    def _remember(self, name: str, tag: str, digest: str | None, at: datetime) -> None:
        self._query("INSERT INTO tag_history (repository, tag, digest, at) VALUES (?, ?, ?, ?)",
                    name, tag, digest, format_rfc3339(at))


class SqliteRepositories(_Holdings):
    """Implements ports.repositories.Repositories. One process writes, so that it knows what was removed."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, _MIGRATIONS)
        super().__init__(self._db.read)
        self._removals = 0

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[SqliteTransaction]:
        before = self._removals
        with self._db.write() as connection:
            yield SqliteTransaction(connection, self._db.write, self._removing)
        if self._removals != before:  # for those who looked at the index just before that
            self._removing()

    def removals(self) -> int:
        return self._removals

    def _removing(self) -> None:
        self._removals += 1

    def names(self, after: str, limit: int) -> list[str]:
        return [name for (name,) in self._db.read(
            "SELECT name FROM repository WHERE name > ? ORDER BY name LIMIT ?", after, limit)]

    def has_repository(self, name: str) -> bool:
        return self._any("SELECT 1 FROM repository WHERE name = ?", name)

    def tags(self, name: str, after: str, limit: int) -> list[str]:
        return [tag for (tag,) in self._db.read(
            "SELECT tag FROM tag WHERE repository = ? AND tag > ? ORDER BY tag LIMIT ?", name, after, limit)]

    def history(self, name: str, tag: str) -> list[TagEvent]:
        return [TagEvent(str(row[0]), cast("str | None", row[1]), parse_rfc3339(row[2])) for row in self._db.read(
            "SELECT tag, digest, at FROM tag_history WHERE repository = ? AND tag = ? ORDER BY number", name, tag)]

    def referrers(self, name: str, subject: str, artifact_type: str | None, after: str) -> Iterator[Descriptor]:
        cursor = self._db.read(
            "SELECT media_type, digest, size, annotations, artifact_type FROM manifest WHERE repository = ? "
            "AND subject = ? AND digest > ? AND (? IS NULL OR artifact_type = ?) ORDER BY digest",
            name, subject, after, artifact_type, artifact_type)
        try:
            for row in cursor:
                yield _descriptor(row)
        finally:
            cursor.close()  # a statement that is not read to its end keeps old pages of the log in use

    def holders(self, digest: str) -> list[str]:
        return [name for (name,) in self._db.read(
            "SELECT repository FROM blob WHERE digest = ? UNION SELECT repository FROM manifest WHERE digest = ? "
            "ORDER BY 1", digest, digest)]

    def digests(self) -> Iterator[str]:
        after: str | None = ""
        while after is not None:
            page = [digest for (digest,) in self._db.read(
                "SELECT digest FROM blob WHERE digest > ? UNION SELECT digest FROM manifest WHERE digest > ? "
                "ORDER BY 1 LIMIT 10000", after, after)]
            yield from page
            after = page[-1] if page else None


class _Part(NamedTuple):
    marks: str
    values: list[str]


def _parts(digests: Collection[str]) -> Iterator[_Part]:
    values = list(digests)
    for start in range(0, len(values), _IN_QUERY):
        part = values[start:start + _IN_QUERY]
        yield _Part(",".join("?" * len(part)), part)


def _descriptor(row: tuple[Any, ...]) -> Descriptor:
    return Descriptor(row[0], row[1], row[2], json.loads(row[3]), row[4])
