"""`custody admission guard`: no webhooks without a replica that answers them."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING

import click
import uvloop

from custody import __version__
from custody.cli.loglines import log_options, logged
from custody.cli.run import settings
from custody.settings import Settings

if TYPE_CHECKING:
    from custody.server.watchdog import Options

_LOG = logging.getLogger(__name__)
_LEAST = 20
"""Seconds: a replica that dies is missed for 15, and another leads after 17."""


@click.command("guard")
@click.option("--kubeconfig", metavar="FILE", help="The cluster; default: the one that this is a pod of.")
@click.option("--namespace", default="custody", show_default=True, help="Where the replicas' Leases are.")
@click.option("--name", default="custody", show_default=True, help="Of their configurations.")
@click.option("--after", default=60, show_default=True, type=click.IntRange(min=_LEAST), metavar="SECONDS",
              help="For how long no replica may give a sign of life.")
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104 - a pod's own
@click.option("--port", type=click.IntRange(0, 65535),
              help="/healthz, /readyz and /metrics without TLS; 0 chooses one.")
@log_options
def guard(kubeconfig: str | None, namespace: str, name: str, after: int, host: str, port: int | None,
          log_format: str | None, log_level: str | None) -> None:
    """Take the webhooks away when all replicas are gone.

    Looks at the Leases by which replicas of `admission run` say that they live. Where none was renewed for --after
    seconds nobody would answer, and what is asked with failurePolicy Fail could not be created: the configurations
    about objects are deleted, and nothing is judged. A replica that returns puts them back. Whoever can stop all
    replicas for that long opens the door: run it only where that is better than a cluster that stands still.
    """
    configured = logged(settings(), log_format, log_level)
    if kubeconfig is not None:
        configured = configured.replace(kubeconfig=kubeconfig)
    from custody.server.journal import journal
    from custody.server.watchdog import Options

    with journal(sys.stderr.fileno(), configured.log_format, configured.log_level):
        uvloop.run(_run(configured, Options(after, namespace, name, host, port)))


async def _run(configured: Settings, options: Options) -> None:
    from custody.cli.services import until_stopped
    from custody.server.journal import event
    from custody.server.watchdog import watching_replicas

    async with watching_replicas(configured, options) as watching:
        event(_LOG, logging.INFO, "started", {"version": __version__, "url": watching.url, "cluster": watching.cluster,
                                              "after": options.patience})
        stopped = asyncio.create_task(until_stopped())
        await asyncio.wait({stopped, watching.working}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if watching.working.done():
            watching.working.result()
