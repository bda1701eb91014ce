"""Folders below a root, each opened from the descriptor of the folder that it is in (openat(2) with O_NOFOLLOW).

A path would be looked up again from the root each time: whoever may write to what is walked could put a link in the
place of a folder in between, and have files of others read.
"""

from __future__ import annotations

import os

FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How a file is opened: no link that took its place is followed, and no pipe waited for."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HELD = 64
"""Descriptors of the lowest folders on the way that are kept open; others are opened again where they are needed."""
_CLOSED = -1


class Descent:
    """Closed by `close`; a descriptor that it gave is open until it is asked for the next."""

    def __init__(self, root: bytes) -> None:
        """Raises OSError. The root itself may be a link: whoever named it meant that."""
        self._names: list[bytes] = []
        self._open = [os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]

    def at(self, below: bytes) -> int:
        """The descriptor of the folder at this path below the root. Raises OSError where it, or one on the way to it,
        is no folder any more.
        """
        names = below.split(b"/") if below else []
        same = 0
        while same < min(len(names), len(self._names)) and names[same] == self._names[same]:
            same += 1
        self._leave(same)
        start = next(place for place in range(same, -1, -1) if self._open[place] != _CLOSED)
        for place in range(start, len(names)):
            opened = os.open(names[place], _FOLDER, dir_fd=self._open[place])
            if place < same:
                self._open[place + 1] = opened
            else:
                self._names.append(names[place])
                self._open.append(opened)
            self._forget(place + 1 - _HELD)
        return self._open[len(names)]

    def _leave(self, depth: int) -> None:
        while len(self._names) > depth:
            self._names.pop()
            self._forget(len(self._open) - 1)
            self._open.pop()

    def _forget(self, place: int) -> None:
        if place > 0 and self._open[place] != _CLOSED:
            os.close(self._open[place])
            self._open[place] = _CLOSED

    def close(self) -> None:
        self._leave(0)
        os.close(self._open[0])
