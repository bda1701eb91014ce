"""An answer's head and the first of its body in one write: with TLS each write is a record, and a call of the library.

uvicorn writes the head when an application gives its status, which is well before there is a body only where it is made
as it is sent; whoever reads such an answer hears of its status with its first piece.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from custody.server.asgi import Answer


def written(answer: Answer, *, last: bool) -> bytes:
    """An answer on the wire, as a cycle would write it. `last`: the connection closes with it."""
    headers = b"".join([b"%b: %b\r\n" % header for header in answer.headers])
    closes = b"connection: close\r\n" if last and (b"connection", b"close") not in answer.headers else b""
    return b"%bcontent-length: %d\r\ncontent-type: %b\r\n%b%b\r\n%b" % (
        STATUS_LINE[answer.status], len(answer.body), answer.content_type, headers, closes, answer.body)


class Outgoing:
    """What a cycle takes for its transport. `stream` is the connection's, to be used once nothing is `held`."""

    def __init__(self, stream: asyncio.Transport) -> None:
        self.stream = stream
        self.holds = False
        self.held = b""
        self.is_closing, self.abort = stream.is_closing, stream.abort

    def write(self, data: bytes) -> None:
        if self.holds:
            self.held = data
        else:
            data, self.held = self.held + data, b""
            self.stream.write(data)

    def close(self) -> None:
        self.flush()
        self.stream.close()

    def flush(self) -> None:
        self.holds = False
        if self.held:
            self.write(b"")


class Cycle(RequestResponseCycle):
    """uvicorn's, whose answer's head waits for what comes after it."""

    transport: Any

    async def send(self, message: Any) -> None:
        outgoing: Outgoing = self.transport
        outgoing.holds = message["type"] == "http.response.start"
        await super().send(message)
        if self.response_complete:
            outgoing.flush()  # of an answer to HEAD
