"""The embedded queue: one file of SQLite."""

from __future__ import annotations

from pathlib import Path

from custody.adapters.relational.queue import MIGRATIONS, RelationalQueue
from custody.adapters.sqlite.engine import DIALECT, SqliteEngine


class SqliteQueue(RelationalQueue):
    """Queue."""

    def __init__(self, path: Path) -> None:
        super().__init__(SqliteEngine(path, MIGRATIONS), DIALECT)
