"""Looks at images and advisories again and again, beside the services: what `custody watch` does in the foreground."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from custody.errors import CustodyError
from custody.kit.clock import Clock
from custody.ports.queue import Queue
from custody.services.arrivals import Arrivals
from custody.services.attestedvex import Heard
from custody.services.counting import NOTHING, Kept, Words
from custody.services.notify import Notifier, tell
from custody.services.rematch import Advisories, refresh
from custody.services.rescans import Rescans

_LOG = logging.getLogger(__name__)
_KEPT = timedelta(days=90)
_SHOWN = 5


class Watching:
    """One look after another; a failure is logged, and the next look is made all the same."""

    def __init__(self, store: Kept, queue: Queue, advisories: Advisories, clock: Clock, arrivals: Arrivals,
                 repositories: Callable[[], Sequence[str]], notifiers: Sequence[Notifier],
                 rescans: Rescans | None = None, words: Callable[[Heard], Words] = lambda _: NOTHING,
                 attested: Callable[[], Awaitable[Heard]] | None = None) -> None:
        self._store, self._queue, self._advisories, self._clock = store, queue, advisories, clock
        self._arrivals, self._repositories, self._notifiers = arrivals, repositories, notifiers
        self._rescans, self._words, self._attested = rescans, words, attested

    async def run(self, interval: float) -> None:
        """Until cancelled, `interval` seconds between two looks."""
        while True:
            try:
                await self.look()
            except CustodyError as error:
                _LOG.warning("images were not looked at: %s", error.message)
            except Exception:
                _LOG.exception("images were not looked at")
            await asyncio.sleep(interval)

    async def look(self) -> None:
        """Raises StorageError."""
        arrived = await self._arrivals.look(self._repositories())
        for failure in arrived.failures[:_SHOWN]:
            _LOG.warning("%s; it is tried again", failure)
        now = self._clock()
        words = await asyncio.to_thread(self._words, await self._attested() if self._attested else Heard())
        for reason in words.unread[:_SHOWN]:
            _LOG.warning("%s; it does not count", reason)
        done = await asyncio.to_thread(refresh, self._store, self._advisories, now, words=words)
        if arrived.kept or done.appeared or done.changed or done.disappeared:
            _LOG.info("%d images kept; findings: %d appeared, %d changed, %d disappeared", arrived.kept, done.appeared,
                      done.changed, done.disappeared)
        if self._rescans is not None:
            rescanned = await self._rescans.look(words)
            for failure in rescanned.failures[:_SHOWN]:
                _LOG.warning("%s; it is tried again", failure)
            if rescanned.attested:
                _LOG.info("scans of %d of %d released images attested anew", len(rescanned.attested),
                          rescanned.released)
        for reason in await tell(self._notifiers, self._store):
            _LOG.warning("%s; it is tried again", reason)
        await asyncio.to_thread(self._store.prune, now - _KEPT)
        await asyncio.to_thread(self._queue.prune, now - _KEPT)
