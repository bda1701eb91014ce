"""The inventory in one file of SQLite."""

from __future__ import annotations

from pathlib import Path

from custody.adapters.relational.inventory import MIGRATIONS, RelationalInventory
from custody.adapters.sqlite.engine import SqliteEngine


class SqliteInventory(RelationalInventory):
    """InventoryStore."""

    def __init__(self, path: Path) -> None:
        super().__init__(SqliteEngine(path, MIGRATIONS))
