"""Real servers on loopback for tests: an ASGI application in a thread with its own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from custody.adapters.filesystem.blobs import FilesystemBlobs
from custody.adapters.sqlite.repositories import SqliteRepositories
from custody.kit.clock import Clock, system_clock
from custody.registry.store import Registry
from custody.server.asgi import App
from custody.server.registry import RegistryApp
from custody.server.run import Listener, serving
from custody.server.tls import server_context


@contextlib.contextmanager
def served(app: App | Callable[[str], App], *, certificate: Path | None = None,
           key: Path | None = None, client_ca: Path | None = None) -> Iterator[str]:
    """The URL of `app` while it runs. A plain function of one argument is called with the URL to make the app.

    With `client_ca` nobody is heard who shows no certificate of it.
    """
    ready = threading.Event()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    place: list[str] = []
    failures: list[BaseException] = []

    async def main() -> None:
        box: list[App] = []

        async def late(scope: object, receive: object, send: object) -> None:
            await box[0](scope, receive, send)  # type: ignore[arg-type]

        listener = Listener(late, tls=server_context(
            certificate, key, client_ca, demanded=client_ca is not None) if certificate and key else None)
        made = app(listener.url) if getattr(app, "__code__", None) and app.__code__.co_argcount == 1 else app
        box.append(made)  # type: ignore[arg-type]
        async with serving(listener):
            place.append(listener.url)
            stop.append((asyncio.get_running_loop(), asyncio.Event()))
            ready.set()
            await stop[0][1].wait()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    if failures:
        raise failures[0]
    try:
        yield place[0]
    finally:
        loop, event = stop[0]
        loop.call_soon_threadsafe(event.set)
        thread.join()
        if failures:
            raise failures[0]


@contextlib.contextmanager
def registry_on(folder: Path, clock: Clock = system_clock, *,
                sparse_indexes: bool = False) -> Iterator[tuple[str, Registry]]:
    """Host and port of a custody registry with its state in `folder`, and the registry behind it."""
    repositories = SqliteRepositories(folder / "registry.db")
    store = Registry(FilesystemBlobs(folder), repositories, clock, sparse_indexes=sparse_indexes)
    try:
        with served(RegistryApp(store)) as url:
            yield url.removeprefix("http://"), store
    finally:
        store.close()
        repositories.close()


def content(registry: Registry, name: str, digest: str) -> bytes:
    """The bytes of a blob that a repository has."""
    with registry.blob(name, digest) as blob:
        return blob.read(0, blob.size)
