"""Runs ASGI applications: one uvicorn server per listener, several in one event loop, all closed together."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import gc
import logging
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from typing import cast

import uvicorn

from custody.errors import CustodyError, NetworkError
from custody.server.accepting import Protocol, accept
from custody.server.asgi import Answer, App, Receive, Scope, Send, prompt_of
from custody.server.connections import Connections
from custody.server.limits import Limits, sweep
from custody.server.refusal import refuse
from custody.server.worker import inherited

_SWITCH = 0.0005  # seconds
_GARBAGE = (20_000, 10, 10)  # objects, and collections of them, until the next one
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc


class Paths:
    """Sends a request to the application with the longest matching path prefix."""

    def __init__(self, apps: Mapping[str, App]) -> None:
        self._apps = sorted(apps.items(), key=lambda pair: -len(pair[0]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._of(scope["path"])
        if app is None:
            await refuse(send, scope["path"], 404, "no such path")
        else:
            await app(scope, receive, send)

    def prompt(self, scope: Scope, body: bytes) -> Answer | App:
        app = self._of(scope["path"]) or self
        prompt = None if app is self else prompt_of(app)
        return app if prompt is None else prompt(scope, body)

    def _of(self, path: str) -> App | None:
        return next((app for prefix, app in self._apps
                     if path == prefix or path.startswith(prefix if prefix.endswith("/") else prefix + "/")), None)


def bind(host: str, port: int, flag: str = "--port") -> socket.socket:
    """A socket with this address; `flag` is what chose the port, for the error. Raises NetworkError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle off only for sockets that say they are TCP; with it an answer waits 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise NetworkError(f"{host}:{port}: {error.strerror}",
                           hint=f"another program listens there; choose another {flag}"
                           if error.errno == errno.EADDRINUSE else None) from None
    return bound


class Listener:
    """One address, one application, TLS where a context is given."""

    def __init__(self, app: App, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None,
                 flag: str = "--port", limits: Limits | None = None, per_peer: int | None = None) -> None:
        limits = limits or Limits()
        self._config = uvicorn.Config(app, log_config=None, log_level=logging.WARNING, lifespan="off",
                                      http=Protocol, ws="none", access_log=False, server_header=False,
                                      date_header=False, proxy_headers=False, timeout_graceful_shutdown=5,
                                      backlog=1024, ssl_context_factory=None if tls is None else lambda *_: tls)
        self._socket = inherited(flag) or bind(host, port, flag)
        self.port: int = self._socket.getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if tls else 'http'}://{name}:{self.port}"
        self._server = _Server(self._config, limits, per_peer)
        self._server.tls = tls

    def secure(self, tls: ssl.SSLContext) -> None:
        """Handshakes from now on are by this context; connections that stand are not touched."""
        self._server.tls = tls

    async def serve(self) -> None:
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self.close()

    def close(self) -> None:
        self._socket.close()

    async def started(self) -> None:
        while not self._server.started:
            if self._server.should_exit:
                raise CustodyError(f"{self.url}: the server did not start")
            await asyncio.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.ended.set()


class _Server(uvicorn.Server):
    """Accepts by itself, leaves signals to the command that runs it, and stops at once when told to."""

    def __init__(self, config: uvicorn.Config, limits: Limits, per_peer: int | None = None) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()
        self.connections = Connections(per_peer=per_peer)
        self.tls: ssl.SSLContext | None = None
        self._limits = limits
        self._accepting: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        def make() -> Protocol:
            return Protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state,
                            limits=self._limits)

        self.servers = []
        self._accepting = [asyncio.create_task(accept(listening, make, lambda: self.tls, self.connections,
                                                      self.config.backlog)) for listening in sockets or []]
        self._accepting.append(asyncio.create_task(sweep(cast(set[Protocol], self.server_state.connections),
                                                         self._limits)))
        await asyncio.sleep(0)  # they listen before the first client is told that they do
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        await super().shutdown(sockets)

    async def main_loop(self) -> None:
        await self.ended.wait()

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


def _give_memory_back() -> None:
    """Large blocks go back to the system when they are freed.

    Left to itself glibc raises its threshold to the largest block that was ever freed, and each thread has an arena:
    what one large document took would stay for good. A TLS record is read into 256 KiB, which must not be a call of
    the system each time. Other C libraries do not have these knobs.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for knob, value in ((_M_MMAP_THRESHOLD, 1 << 20), (_M_TRIM_THRESHOLD, 4 << 20), (_M_ARENA_MAX, 2)):
            mallopt(knob, value)


def _collect_rarely() -> None:
    """What is loaded when the first server starts stays: it is not looked through for circles with each garbage.

    Requests leave few circles, and looking for them a hundred times as often took a fifth of a review's time.
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE)


@contextlib.asynccontextmanager
async def serving(*listeners: Listener) -> AsyncIterator[None]:
    """All listeners up on entry, all drained and closed on exit."""
    # The event loop asks for the interpreter some ten times a request, and beside a thread that verifies it waits.
    sys.setswitchinterval(_SWITCH)
    _give_memory_back()
    _collect_rarely()
    tasks = [asyncio.create_task(listener.serve()) for listener in listeners]
    try:
        for listener in listeners:
            await listener.started()
        yield
    finally:
        for listener in listeners:
            listener.stop()
        await asyncio.gather(*tasks, return_exceptions=True)
