"""The folder that a build works in: walked and removed without trust in what the step left there.

Names may be any bytes, folders unreadable or thousands deep; nothing here follows a symbolic link or recurses.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """A new folder beside the result, that only its owner may enter; removed in the end, whatever is in it."""
    folder = Path(tempfile.mkdtemp(prefix="custody-build-", dir=parent))
    try:
        yield folder
    finally:
        remove_tree(folder)


def walk(folder: Path, *, racing: bool = False) -> Iterator[tuple[str, os.stat_result]]:
    """Relative path and lstat of each entry below `folder`; a folder comes before what is in it.

    It goes no deeper than its caller goes on. `racing` says that somebody still writes there: what goes away in
    between is passed over. Folders that their owner may not read are made readable. Raises OSError.
    """
    first = _open_folder(str(folder), None)
    levels = [(first, os.scandir(first), "")]
    try:
        while levels:
            number, entries, prefix = levels[-1]
            try:
                entry = next(entries, None)
                if entry is None:
                    entries.close()
                    os.close(number)
                    levels.pop()
                    continue
                status = entry.stat(follow_symlinks=False)
            except OSError:
                if racing:
                    continue
                raise
            yield prefix + entry.name, status
            if not stat.S_ISDIR(status.st_mode):
                continue
            try:
                inner = _open_folder(entry.name, number)
            except OSError:
                if racing:
                    continue
                raise
            levels.append((inner, os.scandir(inner), f"{prefix}{entry.name}/"))
    finally:
        for number, entries, _ in levels:
            entries.close()
            os.close(number)


def _open_folder(name: str, parent: int | None) -> int:
    """By its handle, so that a link put in its place is neither opened nor given other permissions."""
    handle = os.open(name, _FOLDER | os.O_PATH, dir_fd=parent)
    try:
        mode = os.fstat(handle).st_mode
        if mode & 0o700 != 0o700 and os.geteuid() == os.fstat(handle).st_uid:
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IMODE(mode) | 0o700)
        return os.open(".", _FOLDER, dir_fd=handle)
    finally:
        os.close(handle)


def remove_tree(folder: Path) -> None:
    """Remove `folder` and all in it. Folders in folders are moved up before, so that no path grows long.

    Nobody else may write in `folder` itself, and nothing else runs in it. Raises OSError.
    """
    top = _open_folder(str(folder), None)
    try:
        pending: list[str] = []
        _empty(top, top, pending, 0)
        moved = len(pending)
        while pending:
            name = pending.pop()
            inner = _open_folder(name, top)
            try:
                moved = _empty(inner, top, pending, moved)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    folder.rmdir()


def _empty(folder: int, top: int, pending: list[str], moved: int) -> int:
    with os.scandir(folder) as entries:
        listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in listed:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
            continue
        if folder == top:
            pending.append(name)
            continue
        os.close(_open_folder(name, folder))  # to move it is to write in it: its ".." changes
        target = f"removed-{moved}"
        os.rename(name, target, src_dir_fd=folder, dst_dir_fd=top)
        pending.append(target)
        moved += 1
    return moved
