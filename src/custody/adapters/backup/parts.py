"""What of a data directory is saved, and how each part holds still while its services run.

Files that are written once are copied. A database is copied by SQLite, as of one transaction; the registry's blobs are
those that this copy names. A log is what its checkpoint covers: tiles are never changed, only added to. Caches,
unfinished uploads and quarantined blobs are not saved.
"""

from __future__ import annotations

import io
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, cast

from custody.adapters.backup.archive import Saved
from custody.errors import CustodyError, VerificationError
from custody.kit.merkle import root_hash
from custody.ports.tiles import TileReader
from custody.trust.checkpoint import parse_checkpoint
from custody.trust.tiles import WIDTH, TileTree, encode_entries, parse_entries, read_tile, tile_path, width_at

PARTS = ("trust", "tuf", "log", "ctlog", "registry", "admission", "advisories.db", "inventory.db", "drift.db",
         "runtime.db")
"""Names in the data directory."""


def files(data: Path, missing: list[str], *, keys: bool = True) -> Iterator[Saved]:
    """Every file to be saved, part by part. Without `keys` no private key is among them.

    Digests of blobs that a repository names and that are not there are added to `missing`: they keep nobody's keys out
    of a backup. Raises VerificationError where a log is damaged, CustodyError where a database cannot be read.
    """
    mirrors = (f"trust/{path.name}" for path in sorted((data / "trust").glob("mirror-*")))
    for name in ("trust", *mirrors, "tuf", "tuf/targets", "admission"):
        yield from _folder(data, name, keys=keys)
    for name in ("log", "ctlog"):
        if (data / name / "state" / "checkpoint").is_file():
            yield from _log(data, name)
    if (data / "registry" / "index.db").is_file():
        yield from _registry(data, missing)
    for name in ("advisories.db", "inventory.db", "drift.db"):
        if (data / name).is_file():
            yield _stream(name, _copied(data / name))
    if (data / "runtime.db").is_file():
        # Without where output files ended then: whoever goes on from there cuts off what stands behind.
        yield _stream("runtime.db", _copied(data / "runtime.db", places=False))


def check(data: Path) -> dict[str, int]:
    """Look into what was restored: each log's tiles must give its checkpoint's root. Returns the logs' sizes.

    Raises VerificationError.
    """
    sizes: dict[str, int] = {}
    for name in ("log", "ctlog"):
        state = data / name / "state" / "checkpoint"
        if state.is_file():
            checkpoint = parse_checkpoint(state.read_bytes())
            root = TileTree(_Files(data / name), checkpoint.size).root() if checkpoint.size else root_hash([])
            if root != checkpoint.root:
                raise VerificationError(f"{name}: the tiles of {checkpoint.size} entries give root {root.hex()}, the "
                                        f"checkpoint says {checkpoint.root.hex()}")
            sizes[name] = checkpoint.size
    return sizes


def _folder(data: Path, name: str, *, keys: bool) -> Iterator[Saved]:
    folder = data / name
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        private = path.suffix == ".key"
        if path.name.startswith(".") or not path.is_file() or path.suffix == ".new" or (private and not keys):
            continue
        content = path.read_bytes()
        if not keys and b"PRIVATE KEY-----" in content:
            continue
        yield _bytes(f"{name}/{path.name}", content, private=private)


def _log(data: Path, name: str) -> Iterator[Saved]:
    note = (data / name / "state" / "checkpoint").read_bytes()  # before the tiles: they are never fewer
    size = parse_checkpoint(note).size
    reader = _Files(data / name)
    for index in range(-(-size // WIDTH)):
        width = min(WIDTH, size - index * WIDTH)
        entries = parse_entries(read_tile(reader, "entries", index, width))[:width]
        if len(entries) < width:
            raise VerificationError(f"{name}: entry bundle {index} has {len(entries)} entries, expected {width}")
        yield _bytes(f"{name}/{tile_path('entries', index, width)}", encode_entries(entries))
    level = 0
    while size >> 8 * level:
        for index in range(-(-(size >> 8 * level) // WIDTH)):
            width = width_at(level, index, size)
            tile = read_tile(reader, level, index, width)[:32 * width]
            if len(tile) < 32 * width:
                raise VerificationError(f"{name}: {tile_path(level, index, width)} has {len(tile)} bytes, expected "
                                        f"{32 * width}")
            yield _bytes(f"{name}/{tile_path(level, index, width)}", tile)
        level += 1
    for path in ("state/checkpoint", "checkpoint"):
        yield _bytes(f"{name}/{path}", note)


def _registry(data: Path, missing: list[str]) -> Iterator[Saved]:
    with closing(_copied(data / "registry" / "index.db")) as copy:
        with closing(sqlite3.connect(f"file:{copy.name}?mode=ro&immutable=1", uri=True)) as index:
            digests = [str(row[0]) for row in index.execute(
                "SELECT digest FROM blob UNION SELECT digest FROM manifest ORDER BY 1")]
        for digest in digests:
            algorithm, _, value = digest.partition(":")
            path = data / "registry" / "blobs" / algorithm / value
            try:
                stream = path.open("rb")
            except FileNotFoundError:
                if _still_named(data, digest):  # else deleted since the index was copied
                    missing.append(digest)
                continue  # the restored registry answers 404, as this one does
            yield Saved(f"registry/blobs/{algorithm}/{value}", False, os.fstat(stream.fileno()).st_size, stream)
        yield _stream("registry/index.db", copy)


def _still_named(data: Path, digest: str) -> bool:
    with closing(sqlite3.connect(f"file:{data / 'registry' / 'index.db'}?mode=ro", uri=True)) as index:
        return index.execute("SELECT 1 FROM blob WHERE digest = ? UNION ALL SELECT 1 FROM manifest WHERE digest = ? "
                             "LIMIT 1", (digest, digest)).fetchone() is not None


def _copied(path: Path, *, places: bool = True) -> IO[bytes]:
    """A copy of a database as of one transaction, whoever writes to it; `places` of output files may be left out."""
    copy = tempfile.NamedTemporaryFile(prefix="custody-backup-", suffix=".db")  # noqa: SIM115 - its reader closes it
    try:
        with (closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as source,
              closing(sqlite3.connect(copy.name)) as target):
            source.backup(target, pages=1000)
            target.execute("PRAGMA journal_mode=DELETE")
            if not places:
                with target:
                    target.execute("DELETE FROM place")
                target.execute("VACUUM")
    except sqlite3.Error as error:
        copy.close()
        raise CustodyError(f"{path}: {error}") from None
    return cast("IO[bytes]", copy)


def _stream(path: str, stream: IO[bytes]) -> Saved:
    stream.seek(0, io.SEEK_END)
    size = stream.tell()
    stream.seek(0)
    return Saved(path, True, size, stream)


def _bytes(path: str, content: bytes, *, private: bool = False) -> Saved:
    return Saved(path, private, len(content), io.BytesIO(content))


class _Files(TileReader):
    """A log's files, read where they are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: str) -> bytes | None:
        try:
            return (self._folder / path).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
