"""What every HTTP adapter must do. How they find proxies, judge addresses and end connections: tests/registry."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, BinaryIO

import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.http.stdlib import StdlibHttp
from custody.adapters.http.telling import TellingHttp
from custody.errors import NetworkError, OfflineError
from custody.ports.http import Content, Http
from custody.server.asgi import read_body
from tests.serving import served

ADAPTERS: list[Callable[..., Http]] = [StdlibHttp, AiohttpHttp, lambda **given: TellingHttp(StdlibHttp(**given))]


@pytest.fixture(params=ADAPTERS, ids=["stdlib", "aiohttp", "telling"])
def make(request: pytest.FixtureRequest) -> Callable[..., Http]:
    return request.param  # type: ignore[no-any-return]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the method, the body and a header of the request, by the status that the path names."""
    body = await read_body(receive, 1 << 24)
    sent = dict(scope["headers"])
    headers = [(b"x-method", scope["method"].encode()), (b"x-told", sent.get(b"x-tell", b"")),
               (b"x-length", sent.get(b"content-length", b"none")), (b"location", b"/200"),
               (b"x-encoding", sent.get(b"accept-encoding", b"none"))]
    await send({"type": "http.response.start", "status": int(scope["path"][1:]), "headers": [
        *headers, (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(echo) as place:
        yield place


def run(make: Callable[..., Http], work: Callable[[Http], Awaitable[Any]], **given: Any) -> Any:
    async def main() -> Any:
        http = make(**given)
        try:
            return await work(http)
        finally:
            await http.close()

    return asyncio.run(main())


@pytest.mark.parametrize("status", [200, 204, 302, 404, 429, 500])
def test_every_answer_is_one_whatever_its_status(make: Callable[..., Http], url: str, status: int) -> None:
    async def work(http: Http) -> tuple[int, str, str]:
        async with await http.request("GET", f"{url}/{status}", headers={"X-Tell": "me"}) as answer:
            await answer.read(10)
            return answer.status, answer.headers["x-told"], answer.headers["location"]

    assert run(make, work) == (status, "me", "/200")  # and no redirect is followed


def test_bytes_and_content_are_sent_whole_and_content_anew_each_time(make: Callable[..., Http], url: str) -> None:
    data = bytes(range(256)) * 2000
    opened: list[BinaryIO] = []

    def again() -> BinaryIO:
        opened.append(io.BytesIO(data))
        return opened[-1]

    async def work(http: Http) -> list[tuple[bytes, str]]:
        answers = []
        for body in (data, Content(len(data), again), Content(len(data), again), b""):
            async with await http.request("PUT", f"{url}/200", body=body) as answer:
                answers.append((await answer.read(len(data)), answer.headers["x-length"]))
        return answers

    *whole, empty = run(make, work)
    assert whole == [(data, str(len(data)))] * 3
    assert empty[0] == b""
    assert [stream.closed for stream in opened] == [True, True]


def test_content_that_cannot_be_read_is_said_so(make: Callable[..., Http], url: str) -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            raise OSError("the disk is gone")

    async def work(http: Http) -> None:
        async with await http.request("PUT", f"{url}/200", body=Content(10, Broken)):  # type: ignore[arg-type]
            pass

    with pytest.raises(NetworkError):
        run(make, work)


def test_more_than_the_limit_is_refused_and_chunks_are_all_of_it(make: Callable[..., Http], url: str) -> None:
    async def work(http: Http) -> bytes:
        async with await http.request("POST", f"{url}/200", body=b"12345") as answer:
            with pytest.raises(NetworkError, match="got more than 4 bytes"):
                await answer.read(4)
        async with await http.request("POST", f"{url}/200", body=b"x" * 300_000) as answer:
            return b"".join([chunk async for chunk in answer.chunks()])

    assert run(make, work) == b"x" * 300_000


def test_a_head_has_no_body(make: Callable[..., Http], url: str) -> None:
    async def work(http: Http) -> tuple[str, bytes]:
        async with await http.request("HEAD", f"{url}/200") as answer:
            return answer.headers["x-method"], await answer.read(10)

    assert run(make, work) == ("HEAD", b"")


def test_no_answer_is_a_network_error_and_offline_asks_nobody(make: Callable[..., Http], url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(NetworkError):
        run(make, lambda http: http.request("GET", f"http://127.0.0.1:{port}/"))
    with pytest.raises(OfflineError):
        run(make, lambda http: http.request("GET", f"{url}/200"), offline=True)


def test_an_answer_is_asked_for_as_it_is(make: Callable[..., Http], url: str) -> None:
    """Nobody unpacks one: a server that packs what it may would change what is hashed and parsed."""
    async def work(http: Http) -> str:
        async with await http.request("GET", f"{url}/200") as answer:
            return str(answer.headers["x-encoding"])

    assert run(make, work) == "identity"
