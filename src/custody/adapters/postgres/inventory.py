"""The inventory in PostgreSQL, for several processes."""

from __future__ import annotations

from custody.adapters.postgres.engine import PostgresEngine
from custody.adapters.relational.store import MIGRATIONS, RelationalStore


class PostgresInventory(RelationalStore):
    """InventoryStore and Findings."""

    def __init__(self, address: str) -> None:
        super().__init__(PostgresEngine(address, "inventory", MIGRATIONS))
