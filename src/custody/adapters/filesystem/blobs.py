"""Blobs as files, in the shape of an OCI layout: `blobs/sha256/<hex>`; written aside, flushed to disk, then renamed."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
import time
from pathlib import Path

from custody.errors import VerificationError
from custody.kit import digest as digests

_NAME = re.compile(r"[0-9a-f]{32}\Z")
_IDLE = 7 * 24 * 3600  # seconds after which an abandoned upload is swept at the next start


class FilesystemBlobs:
    """Implements ports.blobs.Blobs."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._uploads = root / "uploads"
        kinds = (root / "blobs" / algorithm for algorithm in ("sha256", "sha384", "sha512"))
        for folder in (*kinds, self._uploads, root / "quarantine"):
            folder.mkdir(parents=True, exist_ok=True)
        self._open: dict[str, _Upload] = {}
        self._lock = threading.Lock()
        for file in self._uploads.iterdir():
            if time.time() - file.stat().st_mtime > _IDLE:
                file.unlink(missing_ok=True)

    def path(self, digest: str) -> Path | None:
        path = self._file(digest)
        return path if path.is_file() else None

    def digests(self) -> list[str]:
        return [f"{folder.name}:{file.name}" for folder in sorted((self._root / "blobs").iterdir())
                for file in sorted(folder.iterdir())]

    def delete(self, digest: str) -> None:
        self._file(digest).unlink(missing_ok=True)

    def quarantine(self, digest: str) -> None:
        file = self._file(digest)
        if file.is_file():
            file.replace(self._root / "quarantine" / f"{digest.replace(':', '-')}.{secrets.token_hex(4)}")

    def begin(self) -> _Upload:
        upload = _Upload(self, secrets.token_hex(16))
        self._open[upload.name] = upload
        return upload

    def resume(self, name: str) -> _Upload | None:
        if not _NAME.match(name):
            return None
        with self._lock:
            if name not in self._open:
                if not (self._uploads / name).is_file():
                    return None
                self._open[name] = _Upload(self, name)
            return self._open[name]

    def _file(self, digest: str) -> Path:
        algorithm, _, value = digests.parse(digest).partition(":")
        return self._root / "blobs" / algorithm / value

    def finish(self, upload: _Upload, digest: str) -> None:
        target = self._file(digest)
        os.replace(self._uploads / upload.name, target)
        for folder in (target.parent, self._uploads):
            _sync_folder(folder)
        self._open.pop(upload.name, None)

    def forget(self, upload: _Upload) -> None:
        (self._uploads / upload.name).unlink(missing_ok=True)
        self._open.pop(upload.name, None)

    @property
    def uploads(self) -> Path:
        return self._uploads


class _Upload:
    """Bytes on their way in, hashed as they come; after a restart what is on disk is hashed once more."""

    def __init__(self, owner: FilesystemBlobs, name: str) -> None:
        self.name = name
        self._owner = owner
        self._path = owner.uploads / name
        self._state = hashlib.sha256()
        self.size = 0
        if self._path.is_file():
            with self._path.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    self._state.update(chunk)
                    self.size += len(chunk)
        self._stream = self._path.open("ab", buffering=0)

    def write(self, chunk: bytes) -> None:
        self._reopen()
        view = memoryview(chunk)
        while view:
            view = view[self._stream.write(view):]
        self._state.update(chunk)
        self.size += len(chunk)

    def commit(self, digest: str) -> None:
        self._reopen()
        state = self._state
        if not digest.startswith("sha256:"):
            state = digests.hasher(digest)
            with self._path.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    state.update(chunk)
        if not digests.matches(state, digest):
            self.abort()
            raise VerificationError(f"blob bytes are {state.name}:{state.hexdigest()}, expected {digest}")
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._owner.finish(self, digest)

    def suspend(self) -> None:
        self._stream.close()

    def abort(self) -> None:
        self._stream.close()
        self._owner.forget(self)

    def _reopen(self) -> None:
        if self._stream.closed:
            self._stream = self._path.open("ab", buffering=0)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
