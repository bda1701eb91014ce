"""Reading what a hostile process may keep from ending: its memory through /proc, files of a filesystem of its own.

A process can have its arguments on a page that it answers for itself (userfaultfd(2)), or its root on a filesystem that
it serves (FUSE): whoever reads that waits as long as it likes. Such reads are done by a thread that is given up.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_T = TypeVar("_T")
MOST = 8
"""Threads that may hang; while so many do, nothing is asked, and all is unknown."""
SECONDS = 0.2


class Patience:
    """Not for several threads at once."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._asked: queue.SimpleQueue[Callable[[], Any] | None] | None = None
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._hung: list[threading.Thread] = []
        self.unread = 0
        """Reads that were given up, or not begun since too many hang: a loss, since it is what somebody hides."""

    @property
    def hung(self) -> int:
        """Threads that do not come back; those that did are not counted any more."""
        self._hung = [thread for thread in self._hung if thread.is_alive()]
        return len(self._hung)

    def ask(self, read: Callable[[], _T]) -> _T | None:
        """What `read` gives, or None where that takes too long, or raises OSError."""
        if len(self._hung) >= MOST and self.hung >= MOST:
            self.unread += 1
            return None
        if self._asked is None:
            self._asked, self._answers = queue.SimpleQueue(), queue.SimpleQueue()
            self._thread = threading.Thread(target=_answer, args=(self._asked, self._answers), daemon=True,
                                            name="custody-sensor-reads")
            self._thread.start()
        self._asked.put(read)
        try:
            answer: _T | None = self._answers.get(timeout=self._seconds)
        except queue.Empty:
            self.unread += 1
            if self._thread is not None:
                self._hung.append(self._thread)
            self._asked.put(None)  # it ends when, and if, it comes back
            self._asked = None
            return None
        return answer

    def counted(self, losses: Mapping[str, int]) -> dict[str, int]:
        """Losses of a sensor, and what was not read as one of them."""
        return {**losses, **({"unread": self.unread} if self.unread else {})}

    def close(self) -> None:
        if self._asked is not None:
            self._asked.put(None)
            self._asked = None


def _answer(asked: queue.SimpleQueue[Callable[[], Any] | None], answers: queue.SimpleQueue[Any]) -> None:
    while (read := asked.get()) is not None:
        try:
            answers.put(read())
        except OSError:
            answers.put(None)
