"""The queue in PostgreSQL: workers on several machines take jobs side by side, and none waits for another's."""

from __future__ import annotations

from custody.adapters.postgres.engine import DIALECT, PostgresEngine
from custody.adapters.relational.queue import MIGRATIONS, RelationalQueue


class PostgresQueue(RelationalQueue):
    """Queue."""

    def __init__(self, address: str) -> None:
        super().__init__(PostgresEngine(address, "queue", MIGRATIONS, together=True), DIALECT)
