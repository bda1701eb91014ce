"""What the world may do to an adapter: fail before or after the effect, stop half way, win a race, be slow."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import time
from collections.abc import Callable, Iterator
from enum import Enum


class Fault(Enum):
    BEFORE = "nothing happened, and an error says so"
    AFTER = "it happened, and an error says that it did not"
    HALF = "some of it happened, then an error"
    LOST = "another one was faster"
    SLOW = "it happens later"


class Faults:
    """Counts operations by name, and has for each the fault that `plan` says. An operation without one works."""

    def __init__(self) -> None:
        self.count = 0
        self.met: list[tuple[str, Fault]] = []
        self.plan: Callable[[int, str], Fault | None] = lambda _number, _name: None

    def none(self) -> None:
        self.plan = lambda _number, _name: None

    def only(self, number: int, fault: Fault) -> None:
        """The next operations work, but for the one of this number, counted from now."""
        at = self.count + number
        self.plan = lambda number, _name: fault if number == at else None

    def some(self, rng: random.Random, share: float) -> None:
        """So many of all operations fail, in any way."""
        self.plan = lambda _number, _name: rng.choice(list(Fault)) if rng.random() < share else None

    @contextlib.contextmanager
    def at(self, name: str) -> Iterator[Fault | None]:
        """Around the effect, which the adapter makes in part only for HALF, and as another's for LOST."""
        number, self.count = self.count, self.count + 1
        fault = self.plan(number, name)
        if fault is not None:
            self.met.append((name, fault))
        if fault is Fault.SLOW:
            time.sleep(0.002)
        if fault is Fault.BEFORE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield fault
        if fault in (Fault.AFTER, Fault.HALF):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
