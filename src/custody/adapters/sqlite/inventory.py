"""The inventory in one file of SQLite."""

from __future__ import annotations

from pathlib import Path

from custody.adapters.relational.store import MIGRATIONS, RelationalStore
from custody.adapters.sqlite.engine import SqliteEngine


class SqliteInventory(RelationalStore):
    """InventoryStore and Findings."""

    def __init__(self, path: Path) -> None:
        super().__init__(SqliteEngine(path, MIGRATIONS))
