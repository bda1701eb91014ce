"""Raw sockets against a listener: what it takes from them, for how long, and in which form it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from custody.adapters.filesystem.blobs import FileBlob, FilesystemBlobs
from custody.adapters.sqlite.repositories import SqliteRepositories
from custody.kit.clock import system_clock
from custody.registry.store import Registry
from custody.server.accepting import Protocol
from custody.server.asgi import App, DisconnectedError, read_body, respond
from custody.server.connections import Connections, peer_of
from custody.server.limits import Limits
from custody.server.registry import RegistryApp
from custody.server.rpcstatus import EXCEPTION_HANDLERS
from custody.server.run import Listener, serving
from custody.server.sendfile import send_blob

STILL = Limits(sweep=3600)
"""For tests that ask for the deadlines themselves."""
MIB = 1 << 20


class Client:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        async with asyncio.timeout(20):
            start, *lines = (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[:-2]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
            return int(start.split()[1]), headers, await self.reader.readexactly(int(headers.get(b"content-length", 0)))

    async def closed(self) -> bytes:
        """What comes until the connection ends."""
        async with asyncio.timeout(20):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


class Place:
    """A listener with `app`, and what it was asked."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self._clients: list[Client] = []

    async def client(self) -> Client:
        self._clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.listener.port)))
        return self._clients[-1]

    async def protocol(self) -> Protocol:
        """The only connection's."""
        async with asyncio.timeout(20):
            while len(self.listener._server.server_state.connections) != 1:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.005)
        [protocol] = self.listener._server.server_state.connections
        assert isinstance(protocol, Protocol)
        return protocol

    def close(self) -> None:
        for client in self._clients:
            client.writer.close()


@contextlib.asynccontextmanager
async def place(app: App, limits: Limits = STILL) -> AsyncIterator[Place]:
    listener = Listener(app, limits=limits)
    async with serving(listener):
        made = Place(listener)
        try:
            yield made
        finally:
            made.close()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, 200, scope["path"].encode() + b" " + await read_body(receive, 2 * MIB))


async def deaf(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, 404, b"no")


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


FLOODS = {
    "header": (b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-A: ", b"a" * 65536, 431),
    "headers": (b"GET /v2/ HTTP/1.1\r\nHost: x\r\n", b"x: y\r\n" * 10_000, 431),
    "url": (b"GET /v2/", b"a" * 65536, 414),
    "trailers": (b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
                 b"x: y\r\n" * 10_000, 431),
    "chunk extension": (b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;",
                        b"a" * 65536, 400),
}


@pytest.mark.parametrize("name", FLOODS)
def test_05_headers_without_limit(name: str, tmp_path: Path) -> None:
    start, block, status = FLOODS[name]

    async def main() -> None:
        repositories = SqliteRepositories(tmp_path / "index.db")
        app = RegistryApp(Registry(FilesystemBlobs(tmp_path), repositories, system_clock))
        async with place(app, Limits(linger=0.2, sweep=0.05)) as at:
            hostile = await at.client()
            sent = 0
            with contextlib.suppress(ConnectionError):
                await hostile.send(start)
                while sent < 200 * MIB:
                    await hostile.send(block)
                    sent += len(block)
            assert sent < 30 * MIB  # what the system's buffers hold
            polite = await at.client()
            await polite.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await polite.answer())[0] == 200
            # A client that stops after its limit hears why.
            brief = await at.client()
            await brief.send(start + block[:40_000])
            got, headers, body = await brief.answer()
            if got == 202:  # the registry answered before the body's end: there is no second answer
                assert await brief.closed() == b""
                return
            assert (got, headers[b"connection"]) == (status, b"close")
            [error] = json.loads(body)["errors"]
            assert error["code"] == "UNSUPPORTED"
            assert "more than" in error["message"]
            assert await brief.closed() == b""

    run(main)


@pytest.mark.parametrize(("path", "read"), [
    (b"/v2/", lambda body: json.loads(body)["errors"][0]["message"]),
    (b"/api/v2/log/entries", lambda body: json.loads(body)["message"]),
    (b"/validate", lambda body: json.loads(body)["error"]),
    (b"/healthz", lambda body: body.decode())])
def test_a_head_that_is_never_whole_is_answered_in_the_path_s_form(path: bytes, read: Callable[[bytes], str]) -> None:
    async def main() -> None:
        async with place(echo) as at:
            client = await at.client()
            await client.send(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nX: ")
            protocol = await at.protocol()
            await until(lambda: protocol._phase == "head")
            now = protocol.loop.time()
            protocol.check(now + 19)
            assert protocol._phase == "head"
            assert not protocol._closing
            protocol.check(now + 21)
            status, headers, body = await client.answer()
            assert (status, headers[b"connection"], read(body).strip()) == (408, b"close",
                                                                           "headers: not whole within 20 s")
            assert await client.closed() == b""

    run(main)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)


def test_a_request_that_is_never_finished_is_closed_by_the_listener_itself() -> None:
    async def main() -> None:
        async with place(echo, Limits(head=0.1, body=0.1, idle=0.1, sweep=0.02)) as at:
            for start, status in (
                    (b"GET / HTTP", b" 408 "), (b"", b""),
                    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab", b" 408 ")):
                client = await at.client()
                await client.send(start)
                assert status in await client.closed()

    run(main)


def test_a_body_may_be_slow_and_may_not_stand_still() -> None:
    async def main() -> None:
        async with place(echo) as at:
            client = await at.client()
            await client.send(b"POST /v2/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n")
            protocol = await at.protocol()
            await until(lambda: protocol.cycle is not None)
            now, came = protocol.loop.time(), 0
            for _ in range(20):  # ten minutes of 4 KiB in half a minute
                await client.send(b"a" * 4096)
                came += 4096
                await until(lambda: protocol._came >= 4096)
                now += 29
                protocol.check(now)
                assert not protocol._closing
            await client.send(b"a" * 4095)
            await until(lambda: protocol._came >= 4095)
            protocol.check(now + 31)
            status, _, body = await client.answer()
            assert status == 408
            assert json.loads(body)["errors"][0]["message"] == "body: fewer than 4096 bytes came within 30 s"

    run(main)


def test_a_body_that_the_application_does_not_read_yet_is_not_the_client_s_fault() -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def late(scope: Any, receive: Any, send: Any) -> None:
            await go.wait()
            await echo(scope, receive, send)

        async with place(late) as at:
            client = await at.client()
            await client.send(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + b"a" * 200_000)
            protocol = await at.protocol()
            await until(lambda: protocol.flow is not None and protocol.flow.read_paused)
            now = protocol.loop.time()
            for seconds in (29, 58, 500):
                protocol.check(now + seconds)
            assert not protocol._closing
            go.set()
            await client.send(b"a" * 100_000)
            assert (await client.answer())[0] == 200

    run(main)


def test_an_answer_that_is_not_taken_is_given_up() -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def large(scope: Any, receive: Any, send: Any) -> None:
            try:
                await send({"type": "http.response.start", "status": 200,
                            "headers": [(b"content-length", b"%d" % (64 * MIB))]})
                await send({"type": "http.response.body", "body": b"a" * (64 * MIB)})  # unlike `respond`, all at once
            finally:
                ended.set()

        async with place(large) as at:
            client = await at.client()
            await client.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            protocol = await at.protocol()
            await until(lambda: protocol.transport.get_write_buffer_size() > MIB)
            await asyncio.sleep(0.2)  # until the system's buffers are full
            now = protocol.loop.time()
            protocol.check(now)
            async with asyncio.timeout(20):
                await client.reader.readexactly(8 * MIB)  # a slow reader: so much in 29 seconds
            await until(lambda: protocol.transport.get_write_buffer_size() < protocol._queued - 4096)
            protocol.check(now + 29)
            protocol.check(now + 58)
            assert not protocol.transport.is_closing()
            await asyncio.sleep(0.2)
            protocol.check(now + 59)
            protocol.check(now + 100)
            assert protocol.transport.is_closing()
            await until(lambda: not at.listener._server.server_state.connections)
        assert ended.is_set()

    run(main)


def test_a_file_that_is_not_taken_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.server.sendfile.ANSWER", 0.1)
    path = tmp_path / "blob"
    with path.open("wb") as file:
        file.truncate(64 * MIB)

    async def main() -> None:
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def large(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200,
                        "headers": [(b"content-length", b"%d" % (64 * MIB))]})
            handle = os.open(path, os.O_RDONLY)
            try:
                await send_blob(scope, send, FileBlob(handle), 0, 64 * MIB)
            except DisconnectedError as error:
                outcome.set_result(str(error.__cause__))
            finally:
                os.close(handle)

        async with place(large) as at:
            client = await at.client()
            await client.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            async with asyncio.timeout(20):
                assert (await outcome).startswith("the client took ")
            await until(lambda: not at.listener._server.server_state.connections)

    run(main)


def test_silence_between_requests_ends() -> None:
    async def main() -> None:
        async with place(echo) as at:
            client = await at.client()
            await client.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.answer())[0] == 200
            protocol = await at.protocol()
            protocol.check(protocol.loop.time() + 70)
            assert not protocol.transport.is_closing()
            protocol.check(protocol.loop.time() + 76)
            assert await client.closed() == b""

    run(main)


def test_pipelined_requests_wait_unread_and_are_answered_in_order() -> None:
    async def main() -> None:
        go, asked = asyncio.Event(), 0

        async def counting(scope: Any, receive: Any, send: Any) -> None:
            nonlocal asked
            asked += 1
            await go.wait()
            await echo(scope, receive, send)

        async with place(counting) as at:
            client = await at.client()
            writing = asyncio.create_task(client.send(b"".join(
                b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab" % number for number in range(30_000))))
            protocol = await at.protocol()
            await until(lambda: asked == 1)
            await asyncio.sleep(0.1)
            assert (asked, protocol.transport.is_reading()) == (1, False)
            assert len(protocol._framer._buffer) <= 512 * 1024
            go.set()
            for number in range(3000):
                assert (await client.answer())[2] == b"/%d ab" % number
            writing.cancel()

    run(main)


def test_what_follows_a_refused_request_is_not_read() -> None:
    async def main() -> None:
        paths: list[str] = []

        async def noting(scope: Any, receive: Any, send: Any) -> None:
            paths.append(scope["path"])
            await echo(scope, receive, send)

        async with place(noting, Limits(linger=0.1, sweep=0.02)) as at:
            client = await at.client()
            await client.send(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n"
                              b"POST /second HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
                              b"Transfer-Encoding: chunked\r\n\r\n"
                              b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.answer())[0] == 200
            assert (await client.answer())[0] == 400
            assert await client.closed() == b""
        assert paths == ["/first"]

    run(main)


def test_a_body_that_breaks_ends_the_application_s_wait() -> None:
    async def main() -> None:
        outcomes: list[str] = []

        async def reading(scope: Any, receive: Any, send: Any) -> None:
            try:
                await read_body(receive, MIB)
            except DisconnectedError:
                outcomes.append("disconnected")

        async with place(reading) as at:
            client = await at.client()
            await client.send(b"POST /api/v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                              b"3\r\nabc\r\nzz\r\n")
            status, headers, body = await client.answer()
            assert (status, headers[b"connection"]) == (400, b"close")
            assert json.loads(body) == {
                "code": 3, "message": "chunk: expected its size in hexadecimal digits and CR LF", "details": []}
            await until(lambda: outcomes == ["disconnected"])

    run(main)


def test_expect_100_continue() -> None:
    async def main() -> None:
        async with place(echo) as at:
            client = await at.client()
            await client.send(b"PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert (await client.answer())[0] == 100
            await client.send(b"ab")
            assert (await client.answer())[::2] == (200, b"/a ab")
        async with place(deaf) as at:  # whether the body comes now, nobody knows: nothing may follow it
            client = await at.client()
            await client.send(b"PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            status, headers, _ = await client.answer()
            assert (status, headers[b"connection"]) == (404, b"close")
            assert await client.closed() == b""

    run(main)


@pytest.mark.parametrize("upgrade", [
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"])
def test_upgrades_are_answered_as_ordinary_requests(upgrade: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with place(echo) as at:
            client = await at.client()
            for _ in range(2):
                await client.send(b"POST /a HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\nContent-Length: 2\r\n\r\nab")
                assert (await client.answer())[::2] == (200, b"/a ab")

    run(main)
    assert not caplog.records


def test_http_1_0_is_answered_and_closed() -> None:
    async def main() -> None:
        async with place(echo) as at:
            client = await at.client()
            await client.send(b"POST /a HTTP/1.0\r\nContent-Length: 2\r\n\r\nabGET /b HTTP/1.0\r\n\r\n")
            status, headers, body = await client.answer()
            assert (status, headers[b"connection"], body) == (200, b"close", b"/a ab")
            assert await client.closed() == b""

    run(main)


@pytest.mark.parametrize("framing", [b"Content-Length: 1048576", b"Transfer-Encoding: chunked"])
def test_a_body_that_nobody_read_is_not_the_next_request(framing: bytes) -> None:
    async def main() -> None:
        async with place(deaf) as at:
            client = await at.client()
            body = b"GET /smuggled HTTP/1.1\r\n\r\n".ljust(MIB, b" ")
            if b"chunked" in framing:
                body = b"100000\r\n" + body + b"\r\n0\r\n\r\n"
            for _ in range(2):
                await client.send(b"PUT /a HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n" + body)
                assert (await client.answer())[0] == 404
            protocol = await at.protocol()
            await until(lambda: protocol._phase == "")

    run(main)


def test_a_body_without_end_after_its_answer_is_cut() -> None:
    async def main() -> None:
        async with place(deaf, Limits(discard=MIB, sweep=0.02)) as at:
            client = await at.client()
            await client.send(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
            assert (await client.answer())[0] == 404
            with contextlib.suppress(ConnectionError):
                for _ in range(100_000):
                    await client.send(b"a" * 65536)
                    await asyncio.sleep(0.001)
                raise AssertionError("it was read to the end")

    run(main)


async def _broken(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("secret detail")


async def _silent(scope: Any, receive: Any, send: Any) -> None:
    pass


async def _half(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    raise RuntimeError("secret detail")


async def _route(request: Any) -> Any:
    raise RuntimeError("secret detail")


@pytest.mark.parametrize(("app", "path", "read"), [
    (_broken, b"/v2/", lambda body: body["errors"][0]["message"]),
    (_broken, b"/api/v2/x", lambda body: (body["code"], body["message"])[1]),
    (_broken, b"/validate", lambda body: body["error"]),
    (_silent, b"/v2/", lambda body: body["errors"][0]["message"]),
    (Starlette(routes=[Route("/api/v2/x", _route)], exception_handlers=EXCEPTION_HANDLERS), b"/api/v2/x",
     lambda body: body["message"])])
def test_an_error_that_nobody_expected(app: App, path: bytes, read: Callable[[Any], str],
                                       caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with place(app) as at:
            client = await at.client()
            await client.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            status, headers, body = await client.answer()
            assert (status, headers[b"content-type"]) == (500, b"application/json")
            assert read(json.loads(body)) == "internal error; the service's log has it"

    run(main)
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.name == "custody.server.guard"


def test_an_answer_that_breaks_off_is_cut_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with place(_half) as at:
            client = await at.client()
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.closed()).endswith(b"\r\n\r\na")

    run(main)
    records = [record for record in caplog.records if record.name == "custody.server.guard"]
    assert [bool(record.exc_info) for record in records] == [True, False]


def test_a_client_that_sends_no_more_hears_all_its_answers(tmp_path: Path) -> None:
    """The end of its half may come before, between and after answers, however large they are."""
    (tmp_path / "blob").write_bytes(b"b" * (4 * MIB))
    handle = os.open(tmp_path / "blob", os.O_RDONLY)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive, MIB)
        await asyncio.sleep(0.05)  # the end is seen before the answer
        if scope["path"] == "/file":
            await send({"type": "http.response.start", "status": 200,
                        "headers": [(b"content-length", b"%d" % (4 * MIB))]})
            await send_blob(scope, send, FileBlob(handle), 0, 4 * MIB)
            return
        await respond(send, 200, scope["path"].encode() + body)

    async def main() -> None:
        async with place(app) as at:
            client = await at.client()
            await client.send(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"
                              b"GET /file HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\nGET /c HT")
            client.writer.write_eof()
            assert (await client.answer())[2] == b"/a1"
            assert len((await client.answer())[2]) == 4 * MIB
            assert (await client.answer())[2] == b"/b"
            assert await client.closed() == b""
            cut = await at.client()  # a body that ends too soon never becomes a request
            await cut.send(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1")
            cut.writer.write_eof()
            assert await cut.closed() == b""
            silent = await at.client()
            silent.writer.write_eof()
            assert await silent.closed() == b""
            await until(lambda: not at.listener._server.server_state.connections)

    try:
        run(main)
    finally:
        os.close(handle)


def test_one_peer_cannot_have_all_connections() -> None:
    dropped: list[str] = []
    connections = Connections(6)

    def add(name: str, peer: str, *, may: bool = True) -> None:
        connections.add(name, lambda answering: (may or answering) and not dropped.append(name), peer)  # type: ignore[func-returns-value]

    for name in ("a1", "a2"):
        add(name, "a")
    for name in ("b1", "b2", "b3", "b4"):
        add(name, "b")
    add("c1", "c")  # b has more than half: it loses its oldest, though a is silent for longer
    assert dropped == ["b1"]
    add("c2", "c")  # nobody has more than half now
    assert dropped == ["b1", "a1"]
    connections.heard("a2")
    add("c3", "c")
    assert dropped == ["b1", "a1", "b2"]


def test_slow_readers_of_one_peer_keep_nobody_out() -> None:
    dropped: list[str] = []
    connections = Connections(4)

    def add(name: str, peer: str) -> None:
        connections.add(name, lambda answering: answering and not dropped.append(name), peer)  # type: ignore[func-returns-value]

    for name in ("b1", "b2", "b3", "a1"):
        add(name, name[0])
    assert dropped == []
    add("a2", "a")  # all are being answered, and b has more than half
    assert dropped == ["b1"]
    add("c1", "c")  # nobody has more than half: nothing that is answered is dropped
    assert dropped == ["b1"]
    assert len(connections) == 5


def test_a_limit_by_peer_holds_at_any_time() -> None:
    dropped: list[str] = []
    connections = Connections(100, per_peer=2)
    for name, may in (("busy", False), ("b", True), ("c", True), ("d", True)):
        connections.add(name, lambda _, name=name, may=may: may and not dropped.append(name), "a")  # type: ignore[misc]
    assert dropped == ["b", "c"]
    assert len(connections) == 2


@pytest.mark.parametrize(("address", "peer"), [
    (("10.1.2.3", 5), "10.1.2.3"), (("::ffff:10.1.2.3", 5, 0, 0), "10.1.2.3"),
    (("2001:db8:1:2:3::4", 5, 0, 0), "2001:0db8:0001:0002"), (("2001:db8:1:2:9::9", 5, 0, 0), "2001:0db8:0001:0002"),
    (("fe80::1%eth0", 5, 0, 2), "fe80:0000:0000:0000"), ("", "")])
def test_whose_connection_it_is(address: object, peer: str) -> None:
    assert peer_of(address) == peer
