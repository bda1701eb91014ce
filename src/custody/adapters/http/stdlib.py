"""HTTP through the standard library: for commands that make a few requests and must start fast.

http.client and ssl import in 30 ms where aiohttp needs over 150; each request runs in a thread, and connections are
kept per host.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar
from urllib.parse import SplitResult, urlsplit

from custody import __version__
from custody.adapters.http.proxy import Proxy, proxy_for
from custody.errors import ConnectionBrokenError, NetworkError, OfflineError
from custody.kit.address import Network, Reach, network_of, out_of_reach
from custody.kit.waiting import waiting
from custody.ports.http import CONNECT_TIMEOUT, IDLE_TIMEOUT, Content, collect, place_of

_CHUNK = 1 << 20
_THREADS = 64
_MAX_INTERIM = 16
"""Interim answers (1xx) before the one that counts; http.client reads any number."""
_FAILURES = (OSError, http.client.HTTPException, ValueError)
_T = TypeVar("_T")
_Place = tuple[str, str, str, Reach | None]
"""What a kept connection may be used for: scheme, host and port, proxy, reach."""


@dataclass(slots=True)
class _Wire:
    """A connection, with what http.client forgets of it when an answer says that it will be closed."""

    connection: http.client.HTTPConnection
    network: Network | None = None
    sock: socket.socket | None = None
    response: http.client.HTTPResponse | None = None

    def wake(self) -> None:
        """End the wait of the thread that uses it; closing is for when that is done."""
        sock = self.connection.sock or self.sock
        if sock is not None:
            with contextlib.suppress(OSError):  # it may be closed already
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self.response is not None:
            self.response.close()
        self.connection.close()


class _Response(http.client.HTTPResponse):
    _heads = 0

    def _read_status(self) -> tuple[str, int, str]:
        self._heads += 1
        if self._heads > _MAX_INTERIM:
            raise http.client.HTTPException(f"got more than {_MAX_INTERIM} interim answers")
        return super()._read_status()  # type: ignore[misc,no-any-return]


class StdlibHttp:
    """Implements ports.http.Http; `ca_file` adds a certificate authority for TLS, `tls` is used in its place."""

    judges_reach = True

    def __init__(self, *, offline: bool = False, timeout: float = IDLE_TIMEOUT, ca_file: Path | None = None,
                 tls: ssl.SSLContext | None = None, proxies: bool = True) -> None:
        self._offline = offline
        self._timeout = timeout
        self._ca_file = ca_file
        self._idle: dict[_Place, list[_Wire]] = {}
        self._tls = tls
        self._proxies = proxies
        self._threads: ThreadPoolExecutor | None = None

    async def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
                      body: bytes | Content | None = None, reach: Reach | None = None) -> _Answer:
        if self._offline:
            raise OfflineError(f"{method} {place_of(url)}: no sockets with --offline")
        asked = f"{method} {place_of(url)}"
        proxy = proxy_for(url) if self._proxies else None
        parts = _split(asked, url)
        place = (parts.scheme, parts.netloc, proxy.url if proxy else "", reach)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {"User-Agent": f"custody/{__version__}", **(headers or {})}
        if proxy and parts.scheme == "http":
            target = url
            if proxy.authorization:
                sent["Proxy-Authorization"] = proxy.authorization
        while True:
            idle = self._idle.get(place)
            reused = bool(idle)
            try:
                wire = idle.pop() if idle else self._connect(parts, proxy, reach)
                with waiting(asked):
                    response = await self.run(wire, _exchange, wire, method, target, sent, body)
            except _FAILURES as error:
                # A kept connection may have been closed by the other side in the meantime: once more on a new one.
                if reused and isinstance(error, (http.client.RemoteDisconnected, ConnectionError)):
                    continue
                raise _failure(asked, error, proxy) from None
            return _Answer(self, place, wire, response, url, proxy)

    async def close(self) -> None:
        for wires in self._idle.values():
            for wire in wires:
                wire.close()
        self._idle.clear()
        if self._threads:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def give_back(self, place: _Place, wire: _Wire) -> None:
        self._idle.setdefault(place, []).append(wire)

    async def run(self, wire: _Wire, work: Callable[..., _T], *arguments: Any) -> _T:
        """Blocking work on one connection, in a thread; the connection does not outlive its failure or cancellation."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, "custody-http")
        job = self._threads.submit(work, *arguments)
        try:
            return await asyncio.wrap_future(job)
        except BaseException:
            wire.wake()
            job.add_done_callback(lambda _: wire.close())
            raise

    def _connect(self, parts: SplitResult, proxy: Proxy | None, reach: Reach | None) -> _Wire:
        host, port = (proxy.host, proxy.port) if proxy else (parts.hostname or "", parts.port)
        connection: http.client.HTTPConnection
        if parts.scheme == "http":
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout, blocksize=_CHUNK)
        else:
            if self._tls is None:
                self._tls = ssl.create_default_context()
                if self._ca_file:
                    self._tls.load_verify_locations(self._ca_file)
            connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._tls,
                                                     blocksize=_CHUNK)
            if proxy:
                secret = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
                connection.set_tunnel(parts.hostname or "", parts.port or 443, secret)
        if proxy:
            _judge(parts.hostname or "", reach)
            reach = None  # the proxy's address is the operator's choice
        wire = _Wire(connection)

        def response(*arguments: Any, **named: Any) -> http.client.HTTPResponse:
            # A proxy's answer too, which Python before 3.11.4 forgets to close where it is a refusal.
            wire.response = _Response(*arguments, **named)
            return wire.response

        def connect(address: tuple[str, int], *_: object) -> socket.socket:
            return _dial(wire, address, self._timeout, reach)

        connection.response_class = response  # type: ignore[assignment]
        connection._create_connection = connect  # type: ignore[attr-defined]
        return wire


class _Answer:
    def __init__(self, owner: StdlibHttp, place: _Place, wire: _Wire,
                 response: http.client.HTTPResponse, url: str, proxy: Proxy | None) -> None:
        self.status = response.status
        self.headers: dict[str, str] = {}
        for name, value in response.getheaders():
            key = name.lower()
            self.headers[key] = f"{self.headers[key]}, {value}" if key in self.headers else value
        self.network = Network.PUBLIC if proxy else wire.network
        self._owner, self._place, self._wire = owner, place, wire
        self._response, self._url, self._proxy = response, url, proxy

    async def chunks(self) -> AsyncIterator[bytes]:
        while chunk := await self._read():
            yield chunk
        if self._response.length:
            raise ConnectionBrokenError(
                f"{place_of(self._url)}: the answer broke off with {self._response.length} bytes to come")

    async def read(self, limit: int) -> bytes:
        return await collect(self.chunks(), limit, self._url)

    async def _read(self) -> bytes:
        if self._response.isclosed():
            return b""
        try:
            with waiting(f"the rest of {place_of(self._url)}"):
                return await self._owner.run(self._wire, self._response.read, _CHUNK)
        except _FAILURES as error:
            raise _failure(place_of(self._url), error, self._proxy) from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        if self._response.isclosed() and not self._response.will_close and self._wire.connection.sock is not None:
            self._owner.give_back(self._place, self._wire)
        else:
            self._wire.close()


def _split(asked: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise NetworkError(f"{asked}: got scheme {parts.scheme!r}, expected http or https")
        if not parts.hostname or parts.port == 0:
            raise NetworkError(f"{asked}: got a URL without a host and port to connect to")
    except ValueError as error:
        raise NetworkError(f"{asked}: {error}") from None
    return parts


def _judge(host: str, reach: Reach | None) -> None:
    network = network_of(host)
    if reach is not None and network is not None and network not in reach:
        raise OSError(out_of_reach(host, host))


def _dial(wire: _Wire, address: tuple[str, int], timeout: float, reach: Reach | None) -> socket.socket:
    """A connection to the first address of the name that is in reach and answers."""
    failure: OSError | None = None
    for family, kind, protocol, _, target in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
        place = str(target[0])
        if reach is not None and network_of(place) not in reach:
            failure = failure or OSError(out_of_reach(address[0], place))
            continue
        sock = wire.sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(min(CONNECT_TIMEOUT, timeout))
            sock.connect(target)
            sock.settimeout(timeout)
        except OSError as error:
            sock.close()
            failure = error
            continue
        wire.network = network_of(place)
        return sock
    raise failure or OSError(f"{address[0]} has no address")


def _exchange(wire: _Wire, method: str, target: str, headers: Mapping[str, str],
              body: bytes | Content | None) -> http.client.HTTPResponse:
    connection = wire.connection
    if isinstance(body, Content):
        with contextlib.closing(body.open()) as stream:
            sized = {**headers, "Content-Length": str(body.size)}
            connection.request(method, target, body=_parts(stream, body.size), headers=sized)
    else:
        connection.request(method, target, body=body, headers=dict(headers))
    wire.sock = connection.sock
    response = connection.getresponse()
    if method == "HEAD" or response.length == 0:
        response.read()
    return response


def _parts(stream: BinaryIO, left: int) -> Iterator[bytes]:
    """No more than was announced: what is behind a body is the next request of the connection."""
    while left and (part := stream.read(min(left, _CHUNK))):
        left -= len(part)
        yield part


def _failure(asked: str, error: BaseException, proxy: Proxy | None) -> NetworkError:
    words = str(error) or type(error).__name__
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        words = f"it cannot be sent ({type(error).__name__})"  # the library's words may hold a header's value
    where = f"{asked}: proxy {proxy.url}: {words}" if proxy else f"{asked}: {words}"
    broken = isinstance(error, (ConnectionError, http.client.IncompleteRead, http.client.BadStatusLine))
    return (ConnectionBrokenError if broken else NetworkError)(where, hint=_hint(asked, error))


def _hint(asked: str, error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "authorities beside the system's: SSL_CERT_FILE=FILE (PEM)"
    if isinstance(error, http.client.RemoteDisconnected) and " http://" in asked:
        return "a server that expects TLS ends a request without it like this"
    return None
