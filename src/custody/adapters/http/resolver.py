"""Names to addresses, so that names that never resolve keep nobody else from resolving his.

A lookup blocks a thread for as long as somebody's name server likes, and cannot be ended. uvloop has two threads for
all of them, asyncio a few more for them and everything else. Here names that resolved before have threads of their own,
and names under one domain take four at a time.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from custody.kit.address import Reach, network_of, out_of_reach
from custody.ports.http import CONNECT_TIMEOUT

_KNOWN_THREADS = 8
_NEW_THREADS = 48
_PER_DOMAIN = 4
_MOST = 2_000


class Lookups:
    """The part of an event loop that aiohttp's resolver uses."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._threads = {True: ThreadPoolExecutor(_KNOWN_THREADS, "custody-names"),
                         False: ThreadPoolExecutor(_NEW_THREADS, "custody-new-names")}

    async def getaddrinfo(self, host: str, port: int, **options: Any) -> Any:
        """Raises OSError, also where there was no answer within ten seconds."""
        turn = self._turns.setdefault(_domain(host), asyncio.Semaphore(_PER_DOMAIN))
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT), turn:
                addresses = await asyncio.get_running_loop().run_in_executor(
                    self._threads[host in self._known], lambda: socket.getaddrinfo(host, port, **options))
        except TimeoutError:
            raise OSError(errno.ETIMEDOUT, f"{host} was not resolved within {CONNECT_TIMEOUT:g} s") from None
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[host] = None
        return addresses

    async def getnameinfo(self, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().getnameinfo(*arguments)

    def close(self) -> None:
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)


class Resolver(AbstractResolver):
    """The addresses of a name that are in reach, all where that is None; connections go to these and no others."""

    def __init__(self, lookups: Lookups, reach: Reach | None) -> None:
        self._reach = reach
        self._inner = aiohttp.ThreadedResolver(loop=lookups)  # type: ignore[arg-type]

    async def resolve(self, host: str, port: int = 0,
                      family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        results = await self._inner.resolve(host, port, family)
        reach = self._reach
        allowed = [result for result in results if reach is None or network_of(result["host"]) in reach]
        if not allowed:
            raise OSError(errno.EHOSTUNREACH, out_of_reach(host, results[0]["host"] if results else "no address"))
        return allowed

    async def close(self) -> None:
        await self._inner.close()


def _domain(host: str) -> str:
    return ".".join(host.lower().rstrip(".").split(".")[-2:])
