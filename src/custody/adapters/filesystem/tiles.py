"""A log's files in a directory, which any web server can serve as they are.

    DIR/checkpoint, DIR/tile/…     public (C2SP tlog-tiles)
    DIR/state/checkpoint           the truth: durable before the public copy appears, so that no reader ever
                                   sees a checkpoint that a power cut takes back
    DIR/state/staged/SIZE-HASH     the files of a checkpoint that is being swapped in, and of the one before
    DIR/state/lock                 held by the one process that writes
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

from custody.errors import ConflictError, UsageError
from custody.kit.lock import HeldError, hold

_PUBLIC = re.compile(r"checkpoint|tile/(?:\d{1,2}|entries)/(?:x\d{3}/){0,6}\d{3}(?:\.p(?:/\d{1,3})?)?")
_STAGED = re.compile(r"(\d{1,18})-[0-9a-f]{64}")


class DirectoryReader:
    """Reads a log's directory, beside a running writer too."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, path: str) -> bytes | None:
        return _read(self._public(path))

    def _public(self, path: str) -> Path:
        if not _PUBLIC.fullmatch(path):
            raise UsageError(f"log file: got {path!r}, expected checkpoint or tile/<level>/<index>[.p/<width>]")
        return self.directory / path


class DirectoryCheckpoint:
    """Implements ports.tiles.CheckpointStore. Raises ConflictError where another process has the directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._state = directory / "state"
        self._state.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = hold(self._state / "lock")
        except HeldError as held:
            raise ConflictError(f"log {directory}: another sequencer has it ({held}); a log has one",
                                hint="stop that process, or give this one another data directory") from None

    def load(self) -> bytes | None:
        return _read(self._state / "checkpoint")

    def swap(self, old: bytes | None, new: bytes) -> None:
        if self.load() != old:
            raise ConflictError(f"log {self._directory}: the stored checkpoint is not the one this sequencer wrote "
                                "last", hint="something else writes to the directory; restart the log to read it again")
        os.close(_replace(self._state / "checkpoint", new, durable=True))
        _sync_folder(self._state)

    def close(self) -> None:
        os.close(self._lock)


class DirectoryTiles(DirectoryReader):
    """Implements ports.tiles.TileStore.

    Nobody waits for tiles to reach the disk: what is staged can write them again. They are synced beside the next
    staging, by the descriptor that wrote them, since another one need not hear of an error.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._staging = directory / "state" / "staged"
        self._staging.mkdir(parents=True, exist_ok=True)
        self._syncers = ThreadPoolExecutor(4, thread_name_prefix="log-sync")
        self._folders: set[Path] = set()
        self._unsynced: dict[Path, int] = {}
        """Files that the disk may not have yet, open."""
        self._unnamed: set[Path] = {self._staging, self._staging.parent}
        """Folders whose names the disk may not have yet."""

    def stage(self, name: str, data: bytes) -> None:
        # Syncs run side by side, so that one journal commit serves several.
        unsynced, self._unsynced = self._unsynced, {}
        self._unnamed |= {path.parent for path in unsynced}
        self._all([partial(_stage, self._staged(name), data), *(partial(_sync_closing, handle)
                                                                for handle in unsynced.values())])
        self._unnamed.add(self._staging)
        folders = [folder for folder in self._unnamed if folder.is_dir()]  # of discarded tiles there is none
        self._all([partial(_sync_folder, folder) for folder in folders])
        self._unnamed.clear()

    def staged(self, name: str) -> bytes | None:
        return _read(self._staged(name))

    def unstage(self, size: int) -> None:
        for entry in list(os.scandir(self._staging)):
            match = _STAGED.fullmatch(entry.name)
            if match is None or int(match[1]) <= size:
                Path(entry.path).unlink(missing_ok=True)

    def write(self, files: Mapping[str, bytes]) -> None:
        targets = {self._public(path): data for path, data in files.items()}
        for folder in {target.parent for target in targets}:
            self._make(folder)
        for target, data in targets.items():
            handle = _replace(target, data)
            if target.parent == self.directory:  # the public checkpoint is published again from the truth
                os.close(handle)
                continue
            before, self._unsynced[target] = self._unsynced.get(target), handle
            if before is not None:
                os.close(before)

    def discard(self, folder: str) -> None:
        partials = self._public(folder)
        if partials.suffix == ".p":
            shutil.rmtree(partials, ignore_errors=True)
            self._folders.discard(partials)

    def close(self) -> None:
        self._syncers.shutdown()
        for handle in self._unsynced.values():
            os.close(handle)
        self._unsynced.clear()

    def _staged(self, name: str) -> Path:
        if not _STAGED.fullmatch(name):
            raise UsageError(f"log staging: got {name!r}, expected <size>-<root in hexadecimal>")
        return self._staging / name

    def _all(self, tasks: Iterable[Callable[[], None]]) -> None:
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
            self._unnamed.add(part.parent)
        folder.mkdir(parents=True, exist_ok=True)
        self._folders.add(folder)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def _stage(target: Path, data: bytes) -> None:
    os.close(_replace(target, data, durable=True))


def _replace(target: Path, data: bytes, *, durable: bool = False) -> int:
    """The file whole under its name, open; `durable`: its bytes are on the disk before it has that."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    handle = -1
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view):]
        if durable:
            os.fsync(handle)
        os.rename(draft, target)
    except OSError:
        if handle >= 0:
            with contextlib.suppress(OSError):
                os.close(handle)
        draft.unlink(missing_ok=True)  # half of it takes room that may be what is missing
        raise
    return handle


def _sync_closing(handle: int) -> None:
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
