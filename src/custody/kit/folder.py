"""Folders that only their owner may enter, and in which git sees nothing."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from custody.errors import UsageError

_IGNORE = "# made by custody: keys are in here\n*\n"


def private(path: Path) -> Path:
    """Make a folder of mode 0700 where there is none, whatever the umask. One that is there keeps its mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        path.chmod(0o700)  # a umask may have taken the owner's bits too
    return path


def state_folder(path: Path) -> Path:
    """The data directory, made where there is none: mode 0700, with a .gitignore that keeps its keys out of git.

    One that was made by others keeps its mode and what is in it; only one named `.custody` gets the .gitignore that
    it lacks. Raises UsageError where it cannot be made.
    """
    made = not path.exists()
    try:
        private(path)
        if not path.is_dir():
            raise NotADirectoryError(20, os.strerror(20))
        if made or path.absolute().name == ".custody":
            hide(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}, expected a folder that this user may write to",
                         hint="data_dir in custody.toml, or CUSTODY_DATA_DIR, names another") from None
    return path


def hide(path: Path) -> None:
    """Give a folder the .gitignore that keeps what is in it out of git, unless it has one."""
    with contextlib.suppress(FileExistsError), (path / ".gitignore").open("x") as stream:
        stream.write(_IGNORE)


def sync(path: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refuse_open(path: Path) -> None:
    """Raises UsageError for the file of a key of ours that others than its owner may read, or replace by another; what
    is not there passes."""
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        return
    if mode & 0o077:
        raise UsageError(f"{path}: others may read it (mode {mode:03o}), expected 600",
                         hint=f"chmod 600 {path}, and make new material if others did read it")
    folder = path.parent.stat().st_mode
    if folder & 0o022 and not folder & stat.S_ISVTX:  # of a sticky folder, only a file's owner replaces it
        raise UsageError(f"{path.parent}: others may replace the keys in it (mode {folder & 0o777:03o}), expected 700",
                         hint=f"chmod 700 {path.parent}, and look whether the keys are the ones that were made")
