"""Blobs as files, in the shape of an OCI layout: `blobs/sha256/<hex>`; written aside, flushed to disk, then renamed.

    ROOT/blobs/<algorithm>/<hex>   what has a name; replaced only by bytes that hash to it
    ROOT/uploads/<48 hex>          drafts
    ROOT/quarantine/               files whose bytes changed at rest
    ROOT/lock                      held by the one process that writes
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from custody.adapters.filesystem.drafts import FileDraft, storage_error
from custody.errors import ConflictError, CustodyError, VerificationError
from custody.kit import digest as digests
from custody.kit.folder import sync
from custody.kit.lock import HeldError, hold
from custody.ports.blobs import Draft, Stray

_NAME = re.compile(r"[0-9a-f]{48}\Z")
_LEFT = re.compile(r"\.[0-9a-f]{24}\Z|[0-9a-f]{32}\Z")
"""Drafts that nobody can continue: of a process that was killed while it published, and of custody before 0.2."""
_ALGORITHMS = ("sha256", "sha384", "sha512")
_SYNCERS = 8  # files that are flushed side by side, so that one commit of the journal serves several
_KNOWN = 50_000  # digests whose files are known to be there


class FileBlob:
    """Implements ports.blobs.Blob over a file's descriptor, which it closes."""

    def __init__(self, handle: int, place: str = "") -> None:
        self._handle = handle
        self._status = os.fstat(handle)
        self.size = self._status.st_size
        self.place = place

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self._status.st_mode)

    @property
    def version(self) -> str:
        return str(self._status.st_ino)

    @property
    def modified(self) -> float:
        return self._status.st_mtime

    def read(self, start: int, count: int) -> bytes:
        return os.pread(self._handle, count, start)

    def fileno(self) -> int:
        return self._handle

    def close(self) -> None:
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


class BlobDirectory:
    """Implements ports.blobs.BlobInventory: what any process may do beside the one that writes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._uploads = root / "uploads"
        self._folders = {algorithm: root / "blobs" / algorithm for algorithm in _ALGORITHMS}

    def size(self, digest: str) -> int | None:
        return _size(self._file(digest))

    def open(self, digest: str) -> FileBlob | None:
        path = self._file(digest)
        try:
            # What is no file is not waited for: a FIFO would be.
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        blob = FileBlob(handle, str(path))
        if blob.is_file:
            return blob
        blob.close()
        return None

    def entries(self) -> Iterator[str | Stray]:
        try:
            folders = sorted(os.scandir(self._root / "blobs"), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        for folder in folders:
            if folder.name not in self._folders or not folder.is_dir(follow_symlinks=False):
                yield Stray(folder.path, "not a folder of blobs")
                continue
            for entry in sorted(os.scandir(folder.path), key=lambda entry: entry.name):
                digest = f"{folder.name}:{entry.name}"
                if not digests.is_digest(digest):
                    yield Stray(entry.path, "not named by a digest")
                elif not entry.is_file(follow_symlinks=False):
                    yield Stray(entry.path, "not a file")
                else:
                    yield digest

    def quarantine(self, digest: str, version: str) -> bool:
        file = self._file(digest)
        aside = self._root / "quarantine" / f"{digest.replace(':', '-')}.{secrets.token_hex(4)}"
        try:
            if str(file.stat().st_ino) != version:
                return False
            aside.parent.mkdir(exist_ok=True)
            file.rename(aside)
        except FileNotFoundError:
            return False
        if str(aside.stat().st_ino) != version:  # between look and rename a push had put good bytes there
            try:
                os.link(aside, file)
            except FileExistsError:  # and another one since
                pass
            aside.unlink()
            return False
        return True

    def quarantined(self) -> tuple[int, int]:
        try:
            sizes = [entry.stat(follow_symlinks=False).st_size for entry in os.scandir(self._root / "quarantine")]
        except FileNotFoundError:
            return 0, 0
        return len(sizes), sum(sizes)

    def drafts(self) -> list[str]:
        try:
            return [name for name in os.listdir(self._uploads) if _NAME.match(name)]
        except FileNotFoundError:
            return []

    def _file(self, digest: str) -> Path:
        algorithm, _, value = digests.parse(digest).partition(":")
        return self._folders[algorithm] / value


class FilesystemBlobs(BlobDirectory):
    """Implements ports.blobs.Blobs. Raises ConflictError where another process has the directory."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        for folder in (*self._folders.values(), self._uploads, root / "quarantine"):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = hold(root / "lock")
        except HeldError as held:
            raise ConflictError(f"registry {root}: another process has it ({held}); one writes to a registry",
                                hint="stop that process, or give this one another data directory: data_dir in "
                                     "custody.toml, or CUSTODY_DATA_DIR") from None
        self._pool = ThreadPoolExecutor(_SYNCERS, thread_name_prefix="registry-sync")
        self._state = threading.Lock()
        self._changes = 0
        self._known: set[str] = set()
        self._stamp = self._stamps()
        for name in os.listdir(self._uploads):
            if _LEFT.match(name):
                (self._uploads / name).unlink(missing_ok=True)
        self._unsynced: set[Path] = set(self._folders.values())  # the process before may have died in between

    def changes(self) -> int:
        with self._state:
            self._look()
            return self._changes

    def absent(self, sizes: Mapping[str, int]) -> list[str]:
        with self._state:
            self._look()
            before = self._changes
            unknown = [digest for digest in sizes if digest not in self._known]
        absent = [digest for digest in unknown if _size(self._file(digest)) != sizes[digest]]
        if len(absent) < len(unknown):
            with self._state:
                self._look()
                if self._changes == before:
                    self._remember(set(unknown).difference(absent))
        return absent

    def draft(self, name: str, algorithm: str = "sha256") -> FileDraft:
        if not _NAME.match(name):
            raise ValueError(f"draft: got {name!r}, expected 48 hexadecimal digits")
        return FileDraft(self._uploads / name, algorithm)

    def resume(self, name: str) -> FileDraft | None:
        path = self._uploads / name
        return FileDraft(path, existing=True) if _NAME.match(name) and path.is_file() else None

    def discard_draft(self, name: str) -> None:
        if _NAME.match(name):
            (self._uploads / name).unlink(missing_ok=True)

    def publish(self, contents: Sequence[tuple[str, Draft | bytes]]) -> list[CustodyError | None]:
        # 1. Bytes become files that are durable, beside each other.
        files = list(self._pool.map(self._prepared, contents)) if len(contents) > 1 else [
            self._prepared(content) for content in contents]
        outcomes: list[CustodyError | None] = [file if isinstance(file, CustodyError) else None for file in files]
        # 2. All get their names; 3. the names become durable.
        folders = self._unsynced
        with self._state:
            self._look()
            for at, ((digest, _), file) in enumerate(zip(contents, files, strict=True)):
                if isinstance(file, Path):
                    try:
                        os.replace(file, target := self._file(digest))
                        folders.add(target.parent)
                    except OSError as error:
                        outcomes[at] = storage_error("blob", error)
                        file.unlink(missing_ok=True)
            self._remember({digest for (digest, _), outcome in zip(contents, outcomes, strict=True) if not outcome})
            self._stamp = self._stamps()
        try:
            while folders:
                sync(folder := next(iter(folders)))
                folders.discard(folder)
        except OSError as error:
            return [outcome or storage_error("blob", error) for outcome in outcomes]
        return outcomes

    def delete(self, digests: Collection[str]) -> None:
        if digests:
            with self._state:
                for digest in digests:
                    self._file(digest).unlink(missing_ok=True)
                self._forget()

    def quarantine(self, digest: str, version: str) -> bool:
        with self._state:
            taken = super().quarantine(digest, version)
            self._forget()
        return taken

    def close(self) -> None:
        self._pool.shutdown()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _prepared(self, content: tuple[str, Draft | bytes]) -> Path | CustodyError | None:
        """A durable file to rename; None where the blob is there already."""
        digest, data = content
        if isinstance(data, FileDraft):
            return data.path
        if not isinstance(data, bytes):
            raise TypeError(f"publish: got {type(data).__name__}, expected a draft of this store or bytes")
        state = hashlib.new(digests.parse(digest).partition(":")[0], data)
        if not digests.matches(state, digest):
            return VerificationError(f"blob bytes are {state.name}:{state.hexdigest()}, expected {digest}")
        target = self._file(digest)
        path = self._uploads / f".{secrets.token_hex(12)}"
        try:
            if _holds(target, data):
                return None
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(handle, view):]
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            path.unlink(missing_ok=True)
            return storage_error("blob", error)
        return path

    # A folder's time of change tells whether files were added or removed. What this process does itself it knows: as
    # long as nobody else does anything, what was found there is still there and is not looked for again.

    def _stamps(self) -> tuple[int, ...]:
        return tuple(os.stat(folder).st_mtime_ns for folder in self._folders.values())

    def _look(self) -> None:
        if self._stamps() != self._stamp:
            self._forget()

    def _forget(self) -> None:
        self._changes += 1
        self._known.clear()
        self._stamp = self._stamps()

    def _remember(self, digests: set[str]) -> None:
        if len(self._known) + len(digests) > _KNOWN:
            self._known.clear()
        self._known |= digests


def _size(path: Path) -> int | None:
    """Bytes of a regular file, None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _holds(path: Path, data: bytes) -> bool:
    """Whether the file has these bytes already; then they are durable: `publish` syncs the names."""
    try:
        return _size(path) == len(data) and path.read_bytes() == data
    except OSError:
        return False
