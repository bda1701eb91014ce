"""Files of violations as Gatekeeper's disk driver has them: a folder for the channel, in it a file for each audit.

    PATH/CHANNEL/2026-11-30T03_17_00Z.txt    while it is written, under a lock
    PATH/CHANNEL/2026-11-30T03_17_00Z.log    once it is whole: a message a line

Folder and files may be written by everybody, since who reads them is another user and takes away what was read. So
anybody may put anything there, under any name: the folder is opened once and is no link, each file is one that was made
here, and what is no plain file of such a name is neither opened nor counted nor taken away.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from custody.adapters.filesystem.drafts import storage_error
from custody.errors import StorageError
from custody.ports.violations import Violations

_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d_\d\d_\d\dZ\.(log|txt)")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MADE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOKED_AT = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _Draft(NamedTuple):
    """What is being written: descriptors of the folder and of the file in it."""

    folder: int
    handle: int
    name: str

    @property
    def there(self) -> bool:
        """Whether the name is still that of the file: others may rename it and put another in its place."""
        try:
            return os.path.samestat(os.stat(self.name, dir_fd=self.folder, follow_symlinks=False),
                                    os.fstat(self.handle))
        except FileNotFoundError:
            return False


class ViolationFiles:
    """Implements ports.violations.Violations."""

    def __init__(self, path: str, channel: str, keep: int) -> None:
        """`channel` is one folder's name: who gives settings has looked at it."""
        self._folder, self._keep = Path(path) / channel, keep
        self._draft: _Draft | None = None

    def begin(self, audit: str) -> None:
        self.drop()
        name = audit.replace(":", "_")
        with self._errors("begun"), contextlib.ExitStack() as undone:
            folder = self._enter(make=True)
            undone.callback(os.close, folder)
            if _status(folder, f"{name}.log") is not None:
                raise self._taken(f"{name}.log")
            try:
                handle = os.open(f"{name}.txt", _MADE, 0o666, dir_fd=folder)
            except FileExistsError:
                raise self._taken(f"{name}.txt") from None
            draft = _Draft(folder, handle, f"{name}.txt")
            undone.callback(os.close, handle)
            undone.callback(_unlink, draft)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            undone.pop_all()
            self._draft = draft

    def write(self, lines: Sequence[str]) -> None:
        data = memoryview("".join(f"{line}\n" for line in lines).encode())
        with self._errors("written"):
            handle = self._begun().handle
            while data:
                data = data[os.write(handle, data):]

    def end(self) -> None:
        draft = self._begun()
        try:
            with self._errors("ended"):
                if not draft.there or not os.path.samestat(os.lstat(self._folder), os.fstat(draft.folder)):
                    raise StorageError(f"{self._folder}: {draft.name} is not the file any more that was written")
                os.fchmod(draft.handle, 0o666)
                fcntl.flock(draft.handle, fcntl.LOCK_UN)  # who reads may lock it as soon as it has its name
                os.rename(draft.name, f"{draft.name[:-4]}.log", src_dir_fd=draft.folder, dst_dir_fd=draft.folder)
            with self._errors("pruned: the audit is whole, but those before it"):
                whole = [name for name in _named(draft.folder) if name.endswith(".log")]
                left = [name for name in _named(draft.folder) if name.endswith(".txt") and name < draft.name]
                _take_away(draft.folder, [*whole[:-self._keep or None], *left])
        finally:
            self.drop()

    def drop(self) -> None:
        draft, self._draft = self._draft, None
        if draft is None:
            return
        with self._errors("dropped"), contextlib.ExitStack() as closed:
            closed.callback(os.close, draft.folder)
            closed.callback(os.close, draft.handle)
            _unlink(draft)

    def clear(self) -> None:
        self.drop()
        with self._errors("cleared"):
            try:
                folder = self._enter()
            except FileNotFoundError:
                return
            try:
                _take_away(folder, _named(folder))
            finally:
                os.close(folder)
            with contextlib.suppress(OSError):  # others' files are in it, or it is a mount
                self._folder.rmdir()

    def same(self, place: Violations) -> bool:
        if not isinstance(place, ViolationFiles):
            return False
        with self._errors("told from others"):
            if os.path.realpath(self._folder) == os.path.realpath(place._folder):
                return True
            try:
                return os.path.samefile(self._folder, place._folder)
            except FileNotFoundError:
                return False

    def _enter(self, *, make: bool = False) -> int:
        """A descriptor of the folder. Its mode is that of whoever made it, and where nobody had, of everybody."""
        made = False
        if make:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self._folder.mkdir()
                made = True
        try:
            folder = os.open(self._folder, _FOLDER)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR) and self._folder.is_symlink():
                raise StorageError(f"{self._folder}: is a link, expected a folder") from None
            raise
        try:
            if made and not os.listdir(folder):  # nobody has put another in its place
                os.fchmod(folder, 0o777)
        except OSError:
            os.close(folder)
            raise
        return folder

    def _taken(self, name: str) -> StorageError:
        return StorageError(f"{self._folder}: {name} is there already, expected a name that nothing has")

    def _begun(self) -> _Draft:
        if self._draft is None:
            raise StorageError(f"{self._folder}: no audit was begun")
        return self._draft

    @contextlib.contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            made = storage_error(f"{self._folder}: violations could not be {action}", error)
            made.hint = None
            raise made from None


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _named(folder: int) -> list[str]:
    """The plain files of audits, the oldest first: their names are times."""
    named = []
    for name in sorted(os.listdir(folder)):
        if _NAME.fullmatch(name):
            status = _status(folder, name)
            if status is not None and stat.S_ISREG(status.st_mode):
                named.append(name)
    return named


def _take_away(folder: int, names: Sequence[str]) -> None:
    """All that can be; drafts that somebody writes stay. Raises the first OSError at the end."""
    first: OSError | None = None
    for name in names:
        try:
            if name.endswith(".log") or _is_left(folder, name):
                os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            first = first or error
    if first is not None:
        raise first


def _is_left(folder: int, name: str) -> bool:
    """Whether nobody writes a draft any more: who does holds its lock. One with another name elsewhere is none."""
    handle = os.open(name, _LOOKED_AT, dir_fd=folder)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            return False
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(handle)


def _unlink(draft: _Draft) -> None:
    if draft.there:
        os.unlink(draft.name, dir_fd=draft.folder)
