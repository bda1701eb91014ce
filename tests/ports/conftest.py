"""The inventory and its findings, in SQLite and in PostgreSQL on a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from custody.adapters.relational.store import RelationalStore
from custody.adapters.sqlite.inventory import SqliteInventory
from tests import postgres

Make = Callable[[], RelationalStore]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.server() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    opened: list[RelationalStore] = []
    if request.param == "postgres":
        address = postgres.database(request.getfixturevalue("server"))

    def made() -> RelationalStore:
        if request.param == "postgres":
            from custody.adapters.postgres.inventory import PostgresInventory

            opened.append(PostgresInventory(address))
        else:
            opened.append(SqliteInventory(tmp_path / "inventory.db"))
        return opened[-1]

    yield made
    for store in opened:
        store.close()


