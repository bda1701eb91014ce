"""Both HTTP adapters: proxies by Go's rules, addresses out of reach, cancelled requests."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.http.proxy import Proxy, proxy_for
from custody.adapters.http.stdlib import StdlibHttp
from custody.adapters.http.telling import TellingHttp
from custody.errors import ConnectionBrokenError, NetworkError, UsageError
from custody.formats.reference import parse
from custody.kit.address import Network, network_of, reach_from
from custody.ports.http import Answer, judges_reach
from custody.registry.challenge import choose, merged_scopes, parse_challenges
from custody.registry.client import RegistryClient
from tests.registry.odd import odd


@pytest.fixture(params=[StdlibHttp, AiohttpHttp], ids=["stdlib", "aiohttp"])
def adapter(request: pytest.FixtureRequest) -> Callable[[], Any]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def request(adapter: Callable[[], Any], url: str, **options: Any) -> tuple[int, bytes, Network | None]:
    async def main() -> tuple[int, bytes, Network | None]:
        http = adapter()
        try:
            async with await http.request("GET", url, **options) as answer:
                return answer.status, await answer.read(1 << 20), answer.network
        finally:
            await http.close()

    return asyncio.run(main())


# Which proxy


@pytest.mark.parametrize(("url", "environ", "expected"), [
    ("https://a.example/x", {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
    ("https://a.example/x", {"https_proxy": "p:3128"}, "http://p:3128"),
    ("https://a.example/x", {"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:1"}, "http://p:1"),
    ("https://a.example/x", {"HTTP_PROXY": "http://p:1"}, None),
    ("http://a.example/x", {"http_proxy": "http://p"}, "http://p:80"),
    ("http://a.example/x", {"HTTPS_PROXY": "http://p:1"}, None),
    ("https://a.example/x", {"ALL_PROXY": "http://p:1"}, "http://p:1"),
    ("http://a.example/x", {"all_proxy": "http://p:1", "HTTP_PROXY": "http://q:1"}, "http://q:1"),
    ("http://[2001:db8::1]/x", {"HTTP_PROXY": "http://[2001:db8::2]:8"}, "http://[2001:db8::2]:8"),
    ("http://localhost:5000/x", {"HTTP_PROXY": "http://p:1"}, None),
    ("http://127.0.0.9/x", {"HTTP_PROXY": "http://p:1"}, None),
    ("http://[::1]/x", {"HTTP_PROXY": "http://p:1"}, None),
])
def test_which_proxy(url: str, environ: Mapping[str, str], expected: str | None) -> None:
    proxy = proxy_for(url, environ)
    assert (proxy.url if proxy else None) == expected


@pytest.mark.parametrize(("host", "exceptions", "is_direct"), [
    ("a.example", "*", True), ("a.example", "b.example, a.example", True), ("a.example", "example", True),
    ("a.example", ".example", True), ("a.example", "*.example", True), ("example", ".example", False),
    ("example", "example", True), ("xa.example", "a.example", False), ("A.Example", "a.EXAMPLE", True),
    ("a.example", "a.example:443", True), ("a.example", "a.example:80", False), ("a.example:80", "a.example:80", True),
    ("10.1.2.3", "10.0.0.0/8", True), ("11.1.2.3", "10.0.0.0/8", False), ("10.1.2.3", "10.1.2.3", True),
    ("10.1.2.3", "10.1.2.3:443", True), ("10.1.2.3", "10.1.2.3:80", False), ("[2001:db8::1]", "2001:db8::/32", True),
    ("[2001:db8::1]", "2001:db8::1", True), ("[2001:db8::1]", "[2001:db8::1]:443", True), ("a.example", "", False),
    ("a.example", " , ,", False), ("a.example", "10.0.0.0/8", False), ("10.1.2.3", ".2.3", True),
])
def test_no_proxy(host: str, exceptions: str, is_direct: bool) -> None:
    proxy = proxy_for(f"https://{host}/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": exceptions})
    assert (proxy is None) == is_direct


@pytest.mark.parametrize("environ", [{"HTTP_PROXY": "socks5://p:1"}, {"ALL_PROXY": "https://p:1"},
                                     {"http_proxy": "http://"}, {"HTTP_PROXY": "http://p:99999"},
                                     {"HTTP_PROXY": "http://[::"}])
def test_proxies_that_cannot_be_obeyed(environ: Mapping[str, str]) -> None:
    with pytest.raises(UsageError, match=rf"{next(iter(environ))}: got a (proxy of scheme|URL without a host)"):
        proxy_for("http://a.example/", environ)


def test_a_cgi_programs_proxy_header_is_not_believed() -> None:
    environ = {"HTTP_PROXY": "http://evil:1", "REQUEST_METHOD": "GET"}
    with pytest.raises(UsageError, match="HTTP_PROXY is not believed where REQUEST_METHOD is set"):
        proxy_for("http://a.example/", environ)
    assert proxy_for("https://a.example/", environ) is None


def test_password_of_a_proxy_is_not_in_its_url() -> None:
    proxy = proxy_for("http://a.example/", {"HTTP_PROXY": "http://me:p%40ss@p:1"})
    assert proxy == Proxy("p", 1, "Basic " + base64.b64encode(b"me:p@ss").decode())
    assert "ss" not in proxy.url


# Through a proxy


@contextlib.contextmanager
def proxy_server(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that writes down the head of each request and gives one answer to all."""
    server = socket.create_server(("127.0.0.1", 0))
    heads: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (chunk := connection.recv(65536)):
                    head += chunk
                heads.append(head)
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}", heads
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def test_http_through_a_proxy(adapter: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy_server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi") as (place, heads):
        monkeypatch.setenv("HTTP_PROXY", f"http://me:pass@{place}")
        assert request(adapter, "http://registry.invalid/v2/x?y=z", headers={"Authorization": "Bearer T"}) == (
            200, b"hi", Network.PUBLIC)
    assert heads[0].startswith(b"GET http://registry.invalid/v2/x?y=z HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:pass") in heads[0]


def test_https_through_a_proxy(adapter: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy_server(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as (place, heads):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pass@{place}")
        with pytest.raises(NetworkError, match=f"https://registry.invalid/v2/x: proxy http://{place}: .*Forbidden"):
            request(adapter, "https://registry.invalid/v2/x", headers={"Authorization": "Bearer T"})
        half_closed = [sock for sock in gc.get_objects() if isinstance(sock, socket.socket)
                       and sock.fileno() != -1 and "[closed]" in repr(sock)]  # a file that was made of it is still open
        assert half_closed == []
    assert heads[0].startswith(b"CONNECT registry.invalid:443 HTTP/1.")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:pass") in heads[0]
    assert b"Bearer" not in heads[0]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_ignored(adapter: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """An unreachable proxy is named; the host is not asked without it."""
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ConnectionBrokenError, match=r"proxy http://127\.0\.0\.1:9: .*refused|Connect call failed"):
        request(adapter, f"{scheme}://example.invalid/v2/shop/manifests/1")


# Reach


@pytest.mark.parametrize(("address", "network"), [
    ("8.8.8.8", Network.PUBLIC), ("2606:4700::1", Network.PUBLIC), ("10.0.0.1", Network.PRIVATE),
    ("172.31.0.1", Network.PRIVATE), ("192.168.1.1", Network.PRIVATE), ("100.64.0.1", Network.PRIVATE),
    ("fd00::1", Network.PRIVATE), ("224.0.0.1", Network.PRIVATE), ("240.0.0.1", Network.PRIVATE),
    ("127.0.0.1", Network.LOOPBACK), ("127.9.9.9", Network.LOOPBACK), ("::1", Network.LOOPBACK),
    ("0.0.0.0", Network.LOOPBACK), ("::", Network.LOOPBACK), ("169.254.169.254", Network.LINK_LOCAL),
    ("fe80::1%eth0", Network.LINK_LOCAL), ("fd00:ec2::254", Network.LINK_LOCAL),
    ("100.100.100.200", Network.LINK_LOCAL),
    ("::ffff:10.0.0.1", Network.PRIVATE), ("::ffff:169.254.169.254", Network.LINK_LOCAL),
    ("64:ff9b::7f00:1", Network.LOOPBACK), ("64:ff9b::808:808", Network.PUBLIC), ("2002:a00:1::", Network.PRIVATE),
    ("localhost", None), ("127.1", None), ("0x7f.1", None), ("", None),
])
def test_networks(address: str, network: Network | None) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_connection_out_of_reach(adapter: Callable[[], Any], host: str, scheme: str) -> None:
    """Names are judged by their addresses, and nobody is connected to first."""
    with odd() as registry:
        port = registry.host.rpartition(":")[2]
        with pytest.raises(NetworkError, match=r"\(loopback address\): a server of another network may not send us"):
            request(adapter, f"{scheme}://{host}:{port}/v2/", reach=reach_from(Network.PUBLIC))
        assert registry.seen == []


def test_a_kept_connection_is_not_used_beyond_its_reach(adapter: Callable[[], Any]) -> None:
    async def main(url: str) -> None:
        http = adapter()
        try:
            async with await http.request("GET", url) as answer:
                await answer.read(1000)
                assert answer.network is Network.LOOPBACK
            with pytest.raises(NetworkError, match="may not send us there"):
                await http.request("GET", url, reach=reach_from(Network.PRIVATE))
            async with await http.request("GET", url, reach=reach_from(Network.LOOPBACK)) as answer:
                assert answer.status == 200
        finally:
            await http.close()

    with odd() as registry:
        asyncio.run(main(f"http://{registry.host}/v2/"))
        assert len(registry.seen) == 2


# URLs and connections


@pytest.mark.parametrize("url", ["http://[/", "http://x:99999/", "ftp://x/", "http:///x", "http://x:0/", "x",
                                 "http://a..b.invalid/", "http://" + "x" * 70 + ".invalid/"])
def test_urls_that_are_none(adapter: Callable[[], Any], url: str) -> None:
    with pytest.raises(NetworkError, match="GET "):
        request(adapter, url)


def test_headers_of_one_name_are_joined(adapter: Callable[[], Any]) -> None:
    async def main(url: str) -> str:
        http = adapter()
        try:
            async with await http.request("GET", url) as answer:
                return answer.headers["www-authenticate"]  # type: ignore[no-any-return]
        finally:
            await http.close()

    with odd(auth="token", challenges=("Negotiate", 'Basic realm="x"')) as registry:
        value = asyncio.run(main(f"http://{registry.host}/v2/a/tags/list"))
    assert [challenge.scheme for challenge in parse_challenges(value)] == ["negotiate", "basic", "bearer"]


def test_a_cancelled_read_ends_its_connection(adapter: Callable[[], Any]) -> None:
    async def main(host: str) -> None:
        async with RegistryClient(adapter()) as client:
            task = asyncio.ensure_future(client.manifest(parse(f"{host}/app:1")))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with odd(drip=0.1) as registry:
        registry.image(layer=b"x" * 1000)
        began = time.monotonic()
        asyncio.run(main(registry.host))
        while registry.open_now and time.monotonic() - began < 10:
            time.sleep(0.05)
        assert registry.open_now == 0


# Challenges


@pytest.mark.parametrize(("header", "scheme", "parameters"), [
    ('Bearer realm="https://a/t",service="s",scope="repository:a:pull,push"', "bearer",
     {"realm": "https://a/t", "service": "s", "scope": "repository:a:pull,push"}),
    ('bearer Realm = "https://a/t" , service=s', "bearer", {"realm": "https://a/t", "service": "s"}),
    ('Negotiate, Basic realm="x", Bearer realm="https://a/t"', "bearer", {"realm": "https://a/t"}),
    ('Negotiate YWJj==, Bearer realm="https://a/t"', "bearer", {"realm": "https://a/t"}),
    ('Basic realm="a, Bearer realm=\\"b\\""', "basic", {"realm": 'a, Bearer realm="b"'}),
    ("Basic", "basic", {}), ('Bearer realm=""', None, {}), ("Bearer", None, {}), ("", None, {}),
    ('realm="x"', None, {}),
    ('Digest realm="x"', None, {}),
])
def test_challenges(header: str, scheme: str | None, parameters: dict[str, str]) -> None:
    challenge = choose(header)
    assert (challenge.scheme if challenge else None) == scheme
    assert (challenge.parameters if challenge else {}) == parameters


@pytest.mark.parametrize("filler", [",", " ,", "\t", 'a="', 'a="\\"', "a ", "="])
def test_challenge_stops_event_loop(filler: str) -> None:
    """A registry's header is read where everybody's requests are: in time that grows with its length and no faster."""
    begun = time.process_time()
    assert parse_challenges("Basic " + filler * (16_000 // len(filler)))[0].scheme == "basic"
    assert time.process_time() - begun < 0.5  # 16,000 commas took seven seconds, of one header


def test_challenge_that_is_too_long_is_none() -> None:
    assert choose(", ".join(['Basic realm="x"'] * 2_000)) is None


def test_scopes_are_merged() -> None:
    assert merged_scopes("repository:a:pull,push repository:b:pull", "repository:a:pull,delete registry:catalog:*") == (
        "repository:a:pull,push,delete", "repository:b:pull", "registry:catalog:*")
    assert merged_scopes("repository:a:5000/x:pull", "") == ("repository:a:5000/x:pull",)
    assert merged_scopes("repository:a:pull", "odd") == ("repository:a:pull", "odd")


def test_a_server_that_is_waited_for_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    class Slow:
        async def request(self, method: str, url: str, **given: object) -> Answer:
            for _ in range(200):  # until it was told of
                if caplog.messages or "slow" not in url:
                    break
                await asyncio.sleep(0.05)
            raise NetworkError("no answer")

        async def close(self) -> None:
            raise NetworkError("closed")

    async def main() -> None:
        http = TellingHttp(Slow(), patience=0.01)
        with pytest.raises(NetworkError, match="no answer"):
            await http.request("GET", "http://fast.example/v2/")
        assert caplog.messages == []
        with pytest.raises(NetworkError, match="no answer"):
            await http.request("GET", "http://u:secret@slow.example/v2/?sig=secret")
        with pytest.raises(NetworkError, match="closed"):
            await http.close()

    asyncio.run(main())
    assert caplog.messages == ["GET http://slow.example/v2/: no answer for 0.01 s; waiting, 60 s at most"]


def test_both_adapters_judge_where_they_connect_to_also_behind_one_that_tells(adapter: Callable[[], Any]) -> None:
    """An adapter that did not say so would be asked without a reach."""
    http = adapter()
    assert judges_reach(http)
    assert judges_reach(TellingHttp(http))
