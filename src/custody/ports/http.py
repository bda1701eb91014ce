"""The port to other people's servers: one request, one streamed answer.

Contract: `request` raises NetworkError where no answer came (refused, timed out, TLS, a URL that is none),
ConnectionBrokenError where the same request may be sent again, OfflineError where sockets are not allowed, and returns
every answer that did come, whatever its status. Redirects are not followed, because only the caller knows which headers
may go to another host. With `reach`, the connection ends in one of those networks or is not made: names are judged by
the address that is connected to. A body may be `Content`, which is opened for each request and streamed. The answer
must be closed; `async with` does that. A request or a read that is cancelled closes its connection.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import BinaryIO, NamedTuple, Protocol, Self

from custody.errors import NetworkError, UnsupportedError
from custody.kit.address import Network, Reach

CONNECT_TIMEOUT = 10.0
IDLE_TIMEOUT = 60.0
"""Seconds until a connection must stand, and between two pieces of an answer."""


class Content(NamedTuple):
    """A body that is not held in memory."""

    size: int
    """Bytes that `open` gives. Where it gives fewer, the request does not come to its end."""
    open: Callable[[], BinaryIO]
    """Called in a thread or on the event loop, which closes what it gives."""


class Answer(Protocol):
    """Status, headers (names in lower case, values of one name joined by commas) and a body that is read once."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises ConnectionBrokenError where it breaks off, NetworkError where it stalls."""

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises NetworkError where it is longer than `limit` bytes."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None: ...


def network_of_peer(answer: Answer) -> Network | None:
    """The network that an answer came from; the public one behind a proxy, None where the adapter does not say."""
    network = getattr(answer, "network", None)
    return network if isinstance(network, Network) else None


def place_of(url: str) -> str:
    """A URL for messages: without query and user, where signed URLs and careless ones keep what is secret."""
    place = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = place.partition("://")
    if separator:
        authority, slash, path = rest.partition("/")
        return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    return place


def believing(http: Http, pem: str) -> Http:
    """The same adapter, which believes servers by certificates in PEM alone; it is closed with the other.

    Raises UnsupportedError where the adapter has none such, MalformedError for what holds no certificate.
    """
    made = getattr(http, "believing", None)
    if made is None:
        raise UnsupportedError("registry certificate", "nobody here asks servers by certificates of their own")
    view: Http = made(pem)
    return view


def secured(http: Http, tls: ssl.SSLContext) -> Http:
    """The same adapter, which makes connections by a TLS context of the caller's; it is closed with the other.

    Raises UnsupportedError where the adapter has none such.
    """
    made = getattr(http, "secured", None)
    if made is None:
        raise UnsupportedError("TLS with certificates of one's own", "nobody here asks servers by it")
    view: Http = made(tls)
    return view


def judges_reach(http: Http) -> bool:
    """Whether an adapter looks at the address that it connects to, and so takes `reach`: it says so itself."""
    return bool(getattr(http, "judges_reach", False))


async def collect(chunks: AsyncIterator[bytes], limit: int, url: str) -> bytes:
    """A whole body under a limit, for adapters. Raises NetworkError."""
    parts: list[bytes] = []
    size = 0
    try:
        async for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise NetworkError(f"{place_of(url)}: got more than {limit} bytes")
            parts.append(chunk)
        return b"".join(parts)
    finally:
        parts.clear()  # an error's traceback keeps this frame, and would keep all that was read


class Http(Protocol):
    async def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
                      body: bytes | Content | None = None, reach: Reach | None = None) -> Answer: ...

    async def close(self) -> None: ...
