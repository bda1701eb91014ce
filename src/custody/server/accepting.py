"""Accepting connections so that those who open many and say nothing keep nobody else out.

A process has so many files and no more. Connections are ordered by when they last began a request; above the limit the
one that has been silent for longest is dropped. Whoever asks is new in that order, so he is served, however many
others are open. A connection whose request is being answered is never dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
import weakref
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from custody.server.sendfile import EXTENSION, to_transport

_HANDSHAKE = 5.0  # seconds
_SHARE = 0.6  # of the files that this process may open; the others are for registries, databases, tiles
_MOST = 10_000
_FULL = 0.05  # seconds until the next try where no file is left


class Protocol(HttpToolsProtocol):
    """uvicorn's, which says when a request begins and when the connection ends."""

    begins: Callable[[], None] | None = None
    ended: Callable[[], None] | None = None

    def on_message_begin(self) -> None:
        if self.begins is not None:
            self.begins()
        super().on_message_begin()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ended is not None:
            self.ended()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        cycle: Any = self.cycle
        if cycle is not None and self.scheme == "http":
            cycle.scope.setdefault("extensions", {})[EXTENSION] = partial(_send_file, weakref.ref(cycle))

    @property
    def answering(self) -> bool:
        """Whether a request has come whole and its answer has not gone."""
        cycle: Any = self.cycle  # None until the first request
        return cycle is not None and not cycle.response_complete and not cycle.more_body


async def _send_file(reference: weakref.ref[Any], handle: int, offset: int, count: int) -> None:
    """Part of the body of the response that a cycle has started, past uvicorn, which is told that it went."""
    cycle: Any = reference()  # alive: the application that calls this was called by it
    if count > cycle.expected_content_length:
        raise ValueError(f"body: got {count} bytes, {cycle.expected_content_length} are announced")
    if not cycle.disconnected:
        await to_transport(cycle.transport, handle, offset, count)
    cycle.expected_content_length -= count


class Connections:
    """All connections of a process's listeners, the one that was silent for longest first."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit if limit is not None else min(int(_files() * _SHARE), _MOST)
        self._drops: OrderedDict[object, Callable[[], bool]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._drops)

    def add(self, key: object, drop: Callable[[], bool]) -> None:
        """`drop` closes the connection, or says False where it must not be."""
        self._drops[key] = drop
        if len(self._drops) > self.limit:
            self.drop_one()

    def heard(self, key: object) -> None:
        if key in self._drops:
            self._drops.move_to_end(key)

    def remove(self, key: object) -> None:
        self._drops.pop(key, None)

    def drop_one(self) -> None:
        """Drop the first that may be dropped."""
        for key, drop in list(self._drops.items()):
            if drop():
                self._drops.pop(key, None)
                return


def _files() -> int:
    """How many files this process may open, after asking for as many as it is allowed to ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft == resource.RLIM_INFINITY:
        return soft if soft != resource.RLIM_INFINITY else _MOST * 2
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


async def accept(listening: socket.socket, make: Callable[[], Protocol], context: ssl.SSLContext | None,
                 connections: Connections, backlog: int) -> None:
    """Accept until cancelled."""
    loop = asyncio.get_running_loop()
    listening.setblocking(False)
    listening.listen(backlog)
    welcomed: set[asyncio.Task[None]] = set()
    try:
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:  # no file is left, or the client is gone already
                connections.drop_one()
                await asyncio.sleep(_FULL)
                continue
            task = loop.create_task(_welcome(connection, make(), context, connections))
            welcomed.add(task)
            task.add_done_callback(welcomed.discard)
    finally:
        for task in welcomed:
            task.cancel()


async def _welcome(connection: socket.socket, protocol: Protocol, context: ssl.SSLContext | None,
                   connections: Connections) -> None:
    loop = asyncio.get_running_loop()
    task: Any = asyncio.current_task()

    def drop() -> bool:
        if protocol.transport is None:
            task.cancel()
        elif protocol.answering:
            return False
        else:
            protocol.transport.abort()
        return True

    protocol.begins = lambda: connections.heard(protocol)
    protocol.ended = lambda: connections.remove(protocol)
    connections.add(protocol, drop)
    try:
        await loop.connect_accepted_socket(lambda: protocol, connection, ssl=context,
                                           ssl_handshake_timeout=_HANDSHAKE if context else None)
    except (OSError, asyncio.CancelledError):  # a handshake that failed, took too long, or was given up
        connections.remove(protocol)
        with contextlib.suppress(OSError):
            connection.close()
