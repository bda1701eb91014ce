"""A log read over HTTP."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from custody.errors import NetworkError
from custody.ports.http import Http

_MAX_FILE = 256 * (2 + 0xFFFF)
"""A full entry bundle of the longest entries; every other file is smaller."""


class HttpTiles:
    """Implements ports.tiles.TileReader with blocking reads; not for use inside a running event loop.

    `base` is what `/checkpoint` and `/tile/…` are appended to: for a Rekor v2 log its URL and `/api/v2`.
    """

    def __init__(self, http: Http, base: str) -> None:
        self._http = http
        self._base = base.rstrip("/")
        self._runner = asyncio.Runner()

    def read(self, path: str) -> bytes | None:
        return self._runner.run(self._get(f"{self._base}/{path}"))

    async def _get(self, url: str) -> bytes | None:
        async with await self._http.request("GET", url) as answer:
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise NetworkError(f"GET {url}: got status {answer.status}, expected 200")
            return await answer.read(_MAX_FILE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._runner.run(self._http.close())
        self._runner.close()
