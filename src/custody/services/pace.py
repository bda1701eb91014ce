"""When an image of a review is begun: the first of each review at once, the others as far as the event loop keeps up.

Every request is work for the one event loop, so a pod of 64 images, each at a host of its own, is 64 times the work of
an honest one. Images after a review's first wait for their turn, the second of every review before the third of any;
after each the event loop rests for as long as the work of that one made everybody wait, four times over.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools

_AT_ONCE = 2  # images of a review that do not wait
_REST = 0.001  # seconds, at least
_SHARE = 4.0  # times the delay that was seen
_LONGEST = 1.0


class Pace:
    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._begins: asyncio.Task[None] | None = None

    async def turn(self, position: int) -> None:
        """Wait until the image at this position of its review may be begun."""
        if position < _AT_ONCE:
            return
        loop = asyncio.get_running_loop()
        if self._begins is None or self._begins.done() or self._begins.get_loop() is not loop:
            self._waiting = []  # what an ended event loop left behind
            self._begins = loop.create_task(self._begin())
        future: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._waiting, (position, next(self._numbers), future))
        await future

    async def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        rest = 0.0
        while self._waiting:
            _, _, future = heapq.heappop(self._waiting)
            if future.done():  # nobody waits any more
                continue
            future.set_result(None)
            begun = loop.time()
            await asyncio.sleep(rest)
            delay = loop.time() - begun - rest
            rest = min(max(_REST, _SHARE * delay), _LONGEST)
