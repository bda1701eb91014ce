"""Servers that keep a connection busy with nothing: requests, bytes before a body, framing, idle connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.http.resolver import Lookups
from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import NetworkError
from custody.formats.reference import parse
from custody.registry.client import RegistryClient
from custody.registry.exchanges import Exchanges

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def server(script: Script) -> AsyncIterator[int]:
    """A server on every loopback address, at a port."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await script(reader, writer)
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(serve, "0.0.0.0")
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)
        await asyncio.sleep(0)


def endless(head: bytes, again: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while True:
            writer.write(again)
            await writer.drain()

    return script


@pytest.mark.parametrize(("head", "again", "reason"), [
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500, "more than 32768 bytes before the body"),
    (b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 8_000 + b"\r\n", "more than 32768 bytes before the body"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 5_000, "bytes of framing"),
], ids=["interim", "headers", "chunks"])
def test_endless_nothing_stops_event_loop(head: bytes, again: bytes, reason: str) -> None:
    """Bytes that are no contents are in no budget, and are parsed where everybody's requests are."""
    async def main() -> None:
        http = AiohttpHttp()
        try:
            async with server(endless(head, again)) as port:
                with pytest.raises(NetworkError, match=reason):
                    async with await http.request("GET", f"http://127.0.0.1:{port}/") as answer:
                        await answer.read(1 << 24)
        finally:
            await http.close()

    asyncio.run(main())


def test_interim_answers_end_for_commands_too() -> None:
    async def main() -> None:
        http = StdlibHttp()
        try:
            async with server(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500)) as port:
                with pytest.raises(NetworkError, match="got more than 16 interim answers"):
                    await http.request("GET", f"http://127.0.0.1:{port}/")
        finally:
            await http.close()

    asyncio.run(main())


def test_small_chunks_of_an_honest_server_are_read() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (
            b"40\r\n" + b"a" * 64 + b"\r\n") * 20_000 + b"0\r\n\r\n")
        await writer.drain()

    async def main() -> int:
        http = AiohttpHttp()
        try:
            async with server(script) as port, await http.request("GET", f"http://127.0.0.1:{port}/") as answer:
                return len(await answer.read(1 << 24))
        finally:
            await http.close()

    assert asyncio.run(main()) == 64 * 20_000


def test_many_silent_hosts_take_all_connections() -> None:
    """One pod names images at as many hosts as it likes; above a limit the request that was begun first gives way."""
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"silent" in head:
            await asyncio.sleep(60)
        writer.write(b'HTTP/1.1 404 Not Found\r\nContent-Length: 40\r\n\r\n{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
        await writer.drain()

    async def main() -> tuple[list[BaseException | object], str]:
        async with RegistryClient(AiohttpHttp()) as client, server(script) as port:
            client._requests.transport._exchanges.limit = 5
            silent = [asyncio.ensure_future(client.manifest(parse(f"127.0.0.{at}:{port}/silent:1")))
                      for at in range(2, 12)]
            await asyncio.sleep(0.3)
            with pytest.raises(Exception, match="answered 404") as honest:
                await client.manifest(parse(f"127.0.1.1:{port}/honest:1"))
            done = [task for task in silent if task.done()]
            for task in silent:
                task.cancel()
            return [task.exception() for task in done], str(honest.value)

    given_up, _ = asyncio.run(main())
    assert len(given_up) == 6
    assert all("given up: 5 requests are under way, and this one was begun first" in str(error)
               for error in given_up)


def test_an_exchange_that_was_given_up_between_two_reads_ends_at_the_next() -> None:
    async def main() -> None:
        exchanges = Exchanges(1)
        first = exchanges.begin()
        exchanges.begin()
        with pytest.raises(NetworkError, match="GET x: given up: 1 requests are under way"):
            async with first.waiting("GET x"):
                await asyncio.sleep(5)

    asyncio.run(main())


def test_idle_connections_to_many_hosts_are_not_kept() -> None:
    """A host that answers at once leaves a connection behind; a pod may name any number of such hosts."""
    open_now = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                await writer.drain()
        finally:
            open_now -= 1

    async def main() -> int:
        http = AiohttpHttp()
        try:
            async with server(script) as port:
                for at in range(1, 101):
                    async with await http.request("GET", f"http://127.0.0.{at}:{port}/") as answer:
                        await answer.read(10)
                await asyncio.sleep(0.2)
                return open_now
        finally:
            await http.close()

    assert asyncio.run(main()) == 32


def test_names_that_never_resolve_stop_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that says nothing holds a thread for each lookup."""
    over = threading.Event()

    def lookup(host: str, *_: object, **__: object) -> list[str]:
        if host.endswith("silent.example"):
            over.wait(60)
        return [host]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)

    async def main() -> None:
        lookups = Lookups()
        waiting = [asyncio.ensure_future(lookups.getaddrinfo(f"x{at}.silent.example", 1)) for at in range(200)]
        await asyncio.sleep(0.1)
        assert await asyncio.wait_for(lookups.getaddrinfo("honest.example", 1), 5) == ["honest.example"]
        # And where a name of each of many domains hangs, those that resolved before go on.
        waiting += [asyncio.ensure_future(lookups.getaddrinfo(f"x.a{at}silent.example", 1)) for at in range(200)]
        await asyncio.sleep(0.1)
        assert await asyncio.wait_for(lookups.getaddrinfo("honest.example", 1), 5) == ["honest.example"]
        for task in waiting:
            task.cancel()
        over.set()
        lookups.close()

    asyncio.run(main())


def test_a_lookup_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(60))
    monkeypatch.setattr("custody.adapters.http.resolver.CONNECT_TIMEOUT", 0.2)

    async def main() -> None:
        http = AiohttpHttp()
        try:
            with pytest.raises(NetworkError, match=r"silent.example was not resolved within 0.2 s"):
                await http.request("GET", "http://silent.example/")
        finally:
            over.set()
            await http.close()

    asyncio.run(main())
