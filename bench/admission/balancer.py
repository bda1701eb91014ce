"""One address before several replicas, as a Service is: connections go in turn to those whose /readyz answers 200.

    python bench/admission/balancer.py PORT WEBHOOK:HEALTH [WEBHOOK:HEALTH ...]

It carries bytes, and knows no TLS. A replica is asked each half second, as kubelet's probe would; one that refuses a
connection is passed over at once, as kube-proxy does not. Where none is ready a connection is closed, as to a Service
without endpoints. What a replica that died had is cut on the other side too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import urllib.error
import urllib.request
from typing import cast

import uvloop

_PERIOD = 0.5  # seconds
_FAILURES = 3


class _Side(asyncio.Protocol):
    """One of the two connections that are one."""

    transport: asyncio.Transport
    beyond: _Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class

    def data_received(self, data: bytes) -> None:
        if self.beyond is not None:
            self.beyond.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.beyond is not None:
            self.beyond.transport.abort() if exc else self.beyond.transport.close()


class Balancer:
    def __init__(self, replicas: list[tuple[int, int]]) -> None:
        self._replicas = replicas
        self._failed = dict.fromkeys((port for port, _ in replicas), _FAILURES)
        self._turn = 0

    async def probe(self) -> None:
        """Until cancelled. A process that is gone is known at once, one that is late after three times."""
        while True:
            outcomes = await asyncio.gather(*(asyncio.to_thread(_probe, health) for _, health in self._replicas))
            for (port, _), outcome in zip(self._replicas, outcomes, strict=True):
                self._failed[port] = 0 if outcome is True else _FAILURES if outcome is False else (
                    self._failed[port] + 1)
            await asyncio.sleep(_PERIOD)

    async def carry(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        carrying: set[asyncio.Task[None]] = set()
        while True:
            connection, _ = await loop.sock_accept(listening)
            task = asyncio.create_task(self._join(connection))
            carrying.add(task)
            task.add_done_callback(carrying.discard)

    async def _join(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        ready = [port for port, failed in self._failed.items() if failed < _FAILURES]
        self._turn += 1
        inner, outer = _Side(), _Side()
        for at in range(len(ready)):
            with contextlib.suppress(OSError):
                await loop.create_connection(lambda: inner, "127.0.0.1", ready[(self._turn + at) % len(ready)])
                outer.beyond, inner.beyond = inner, outer
                await loop.connect_accepted_socket(lambda: outer, connection)
                return
        connection.close()


def _probe(port: int) -> bool | None:
    """Whether it is ready; None where it did not say in time."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return True
    except urllib.error.HTTPError:
        return False
    except TimeoutError:
        return None
    except OSError as error:
        return None if isinstance(getattr(error, "reason", error), TimeoutError) else False


async def _main(port: int, replicas: list[tuple[int, int]]) -> None:
    balancer = Balancer(replicas)
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listening:
        await asyncio.gather(balancer.probe(), balancer.carry(listening))


if __name__ == "__main__":
    pairs = [pair.split(":") for pair in sys.argv[2:]]
    uvloop.run(_main(int(sys.argv[1]), [(int(webhook), int(health)) for webhook, health in pairs]))
