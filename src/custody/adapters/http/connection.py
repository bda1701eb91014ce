"""What aiohttp's connections do beyond aiohttp: bound what is no contents, know who answered, and do not pile up."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import EMPTY_PAYLOAD
from yarl import URL

_MAX_HEAD = 32 * 1024
"""Bytes of header fields, and of interim answers (1xx), of which there may be any number (RFC 9110 section 15.2)."""
_MAX_FRAMING = 16 * 1024
"""Bytes of a body that may be framing beyond a quarter of what it frames: chunks of one byte are five of framing."""
_PART = 16 * 1024
_KEPT = 15.0
_KEPT_ORIGINS = 32
"""Seconds for which an idle connection is kept, and of how many origins: those that were there first."""


class Handler(ResponseHandler):
    """Reads an answer in parts, because all of it is parsed on the event loop, and no more than fits its contents."""

    _head = 0
    _body = 0

    def set_response_params(self, **parameters: Any) -> None:
        self._head = self._body = 0  # the next answer
        super().set_response_params(**parameters)

    def data_received(self, data: bytes) -> None:
        if not data:
            super().data_received(data)
        for start in range(0, len(data), _PART):
            part = data[start:start + _PART]
            reason = self._count(len(part))
            if reason:
                self._refuse(aiohttp.ClientPayloadError(reason) if self._body else aiohttp.ClientError(reason))
                return
            super().data_received(part)

    def _count(self, size: int) -> str:
        """Why no more is read; "" where it is."""
        payload = self._payload
        if payload is None or payload is EMPTY_PAYLOAD or payload.is_eof():
            self._head += size
            return f"got more than {_MAX_HEAD} bytes before the body" if self._head > _MAX_HEAD else ""
        framing = self._body - payload.total_bytes  # of what was parsed; what waits to be is counted when it was
        self._body += size
        if not self._reading_paused and framing > _MAX_FRAMING + payload.total_bytes // 4:
            return f"got a body of {payload.total_bytes} bytes in {framing} bytes of framing"
        return ""

    def _refuse(self, error: aiohttp.ClientError) -> None:
        self.set_exception(error)
        if self._payload is not None:
            self._payload.set_exception(error)
        if self.transport is not None:
            self.transport.abort()


class Kept:
    """Whose connections are kept once an answer was read: hosts that are asked once must not pile up."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def keeps(self, url: URL) -> bool:
        now, origin = time.monotonic(), f"{url.scheme}://{url.raw_authority}"
        if origin not in self._until and len(self._until) >= _KEPT_ORIGINS:
            self._until = {name: until for name, until in self._until.items() if until > now}
            if len(self._until) >= _KEPT_ORIGINS:
                return False
        self._until[origin] = now + _KEPT
        return True


class Connector(aiohttp.TCPConnector):
    def __init__(self, kept: Kept, **options: Any) -> None:
        super().__init__(keepalive_timeout=_KEPT, **options)
        self.kept = kept
        self._factory = partial(Handler, loop=asyncio.get_running_loop())  # type: ignore[assignment]


class Response(aiohttp.ClientResponse):
    """Knows which address answered: the connection is gone when a short body was read."""

    peer: str | None = None

    async def start(self, connection: Any) -> Response:
        name = connection.transport.get_extra_info("peername") if connection.transport else None
        self.peer = name[0] if isinstance(name, tuple) else None
        if not connection._connector.kept.keeps(self.url):
            connection.protocol.force_close()
        await super().start(connection)
        return self
