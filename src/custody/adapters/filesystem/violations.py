"""Files of violations as Gatekeeper's disk driver has them: a folder for the channel, in it a file for each audit.

    PATH/CHANNEL/2026-11-30T03_17_00Z.txt    while it is written, under a lock
    PATH/CHANNEL/2026-11-30T03_17_00Z.log    once it is whole: a message a line

Folder and files may be written by everybody, since who reads them is another user and takes away what was read. What is
not named so is left alone, and no link is followed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Sequence
from pathlib import Path

from custody.adapters.filesystem.drafts import storage_error
from custody.errors import StorageError

_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d_\d\d_\d\dZ\.(?:log|txt)")


class ViolationFiles:
    """Implements ports.violations.Violations."""

    def __init__(self, path: str, channel: str, keep: int) -> None:
        """`channel` is one folder's name: who gives settings has looked at it."""
        self._folder, self._keep = Path(path) / channel, keep
        self._handle: int | None = None
        self._draft: Path | None = None

    def begin(self, audit: str) -> None:
        self.drop()
        draft = self._folder / f"{audit.replace(':', '_')}.txt"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(PermissionError):  # somebody else's folder, who said who may write there
                self._folder.chmod(0o777)
            if self._folder.is_symlink():
                raise StorageError(f"{self._folder}: is a link, expected a folder")
            self._handle = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._draft = draft  # from here on it is nobody else's
            os.ftruncate(self._handle, 0)
        except OSError as error:
            self._drop()
            raise self._error("begun", error) from None

    def write(self, lines: Sequence[str]) -> None:
        if self._handle is None:
            raise StorageError(f"{self._folder}: no audit was begun")
        data = memoryview("".join(f"{line}\n" for line in lines).encode())
        try:
            while data:
                data = data[os.write(self._handle, data):]
        except OSError as error:
            raise self._error("written", error) from None

    def end(self) -> None:
        if self._handle is None or self._draft is None:
            raise StorageError(f"{self._folder}: no audit was begun")
        handle, draft = self._handle, self._draft
        self._handle = self._draft = None
        try:
            try:
                os.fchmod(handle, 0o666)
            finally:
                os.close(handle)
            draft.rename(draft.with_suffix(".log"))
            for old in self._named()[:-self._keep or None]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise self._error("ended", error) from None

    def drop(self) -> None:
        try:
            self._drop()
        except OSError as error:
            raise self._error("dropped", error) from None

    def clear(self) -> None:
        self.drop()
        try:
            for file in self._named():
                file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others' files are in it, or it is a mount
                self._folder.rmdir()
        except OSError as error:
            raise self._error("cleared", error) from None

    def _drop(self) -> None:
        handle, draft = self._handle, self._draft
        self._handle = self._draft = None
        if handle is not None:
            os.close(handle)
        if draft is not None:
            draft.unlink(missing_ok=True)

    def _named(self) -> list[Path]:
        """The files of audits, the oldest first: their names are times."""
        try:
            return sorted(entry for entry in self._folder.iterdir() if _NAME.fullmatch(entry.name))
        except FileNotFoundError:
            return []

    def _error(self, action: str, error: OSError) -> StorageError:
        made = storage_error(f"{self._folder}: violations could not be {action}", error)
        made.hint = None
        return made
