"""Credentials kept for minutes: looked up in threads, because helper programs are slow, and each helper asked once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from custody.errors import AuthenticationError

if TYPE_CHECKING:
    from custody.registry.credentials import Ask, Credential

_KEPT = 300.0
_FAILURE_KEPT = 30.0
_ASK_AGAIN = 30.0
"""Seconds that a login, and a failed look-up, count; and after which a refused login is looked up again."""
_MOST = 2_000
_THREADS = 4

Find = Callable[[str, str, "Ask"], "Credential | None"]


def _find(host: str, repository: str, ask: Ask) -> Credential | None:
    from custody.registry.credentials import find_credential  # only registries that ask for a login need it

    return find_credential(host, repository, ask=ask)


@dataclass(slots=True)
class _Login:
    task: asyncio.Future[Credential | None]
    since: float


class Logins:
    """`find` is asked for host and repository, in a thread, and asks helpers through what it is given."""

    def __init__(self, find: Find = _find, now: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._now = now
        self._kept: dict[tuple[str, str], _Login] = {}
        self._helpers = _Helpers(now)
        self._threads: ThreadPoolExecutor | None = None

    async def find(self, host: str, repository: str, *, refused: bool = False) -> Credential | None:
        """Raises AuthenticationError or MalformedError. `refused` asks anew unless that was done a moment ago."""
        key = (host, repository)
        login = self._kept.get(key)
        if login is None or self._now() - login.since > self._lifetime(login, refused):
            if len(self._kept) >= _MOST:
                self._kept.clear()
            if refused and login is not None:
                self._helpers.forget()
            # A look-up serves all who wait for it, and goes on when one of them has no more time.
            login = self._kept[key] = _Login(asyncio.ensure_future(self._look_up(host, repository)), self._now())
            login.task.add_done_callback(_retrieved)
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
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._find, host, repository,
                                                                self._helpers.ask)

    def _lifetime(self, login: _Login, refused: bool) -> float:
        if not login.task.done():
            return float("inf")
        if login.task.cancelled() or login.task.exception() is not None:
            return _FAILURE_KEPT
        return _ASK_AGAIN if refused else _KEPT


class _Helpers:
    """Helpers' answers by helper and server, whatever the repository; one question at a time for each."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, str], tuple[float, Future[tuple[str, str] | None]]] = {}

    def ask(self, helper: str, server: str) -> tuple[str, str] | None:
        """Blocks. Raises AuthenticationError."""
        from custody.registry.helper import ask_helper

        key = (helper, server)
        with self._lock:
            since, answer = self._answers.get(key, (float("-inf"), Future()))
            is_asked = self._now() - since <= (_FAILURE_KEPT if answer.done() and answer.exception() else _KEPT)
            if not is_asked:
                if len(self._answers) >= _MOST:
                    self._answers.clear()
                answer = Future()
                self._answers[key] = (self._now(), answer)
        if not is_asked:
            try:
                answer.set_result(ask_helper(helper, server))
            except AuthenticationError as error:
                answer.set_exception(error)
            except BaseException:
                answer.cancel()
                raise
        return answer.result()

    def forget(self) -> None:
        with self._lock:
            self._answers.clear()


def _retrieved(task: asyncio.Future[Credential | None]) -> None:
    """Whoever waited may be gone; a failure is told to the next who asks."""
    if not task.cancelled():
        task.exception()
