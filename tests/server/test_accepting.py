"""Connections that say nothing keep nobody out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from custody.admission.certs import ServingCertificate
from custody.server.asgi import read_body, respond
from custody.server.connections import Connections
from custody.server.run import Listener, serving
from custody.server.tls import server_context

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n"


class App:
    def __init__(self) -> None:
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive, 10)
        self.asked.set()
        if body == b"ww":
            await self.go.wait()
        await respond(send, 200, body)


@contextlib.asynccontextmanager
async def listening(app: App, limit: int, folder: Path | None = None) -> AsyncIterator[Listener]:
    files = {}
    if folder is not None:
        certificate = ServingCertificate(folder, ["127.0.0.1"])
        certificate.ensure(datetime.now(UTC))
        files = {"certificate": certificate.certificate, "key": certificate.key}
    listener = Listener(app, tls=server_context(**files) if files else None)
    listener._server.connections = Connections(limit)
    async with serving(listener):
        yield listener


async def ask(port: int, body: bytes, context: ssl.SSLContext | None = None) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(REQUEST + body)
    try:
        async with asyncio.timeout(10):
            await reader.readuntil(b"\r\n\r\n")
            return await reader.readexactly(2)
    finally:
        writer.close()


@pytest.mark.parametrize("tls", [False, True])
def test_idle_connections(tls: bool, tmp_path: Path) -> None:
    async def main() -> None:
        app, context = App(), None
        if tls:
            context = ssl._create_unverified_context()
        async with listening(app, 20, tmp_path if tls else None) as listener:
            silent = []
            for _ in range(60):
                silent.append(socket.create_connection(("127.0.0.1", listener.port)))
                await asyncio.sleep(0)
            for body in (b"aa", b"bb"):
                assert await ask(listener.port, body, context) == body
            assert len(listener._server.connections) <= 20
            for one in silent:
                one.close()

    asyncio.run(main())


def test_half_a_request_may_be_dropped_and_one_that_is_being_answered_may_not() -> None:
    async def main() -> None:
        app = App()
        async with listening(app, 5) as listener:
            waiting = asyncio.create_task(ask(listener.port, b"ww"))
            await app.asked.wait()
            halves = []
            for _ in range(30):
                reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
                writer.write(REQUEST + b"h")
                halves.append((reader, writer))
                await asyncio.sleep(0.01)
            assert await ask(listener.port, b"aa") == b"aa"
            app.go.set()
            assert await waiting == b"ww"
            for _, writer in halves:
                writer.close()

    asyncio.run(main())


def test_the_one_that_was_silent_for_longest_goes_first() -> None:
    dropped: list[str] = []
    connections = Connections(3)

    def drop(name: str, may: bool = True) -> Any:
        return lambda _: may and not dropped.append(name)

    connections.add("busy", drop("busy", may=False))
    for name in ("a", "b", "c"):
        connections.add(name, drop(name))
    assert dropped == ["a"]
    connections.heard("b")
    connections.add("d", drop("d"))
    assert dropped == ["a", "c"]
    connections.remove("b")
    assert len(connections) == 2
