"""What a database must do for the SQL of this folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PART = 500  # values in one statement: SQLite takes 32,766, and plans long lists slowly
Row = tuple[Any, ...]


class Session(Protocol):
    """A transaction."""

    def execute(self, sql: str, *values: object) -> list[Row]:
        """Rows that it gives; none where it gives none."""
        ...

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None: ...


class Engine(Protocol):
    """One database. Raises StorageError, of which nothing of a transaction happened."""

    def write(self) -> AbstractContextManager[Session]:
        """Durable when it ends; two at a time wait for each other."""
        ...

    def read(self, sql: str, *values: object) -> list[Row]:
        """What is committed; waits for nobody."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the two engines spell otherwise."""

    identity: str
    bytes: str
    clustered: str
    """What follows a table that is its primary key."""
    skipping: str
    """What follows a query for a row that nobody else is changing."""

    def migrations(self, scripts: Iterable[str]) -> list[str]:
        return [script.replace("{identity}", self.identity).replace("{bytes}", self.bytes)
                .replace("{clustered}", self.clustered) for script in scripts]


def moment(value: Any) -> datetime:
    return _EPOCH + int(value) * _MICROSECOND


def microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def parts(values: Iterable[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Values a part at a time, each with its `?, ?, …`."""
    rest = list(values)
    for start in range(0, len(rest), _PART):
        part = rest[start:start + _PART]
        yield ", ".join("?" * len(part)), part


def text(value: str, longest: int = 1000) -> str:
    """What both engines take: no zero, no half of a surrogate pair, and not more bytes than an index has room for."""
    data = value.encode("utf-8", "backslashreplace").replace(b"\0", b"\\x00")
    return data.decode() if len(data) <= longest else data[:longest - 3].decode("utf-8", "ignore") + "…"
