"""Upload sessions: each belongs to its repository and to one request at a time.

A session's name says which repository it is of: 32 random digits, then 16 of a hash over these and the repository. So
a draft that was found on the disk after a restart is nobody else's either, and nothing beside it needs to be kept.

A session that has no bytes yet is only in memory: after a restart it is unknown, and the client begins anew.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from custody.errors import ConflictError, NotFoundError
from custody.ports.blobs import Draft, Drafts

_IDLE = 24 * 3600.0  # seconds without a request, by a clock that only runs while this process does
_PARTS = 16  # written one by one; more of them are small, and cost less joined
_EMPTY = 100_000  # sessions without bytes; the one that waits for longest is forgotten above that


class UploadUnknownError(NotFoundError):
    """The repository has no such upload session."""


class UploadBusyError(ConflictError):
    """Another request has the session."""

    def __init__(self, upload: Upload) -> None:
        super().__init__(f"upload {upload.name} is in use by another request",
                         hint="one request at a time; ask with GET how far it is")
        self.upload = upload


class Upload:
    """One session. Whoever claimed it may use `draft`; others may read `size`."""

    def __init__(self, drafts: Drafts, name: str, algorithm: str = "sha256", draft: Draft | None = None) -> None:
        self.name = name
        self.holder: object | None = None
        self.used = 0.0
        self.draft = draft
        self._drafts = drafts
        self._algorithm = algorithm

    @property
    def size(self) -> int:
        return self.draft.size if self.draft else 0

    def write(self, parts: list[bytes]) -> None:
        """Append to the draft, which begins with the first bytes. Raises StorageError."""
        if self.draft is None:
            self.draft = self._drafts.draft(self.name, self._algorithm)
        for part in parts if len(parts) <= _PARTS else [b"".join(parts)]:
            self.draft.write(part)

    def complete(self, digest: str) -> Draft:
        """The draft, whole and durable. Raises VerificationError, StorageError; the session is at its end then."""
        if self.draft is None:
            self.draft = self._drafts.draft(self.name, self._algorithm)
        self.draft.complete(digest)
        return self.draft


class Uploads:
    """All sessions of one registry. Thread safe. `now` are seconds of a monotonic clock."""

    def __init__(self, drafts: Drafts, now: Callable[[], float] = time.monotonic, idle: float = _IDLE) -> None:
        self._drafts = drafts
        self._now = now
        self._idle = idle
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Upload] = OrderedDict()
        self._empty: OrderedDict[str, Upload] = OrderedDict()
        """Those that had no bytes when they were last looked at."""
        self._first_seen: dict[str, float] = {}

    def begin(self, repository: str, algorithm: str = "sha256") -> Upload:
        head = secrets.token_hex(16)
        upload = Upload(self._drafts, head + _tail(head, repository), algorithm)
        upload.used = self._now()
        with self._lock:
            self._open[upload.name] = self._empty[upload.name] = upload
            while len(self._empty) > _EMPTY:
                _, oldest = self._empty.popitem(last=False)
                if oldest.draft is None and oldest.holder is None:
                    del self._open[oldest.name]
        return upload

    def find(self, repository: str, name: str) -> Upload:
        """For reading `size`. Raises UploadUnknownError. May read a whole draft: not for an event loop."""
        if len(name) != 48 or name[32:] != _tail(name[:32], repository):
            raise UploadUnknownError(f"{repository}: no upload {name[:64]}")
        with self._lock:
            upload = self._open.get(name)
        if upload is not None:
            return upload
        draft = self._drafts.resume(name)
        if draft is None:
            raise UploadUnknownError(f"{repository}: no upload {name}")
        draft.suspend()
        with self._lock:
            # Another request may have come by the same way meanwhile; there is one session of a name.
            upload = self._open.setdefault(name, Upload(self._drafts, name, draft=draft))
            upload.used = self._now()
            return upload

    def is_open(self, name: str) -> bool:
        """Whether `find` answers at once."""
        return name in self._open

    def claim(self, repository: str, name: str, holder: object) -> Upload:
        """The session, for `holder` alone until `release` or `end`. Raises UploadUnknownError, UploadBusyError."""
        upload = self.find(repository, name)
        with self._lock:
            if self._open.get(name) is not upload:  # it ended in between
                raise UploadUnknownError(f"{repository}: no upload {name}")
            if upload.holder is not None:
                raise UploadBusyError(upload)
            upload.holder = holder
            return upload

    def release(self, upload: Upload) -> None:
        """The session may go on with another request."""
        if upload.draft is not None:
            upload.draft.suspend()
        with self._lock:
            upload.holder = None
            upload.used = self._now()
            if upload.name in self._open:
                self._open.move_to_end(upload.name)
                if upload.draft is None:
                    self._empty[upload.name] = upload
                    self._empty.move_to_end(upload.name)
                else:
                    self._empty.pop(upload.name, None)

    def end(self, upload: Upload) -> None:
        """The session is over; its draft, where there is one, is the caller's."""
        with self._lock:
            self._open.pop(upload.name, None)
            self._empty.pop(upload.name, None)
            upload.holder = None

    def discard(self, upload: Upload) -> None:
        """End the session and remove its bytes."""
        self.end(upload)
        if upload.draft is not None:
            upload.draft.discard()

    def sweep(self) -> list[str]:
        """Forget and remove what no request has used for long; returns the names.

        How long a file has been there is counted from when this process first saw it: the time of day may jump.
        """
        now = self._now()
        swept = []
        drafts = self._drafts.drafts()
        with self._lock:
            for upload in [upload for upload in self._open.values()
                           if upload.holder is None and now - upload.used > self._idle]:
                del self._open[upload.name]
                self._empty.pop(upload.name, None)
                swept.append(upload.name)
            self._first_seen = {name: self._first_seen.get(name, now) for name in drafts if name not in self._open}
            swept += [name for name, since in self._first_seen.items()
                      if now - since > self._idle and name not in swept]
        for name in swept:
            self._drafts.discard_draft(name)
        return swept


def _tail(head: str, repository: str) -> str:
    return hashlib.sha256(f"{head}\0{repository}".encode()).hexdigest()[:16]
