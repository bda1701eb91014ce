"""Where a command was told to write: looked at before the work, written whole after it.

    a new name, or a regular file       a draft beside it, renamed; the file's mode and the links to it by symlink stay
    a regular file that cannot be       written in place: in a folder that takes no drafts, or a mount of its own
    renamed onto
    a pipe, a device, /dev/stdout,      written as it is
    /dev/fd/N
    a folder, a socket, a dead end      UsageError

Every error is a UsageError that begins with the flag and the name as it was typed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from custody.errors import StorageFullError, UsageError

_DESCRIPTOR = re.compile(r"/(?:dev/(?:fd/([0-9]+)|stdin|stdout|stderr)|proc/(?:self|[0-9]+)/fd/([0-9]+))")
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_IN_PLACE = (errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES, errno.EROFS)
"""What a draft or its renaming fails with where the file itself may still be written."""


def check(path: Path | str, flag: str) -> None:
    """Whether something can be written there, as far as it can be known now. Raises UsageError."""
    where = f"{flag} {path}" if flag else str(path)
    if not str(path):
        raise UsageError(f"{flag}: got '', expected a file's name")
    if "\0" in str(path):
        raise UsageError(f"{flag}: got a name with a NUL in it, expected a file's name")
    try:
        if _descriptor(path) is not None:
            return
        if str(path).endswith("/"):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        target = Path(os.path.realpath(path))
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            _check_folder(target)
            return
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if stat.S_ISSOCK(mode):
            raise UsageError(f"{where}: is a socket, expected a file's name")
        if not os.access(path, os.W_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror}") from None


def _check_folder(target: Path) -> None:
    folder = target.parent
    if not stat.S_ISDIR(os.stat(folder).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if len(os.fsencode(target.name)) > os.pathconf(folder, "PC_NAME_MAX"):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, f"{os.strerror(errno.EACCES)}: {folder}")


def check_folder(path: Path, flag: str) -> None:
    """The same for a folder that is made where there is none."""
    try:
        top = path
        while not os.path.lexists(top) and top != top.parent:
            top = top.parent
        if not stat.S_ISDIR(os.stat(top).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(top, os.W_OK | os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except ValueError:
        raise UsageError(f"{flag}: got a name with a NUL in it, expected a folder's name") from None
    except OSError as error:
        raise UsageError(f"{flag} {path}: {error.strerror}") from None


def make_folder(path: Path, flag: str) -> None:
    """Raises UsageError."""
    check_folder(path, flag)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{flag} {path}: {error.strerror}") from None


def write(path: Path, data: bytes, flag: str) -> None:
    """Raises UsageError, StorageFullError where there is no room."""
    with opened(path, flag) as stream:
        stream.write(data)


def write_together(files: Sequence[tuple[Path, bytes]], flag: str) -> None:
    """Several files of one folder, all of them or none: drafts beside them first, then each takes its place.

    No link is followed, and nothing but a file is replaced. Raises UsageError, StorageFullError; nothing is written
    then, but for a renaming that fails after others.
    """
    for file, _ in files:
        _check_plain(file, flag)
    drafts: list[Path] = []
    try:
        for file, data in files:
            # Not by the process's number: in a container that is the same again after one that was killed.
            draft = file.with_name(f".custody-{secrets.token_hex(8)}")
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            drafts.append(draft)
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(handle)
        for draft, (file, _) in zip(drafts, files, strict=True):
            draft.replace(file)
    except OSError as error:
        kind = StorageFullError if error.errno in _FULL else UsageError
        raise kind(f"{flag} {files[0][0].parent}: {error.strerror}") from None
    finally:
        for draft in drafts:
            with contextlib.suppress(OSError):  # it was renamed, or its folder is gone
                draft.unlink()


def _check_plain(file: Path, flag: str) -> None:
    try:
        mode = file.lstat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise UsageError(f"{flag} {file}: {error}") from None
    if not stat.S_ISREG(mode):
        raise UsageError(f"{flag} {file}: is {'a link' if stat.S_ISLNK(mode) else 'no file'}, expected a file or "
                         "nothing", hint="nothing was written: give another folder, or take it away")


@contextlib.contextmanager
def opened(path: Path, flag: str, *, private: bool = False) -> Iterator[IO[bytes]]:
    """A stream to it; a regular file has all that is written or stays as it is.

    `private`: a file that only its owner may read, and durable. Raises UsageError, StorageFullError; what the block
    raises passes, but for an OSError that names no file, which is one of writing.
    """
    check(path, flag)
    where = f"{flag} {path}" if flag else str(path)
    target = Path(os.path.realpath(path))
    try:
        descriptor = _descriptor(path)
        if descriptor is not None:
            with os.fdopen(os.dup(descriptor), "wb") as stream:
                yield stream
        elif not target.exists() or target.is_file():
            with _draft(target, private=private) as stream:
                yield stream
        else:
            with target.open("wb") as stream:
                yield stream
    except OSError as error:
        if error.filename is not None and str(error.filename) != str(target):
            raise  # of what is read meanwhile
        kind = StorageFullError if error.errno in _FULL else UsageError
        raise kind(f"{where}: {error.strerror}") from None


@contextlib.contextmanager
def _draft(target: Path, *, private: bool) -> Iterator[IO[bytes]]:
    """A file beside the target that takes its place at the end; where that cannot be, the target itself."""
    there = target.stat() if target.exists() else None
    draft = target.with_name(f".{target.name[:200]}.{secrets.token_hex(8)}")  # not by the process's number, see above
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if private else 0o666)
    except OSError as error:
        if there is None or error.errno not in _IN_PLACE:
            raise OSError(error.errno, error.strerror) from None
        with target.open("wb") as stream:
            yield stream
        return
    try:
        with os.fdopen(handle, "wb") as stream:
            if there is not None and not private:
                with contextlib.suppress(OSError):  # only root gives files away
                    os.fchown(handle, there.st_uid, there.st_gid)
                os.fchmod(handle, stat.S_IMODE(there.st_mode))
            yield stream
            stream.flush()
            if private:
                os.fsync(handle)
        try:
            draft.replace(target)
        except OSError as error:
            if there is None or error.errno not in _IN_PLACE:
                raise OSError(error.errno, error.strerror) from None
            with draft.open("rb") as whole, target.open("wb") as stream:  # a mount of its own, as containers have them
                shutil.copyfileobj(whole, stream)
    finally:
        draft.unlink(missing_ok=True)


def _descriptor(path: Path | str) -> int | None:
    """The open file that a name such as /dev/stdout stands for: opening it again would forget where it was."""
    match = _DESCRIPTOR.fullmatch(str(path))
    if match is None:
        return None
    if str(path).startswith("/proc/") and not str(path).startswith(("/proc/self/", f"/proc/{os.getpid()}/")):
        return None
    number = _STANDARD.get(str(path))
    if number is None:
        number = int(match[1] or match[2])
    os.fstat(number)
    return number
