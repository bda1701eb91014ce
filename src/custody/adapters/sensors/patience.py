"""Reading what a hostile process may keep from ending: its memory through /proc, files of a filesystem of its own.

A process can have its arguments on a page that it answers for itself (userfaultfd(2)), or its root on a filesystem that
it serves (FUSE): whoever reads that waits as long as it likes. Such reads are done by a thread that is given up.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")
MOST = 8
"""Threads that may hang; after that nothing is asked any more, and all is unknown."""
SECONDS = 0.2


class Patience:
    """Not for several threads at once."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._asked: queue.SimpleQueue[Callable[[], Any] | None] | None = None
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.hung = 0

    def ask(self, read: Callable[[], _T]) -> _T | None:
        """What `read` gives, or None where that takes too long, or raises OSError."""
        if self.hung >= MOST:
            return None
        if self._asked is None:
            self._asked, self._answers = queue.SimpleQueue(), queue.SimpleQueue()
            threading.Thread(target=_answer, args=(self._asked, self._answers), daemon=True,
                             name="custody-sensor-reads").start()
        self._asked.put(read)
        try:
            answer: _T | None = self._answers.get(timeout=self._seconds)
        except queue.Empty:
            self.hung += 1
            self._asked.put(None)  # it ends when, and if, it comes back
            self._asked = None
            return None
        return answer

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
