"""Sending a file to a client without reading it: the kernel copies from the page cache to the socket (sendfile(2)).

A thread sends until the socket takes no more for a moment; then the event loop waits for the client, so that one who
reads slowly holds no thread. TLS and other servers have no such socket: `send_blob` reads in threads there, and where a
blob is in no file.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import sys
import termios
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from custody.ports.blobs import Blob
from custody.server.asgi import DisconnectedError, Scope, Send
from custody.server.limits import ANSWER, PROGRESS

EXTENSION = "custody.sendfile"
SendFile = Callable[[int, int, int], Awaitable[None]]
"""Called with a file's descriptor, an offset and a number of bytes, after the response's start was sent."""

_STEP = 16 << 20  # bytes that a thread sends before it lets others have their turn
_PATIENCE = 20  # milliseconds that a thread waits for a client
_PAUSE = 0.02  # seconds at most until it is looked again whether the head of the answer has gone
_CHUNK = 256 << 10  # bytes in memory of each client that a file goes to by way of it
_threads = ThreadPoolExecutor(8, thread_name_prefix="sendfile")


async def send_blob(scope: Scope, send: Send, blob: Blob, start: int, end: int) -> None:
    """A blob's bytes from `start` to `end`, as the body of a response that has been started.

    Raises DisconnectedError where it is shorter than that: the response must not look whole.
    """
    send_direct: SendFile | None = scope.get("extensions", {}).get(EXTENSION)
    handle = blob.fileno()
    if send_direct is not None and handle is not None and end > start:
        await send_direct(handle, start, end - start)
        await send({"type": "http.response.body", "body": b""})
        return
    loop = asyncio.get_running_loop()
    while start < end:
        chunk = await loop.run_in_executor(_threads, blob.read, start, min(_CHUNK, end - start))
        if not chunk:
            raise DisconnectedError
        start += len(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": start < end})
    if not end:
        await send({"type": "http.response.body", "body": b""})


async def to_transport(transport: asyncio.Transport, handle: int, offset: int, count: int) -> None:
    """`count` bytes of a file through a plain transport's socket. Raises DisconnectedError, with the transport closed.
    """
    pause = 0.0
    while transport.get_write_buffer_size():  # the head of the answer goes first, and what was answered before it
        if transport.is_closing():
            raise DisconnectedError
        await asyncio.sleep(pause)
        pause = min(2 * pause + 0.0005, _PAUSE)
    loop = asyncio.get_running_loop()
    # A descriptor of our own: the number of the transport's may be another connection's when that is lost.
    target = os.dup(transport.get_extra_info("socket").fileno())
    end = offset + count
    try:
        while offset < end:
            step = loop.run_in_executor(_threads, _send_step, target, handle, offset, min(_STEP, end - offset))
            sent, state = await _settled(step)
            offset += sent
            if state == "short" or transport.is_closing():
                raise DisconnectedError
            if state == "full":
                await _writable(loop, target)
    except (OSError, DisconnectedError) as error:
        transport.abort()
        raise DisconnectedError from error
    except asyncio.CancelledError:
        transport.abort()
        raise
    finally:
        os.close(target)


def _send_step(target: int, handle: int, offset: int, count: int) -> tuple[int, str]:
    """Bytes sent, and `full` where the client does not take more now, `short` where the file has no more."""
    sent = 0
    poll = select.poll()
    poll.register(target, select.POLLOUT)
    while sent < count:
        try:
            done = os.sendfile(target, handle, offset + sent, count - sent)
        except BlockingIOError:
            if not poll.poll(_PATIENCE):
                return sent, "full"
            continue
        if done == 0:
            return sent, "short"
        sent += done
    return sent, "done"


async def _settled(step: asyncio.Future[tuple[int, str]]) -> Any:
    """The step's result. A thread cannot be stopped: whoever is cancelled waits for its end, so that the descriptor it
    writes to is still the same."""
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait([step])
        raise


async def _writable(loop: asyncio.AbstractEventLoop, target: int) -> None:
    """Raises TimeoutError where the client takes too little."""
    ready: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(target, settle)
    try:
        queued = _queued(target)
        while not (await asyncio.wait([ready], timeout=ANSWER))[0]:
            left = _queued(target)  # a socket is writable when a third of its buffer is free, which may take long
            if left > queued - PROGRESS:
                raise TimeoutError(f"the client took {queued - left} bytes in {ANSWER:g} s")
            queued = left
    finally:
        loop.remove_writer(target)


def _queued(target: int) -> int:
    """Bytes that the client has not acknowledged (SIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(target, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
