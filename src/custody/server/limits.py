"""How long a connection may take for what: a head, a body, taking an answer, saying nothing.

Deadlines are looked at once a second for all connections, not by a timer each: a request costs nothing for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

ANSWER, PROGRESS = 30.0, 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes. A body that brings `progress` bytes in each `body` seconds may last as long as it likes."""

    head: float = 20.0
    """From the first byte of a request to its last header."""
    body: float = 30.0
    progress: int = PROGRESS
    answer: float = ANSWER
    """In which `progress` bytes of an answer that waits must be taken."""
    idle: float = 75.0
    """Between requests. Above the 60 seconds for which many proxies keep a connection."""
    discard: int = 32 * 1024 * 1024
    """Bytes of a body that are read and thrown away after its answer, so that its sender hears the answer."""
    linger: float = 2.0
    """For which a refused client's bytes are thrown away before the connection is cut."""
    sweep: float = 1.0


class Watched(Protocol):
    """A connection."""

    def check(self, now: float) -> None:
        """Close it where a deadline is over. `now` is the event loop's time."""


async def sweep(connections: Iterable[Watched], limits: Limits) -> None:
    """Until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(limits.sweep)
        now = loop.time()
        for connection in list(connections):
            connection.check(now)
