"""What one command opens on this machine: a source, stores of the data directory, a log's files, a backup."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from custody.errors import OfflineError, UsageError
from custody.settings import Settings
from custody.settings.tables import Counting

if TYPE_CHECKING:
    from custody.adapters.git import GitRepository
    from custody.adapters.relational.queue import RelationalQueue
    from custody.adapters.relational.store import RelationalStore
    from custody.adapters.sqlite.advisories import SqliteAdvisories
    from custody.adapters.sqlite.decisions import SqliteDecisions
    from custody.adapters.sqlite.javaarchives import SqliteJavaArchives
    from custody.adapters.sqlite.layercache import SqliteLayerCache
    from custody.adapters.world import SystemWorld
    from custody.build.inputs import Fetch
    from custody.ports.advisories import AdvisoryStore
    from custody.ports.tiles import LogReader, TileReader
    from custody.ports.trustmirror import TrustMirror
    from custody.services.advisoryimport import Importer
    from custody.services.counting import Said
    from custody.services.verify import Terms


_JAVA_ARCHIVES = "java-archives.db"


def git_repository(folder: Path) -> GitRepository:
    """Its caller closes it. Raises UsageError where there is no repository."""
    from custody.adapters.git import GitRepository

    return GitRepository(folder)


def fetch_inputs(*, offline: bool = False) -> Fetch:
    from custody.adapters.pip import PipFetch

    return PipFetch(offline=offline)


def advisories(settings: Settings) -> SqliteAdvisories:
    """Those of the data directory."""
    return advisories_in(settings.state() / "advisories.db")


def advisories_in(file: Path) -> SqliteAdvisories:
    from custody.adapters.sqlite.advisories import SqliteAdvisories

    return SqliteAdvisories(file)


def advisory_importer(settings: Settings, store: AdvisoryStore) -> Importer:
    from custody.adapters.sqlite.javaarchives import TrivyJavaTables
    from custody.adapters.sqlite.scannerdb import SqliteScannerTables
    from custody.services.advisoryimport import Importer

    return Importer(store, SqliteScannerTables, settings.state() / "downloads", TrivyJavaTables,
                    lambda: java_index(settings))


def java_index(settings: Settings) -> SqliteJavaArchives:
    """The same as `java_archives`, made where there is none."""
    from custody.adapters.sqlite.javaarchives import SqliteJavaArchives

    return SqliteJavaArchives(settings.state() / _JAVA_ARCHIVES)


def java_archives(settings: Settings) -> SqliteJavaArchives | None:
    """The index of Java archives by their SHA-1; None where none was imported."""
    if not (settings.state() / _JAVA_ARCHIVES).is_file():
        return None
    from custody.adapters.sqlite.javaarchives import SqliteJavaArchives

    return SqliteJavaArchives(settings.state() / _JAVA_ARCHIVES)


def inventory(settings: Settings) -> RelationalStore:
    """What images are known to hold. Raises UsageError for an address of no database that is known."""
    if settings.inventory is None:
        from custody.adapters.sqlite.inventory import SqliteInventory

        return SqliteInventory(settings.state() / "inventory.db")
    address = _postgres(settings)
    from custody.adapters.postgres.inventory import PostgresInventory

    return PostgresInventory(address)


def counting(settings: Settings) -> tuple[Said, Terms | None]:
    """From where the settings say that it is known what does not count, and whose signed word is taken.

    Raises UsageError, MalformedError.
    """
    from custody.services.counting import Said
    from custody.vulns.severity import Severity

    stated = settings.counting or Counting()
    said = Said(vex=tuple(map(Path, stated.vex)), ignorefiles=tuple(map(Path, stated.ignorefiles)),
                attested=stated.attested, ignore_unfixed=stated.ignore_unfixed, severities=frozenset(
                    Severity[name.upper()] for name in stated.severities) or None)
    if stated.key is None and stated.identity is None and stated.issuer is None:
        if stated.attested or stated.ignore_tlog:
            raise UsageError("counting: attested, ignore_tlog: nobody was chosen whose word counts",
                             hint='key = "FILE", or identity = "ID" and issuer = "URL"')
        return said, None
    return said, _terms(settings, stated)


def _terms(settings: Settings, stated: Counting) -> Terms:
    from custody.services.verify import Terms
    from custody.sign.identity import Identity, not_by_key
    from custody.sign.keys import load_public_key
    from custody.sign.verify import Trust
    from custody.wiring.clients import trusted_root

    if stated.key is not None and (stated.identity or stated.issuer):
        raise UsageError("counting: key and identity: give one; a key has no certificate")
    root = None if stated.key is not None and stated.ignore_tlog else trusted_root(settings)
    if root is None and not (stated.key is not None and stated.ignore_tlog):
        raise UsageError("counting: no trust root, by which its signers are verified", hint="trusted_root = \"FILE\"")
    if stated.key is None:
        who = Identity(subject=stated.identity, issuer=stated.issuer)
        return Terms(Trust(root=root, require_log=not stated.ignore_tlog), who.mismatch)
    try:
        key = load_public_key(Path(stated.key).read_bytes(), stated.key)
    except OSError as error:
        raise UsageError(f"counting: key {stated.key}: {error.strerror}") from None
    return Terms(Trust(root=root, keys=(key,), require_log=not stated.ignore_tlog), not_by_key)


def queue(settings: Settings) -> RelationalQueue:
    """Beside the inventory. Raises as `inventory` does."""
    if settings.inventory is None:
        from custody.adapters.sqlite.queue import SqliteQueue

        return SqliteQueue(settings.state() / "queue.db")
    address = _postgres(settings)
    from custody.adapters.postgres.queue import PostgresQueue

    return PostgresQueue(address)


def _postgres(settings: Settings) -> str:
    import importlib.util

    address = settings.inventory or ""
    if settings.offline and not address.startswith("host=/"):
        raise OfflineError("inventory: is on a server, and --offline opens no socket")
    if not address.startswith(("postgresql://", "postgres://", "host=", "service=")):
        raise UsageError("inventory: got an address of no database that is known, expected postgresql://…")
    if importlib.util.find_spec("psycopg") is None:
        raise UsageError("inventory: PostgreSQL needs psycopg",
                         hint="pip install '.[postgres]' where custody's sources are")
    return address


def layer_cache(file: Path) -> SqliteLayerCache:
    from custody.adapters.sqlite.layercache import SqliteLayerCache

    return SqliteLayerCache(file)


def decisions(settings: Settings) -> SqliteDecisions:
    """What the webhook over this data directory decided. Raises UsageError where there is none."""
    from custody.adapters.sqlite.decisions import SqliteDecisions

    file = settings.data / "decisions.db"
    if not file.is_file():
        raise UsageError(f"{file}: no such file", hint="the webhook writes it, into its data directory (data_dir)")
    return SqliteDecisions(file)


def rego_world(*, environment: bool = False, resolve: bool = False) -> SystemWorld:
    """What a Rego policy may ask this machine for."""
    from custody.adapters.world import SystemWorld

    return SystemWorld(environment=environment, resolve=resolve)


def trust_mirror(settings: Settings, url: str, folder: Path, root: bytes | None) -> TrustMirror:
    """A TUF repository's client, to be closed. python-tuf is imported by nobody else. Raises MalformedError."""
    from custody.adapters.tuf import TufMirror
    from custody.wiring.clients import command_http

    return TufMirror(command_http(settings), url, folder, root)


def log_in(folder: Path) -> TileReader:
    from custody.adapters.filesystem.tiles import DirectoryReader

    return DirectoryReader(folder)


@contextlib.contextmanager
def rekor1_at(settings: Settings, url: str) -> Iterator[Sequence[LogReader]]:
    """The shards of a log of API version 1, the oldest first."""
    from custody.adapters.http.rekor1 import Rekor1
    from custody.wiring.clients import command_http

    with Rekor1(command_http(settings), url) as log:
        yield log.shards()


@contextlib.contextmanager
def log_at(settings: Settings, url: str) -> Iterator[TileReader]:
    from custody.adapters.http.tiles import HttpTiles
    from custody.wiring.clients import command_http

    with HttpTiles(command_http(settings), url) as tiles:
        yield tiles
