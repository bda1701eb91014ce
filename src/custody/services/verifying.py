"""Verification off the event loop: who has had least of it goes first, heavy documents one at a time.

Signatures and JSON are work for a processor, and whoever may push decides how much of it there is. Documents wait in
one place; of those that wait, the next is of the image that has taken the least time so far, and cheap before dear. A
document once begun is finished: `Trust.max_weight` bounds how long that takes, and how much memory.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from custody.evidence.model import Evidence, Rejected, Verified
from custody.kit.clock import Clock
from custody.services.verify import Terms, judge

_HEAVY = 512 * 1024  # bytes; such a document is parsed alone
_RATE = 20e6  # bytes of JSON a second, about: only an order of who goes first
_VALUE = 72  # bytes of a value at least: an object, and its place in a list or dict


def memory_of(result: Verified | Rejected) -> int:
    """About how many bytes a verified or rejected document takes."""
    size = 2048
    waiting: list[Any] = [result.predicate if isinstance(result, Verified) else result.reason]
    while waiting:
        value = waiting.pop()
        size += _VALUE
        if isinstance(value, str):
            size += len(value)
        elif isinstance(value, dict):
            size += sum(map(len, value)) + 2 * _VALUE * len(value)
            waiting += value.values()
        elif isinstance(value, list):
            size += 8 * len(value)
            waiting += value
    return size


class Share:
    """One image's share of the verifier: seconds that it has had."""

    def __init__(self) -> None:
        self.had = 0.0


@dataclass(eq=False, slots=True)
class _Waiting:
    share: Share
    evidence: Evidence
    terms: Terms
    clock: Clock
    done: asyncio.Future[tuple[Verified | Rejected, int]]

    @property
    def heavy(self) -> bool:
        return len(self.evidence.data) > _HEAVY

    @property
    def rank(self) -> float:
        return self.share.had + len(self.evidence.data) / _RATE


class Verifying:
    """Two threads for any number of images, of which at most one is at a heavy document."""

    def __init__(self, threads: int = 2) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="verify")
        self._count = self._free = threads
        self._heavy = False
        self._waiting: list[_Waiting] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def verify(self, share: Share, evidence: Evidence, terms: Terms, clock: Clock
                     ) -> tuple[Verified | Rejected, int]:
        """What the verifier says, and about how many bytes that takes. Cancelling takes it out of the queue."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what an ended event loop left behind never reports back
            self._loop, self._free, self._heavy, self._waiting = loop, self._count, False, []
        waiting = _Waiting(share, evidence, terms, clock, loop.create_future())
        self._waiting.append(waiting)
        self._next()
        return await waiting.done

    def _next(self) -> None:
        self._waiting = [waiting for waiting in self._waiting if not waiting.done.done()]
        while self._free:
            ready = [waiting for waiting in self._waiting if not (waiting.heavy and self._heavy)]
            if not ready:
                return
            chosen = min(ready, key=lambda waiting: waiting.rank)
            self._waiting.remove(chosen)
            self._free -= 1
            self._heavy = self._heavy or chosen.heavy
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._threads, _timed, chosen.evidence, chosen.terms, chosen.clock)
            running.add_done_callback(lambda ended, own=chosen: self._ended(ended, own))  # type: ignore[misc]

    def _ended(self, ended: asyncio.Future[tuple[Verified | Rejected, int, float]], own: _Waiting) -> None:
        self._free += 1
        if own.heavy:
            self._heavy = False
        if not ended.cancelled():
            result, size, seconds = ended.result()
            own.share.had += seconds
            if not own.done.done():
                own.done.set_result((result, size))
        self._next()


def _timed(evidence: Evidence, terms: Terms, clock: Clock) -> tuple[Verified | Rejected, int, float]:
    begun = time.thread_time()
    result = judge(evidence, terms, clock())
    return result, memory_of(result), time.thread_time() - begun
