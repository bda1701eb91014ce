"""A file of alerts, a line each: appended to, made durable, and cut back to what was noted after a crash."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from custody.adapters.filesystem.drafts import storage_error
from custody.errors import StorageError, UsageError
from custody.ports.alerting import Line, Place


class AlertFile:
    """Implements ports.alerting.AlertOutput. Rotation is by renaming: the next write makes the file anew.

    Where the place of its end was noted, what stands after that was written by a process that ended before it could
    note it. Its events are read again, so it is cut off, also where the file was renamed meanwhile.
    """

    def __init__(self, path: Path, *, text: bool = False) -> None:
        self._path, self._text = path, text
        self._handle: int | None = None
        self._size = 0

    @property
    def name(self) -> str:
        return f"file:{self._path}"

    def probe(self) -> None:
        """Raises UsageError for a place at which there can be no such file: alerts would wait for ever."""
        folder, where = self._path.parent, f"--output {self._path}"
        if not os.path.isdir(folder):  # a Path would raise where a folder above may not be looked into
            raise UsageError(f"{where}: {folder} is no folder, or not for this user to see")
        there = os.path.exists(self._path)
        if there and not os.path.isfile(self._path):
            raise UsageError(f"{where}: it is no file", hint="stdout is standard output")
        if not (os.access(self._path, os.W_OK) if there else os.access(folder, os.W_OK | os.X_OK)):
            raise UsageError(f"{where}: this user may not write there")

    def write(self, lines: Sequence[Line]) -> None:
        data = b"".join(b"%b\n" % (line.text.encode("utf-8", "replace") if self._text else line.json)
                        for line in lines)
        try:
            handle = self._current()
            begun = self._size
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(handle, view):]
                os.fdatasync(handle)
            except OSError:
                with contextlib.suppress(OSError):  # half a line must not stand there
                    os.ftruncate(handle, begun)
                raise
            self._size = begun + len(data)
        except OSError as error:
            raise storage_error(self.name, error) from None

    def place(self) -> Place | None:
        try:
            state = os.fstat(self._current())
        except OSError as error:
            raise storage_error(self.name, error) from None
        return Place(state.st_dev, state.st_ino, self._size)

    def recover(self, place: Place | None) -> str:
        if place is None:
            return ""
        try:
            for path in (self._path, *self._siblings()):
                state = path.stat()
                if stat.S_ISREG(state.st_mode) and (state.st_dev, state.st_ino) == (place.device, place.inode):
                    self._cut(path, place)
                    return ""
        except FileNotFoundError:
            pass
        except OSError as error:
            raise storage_error(self.name, error) from None
        return (f"{self.name}: the file that was written last is not there any more; alerts of its last moment may be "
                "written twice")

    def _cut(self, path: Path, place: Place) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            state = os.fstat(handle)
            if (state.st_dev, state.st_ino) == (place.device, place.inode) and state.st_size > place.size:
                self._own(handle)
                os.ftruncate(handle, place.size)
        finally:
            os.close(handle)

    def _own(self, handle: int) -> None:
        """Of two processes that write to one file, each would cut off what the other wrote. Raises StorageError."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"{self.name}: another process writes to it",
                               hint="each watch has an output file of its own") from None

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _current(self) -> int:
        """The file that has the name now."""
        if self._handle is not None:
            own = os.fstat(self._handle)
            try:
                there = os.stat(self._path)
            except FileNotFoundError:
                there = None
            if there is not None and (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino):
                if own.st_size != self._size:  # cut off by whoever rotates it by copying
                    self._size = own.st_size
                return self._handle
            self.close()
        # Not blocking: to open a pipe that nobody reads would never end.
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)
        state = os.fstat(handle)
        try:
            if not stat.S_ISREG(state.st_mode):
                raise StorageError(f"{self.name}: it is no file")
            self._own(handle)
        except BaseException:
            os.close(handle)
            raise
        self._handle, self._size = handle, state.st_size
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return handle

    def _siblings(self) -> list[Path]:
        return sorted(path for path in self._path.parent.iterdir()
                      if path.name.startswith(self._path.stem) and path != self._path)
