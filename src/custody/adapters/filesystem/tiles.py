"""A log's files in a directory, which any web server can serve as they are.

    DIR/checkpoint, DIR/tile/…     public (C2SP tlog-tiles)
    DIR/state/checkpoint           the truth: durable before the public copy appears, so that no reader ever
                                   sees a checkpoint that a power cut takes back
    DIR/state/lock                 held by the one process that writes
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

from custody.errors import ConflictError, UsageError
from custody.kit.folder import sync
from custody.kit.lock import HeldError, hold

_PUBLIC = re.compile(r"checkpoint|tile/(?:\d{1,2}|entries)/(?:x\d{3}/){0,6}\d{3}(?:\.p(?:/\d{1,3})?)?")


class DirectoryReader:
    """Reads a log's directory, beside a running writer too."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, path: str) -> bytes | None:
        try:
            return self._public(path).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def _public(self, path: str) -> Path:
        if not _PUBLIC.fullmatch(path):
            raise UsageError(f"log file: got {path!r}, expected checkpoint or tile/<level>/<index>[.p/<width>]")
        return self.directory / path


class DirectoryCheckpoint:
    """Implements ports.tiles.CheckpointStore. Raises ConflictError where another process has the directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._state = directory / "state"
        self._state.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = hold(self._state / "lock")
        except HeldError as held:
            raise ConflictError(f"log {directory}: another sequencer has it ({held}); a log has one",
                                hint="stop that process, or give this one another data directory") from None

    def load(self) -> bytes | None:
        try:
            return (self._state / "checkpoint").read_bytes()
        except FileNotFoundError:
            return None

    def swap(self, old: bytes | None, new: bytes) -> None:
        if self.load() != old:
            raise ConflictError(f"log {self.directory}: the stored checkpoint is not the one this sequencer wrote last",
                                hint="something else writes to the directory; restart the log to read it again")
        _replace(self._state / "checkpoint", new)
        sync(self._state)

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class DirectoryTiles(DirectoryReader):
    """Implements ports.tiles.TileStore for the process that holds the directory, so that it stages files by putting
    them in their places: one sync fewer for whoever waits."""

    def __init__(self, held: DirectoryCheckpoint) -> None:
        super().__init__(held.directory)
        self._syncers = ThreadPoolExecutor(4, thread_name_prefix="log-sync")
        self._folders: set[Path] = set()
        self._unsynced: set[Path] = set()
        """Folders whose names their parents may lose: those of a write that failed are the next one's to sync."""

    def stage(self, name: str, files: Mapping[str, bytes]) -> None:  # noqa: ARG002 - nothing is kept aside
        # Each file: temporary name, fsync, rename. Syncs run side by side, so that one journal commit serves several.
        targets = {self._public(path): data for path, data in files.items()}
        for folder in {target.parent for target in targets}:
            self._make(folder)
        self._all([partial(_replace, target, data) for target, data in targets.items()])
        parents = {made.parent for made in self._unsynced if made.is_dir()}
        self._all([partial(sync, folder) for folder in {target.parent for target in targets} | parents])
        self._unsynced.clear()

    def place(self, name: str) -> None:
        """`stage` did."""

    def publish(self, checkpoint: bytes) -> None:
        draft = self.directory / f".checkpoint.{os.getpid()}"
        try:
            draft.write_bytes(checkpoint)
            draft.rename(self.directory / "checkpoint")
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def discard(self, folder: str) -> None:
        partials = self._public(folder)
        if partials.suffix == ".p":
            shutil.rmtree(partials, ignore_errors=True)
            self._folders.discard(partials)

    def close(self) -> None:
        self._syncers.shutdown()

    def _all(self, tasks: list[Callable[[], None]]) -> None:
        """Run side by side. None is at work any more when the first error is raised: one that ends later would put its
        bytes over those of the writer that tries again."""
        running = [self._syncers.submit(task) for task in tasks]
        wait(running)
        for task in running:
            task.result()

    def _make(self, folder: Path) -> None:
        """Create a folder and those above it; the parents of new ones must be synced."""
        if folder in self._folders:
            return
        for part in [folder, *folder.parents]:
            if part == self.directory or part.is_dir():
                break
            self._unsynced.add(part)
        folder.mkdir(parents=True, exist_ok=True)
        self._folders.add(folder)


def _replace(target: Path, data: bytes) -> None:
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view):]
            os.fsync(handle)
        finally:
            os.close(handle)
        os.rename(draft, target)
    except OSError:
        draft.unlink(missing_ok=True)  # half of it takes room that may be what is missing
        raise
