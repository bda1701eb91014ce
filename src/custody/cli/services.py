"""What `up` and `serve` share: run until a signal, and say on standard error what runs where."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import click
import uvloop

from custody import __version__
from custody.cli import kinds
from custody.errors import UsageError
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot
from custody.server.journal import Journal, event, journal
from custody.server.platform import Running, running
from custody.server.reload import Reloader
from custody.server.worker import attached, current
from custody.settings import Settings
from custody.wiring import TRUST_ROLES, trusted_root, trusted_root_file

_LOG = logging.getLogger(__name__)


def kubeconfig_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--kubeconfig", metavar="FILE", help="Names the API server that is asked what policies ask of "
                        "a cluster, such as labels of namespaces; in a pod: its own.")(command)


def serve_forever(settings: Settings, roles: Iterable[str], host: str, port: int | None, webhook_port: int,
                  policies: tuple[str, ...], webhook_names: tuple[str, ...] = (), provider_port: int = 0) -> None:
    before: PolicySet | None = None

    def load() -> PolicySet:
        nonlocal before
        loaded = before = kinds.load(settings, policies, (), None, before=before)
        loaded.need_nobody_to_generate()
        return loaded

    sources = [Path(source) for source in (*(policies or settings.policies), *settings.crds)]
    with journal(sys.stderr.fileno(), settings.log_format, settings.log_level) as lines:
        uvloop.run(_serve(settings, tuple(roles), host, port, webhook_port, webhook_names, provider_port, load, sources,
                         lines))


async def _serve(settings: Settings, roles: tuple[str, ...], host: str, port: int | None, webhook_port: int,
                 webhook_names: tuple[str, ...], provider_port: int, load: Callable[[], PolicySet], sources: list[Path],
                 lines: Journal) -> None:
    chosen = load()
    async with running(settings, roles, host=host, port=port, webhook_port=webhook_port, webhook_names=webhook_names,
                       provider_port=provider_port, policies=chosen) as services:
        services.metrics.count("custody_log_lines_dropped", "Lines of this log that nobody took.", (),
                            lambda: [((), lines.dropped)])
        async with reloading(services, load, sources):  # before anybody is told: SIGHUP would end the process
            worker = current()
            if settings.log_format == "text" and (worker is None or worker.first):
                print("\n".join(describe(services, chosen)), file=sys.stderr, flush=True)
            event(_LOG, logging.INFO, "started", {
                "version": __version__, "roles": list(roles), "url": services.url, "webhook": services.webhook or "",
                "data": str(services.platform.data), "policies": len(chosen.policies),
                **({} if worker is None else {"worker": worker.number})})
            async with attached(services.metrics.text):
                event(_LOG, logging.INFO, "stopping", {"signal": (await until_stopped()).name, "drain": settings.drain})
                services.listeners.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(settings.drain):
                        await until_stopped()


@contextlib.asynccontextmanager
async def reloading(services: Running, load: Callable[[], PolicySet], sources: list[Path]) -> AsyncIterator[None]:
    """Policies and certificates are as the files are now: looked at every two seconds, and read at once on SIGHUP."""
    watches = list(services.listeners.watches)
    if services.admission is not None and services.admission.admission is not None:
        settings, admission = services.platform.settings, services.admission.admission
        reloader = Reloader(admission, [*sources, trusted_root_file(settings)],
                            lambda: snapshot(settings, load(), admission.snapshot))
        reloader.told = lambda succeeded: services.metrics.reloaded("policies", succeeded=succeeded)
        services.admission.reloader = reloader
        services.metrics.reloads("policies", lambda: reloader.failure)
        watches.append(reloader)

    def ask() -> None:
        for watch in watches:
            watch.ask()
        if services.rules is not None:
            services.rules.ask()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, ask)
    tasks = [asyncio.create_task(watch.run()) for watch in watches]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def snapshot(settings: Settings, policies: PolicySet, before: Snapshot) -> Snapshot:
    """What the files say now.

    Raises UsageError where the trust root that was read before is gone: that of the start, which it replaced, must not
    count again.
    """
    root = trusted_root(settings)
    if root is None and before.root is not None:
        raise UsageError(f"{trusted_root_file(settings)}: no such file", hint="it was there, and is judged by")
    return Snapshot(policies, root)


async def until_stopped() -> signal.Signals:
    """Wait for SIGINT or SIGTERM, and say which came."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[signal.Signals] = loop.create_future()

    def heard(number: signal.Signals) -> None:
        if not stop.done():
            stop.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, heard, number)
    return await stop


def describe(services: Running, policies: PolicySet) -> list[str]:
    """One line for each thing that runs."""
    data, base, count = services.platform.data, services.url, len(policies.policies)
    own = services.platform.settings.webhook_certificate
    certified = f"certificate {own}" if own else f"CA bundle {data / 'admission' / 'ca.crt'}"
    loaded = f"{count} {'policy' if count == 1 else 'policies'}"
    rules = "" if services.platform.settings.auth is None else "  (by the rules of [auth])"
    published = f"initial root {data / 'tuf' / '1.root.json'}"
    if "tuf" in services.roles and services.platform.tuf.expiry() is None:
        published = f"nothing yet: {services.platform.published[0]} is not there"
    lines = {"registry": f"registry      {base.partition('//')[2]}/NAME{rules}", "oidc": f"OIDC issuer   {base}/oidc",
             "ca": f"CA            {base}/api/v2/signingCert", "log": f"log           {base}/api/v2",
             "tsa": f"timestamps    {base}/api/v1/timestamp",
             "runtime": f"runtime       {base}/runtime/audit, /falco, /events/…",
             "tuf": f"TUF           {base}/tuf  ({published})",
             "admission": f"admission     {services.webhook}/validate, /mutate  ({loaded}; "
                          f"{certified})"}
    if services.provider is not None:
        stated = services.platform.settings.external_data
        bundle = stated.certificate if stated is not None and stated.certificate else (
            f"CA bundle {data / 'provider' / 'ca.crt'}")
        lines["provider"] = f"provider      {services.provider}/evidence, /digest  ({bundle})"
    if services.cluster:
        lines["admission"] += f"\ncluster       {services.cluster}"
    if any(role in TRUST_ROLES for role in services.roles):
        lines["trust"] = f"trust files   {', '.join(map(str, services.platform.trust_files))}"
    elif "admission" in services.roles and trusted_root(services.platform.settings) is None:
        lines["trust"] = ("trust files   none: only evidence by keys can be verified; name a trusted_root, or start "
                          "the trust services first")
    return [*(line for role, line in lines.items() if role in services.roles or role == "trust"), "ctrl-c stops"]
