"""What people have that tells of vulnerabilities, into the store: publishers' documents, other scanners' databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from custody.errors import MalformedError, UnsupportedError
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.ports.advisories import AdvisoryWriter
from custody.ports.javaarchives import Archive, JavaArchiveStore, JavaArchiveTables, Project
from custody.sbom.catalogers.coordinates import valid_project, valid_version
from custody.vulns.databases.files import OpenTables, is_java_index, located, opened
from custody.vulns.store import Imported, import_advisories, import_database

_SHA1 = 20


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
        """An index of Java archives, in place of the one before. Rows that are no artifact are left out and said.

        Raises MalformedError for one without a row that can be used: the one before stays.
        """
        if self.java_tables is None or self.java_archives is None:
            raise UnsupportedError(where, "Trivy's index of Java archives, which has no advisories")
        done = Imported(read=1)

        def projects(tables: JavaArchiveTables) -> Iterator[Project]:
            for project in tables.projects():
                if valid_project(project.group, project.name):
                    yield project
                else:
                    done.refuse(f"{where}: artifacts: got {project.group}:{project.name}, expected a group and an "
                                "artifact of Maven's")

        def archives(tables: JavaArchiveTables) -> Iterator[Archive]:
            for archive in tables.archives():
                if len(archive.sha1) == _SHA1 and valid_version(archive.version):
                    yield archive
                else:
                    done.refuse(f"{where}: indices: got {len(archive.sha1)} bytes for version {archive.version}, "
                                f"expected a SHA-1 of {_SHA1} bytes and a version of Maven's")

        with closing(self.java_tables(file)) as tables:
            kept = self.java_archives().replace(projects(tables), archives(tables))
        if kept.repeated:
            done.refuse(f"{where}: artifacts: got {kept.repeated} whose number or name came before, expected each once",
                        kept.repeated)
        if kept.orphaned:
            done.refuse(f"{where}: indices: got {kept.orphaned} of an artifact that is not there or was refused, "
                        "expected one that is", kept.orphaned)
        if not kept.archives:
            raise MalformedError(where, got=f"no row of a Java archive that can be used, and {done.refusals} refused",
                                 expected="an index of Java archives",
                                 hint=visible(done.refused[0]) if done.refused else None)
        done.catalogues.append(f"{amount(kept.archives, 'Java archive')} by their SHA-1")
        return done
