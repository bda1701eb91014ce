"""How long the work for one question may take, and how many bytes it may bring."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from custody.errors import NetworkError, VerificationError


class Budget:
    """`seconds` from now and `max_bytes` of bodies, for all requests that share it."""

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self.seconds = seconds
        self.max_bytes = max_bytes
        self._end = time.monotonic() + seconds
        self._left = max_bytes

    @property
    def remaining(self) -> float:
        """Seconds, never less than 0."""
        return max(0.0, self._end - time.monotonic())

    @property
    def remaining_bytes(self) -> int:
        return self._left

    def charge(self, size: int) -> None:
        """Count `size` bytes that came. Raises VerificationError where they are too many."""
        self._left = max(-1, self._left - size)
        if self._left < 0:
            raise VerificationError(f"more than {self.max_bytes} bytes of evidence",
                                    hint="what cannot be read whole is not believed")

    @contextlib.asynccontextmanager
    async def timeout(self, question: str) -> AsyncIterator[None]:
        """What runs inside is cancelled when the time is over. Raises NetworkError, naming `question`."""
        scope = asyncio.timeout(self.remaining)
        try:
            async with scope:
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            raise NetworkError(f"{question}: not answered within {self.seconds:g} s") from None


@contextlib.asynccontextmanager
async def limited(budget: Budget | None, question: str) -> AsyncIterator[None]:
    """`budget.timeout`, or no limit where there is no budget."""
    if budget is None:
        yield
    else:
        async with budget.timeout(question):
            yield
