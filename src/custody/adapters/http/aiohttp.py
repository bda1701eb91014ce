"""HTTP through aiohttp: for services, which make many requests at once."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import aiohttp
from yarl import URL

from custody import __version__
from custody.adapters.http.connection import Connector, Kept, Response
from custody.adapters.http.proxy import Proxy, proxy_for
from custody.adapters.http.resolver import Lookups, Resolver
from custody.errors import ConnectionBrokenError, MalformedError, NetworkError, OfflineError
from custody.kit.address import Network, Reach, network_of, out_of_reach
from custody.kit.waiting import waiting
from custody.ports.http import CONNECT_TIMEOUT, IDLE_TIMEOUT, Content, collect, place_of

_BUFFER = 64 * 1024
"""Bytes of an answer that are read ahead, and pieces in proportion: what a server sends, whether anybody wants
it or not, is parsed on the loop that serves everybody, and is in no budget yet."""
_BROKEN = (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, ConnectionError)
_FAILURES = (aiohttp.ClientError, OSError, TimeoutError, ValueError)


class AiohttpHttp:
    """Implements ports.http.Http; `ca_file` adds a certificate authority for TLS, `tls` is used in its place."""

    judges_reach = True

    def __init__(self, *, offline: bool = False, timeout: float = IDLE_TIMEOUT, ca_file: Path | None = None,
                 tls: ssl.SSLContext | None = None) -> None:
        self._offline = offline
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=timeout)
        self._ca_file = ca_file
        self._tls = tls
        self._sessions: dict[Reach | None, aiohttp.ClientSession] = {}
        self._kept = Kept()
        self._lookups = Lookups()
        self._believing: dict[str, AiohttpHttp] = {}
        self._secured: list[AiohttpHttp] = []
        self.closed = False

    def secured(self, tls: ssl.SSLContext) -> AiohttpHttp:
        """`ports.http.secured`."""
        view = AiohttpHttp(offline=self._offline, tls=tls)
        view._timeout = self._timeout
        self._secured = [*(secured for secured in self._secured if not secured.closed), view]
        return view

    def believing(self, pem: str) -> AiohttpHttp:
        """`ports.http.believing`."""
        view = self._believing.get(pem)
        if view is None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            tls.minimum_version = ssl.TLSVersion.TLSv1_2
            try:
                tls.load_verify_locations(cadata=pem)
            except (ssl.SSLError, ValueError) as error:
                raise MalformedError("certificate", got=pem[:60], expected=f"certificates in PEM ({error})") from None
            view = self._believing[pem] = AiohttpHttp(offline=self._offline, tls=tls)
            view._timeout = self._timeout
        return view

    async def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
                      body: bytes | Content | None = None, reach: Reach | None = None) -> _Answer:
        if self._offline:
            raise OfflineError(f"{method} {place_of(url)}: no sockets with --offline")
        proxy = proxy_for(url)
        through: dict[str, Any] = {"proxy": URL(proxy.url)} if proxy else {}
        stream: BinaryIO | None = None
        sent = dict(headers or {})
        if proxy and proxy.authorization:
            secret = {"Proxy-Authorization": proxy.authorization}
            if url.startswith("http:"):
                sent |= secret
            else:
                through["proxy_headers"] = secret  # of the CONNECT; what goes through the tunnel is not the proxy's
        if isinstance(body, Content):
            stream = body.open()
            sent["Content-Length"] = str(body.size)
        try:
            target = URL(url, encoded=True)
            _judge(method, url, target.host or "", reach)
            # The proxy's address is the operator's choice: only the target is judged then, as far as its name tells.
            with waiting(f"{method} {place_of(url)}"):
                response = await self._session(None if proxy else reach).request(
                    method, target, headers=sent, data=stream or body, allow_redirects=False, **through)
        except _FAILURES as error:
            raise _failure(f"{method} {place_of(url)}", error, proxy) from None
        finally:
            if stream is not None:
                stream.close()
        return _Answer(response, url, proxy)

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
        for view in (*self._believing.values(), *self._secured):
            await view.close()
        self.closed = True
        self._lookups.close()

    def _session(self, reach: Reach | None) -> aiohttp.ClientSession:
        """A session for each reach, so that no kept connection ends where this request may not go."""
        if reach not in self._sessions:
            if self._tls is None:
                self._tls = ssl.create_default_context()
                if self._ca_file:
                    self._tls.load_verify_locations(self._ca_file)
            connector = Connector(self._kept, ssl=self._tls, limit=0, resolver=Resolver(self._lookups, reach))
            self._sessions[reach] = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, auto_decompress=False, read_bufsize=_BUFFER,
                headers={"User-Agent": f"custody/{__version__}", "Accept-Encoding": "identity"},  # nothing here unpacks
                cookie_jar=aiohttp.DummyCookieJar(),
                response_class=Response)
        return self._sessions[reach]


class _Answer:
    def __init__(self, response: aiohttp.ClientResponse, url: str, proxy: Proxy | None) -> None:
        self.status = response.status
        self.headers: dict[str, str] = {}
        for name, value in response.headers.items():
            key = name.lower()
            self.headers[key] = f"{self.headers[key]}, {value}" if key in self.headers else value
        peer = response.peer if isinstance(response, Response) else None
        self.network = Network.PUBLIC if proxy else network_of(peer or "")
        self._response, self._url, self._proxy = response, url, proxy

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except _FAILURES as error:
            raise _failure(place_of(self._url), error, self._proxy) from None

    async def read(self, limit: int) -> bytes:
        return await collect(self.chunks(), limit, self._url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        if self._response.content.is_eof():
            self._response.release()
        else:
            self._response.close()


def _judge(method: str, url: str, host: str, reach: Reach | None) -> None:
    network = network_of(host)
    if reach is not None and network is not None and network not in reach:
        raise NetworkError(f"{method} {place_of(url)}: {out_of_reach(host, host)}")


def _failure(request: str, error: BaseException, proxy: Proxy | None) -> NetworkError:
    words = str(error) or type(error).__name__
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        words = f"it cannot be sent ({type(error).__name__})"  # the library's words may hold a header's value
    where = f"{request}: proxy {proxy.url}: {words}" if proxy else f"{request}: {words}"
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ConnectionError) or isinstance(error, _BROKEN):
        return ConnectionBrokenError(where)
    return NetworkError(where)
