"""One of several processes behind the same addresses: what it is given by who started it, and what it tells of itself.

Whoever starts them binds the sockets, and each worker accepts from the same queue: a connection that one did not take
before it died is another's. Each has its own compiled policies. What one process counts, any of them shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from pathlib import Path

import msgspec
from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from custody.errors import MalformedError

VARIABLE = "CUSTODY_WORKER"
"""Of the environment of a worker: a Worker as JSON."""
_ANSWER = 2.0  # seconds that another worker has for what it counted


class Worker(msgspec.Struct, frozen=True):
    """Which of them this process is."""

    number: int
    count: int
    folder: str
    """Where each has a socket called by its number, from when it serves."""
    sockets: dict[str, int]
    """File descriptors of the sockets that it accepts from, by the flag that chose the port."""
    parent: int
    """A pipe that ends with who started it."""

    @property
    def first(self) -> bool:
        return self.number == 0

    def place(self, number: int | None = None) -> Path:
        return Path(self.folder, str(self.number if number is None else number))


@lru_cache(1)
def current() -> Worker | None:
    """This process, where it is one of several. What it starts itself is none. Raises MalformedError."""
    said = os.environ.pop(VARIABLE, None)
    if said is None:
        return None
    try:
        return msgspec.json.decode(said, type=Worker)
    except msgspec.MsgspecError as error:
        raise MalformedError(VARIABLE, got=str(error), expected="what `--workers` writes there") from None


def inherited(flag: str) -> socket.socket | None:
    """The socket that a flag's port was bound to before; None where this process is to bind it."""
    worker = current()
    handle = worker.sockets.get(flag) if worker is not None else None
    return None if handle is None else socket.socket(fileno=handle)


@contextlib.asynccontextmanager
async def attached(text: Callable[[], bytes]) -> AsyncIterator[None]:
    """Tells the other workers `text` while it runs, and ends this process as SIGTERM does when its parent is gone."""
    worker = current()
    if worker is None:
        yield
        return

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(await asyncio.to_thread(text))
            await writer.drain()
        writer.close()

    def orphaned() -> None:
        loop.remove_reader(worker.parent)
        os.kill(os.getpid(), signal.SIGTERM)

    loop = asyncio.get_running_loop()
    loop.add_reader(worker.parent, orphaned)
    place = worker.place()
    place.unlink(missing_ok=True)  # of the process before
    try:
        async with await asyncio.start_unix_server(tell, place):
            yield
    finally:
        loop.remove_reader(worker.parent)


async def told(own: bytes) -> bytes:
    """What all workers that answer have counted, each sample with its worker's number."""
    worker = current()
    if worker is None:
        return own

    async def ask(number: int) -> bytes:
        if number == worker.number:
            return own
        try:
            async with asyncio.timeout(_ANSWER):
                reader, writer = await asyncio.open_unix_connection(worker.place(number))
                try:
                    return await reader.read()
                finally:
                    writer.close()
        except (OSError, TimeoutError):  # it is being started again
            return b""

    texts = await asyncio.gather(*map(ask, range(worker.count)))
    return await asyncio.to_thread(joined, dict(enumerate(texts)))


class _Families:
    def __init__(self) -> None:
        self.known: dict[str, Metric] = {}

    def collect(self) -> list[Metric]:
        return [*self.known.values()]


def joined(texts: Mapping[int, bytes]) -> bytes:
    """Expositions by the number of the worker, as one: each sample has the label `worker`.

    They are not added up: a sum that becomes less when a worker is started again looks as if all had been.
    """
    families = _Families()
    for number, text in texts.items():
        for family in text_string_to_metric_families(text.decode()):
            known = families.known.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            known.samples += [sample._replace(labels={**sample.labels, "worker": str(number)})
                              for sample in family.samples]
    return generate_latest(families)
