"""What was gathered a moment ago, and what is being gathered now: bounded in bytes and in time.

Who asks for what is being gathered waits for the same work. Work for which nobody waits any more is cancelled.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, NamedTuple, TypeVar

from custody.errors import CustodyError

_T = TypeVar("_T")
_FAILURE = 2048  # bytes of an error and its place


class _Kept(NamedTuple):
    until: float
    value: Any
    error: CustodyError | None
    cost: int


class _Flight:
    """Work that is under way, and for how many."""

    def __init__(self, task: asyncio.Task[Any], cost: Callable[[Any], int]) -> None:
        self.task = task
        self.cost = cost
        self.waiting = 0
        self.outdated = False
        """Whether what it gathers is of before something changed: those who wait have it, and nobody after them."""


class EvidenceCache:
    """Results count for `keep` seconds, errors of custody for `keep_errors`; the least used leave above `max_bytes`.

    Entries leave when their time is over, also when nobody asks. What is larger than `max_bytes` is not kept at all.
    """

    def __init__(self, *, keep: float, keep_errors: float, max_bytes: int) -> None:
        self.keep = keep
        self.keep_errors = keep_errors
        self.max_bytes = max_bytes
        self.size = 0
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._flights: dict[Hashable, _Flight] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_loop: asyncio.AbstractEventLoop | None = None

    async def get(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, _T]], cost: Callable[[_T], int]) -> _T:
        """What `work` gives, or gave; `cost` says how many bytes that is. Raises what `work` raises, or raised."""
        kept = self._kept.get(key)
        if kept is not None and kept.until > time.monotonic():
            self._kept.move_to_end(key)
            if kept.error is not None:
                raise kept.error.with_traceback(None)
            value: _T = kept.value
            return value
        flight = self._flights.get(key)
        if flight is None or flight.task.get_loop() is not asyncio.get_running_loop():
            flight = self._flights[key] = _Flight(asyncio.create_task(work()), cost)
            flight.task.add_done_callback(lambda _, own=flight: self._land(key, own))  # type: ignore[misc]
        flight.waiting += 1
        try:
            gathered: _T = await asyncio.shield(flight.task)
            return gathered
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._drop_flight(key, flight)
                flight.task.cancel()

    def holds(self, key: Hashable) -> bool:
        """Whether `get` would answer at once."""
        kept = self._kept.get(key)
        return kept is not None and kept.until > time.monotonic()

    def known(self, key: Hashable) -> Any | None:
        """What `get` would give at once; None where it would wait, or raise."""
        kept = self._kept.get(key)
        if kept is None or kept.until <= time.monotonic():
            return None
        self._kept.move_to_end(key)
        return kept.value

    def forget(self, about: Callable[[Hashable], bool] | None = None) -> None:
        """Ask everything anew the next time, or what these keys are of."""
        if about is None:
            self._kept.clear()
            self.size = 0
            return
        for key in [key for key in self._kept if about(key)]:
            self._discard(key)
        for key in [key for key in self._flights if about(key)]:
            self._flights.pop(key).outdated = True

    def _land(self, key: Hashable, flight: _Flight) -> None:
        self._drop_flight(key, flight)
        if flight.task.cancelled():
            return
        if flight.outdated:
            flight.task.exception()  # said by who waits for it
            return
        error = flight.task.exception()
        if error is None:
            value = flight.task.result()
            self._keep(key, _Kept(time.monotonic() + self.keep, value, None, flight.cost(value)))
        elif isinstance(error, CustodyError):
            # A traceback holds the frames that failed, and with them every document that was being read.
            error.__traceback__ = error.__context__ = error.__cause__ = None
            self._keep(key, _Kept(time.monotonic() + self.keep_errors, None, error, _FAILURE))

    def _drop_flight(self, key: Hashable, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _keep(self, key: Hashable, entry: _Kept) -> None:
        if entry.until <= time.monotonic() or entry.cost > self.max_bytes:
            return
        self._discard(key)
        self._kept[key] = entry
        self.size += entry.cost
        while self.size > self.max_bytes:
            self._discard(next(iter(self._kept)))
        self._wake(entry.until)

    def _discard(self, key: Hashable) -> None:
        entry = self._kept.pop(key, None)
        if entry is not None:
            self.size -= entry.cost

    def _sweep(self) -> None:
        self._timer = None
        now = time.monotonic()
        for key in [key for key, entry in self._kept.items() if entry.until <= now]:
            self._discard(key)
        if self._kept:
            self._wake(min(entry.until for entry in self._kept.values()))

    def _wake(self, until: float) -> None:
        """Sweep at this time, unless a sweep comes earlier."""
        loop = asyncio.get_running_loop()
        at = loop.time() + max(until - time.monotonic(), 0.0) + 0.01
        if self._timer is not None:
            if self._timer_loop is loop and self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer_loop, self._timer = loop, loop.call_at(at, self._sweep)
