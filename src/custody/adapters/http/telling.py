"""Says that a server is waited for, so that nobody takes a slow one for a program that hangs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from custody.kit.address import Reach
from custody.ports.http import IDLE_TIMEOUT, Answer, Content, Http, judges_reach, place_of

_LOG = logging.getLogger(__name__)
PATIENCE = 5.0
"""Seconds after which a request without an answer is told of."""


class TellingHttp:
    """Implements ports.http.Http over another."""

    def __init__(self, http: Http, *, patience: float = PATIENCE) -> None:
        self._http = http
        self.judges_reach = judges_reach(http)
        self._patience = patience

    async def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
                      body: bytes | Content | None = None, reach: Reach | None = None) -> Answer:
        timer = asyncio.get_running_loop().call_later(
            self._patience, _LOG.warning, "%s %s: no answer for %g s; waiting, %g s at most", method, place_of(url),
            self._patience, IDLE_TIMEOUT)
        try:
            if reach is None:
                return await self._http.request(method, url, headers=headers, body=body)
            return await self._http.request(method, url, headers=headers, body=body, reach=reach)
        finally:
            timer.cancel()

    async def close(self) -> None:
        await self._http.close()
