"""A replica in a cluster, until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys

import uvloop

from custody import __version__
from custody.cli.services import until_stopped
from custody.server.incluster import InCluster, Options, running_in_cluster
from custody.server.journal import event, journal
from custody.server.worker import attached, current
from custody.settings import Settings

_LOG = logging.getLogger(__name__)


def serve(configured: Settings, options: Options) -> None:
    """Raises CustodyError where it cannot start, or cannot go on."""
    with journal(sys.stderr.fileno(), configured.log_format, configured.log_level):
        uvloop.run(_run(configured, options))


async def _run(configured: Settings, options: Options) -> None:
    async with running_in_cluster(configured, options) as running, attached(running.metrics.text):
        telling = asyncio.create_task(_tell(running, configured))
        stopped = asyncio.create_task(until_stopped())
        done, _ = await asyncio.wait({stopped, running.working}, return_when=asyncio.FIRST_COMPLETED)
        telling.cancel()
        if running.working in done:
            stopped.cancel()
            running.working.result()
        event(_LOG, logging.INFO, "stopping", {"signal": stopped.result().name, "drain": configured.drain})
        running.listeners.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(configured.drain):
                await until_stopped()


async def _tell(running: InCluster, configured: Settings) -> None:
    worker = current()
    if configured.log_format == "text" and (worker is None or worker.first):
        print(f"admission     {running.webhook}\ncluster       {running.cluster}\nctrl-c stops", file=sys.stderr,
              flush=True)
    while not running.operator.ready:
        await running.operator.stepped.wait()
        await asyncio.sleep(0.05)
    policies = running.operator.policies
    event(_LOG, logging.INFO, "started", {
        "version": __version__, "webhook": running.webhook, "url": running.url, "cluster": running.cluster,
        "policies": len(policies.policies) if policies is not None else 0,
        "leads": running.operator.leadership.leading, **({} if worker is None else {"worker": worker.number})})
