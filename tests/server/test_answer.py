"""An answer's head and the first of its body in one write."""

from __future__ import annotations

import asyncio

from custody.server.answer import Outgoing

HEAD, BODY = b"HTTP/1.1 200 OK\r\n\r\n", b"body"


class Stream(asyncio.Transport):
    """A connection that remembers what was written, and whether it was closed then."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.writes.append(b"closed")

    def abort(self) -> None:
        self.writes.append(b"cut")

    def is_closing(self) -> bool:
        return False


def _begun() -> tuple[Stream, Outgoing]:
    stream = Stream()
    outgoing = Outgoing(stream)
    outgoing.holds = True
    outgoing.write(HEAD)
    return stream, outgoing


def test_a_head_goes_with_what_follows_it() -> None:
    stream, outgoing = _begun()
    assert stream.writes == []
    outgoing.holds = False
    outgoing.write(BODY)
    outgoing.write(BODY)
    assert stream.writes == [HEAD + BODY, BODY]


def test_a_head_without_a_body_goes_once() -> None:
    stream, outgoing = _begun()
    outgoing.flush()
    outgoing.flush()
    outgoing.close()
    assert stream.writes == [HEAD, b"closed"]


def test_a_head_goes_before_the_connection_is_closed() -> None:
    stream, outgoing = _begun()
    outgoing.close()
    assert stream.writes == [HEAD, b"closed"]


def test_nothing_goes_where_the_connection_is_cut() -> None:
    stream, outgoing = _begun()
    outgoing.abort()
    assert stream.writes == [b"cut"]
