"""HTTP through aiohttp: for services, which make many requests at once."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from custody import __version__
from custody.errors import NetworkError, OfflineError
from custody.ports.http import collect

_CHUNK = 1 << 20


class AiohttpHttp:
    """Implements ports.http.Http; `ca_file` adds a certificate authority for TLS."""

    def __init__(self, *, offline: bool = False, timeout: float = 60.0, ca_file: Path | None = None) -> None:
        self._offline = offline
        self._timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=timeout)
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
                      body: bytes | Path | None = None) -> _Answer:
        if self._offline:
            raise OfflineError(f"{method} {url}: no sockets with --offline")
        stream = None
        sent = dict(headers or {})
        if isinstance(body, Path):
            stream = body.open("rb")
            sent["Content-Length"] = str(body.stat().st_size)
        try:
            response = await self._open().request(method, URL(url, encoded=True), headers=sent,
                                                  data=stream or body, allow_redirects=False)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NetworkError(f"{method} {url}: {_words(error)}") from None
        finally:
            if stream:
                stream.close()
        return _Answer(response, url)

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = ssl.create_default_context()
            if self._ca_file:
                context.load_verify_locations(self._ca_file)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=64), timeout=self._timeout, auto_decompress=False,
                read_bufsize=_CHUNK, headers={"User-Agent": f"custody/{__version__}"},
                cookie_jar=aiohttp.DummyCookieJar())
        return self._session


class _Answer:
    def __init__(self, response: aiohttp.ClientResponse, url: str) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response, self._url = response, url

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NetworkError(f"{self._url}: {_words(error)}") from None

    async def read(self, limit: int) -> bytes:
        return await collect(self.chunks(), limit, self._url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        self._response.release()


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
