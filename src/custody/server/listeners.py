"""All listeners of a process: each is observed, its certificate read again when its files change, and drained."""

from __future__ import annotations

from typing import Any

from custody.kit.clock import format_rfc3339, system_clock
from custody.server.asgi import App
from custody.server.health import Health, State
from custody.server.metrics import Metrics
from custody.server.observed import Observed
from custody.server.run import Listener
from custody.server.tls import Served, TlsFiles
from custody.server.watching import FileWatch

_RENEWAL = 3600.0
"""Seconds after which a certificate that is made here is looked at again; it is renewed weeks before it runs out."""


class Listeners:
    """On one address, each with a port of its own."""

    def __init__(self, host: str, metrics: Metrics, health: Health, per_peer: int | None) -> None:
        self.all: list[Listener] = []
        self.watches: list[FileWatch[Any]] = []
        """Of the certificates; whoever runs the services runs them."""
        self._host = host
        self._metrics = metrics
        self._health = health
        self._per_peer = per_peer
        self._observed: list[Observed] = []

    def open(self, app: App, port: int, tls: TlsFiles | None, name: str, flag: str, *, role: str | None = None) -> str:
        """The URL of a new listener, which `serving` runs. `flag` is what chose the port, for the error.

        Raises NetworkError; UsageError and MalformedError for the files of `tls`.
        """
        observed = Observed(app, self._metrics, role)
        served = None if tls is None else tls.read(system_clock())
        listener = Listener(observed, self._host, port, tls=None if served is None else served.context, flag=flag,
                            per_peer=self._per_peer)
        self._observed.append(observed)
        self.all.append(listener)
        if tls is not None and served is not None:
            self._watch(listener, tls, served, name)
        return listener.url

    def drain(self) -> None:
        """Say that no more requests are wanted: /readyz fails, and connections end with their next answer."""
        self._health.stopping = True
        for observed in self._observed:
            observed.closing = True

    def close(self) -> None:
        for listener in self.all:
            listener.close()

    def _watch(self, listener: Listener, tls: TlsFiles, served: Served, name: str) -> None:
        def use(after: Served) -> str:
            nonlocal served
            served = after
            listener.secure(after.context)
            return f"read again: the certificate of {listener.url}, good until {format_rfc3339(after.expires)}"

        def state() -> State:
            if served.expires <= system_clock():  # a restart would not help
                return State(ready=False, note=f"it ran out at {format_rfc3339(served.expires)}"
                                               f"{'; ' + watch.failure if watch.failure else ''}")
            return State(note=f"the one before is in use: {watch.failure}" if watch.failure else "")

        watch = FileWatch(f"certificate ({name})", lambda: tls.files, lambda: tls.read(system_clock()), use,
                          always=None if tls.renew is None else _RENEWAL)
        watch.told = lambda succeeded: self._metrics.reloaded("certificate", succeeded=succeeded)
        self.watches.append(watch)
        self._metrics.reloads(f"certificate ({name})", lambda: watch.failure)
        self._health.add(f"{name}-certificate", state)
        self._metrics.expires(name, lambda: served.expires.timestamp())
