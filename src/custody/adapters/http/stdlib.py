"""HTTP through the standard library: for commands that make a few requests and must start fast.

http.client and ssl import in 30 ms where aiohttp needs over 150; each request runs in a thread, and connections are
kept per host.
"""

from __future__ import annotations

import asyncio
import http.client
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from custody import __version__
from custody.errors import NetworkError, OfflineError
from custody.ports.http import collect

_CHUNK = 1 << 20


class StdlibHttp:
    """Implements ports.http.Http; `ca_file` adds a certificate authority for TLS, `tls` is used in its place."""

    def __init__(self, *, offline: bool = False, timeout: float = 60.0, ca_file: Path | None = None,
                 tls: ssl.SSLContext | None = None) -> None:
        self._offline = offline
        self._timeout = timeout
        self._ca_file = ca_file
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}
        self._tls = tls

    async def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
                      body: bytes | Path | None = None) -> _Answer:
        if self._offline:
            raise OfflineError(f"{method} {url}: no sockets with --offline")
        parts = urlsplit(url)
        place = (parts.scheme, parts.netloc)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {"User-Agent": f"custody/{__version__}", **(headers or {})}
        while True:
            idle = self._idle.get(place)
            connection, reused = (idle.pop(), True) if idle else (self._connection(*place), False)
            try:
                response = await asyncio.to_thread(_exchange, connection, method, target, sent, body)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # A kept connection may have been closed by the other side in the meantime: once more on a new one.
                if reused and isinstance(error, (http.client.RemoteDisconnected, ConnectionError)):
                    continue
                raise NetworkError(f"{method} {url}: {_words(error)}") from None
            return _Answer(self, place, connection, response, url)

    async def close(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    def give_back(self, place: tuple[str, str], connection: http.client.HTTPConnection) -> None:
        self._idle.setdefault(place, []).append(connection)

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(netloc, timeout=self._timeout, blocksize=_CHUNK)
        if scheme != "https":
            raise NetworkError(f"{scheme}://{netloc}: got scheme {scheme!r}, expected http or https")
        if self._tls is None:
            self._tls = ssl.create_default_context()
            if self._ca_file:
                self._tls.load_verify_locations(self._ca_file)
        return http.client.HTTPSConnection(netloc, timeout=self._timeout, context=self._tls, blocksize=_CHUNK)


class _Answer:
    def __init__(self, owner: StdlibHttp, place: tuple[str, str], connection: http.client.HTTPConnection,
                 response: http.client.HTTPResponse, url: str) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self._owner, self._place, self._connection = owner, place, connection
        self._response, self._url = response, url

    async def chunks(self) -> AsyncIterator[bytes]:
        while chunk := await self._read(_CHUNK):
            yield chunk
        if self._response.length:
            raise NetworkError(f"{self._url}: the answer broke off with {self._response.length} bytes to come")

    async def read(self, limit: int) -> bytes:
        return await collect(self.chunks(), limit, self._url)

    async def _read(self, size: int) -> bytes:
        try:
            return await asyncio.to_thread(self._response.read, size)
        except (OSError, http.client.HTTPException) as error:
            raise NetworkError(f"{self._url}: {_words(error)}") from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        if self._response.isclosed() and not self._response.will_close:
            self._owner.give_back(self._place, self._connection)
        else:
            self._connection.close()


def _exchange(connection: http.client.HTTPConnection, method: str, target: str, headers: Mapping[str, str],
              body: bytes | Path | None) -> http.client.HTTPResponse:
    if isinstance(body, Path):
        with body.open("rb") as stream:
            sized = {**headers, "Content-Length": str(body.stat().st_size)}
            connection.request(method, target, body=stream, headers=sized)
    else:
        connection.request(method, target, body=body, headers=dict(headers))
    response = connection.getresponse()
    if method == "HEAD" or response.length == 0:
        response.read()
    return response


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
