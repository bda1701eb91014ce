"""Requests that are under way, of all that share a client: so many and no more, and the oldest makes room.

A name costs nothing, so one pod can have images at as many hosts as it likes that all take a connection and say
nothing. Nobody waits for them: above the limit the request that was begun first is given up, whoever waits for it. What
a registry answers at once is never the oldest.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator

from custody.errors import NetworkError

_MOST = 512
_SHARE = 0.2  # of the files that this process may open


class Exchanges:
    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit if limit is not None else _usual()
        self._open: dict[Exchange, None] = {}

    def begin(self) -> Exchange:
        """One more, which is to be ended."""
        exchange = Exchange(self)
        self._open[exchange] = None
        if len(self._open) > self.limit:
            next(iter(self._open)).give_up()
        return exchange

    def end(self, exchange: Exchange) -> None:
        self._open.pop(exchange, None)


class Exchange:
    """A request and its answer, until that is closed."""

    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges
        self._scope: asyncio.Timeout | None = None
        self._given_up = False

    @contextlib.asynccontextmanager
    async def waiting(self, question: str) -> AsyncIterator[None]:
        """Wait inside for the other side. Raises NetworkError, naming `question`, where this exchange was given up."""
        scope = asyncio.timeout(0 if self._given_up else None)
        try:
            async with scope:
                self._scope = scope
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            raise NetworkError(f"{question}: given up: {self._exchanges.limit} requests are under way, and this one "
                               "was begun first") from None
        finally:
            self._scope = None

    def give_up(self) -> None:
        self._given_up = True
        self.end()
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())

    def end(self) -> None:
        self._exchanges.end(self)


def _usual() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else max(1, min(_MOST, int(soft * _SHARE)))
