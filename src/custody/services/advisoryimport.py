"""What people have that tells of vulnerabilities, into the store: publishers' documents, other scanners' databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from custody.errors import UnsupportedError
from custody.ports.advisories import AdvisoryWriter
from custody.ports.javaarchives import Artifact, JavaArchiveStore, JavaArchiveTables
from custody.sbom.catalogers.coordinates import valid
from custody.vulns.databases.files import OpenTables, is_java_index, located, opened
from custody.vulns.store import Imported, import_advisories, import_database

_SHA1, _SHOWN = 20, 100


@dataclass(frozen=True, slots=True)
class Importer:
    """`folder`: where archives of databases are unpacked, which have several GB."""

    store: AdvisoryWriter
    tables: OpenTables
    folder: Path
    java_tables: Callable[[Path], JavaArchiveTables] | None = None
    java_archives: Callable[[], JavaArchiveStore] | None = None
    """Opened only where there is something to put into it; None where nobody keeps an index of Java archives."""

    def take(self, path: Path, now: datetime, progress: Callable[[int], None] | None = None, origin: str = "",
             publishers: AbstractSet[str] | None = None) -> Imported:
        """As `import_advisories`; also Trivy's and Grype's databases, wherever they are: of many publishers."""
        if publishers is None:
            with located(path, self.folder) as file:
                if file is not None and is_java_index(file):
                    return self._java(file, str(path))
                if file is not None:
                    with opened(file, str(path), self.tables) as contents:
                        return import_database(self.store, contents, now, origin or str(path))
        return import_advisories(self.store, path, now, progress, origin, publishers)

    def _java(self, file: Path, where: str) -> Imported:
        """An index of Java archives, in place of the one before. Rows that are no artifact are left out and said."""
        if self.java_tables is None or self.java_archives is None:
            raise UnsupportedError(where, "Trivy's index of Java archives, which has no advisories")
        done = Imported(read=1, records=1)
        wrong: list[str] = []

        def rows(tables: JavaArchiveTables) -> Iterator[tuple[bytes, Artifact]]:
            for digest, group, name, version in tables.rows():
                if len(digest) == _SHA1 and valid(group, name, version):
                    yield digest, Artifact(group, name, version)
                elif len(wrong) < _SHOWN:
                    wrong.append(f"{where}: got {len(digest)} bytes for {group}:{name}:{version}, expected a SHA-1 of "
                                 "an artifact")

        with closing(self.java_tables(file)) as tables:
            count = self.java_archives().replace(rows(tables))
        done.refused += wrong
        done.catalogues.append(f"{count} Java archives by their SHA-1")
        return done
