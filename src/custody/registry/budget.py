"""What one piece of work may cost at registries: a deadline and a number of bytes, charged as they arrive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from custody.errors import NetworkError, VerificationError
from custody.ports.http import Answer, Http, collect


class Budget:
    """`seconds` from now, and `max_bytes` of answers together."""

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self.deadline = time.monotonic() + seconds
        self.seconds = seconds
        self.max_bytes = max_bytes
        self.used = 0

    @property
    def left(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(self.deadline - time.monotonic(), 0.0)

    def charge(self, count: int) -> None:
        """Raises VerificationError where more bytes came than were allowed."""
        self.used += count
        if self.used > self.max_bytes:
            raise VerificationError(f"got more than {self.max_bytes} bytes from the registry, which is all that is "
                                    "read about one image")


class BudgetedHttp:
    """Implements ports.http.Http: another Http, under a budget. Closing it is the other's affair."""

    def __init__(self, http: Http, budget: Budget) -> None:
        self._http = http
        self._budget = budget

    async def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
                      body: bytes | Path | None = None) -> _Charged:
        try:
            async with asyncio.timeout(self._budget.left):
                return _Charged(await self._http.request(method, url, headers=headers, body=body), self._budget, url)
        except TimeoutError:
            raise NetworkError(f"{method} {url}: no answer within {self._budget.seconds:.1f} s") from None

    async def close(self) -> None:
        return


class _Charged:
    def __init__(self, answer: Answer, budget: Budget, url: str) -> None:
        self.status, self.headers = answer.status, answer.headers
        self._answer, self._budget, self._url = answer, budget, url

    async def chunks(self) -> AsyncIterator[bytes]:
        chunks = self._answer.chunks()
        while True:
            try:
                async with asyncio.timeout(self._budget.left):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise NetworkError(f"{self._url}: no end within {self._budget.seconds:.1f} s") from None
            self._budget.charge(len(chunk))
            yield chunk

    async def read(self, limit: int) -> bytes:
        return await collect(self.chunks(), limit, self._url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self._answer.__aexit__(kind, error, trace)
