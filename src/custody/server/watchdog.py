"""Looking after the replicas of a cluster from beside them, with /healthz, /readyz and /metrics."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from custody.server.health import Health, State
from custody.server.listeners import Listeners
from custody.server.metrics import Metrics
from custody.server.run import Paths, serving
from custody.services.cluster.absence import Absence
from custody.settings import Settings
from custody.wiring import cluster_client


@dataclass(frozen=True)
class Options:
    """Whom it looks after, and how long they may be silent."""

    patience: float
    """Seconds."""
    namespace: str = "custody"
    name: str = "custody"
    host: str = "0.0.0.0"  # noqa: S104 - a pod's own
    port: int | None = None
    """Where /healthz, /readyz and /metrics answer without TLS."""


@dataclass(slots=True)
class Watching:
    """What runs."""

    absence: Absence
    url: str
    cluster: str
    working: asyncio.Task[None]
    """Its end is the process's."""


@contextlib.asynccontextmanager
async def watching_replicas(settings: Settings, options: Options) -> AsyncIterator[Watching]:
    """It looks on entry, and no more on exit. Raises CustodyError where it cannot start."""
    client = cluster_client(settings)
    absence = Absence(client, options.namespace, options.name, options.patience)
    metrics = Metrics()
    metrics.read("custody_replicas_living", "Replicas that gave a sign of life in time.", (),
                 lambda: [((), absence.living)])
    metrics.count("custody_webhooks_withdrawn", "How often the webhooks were taken away for want of a replica.", (),
                  lambda: [((), absence.withdrawals)])
    health = Health({"replicas": lambda: State(ready=absence.failure is None, note=absence.failure or
                                               ("" if absence.living else "no replica gives a sign of life"))})
    listeners = Listeners(options.host, metrics, health, settings.max_connections_per_peer)
    try:
        url = "" if options.port is None else listeners.open(
            Paths({"/healthz": health, "/readyz": health, "/metrics": metrics}), options.port, None, "main", "--port")
        async with serving(*listeners.all):
            working = asyncio.create_task(absence.run())
            try:
                yield Watching(absence, url, client.url, working)
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
    finally:
        listeners.close()
        await client.cluster.close()
