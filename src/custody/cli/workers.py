"""`--workers N`: this process binds the addresses, starts N others that serve on them, and starts anew what dies.

They are started, not forked: each compiles the policies for itself, and shares no thread, connection or lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
import msgspec

from custody.server.journal import event, journal
from custody.server.run import bind
from custody.server.worker import VARIABLE, Worker
from custody.settings import Settings

_LOG = logging.getLogger(__name__)
_PATIENCE = 20.0  # seconds that a worker has to end beside the time to drain
_SHORT = 10.0  # seconds: one that lived for less is started again later and later
_LATEST = 30.0  # seconds until then at most
_LOOK = 0.05


def workers_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), metavar="N",
                        help="Processes that share the addresses, one for each core.")(command)


def supervised(settings: Settings, count: int, addresses: Mapping[str, tuple[str, int]]) -> None:
    """Run this command line in `count` workers until a signal. `addresses` are (host, port) by their flags.

    Raises NetworkError, and click's Exit with the code of a worker that could not start.
    """
    with contextlib.ExitStack() as closing:
        sockets = {flag: closing.enter_context(bind(host, port, flag)) for flag, (host, port) in addresses.items()}
        folder = closing.enter_context(tempfile.TemporaryDirectory(prefix="custody-workers-"))
        closing.enter_context(journal(sys.stderr.fileno(), settings.log_format, settings.log_level))
        workers = Workers(count, sockets, Path(folder), [sys.executable, "-m", "custody.cli.main", *sys.argv[1:]],
                          settings.drain + _PATIENCE)
        if code := asyncio.run(workers.run()):
            raise click.exceptions.Exit(code)


class Workers:
    def __init__(self, count: int, sockets: Mapping[str, socket.socket], folder: Path, program: Sequence[str],
                 patience: float) -> None:
        self._count, self._sockets, self._folder, self._program = count, dict(sockets), folder, list(program)
        self._patience = patience
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._told = False
        self._parent = os.pipe()

    async def run(self) -> int:
        """Until a signal. The exit code: that of the first that could not start, else 0."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        kept: list[asyncio.Task[None]] = []
        try:
            # One after the other: the first makes what is missing in the data directory.
            for at in range(self._count):
                if (code := await self._start(at)) is not None:
                    return code
                kept.append(asyncio.create_task(self._keep(at)))
            await self._stopping.wait()
            return 0
        finally:
            self._stopping.set()
            for task in kept:
                task.cancel()
            await asyncio.gather(*kept, return_exceptions=True)
            await self._end()
            for handle in self._parent:
                os.close(handle)

    def _stop(self) -> None:
        """The second time, whoever drains stops at once."""
        self._told = True
        self._send(signal.SIGTERM)
        self._stopping.set()

    def _reload(self) -> None:
        """One that is only starting would end by it, and reads the files anyway."""
        for number, process in self._running.items():
            if process.returncode is None and Path(self._folder, str(number)).exists():
                process.send_signal(signal.SIGHUP)

    def _send(self, number: signal.Signals) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _start(self, number: int) -> int | None:
        """None once it serves, or nobody wants it any more; else its exit code."""
        handles = {flag: listening.fileno() for flag, listening in self._sockets.items()}
        worker = Worker(number, self._count, str(self._folder), handles, self._parent[0])
        place = worker.place()
        place.unlink(missing_ok=True)
        environment = {**os.environ, VARIABLE: msgspec.json.encode(worker).decode()}
        process = await asyncio.create_subprocess_exec(
            *self._program, env=environment, pass_fds=(*handles.values(), self._parent[0]), process_group=0)
        self._running[number] = process
        while not place.exists() and not self._stopping.is_set():
            if process.returncode is not None:
                return process.returncode if process.returncode > 0 else 1
            await asyncio.sleep(_LOOK)
        if self._stopping.is_set() and process.returncode is None:
            process.terminate()
        return None

    async def _keep(self, number: int) -> None:
        """Start it again whenever it has ended."""
        loop = asyncio.get_running_loop()
        delay, begun = 0.0, loop.time()
        while True:
            code = await self._running[number].wait()
            if self._stopping.is_set():
                return
            delay = min(max(delay * 2, 1.0), _LATEST) if loop.time() - begun < _SHORT else 0.0
            event(_LOG, logging.ERROR, "worker ended", {"worker": number, "code": code, "again_in": delay})
            await asyncio.sleep(delay)
            begun = loop.time()
            await self._start(number)

    async def _end(self) -> None:
        if not self._told:
            self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._patience):
                await asyncio.gather(*(process.wait() for process in self._running.values()))
        except TimeoutError:
            _LOG.error("workers did not end in %.0f s, and are killed", self._patience)
            self._send(signal.SIGKILL)
            await asyncio.gather(*(process.wait() for process in self._running.values()))
