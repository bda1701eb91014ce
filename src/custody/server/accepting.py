"""Connections: accepting them, handing their requests on, and what each may take (`limits`, `connections`)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from custody.server.answer import Cycle, Outgoing, written
from custody.server.asgi import Answer, Prompt
from custody.server.connections import Connections, peer_of
from custody.server.framing import End, Framer, FramingError, Head
from custody.server.guard import expecting, prompted, run
from custody.server.journal import event
from custody.server.limits import Limits
from custody.server.refusal import last_answer
from custody.server.sendfile import EXTENSION, to_transport

_LOG = logging.getLogger(__name__)
_HANDSHAKE = 5.0  # seconds
_FULL = 0.05  # seconds until the next try where no file is left
_LINGER = 256 * 1024  # bytes of a refused client that are thrown away before the connection is cut

REFUSED: Counter[str] = Counter()
"""What no application saw, by status; `cut` for connections that ended without an answer, `tls` for handshakes."""


class _Flow(FlowControl):
    """uvicorn's, which does not read on while a request waits for the answer to the one before it."""

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class Protocol(HttpToolsProtocol):
    """uvicorn's, with a strict reader of requests in the place of its parser, one request at a time, and limits.

    The next request's bytes wait unread until the answer has gone. uvicorn writes the answers.
    """

    begins: Callable[[], None] | None = None
    ended: Callable[[], None] | None = None

    tls: dict[object, object] | None = None
    """The ASGI TLS extension (version 0.2), for who asks for clients' certificates."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any],
                 limits: Limits | None = None) -> None:
        super().__init__(config, server_state, app_state)
        self.limits = limits or Limits()
        self._prompt: Prompt | None = getattr(self.app, "prompt", None)
        self._waiting: Head | None = None
        """Of a small request that is answered at once as soon as it is there to its end."""
        self.flow: _Flow
        self._framer = Framer()
        self._closing = 0.0
        """When this connection was refused; 0 if it was not."""
        self._lingered = 0
        self._since = self.loop.time()
        """When the phase began that a deadline is for: the silence, the head, the last progress of the body."""
        self._phase = ""
        self._came = 0
        """Bytes of the body since `_since`; all that were thrown away, once it is answered."""
        self._silent = False
        """Whether the client has said that it sends no more."""
        self._queued, self._taken = 0, self._since
        """The answer's bytes that wait, and when they last became fewer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secured is not None:
            shown = secured.getpeercert(binary_form=True)
            self.tls = {"server_cert": None, "client_cert_name": None, "client_cert_error": None, "tls_version": None,
                        "cipher_suite": None, "client_cert_chain": [ssl.DER_cert_to_PEM_cert(shown)] if shown else []}
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._outgoing: Any = Outgoing(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ended is not None:
            self.ended()
        self._wait_no_more()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        self._wait_no_more()
        super().shutdown()

    @property
    def answering(self) -> bool:
        """Whether a request has come whole and its answer has not gone."""
        cycle: Any = self.cycle  # None until the first request
        return cycle is not None and not cycle.response_complete and not cycle.more_body

    @property
    def _answered(self) -> bool:
        cycle: Any = self.cycle
        return cycle is None or bool(cycle.response_complete)

    # What comes

    def data_received(self, data: bytes) -> None:
        if self._closing:
            self._lingered += len(data)
            if self._lingered > _LINGER:
                self.transport.abort()
            return
        self._framer.feed(data)
        if self.flow.held:
            self.flow.pause_reading()
        else:
            self._advance()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether to stay open: a client may close its half after its requests, and wait for the answers (RFC 9112
        section 9.6). TLS knows no half.
        """
        self._silent = True
        if not self.flow.held and not self._closing:
            self._advance()  # what came whole just before
        return self.scheme == "http" and not self._closing and self.answering

    def _advance(self) -> None:
        """Hand on what has come, up to the end of a request whose answer has not gone."""
        framer = self._framer
        if self._waiting is not None:
            if framer.whole:
                self._take(self._waiting)
            return
        try:
            while not self._closing and not self.transport.is_closing():
                part = framer.next()
                if part is None:
                    break
                if isinstance(part, Head):
                    self._enter("body")
                    if self.begins is not None:
                        self.begins()
                    if self._prompted(part):
                        self._waiting = part
                        if framer.whole:
                            self._take(part)
                        return
                    self._begin(part, self._scope(part), self.app)
                elif isinstance(part, End):
                    if not self._answered:
                        self.cycle.more_body = False
                        self.cycle.message_event.set()
                        self._hold()
                        return
                    self._enter("")
                else:
                    self._came += len(part)
                    if not self._answered:
                        if self.cycle.body:
                            self.cycle.body += part
                        else:  # as it is: a bytearray would be a copy, and what is made of that another
                            self.cycle.body = part  # type: ignore[assignment]
                        self.cycle.message_event.set()
                        if len(self.cycle.body) > HIGH_WATER_LIMIT:
                            self.flow.pause_reading()
        except FramingError as error:
            self.refuse(error.status, error.message)
        else:
            if framer.between and framer.pending and self._phase != "head":
                self._enter("head")

    def _prompted(self, head: Head) -> bool:
        """Whether a request is handed on when it is whole."""
        size = self._framer.announced
        return (self._prompt is not None and size is not None and size <= HIGH_WATER_LIMIT
                and not (head.expects or self.flow.write_paused or self._silent))

    def _wait_no_more(self) -> None:
        """Hand a request on as it has come so far, like any other."""
        if self._waiting is not None:
            head, self._waiting = self._waiting, None
            self._begin(head, self._scope(head), self.app)
            self._advance()

    def _take(self, head: Head) -> None:
        """A request that has come whole: mostly it is answered at once."""
        self._waiting = None
        prompt: Any = self._prompt
        body = b""
        while not isinstance(part := self._framer.next(), End):
            body = part if isinstance(part, bytes) else body  # in one piece: it is all there
        scope = self._scope(head)
        said = prompted(prompt, scope, body)
        if isinstance(said, Answer):
            self.transport.write(written(said, last=head.last))
            if head.last or (b"connection", b"close") in said.headers:
                self.transport.close()
            self.on_response_complete()
            return
        self._begin(head, scope, said)
        self.cycle.body, self.cycle.more_body = body, False  # type: ignore[assignment]  # see `_advance`
        self.cycle.message_event.set()
        self._hold()

    def _hold(self) -> None:
        """Until the answer has gone."""
        self.flow.held = True
        if self._framer.pending:
            self.flow.pause_reading()

    def _scope(self, head: Head) -> Any:
        raw_path, _, query = head.target.partition(b"?")
        path = raw_path.decode("ascii")
        scope: Any = {
            "type": "http", "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": head.version, "server": self.server, "client": self.client, "scheme": self.scheme,
            "root_path": "", "headers": head.headers, "state": self.app_state.copy(), "method": head.method,
            "path": unquote(path) if "%" in path else path, "raw_path": raw_path, "query_string": query}
        if self.tls is not None:
            scope["extensions"] = {"tls": self.tls}
        return scope

    def _begin(self, head: Head, scope: Any, app: Any) -> None:
        self.cycle = Cycle(
            scope, self._outgoing, self.flow, self.logger, self.access_logger, False,
            self.server_state.default_headers, asyncio.Event(), head.expects, not head.last, self.on_response_complete)
        if self.scheme == "http":
            scope.setdefault("extensions", {})[EXTENSION] = partial(_send_file, weakref.ref(self.cycle))
        task = self.loop.create_task(run(expecting(app) if head.expects else app, self.cycle))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        """Without uvicorn's timer and queue: `check` ends silence, and the next request waits in the framer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.held = False
        self._enter("" if self._framer.between else "body")
        if self._framer.pending or self._silent:  # in their turn, before more is read: others wait as well
            self.flow.pause_reading()
            self.loop.call_soon(self._go_on)
        else:
            self.flow.resume_reading()

    def _go_on(self) -> None:
        if not self.flow.held and not self.transport.is_closing():
            self.flow.resume_reading()
            self._advance()
            if self._silent and not self.answering:  # all that came whole is answered
                self.transport.close()

    def _enter(self, phase: str) -> None:
        self._phase, self._since, self._came = phase, self.loop.time(), 0

    # What is refused

    def refuse(self, status: int, message: str) -> None:
        """Answer what never became a whole request, hear no more, and close. Status 0 closes without an answer."""
        if self._closing or self.transport is None:
            return
        REFUSED[str(status) if status else "cut"] += 1
        if status and _LOG.isEnabledFor(logging.INFO):
            peer = self.client[0] if self.client else ""
            event(_LOG, logging.INFO, "refused", {"peer": peer, "status": status, "reason": message})
        self._closing = self.loop.time()
        self.flow.held = False
        cycle: Any = self.cycle
        started = cycle is not None and not cycle.response_complete and cycle.response_started
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        answered = cycle is not None and cycle.response_complete and not self._framer.between
        if started or answered or not status or self.transport.is_closing():
            self.transport.abort()
            return
        self.transport.write(last_answer(self._framer.target, status, message))
        # Closing with bytes unread makes the system cut the connection, and the answer with it.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()

    def check(self, now: float) -> None:
        """The deadlines (see `custody.server.limits`)."""
        transport, limits = self.transport, self.limits
        if transport is None:
            return
        self._wait_no_more()  # the rest comes at once or takes its time
        waiting = transport.get_write_buffer_size()
        if not waiting or waiting <= self._queued - limits.progress:
            self._taken = now
        if not waiting or waiting <= self._queued - limits.progress or waiting > self._queued:
            self._queued = waiting
        if waiting and now - self._taken > limits.answer:
            REFUSED["cut"] += 1
            transport.abort()
        elif self._closing:
            if now - self._closing > limits.linger and not waiting:
                transport.abort()
        elif self._phase == "head":
            if now - self._since > limits.head:
                self.refuse(408, f"headers: not whole within {limits.head:g} s")
        elif self._phase == "body":
            self._check_body(now)
        elif now - self._since > limits.idle and self._answered and not waiting:
            transport.close()

    def _check_body(self, now: float) -> None:
        cycle: Any = self.cycle
        if self.flow.held or cycle is None or (cycle.waiting_for_100_continue and not cycle.response_complete):
            self._since = now  # it is the application's turn
        elif cycle.response_complete:
            if self._came > self.limits.discard or now - self._since > self.limits.body:
                self.refuse(0, "")
        elif self.flow.read_paused or self._came >= self.limits.progress:
            self._since, self._came = now, 0
        elif now - self._since > self.limits.body:
            self.refuse(408, f"body: fewer than {self.limits.progress} bytes came within {self.limits.body:g} s")


async def _send_file(reference: weakref.ref[Any], handle: int, offset: int, count: int) -> None:
    """Part of the body of the response that a cycle has started, past uvicorn, which is told that it went."""
    cycle: Any = reference()  # alive: the application that calls this was called by it
    if count > cycle.expected_content_length:
        raise ValueError(f"body: got {count} bytes, {cycle.expected_content_length} are announced")
    if not cycle.disconnected:
        cycle.transport.flush()
        await to_transport(cycle.transport.stream, handle, offset, count)
    cycle.expected_content_length -= count


async def accept(listening: socket.socket, make: Callable[[], Protocol],
                 context: Callable[[], ssl.SSLContext | None], connections: Connections, backlog: int) -> None:
    """Accept until cancelled. `context` is asked for each connection: certificates are renewed."""
    loop = asyncio.get_running_loop()
    listening.setblocking(False)
    listening.listen(backlog)
    welcomed: set[asyncio.Task[None]] = set()
    try:
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError:  # no file is left, or the client is gone already
                connections.drop_one()
                await asyncio.sleep(_FULL)
                continue
            task = loop.create_task(_welcome(connection, peer_of(address), make(), context(), connections))
            welcomed.add(task)
            task.add_done_callback(welcomed.discard)
    finally:
        for task in welcomed:
            task.cancel()


async def _welcome(connection: socket.socket, peer: str, protocol: Protocol, context: ssl.SSLContext | None,
                   connections: Connections) -> None:
    loop = asyncio.get_running_loop()
    task: Any = asyncio.current_task()

    def drop(answering: bool) -> bool:
        if protocol.transport is None:
            task.cancel()
        elif protocol.answering and not answering:
            return False
        else:
            protocol.transport.abort()
        return True

    protocol.begins = lambda: connections.heard(protocol)
    protocol.ended = lambda: connections.remove(protocol)
    connections.add(protocol, drop, peer)
    try:
        await loop.connect_accepted_socket(lambda: protocol, connection, ssl=context,
                                           ssl_handshake_timeout=_HANDSHAKE if context else None)
    except (OSError, asyncio.CancelledError) as error:  # a handshake that failed, took too long, or was given up
        if isinstance(error, ssl.SSLError):  # whoever only looks whether somebody listens makes no line
            REFUSED["tls"] += 1
            event(_LOG, logging.INFO, "refused", {"peer": peer, "status": 0, "reason": f"TLS: {error}"})
        connections.remove(protocol)
        with contextlib.suppress(OSError):
            connection.close()
