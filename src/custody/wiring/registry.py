"""The registry: served by the one process that writes to it, or looked at beside that. A builder that fails has opened
nothing."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from custody.kit.clock import Clock

if TYPE_CHECKING:
    from custody.registry.scrub import Archive
    from custody.registry.store import Registry


def open_registry(stack: ExitStack, folder: Path, clock: Clock, *, sparse_indexes: bool) -> Registry:
    """Raises ConflictError where another process has the folder."""
    from custody.adapters.filesystem.blobs import FilesystemBlobs
    from custody.adapters.sqlite.repositories import SqliteRepositories
    from custody.registry.store import Registry

    # The lock comes first: an index that another process writes to is not even opened.
    with ExitStack() as opened:
        blobs = opened.enter_context(closing(FilesystemBlobs(folder)))
        repositories = opened.enter_context(closing(SqliteRepositories(folder / "index.db")))
        registry = opened.enter_context(closing(Registry(blobs, repositories, clock, sparse_indexes=sparse_indexes)))
        stack.enter_context(opened.pop_all())
    return registry


def open_archive(stack: ExitStack, folder: Path, *, exclusive: bool) -> Archive:
    """What the registry in a folder holds, to look at beside the process that serves it.

    `exclusive`: with no such process; raises ConflictError where there is one.
    """
    from custody.adapters.filesystem.blobs import BlobDirectory, FilesystemBlobs
    from custody.adapters.sqlite.repositories import SqliteRepositories
    from custody.registry.scrub import Archive

    with ExitStack() as opened:
        writer = opened.enter_context(closing(FilesystemBlobs(folder))) if exclusive else None
        repositories = opened.enter_context(closing(SqliteRepositories(folder / "index.db")))
        stack.enter_context(opened.pop_all())
    return Archive(writer or BlobDirectory(folder), repositories, writer)
