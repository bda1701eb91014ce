"""The inventory and its findings, in one database."""

from __future__ import annotations

from custody.adapters.relational import aside, findings, former, inventory
from custody.adapters.relational.engine import Engine

MIGRATIONS = (inventory.MIGRATION, findings.MIGRATION, f"{former.MIGRATION}; {inventory.READERS}", inventory.SPOKEN,
              f"{aside.MIGRATION}; {inventory.LAYERS}", inventory.KEPT)


class RelationalStore(inventory.RelationalInventory, findings.RelationalFindings):
    """InventoryStore and Findings."""

    def __init__(self, engine: Engine) -> None:
        inventory.RelationalInventory.__init__(self, engine)
        findings.RelationalFindings.__init__(self, engine)
        self.reindex()
