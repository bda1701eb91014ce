"""The inventory in PostgreSQL, for several processes."""

from __future__ import annotations

from custody.adapters.postgres.engine import PostgresEngine
from custody.adapters.relational.inventory import MIGRATIONS, RelationalInventory


class PostgresInventory(RelationalInventory):
    """InventoryStore."""

    def __init__(self, address: str) -> None:
        super().__init__(PostgresEngine(address, "inventory", MIGRATIONS))
