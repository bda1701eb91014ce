"""PostgreSQL for the SQL of `relational`: a connection for each thread, made again where the server closed it."""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import psycopg

from custody.adapters.relational.engine import Dialect, Row
from custody.errors import CustodyError, StorageError

DIALECT = Dialect(identity="BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", bytes="BYTEA", clustered="",
                  skipping=" FOR UPDATE SKIP LOCKED")
_VALUE = re.compile(r"\bIN \((\?(?:, \?)*)\)|\?")
_ROW = re.compile(r"VALUES (\(\?(?:, \?)*\))")
_VALUES = 48  # in one statement: of those with more, psycopg remembers nothing
_SCHEMA = "CREATE TABLE IF NOT EXISTS custody_schema (store TEXT PRIMARY KEY, version INTEGER NOT NULL)"


class _Session:
    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def execute(self, sql: str, *values: object) -> list[Row]:
        cursor = self._connection.execute(*_spelled(sql, values))
        return list(cursor.fetchall()) if cursor.description is not None else []

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        rest = list(rows)
        # Many rows in one statement cost the server less than a statement each; one that updates may meet no row twice.
        most = 1 if " DO UPDATE " in sql or not rest or not _ROW.search(sql) else max(1, _VALUES // len(rest[0]))
        with self._connection.cursor() as cursor:
            whole = len(rest) // most * most if most > 1 else 0
            if whole:
                cursor.executemany(_parsed(_of_rows(sql, most))[0], [
                    [value for row in rest[start:start + most] for value in row] for start in range(0, whole, most)])
            if rest[whole:]:
                cursor.executemany(_parsed(sql)[0], rest[whole:])


class PostgresEngine:
    """Engine over a server. Each store has a name, whose migrations are counted and whose writers wait for each other;
    with `together` they do not, and its SQL locks rows itself.
    """

    def __init__(self, address: str, store: str, migrations: Sequence[str], *, together: bool = False) -> None:
        self._address = address
        self._lock = zlib.crc32(f"custody {store}".encode())
        self._together = together
        self._local = threading.local()
        self._all: list[psycopg.Connection[Row]] = []
        self._migrate(store, DIALECT.migrations(migrations))

    @contextmanager
    def write(self) -> Iterator[_Session]:
        try:
            connection = self._connection()
            with connection.transaction():
                if not self._together:
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (self._lock,))
                yield _Session(connection)
        except psycopg.Error as error:
            raise _storage_error(error) from None

    def read(self, sql: str, *values: object) -> list[Row]:
        try:
            return list(self._connection().execute(*_spelled(sql, values)))
        except psycopg.Error as error:
            raise _storage_error(error) from None

    def close(self) -> None:
        for connection in list(self._all):
            connection.close()

    def _connection(self) -> psycopg.Connection[Row]:
        connection: psycopg.Connection[Row] | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed:
            connection = psycopg.connect(self._address, autocommit=True, connect_timeout=10)
            self._local.connection = connection
            self._all = [*(there for there in self._all if not there.closed), connection]
        return connection

    def _migrate(self, store: str, migrations: Sequence[str]) -> None:
        with self.write() as session:
            session.execute("SELECT pg_advisory_xact_lock(?)", self._lock)
            session.execute(_SCHEMA)
            rows = session.execute("SELECT version FROM custody_schema WHERE store = ?", store)
            have = int(rows[0][0]) if rows else 0
            if have > len(migrations):
                raise CustodyError(f"PostgreSQL: schema {have} of {store} is newer than this custody knows "
                                   f"({len(migrations)})", hint="use the custody that wrote it, or a newer one")
            for script in migrations[have:]:
                for statement in script.split("; "):
                    session.execute(statement)
            session.execute("INSERT INTO custody_schema VALUES (?, ?) ON CONFLICT (store) DO UPDATE SET "
                            "version = excluded.version", store, len(migrations))


def _of_rows(sql: str, count: int) -> str:
    return _ROW.sub(lambda match: f"VALUES {', '.join([match[1]] * count)}", sql)


def _spelled(sql: str, values: Sequence[object]) -> tuple[Any, list[object]]:
    """Values are `%s` to psycopg; a list of them is one array, so that the statement is the same however long it is."""
    text, sizes = _parsed(sql)
    bound: list[object] = []
    place = 0
    for size in sizes:
        bound.append(values[place] if size is None else list(values[place:place + size]))
        place += size or 1
    return text, bound


@lru_cache(maxsize=512)
def _parsed(sql: str) -> tuple[str, list[int | None]]:
    """With the number of values of each list; None for what is no list."""
    sizes: list[int | None] = []

    def spell(match: re.Match[str]) -> str:
        sizes.append(match[1].count("?") if match[1] else None)
        return "= ANY(%s)" if match[1] else "%s"

    return _VALUE.sub(spell, sql.replace("%", "%%")), sizes


def _storage_error(error: psycopg.Error) -> StorageError:
    """The message has no address: that may have a password in it."""
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return StorageError("PostgreSQL: no connection to the server", hint="is it running, and is the address right?")
    return StorageError(f"PostgreSQL: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
