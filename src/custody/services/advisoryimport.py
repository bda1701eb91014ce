"""What people have that tells of vulnerabilities, into the store: publishers' documents, other scanners' databases."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from custody.ports.advisories import AdvisoryWriter
from custody.vulns.databases.files import OpenTables, database
from custody.vulns.store import Imported, import_advisories, import_database


@dataclass(frozen=True, slots=True)
class Importer:
    """`folder`: where archives of databases are unpacked, which have several GB."""

    store: AdvisoryWriter
    tables: OpenTables
    folder: Path

    def take(self, path: Path, now: datetime, progress: Callable[[int], None] | None = None, origin: str = "",
             publishers: AbstractSet[str] | None = None) -> Imported:
        """As `import_advisories`; also Trivy's and Grype's databases, wherever they are: of many publishers."""
        if publishers is None:
            with database(path, self.tables, self.folder) as contents:
                if contents is not None:
                    return import_database(self.store, contents, now, origin or str(path))
        return import_advisories(self.store, path, now, progress, origin, publishers)
