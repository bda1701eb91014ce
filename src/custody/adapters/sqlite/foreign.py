"""SQLite files of others, opened to be read: one may have been made to do harm.

SQLite is told to run nothing of it: only named tables, that are tables, are read, no function is called, and the work
is bounded by the file's size.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from custody.errors import MalformedError, UnsupportedError

_LONGEST = 16 << 20
_HEADER = 100
_OPS = 100_000
_OPS_OF_A_BYTE = 8
_LIMITS = ((sqlite3.SQLITE_LIMIT_SQL_LENGTH, 100_000), (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
           (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 1), (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 50),
           (sqlite3.SQLITE_LIMIT_COLUMN, 200))


class ForeignTables:
    """One file, which nobody writes meanwhile."""

    def __init__(self, path: Path, needed: Sequence[str], later: Sequence[str], readable: str, *,
                 longest: int = _LONGEST) -> None:
        """`later`: tables that may be there. `readable` says what is read, for who has another file. `longest`: bytes
        that a value or a row may have.

        Raises MalformedError; UnsupportedError where it is another database.
        """
        read = frozenset((*needed, *later))
        self._where = str(path)
        self._longest = longest
        _check_length(path)
        self._left = path.stat().st_size * _OPS_OF_A_BYTE + 50_000_000
        self._db = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1", uri=True,
                                   isolation_level=None, check_same_thread=False)
        for limit, value in (*_LIMITS, (sqlite3.SQLITE_LIMIT_LENGTH, longest)):
            self._db.setlimit(limit, value)
        self._db.text_factory = bytes
        with self._reading():
            for setting in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON", "mmap_size = 0"):
                self._db.execute(f"PRAGMA {setting}")
            stated = {called: (kind, sql) for name, kind, sql in self._db.execute(
                "SELECT name, type, sql FROM sqlite_schema") if (called := text(name)) in read}
        self._there = frozenset(stated)
        absent = [name for name in needed if name not in stated]
        if absent:
            self.close()
            raise UnsupportedError(self._where, f"an SQLite database without a table {absent[0]}", hint=readable)
        for name, (kind, sql) in stated.items():
            if kind != b"table" or not sql.upper().startswith(b"CREATE TABLE ") or self._computes(name):
                self.close()
                raise UnsupportedError(self._where, f"{name} is no table that holds its rows itself")
        self._db.set_authorizer(_allowing(read))
        self._db.set_progress_handler(self._worked, _OPS)

    def close(self) -> None:
        self._db.close()

    def _computes(self, table: str) -> bool:
        """Whether a column of it is computed when it is read: authorizers are not asked about that."""
        with self._reading():
            return any(row[6] for row in self._db.execute(f"PRAGMA table_xinfo({table})"))

    def _first(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        with self._reading():
            row: tuple[Any, ...] | None = self._db.execute(statement, values).fetchone()
            return row

    def _rows(self, statement: str, *values: object) -> Iterator[tuple[Any, ...]]:
        with self._reading():
            for row in self._db.execute(statement, values):  # noqa: UP028 - which would close it after the database
                yield row

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OverflowError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_TOOBIG or isinstance(
                    error, sqlite3.DataError):
                raise MalformedError(self._where, got="a longer value or row",
                                     expected=f"at most {self._longest} bytes") from None
            raise MalformedError(self._where, got=str(error), expected="a whole SQLite database",
                                 hint="is the file whole? fetch it again") from None

    def _worked(self) -> int:
        self._left -= _OPS
        return self._left < 0


def _allowing(read: frozenset[str]) -> Callable[[int, str | None, str | None, str | None, str | None], int]:
    def allowed(action: int, table: str | None, _column: str | None, _database: str | None, _view: str | None) -> int:
        if action == sqlite3.SQLITE_SELECT or (action == sqlite3.SQLITE_READ and table in read):
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    return allowed


def _check_length(path: Path) -> None:
    """Raises MalformedError where it has fewer pages than its header says (https://sqlite.org/fileformat.html, 1.3.8):
    rows of those that are there would be read, and nobody would see that some are missing.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER)
    if len(head) < _HEADER:
        raise MalformedError(str(path), got=f"{len(head)} bytes", expected="a whole SQLite database")
    page = int.from_bytes(head[16:18], "big")
    pages = int.from_bytes(head[28:32], "big")
    stated, size = pages * (65536 if page == 1 else page), path.stat().st_size
    if head[24:28] == head[92:96] and size < stated:  # which SQLite itself goes by, too
        raise MalformedError(str(path), got=f"{size} bytes", expected=f"{stated}, as its header says",
                             hint="is the file whole? fetch it again")


def text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)
