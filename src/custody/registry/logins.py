"""Credentials kept for minutes: one look-up at a time for each host, in a thread, because helper programs are slow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from custody.registry.credentials import Credential, find_credential

_KEPT = 300.0
_FAILURE_KEPT = 30.0
_ASK_AGAIN = 30.0
"""Seconds that a login, and a failed look-up, count; and after which a refused login is looked up again."""
_MOST = 2_000
_THREADS = 4

Lookup = Callable[[str, str], Credential | None]


@dataclass(slots=True)
class _Login:
    task: asyncio.Future[Credential | None]
    since: float


class Logins:
    """`find` is asked for host and repository; it may block."""

    def __init__(self, find: Lookup = find_credential, now: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._now = now
        self._kept: dict[tuple[str, str], _Login] = {}
        self._threads: ThreadPoolExecutor | None = None

    async def find(self, host: str, repository: str, *, refused: bool = False) -> Credential | None:
        """Raises AuthenticationError or MalformedError. `refused` asks anew unless that was done a moment ago."""
        key = (host, repository)
        login = self._kept.get(key)
        if login is None or self._now() - login.since > self._lifetime(login, refused):
            if len(self._kept) >= _MOST:
                self._kept.clear()
            # A look-up serves all who wait for it, and goes on when one of them has no more time.
            login = self._kept[key] = _Login(asyncio.ensure_future(self._look_up(host, repository)), self._now())
        return await asyncio.shield(login.task)

    def close(self) -> None:
        for login in self._kept.values():
            login.task.cancel()
        self._kept.clear()
        if self._threads:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    async def _look_up(self, host: str, repository: str) -> Credential | None:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, "custody-logins")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._find, host, repository)

    def _lifetime(self, login: _Login, refused: bool) -> float:
        if not login.task.done():
            return float("inf")
        if login.task.cancelled() or login.task.exception() is not None:
            return _FAILURE_KEPT
        return _ASK_AGAIN if refused else _KEPT
