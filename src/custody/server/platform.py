"""custody's services behind addresses: one plain listener for registry and trust, one with TLS for the webhook."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.routing import Route

from custody.admission.answered import both
from custody.admission.exemption import Exemption
from custody.errors import CustodyError, UsageError
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.runtime.engine import Rules
from custody.server import gauges, runtime, tuf
from custody.server.access.mtls import Named
from custody.server.access.opening import gate, password_file, refuse_unused
from custody.server.admission import AdmissionApp
from custody.server.asgi import App, Receive, Scope, Send
from custody.server.checks import checks, htpasswd
from custody.server.health import Health, State
from custody.server.hosts import HostCheck, Hosts, is_loopback
from custody.server.listeners import Listeners
from custody.server.metrics import Metrics
from custody.server.observed import observer
from custody.server.provider import ProviderApp
from custody.server.registry import RegistryApp
from custody.server.run import Paths, serving
from custody.server.tls import TlsFiles
from custody.server.watching import FileWatch
from custody.server.watchrun import watch_run
from custody.server.worker import current
from custody.services.decisions import DecisionKeeper
from custody.settings import Settings
from custody.settings.tables import Auth
from custody.wiring import TRUST_ROLES, Platform, cluster_lookup, gatherer, kinds, registry_client, service_http
from custody.wiring.admission import (
    decision_keeper,
    evidence_answers,
    exceptions,
    own_names,
    prefetch,
    remembered,
    summarizing,
)

_RENEWAL = 3600.0
"""Seconds after which the webhook's own certificate is looked at again; it is renewed weeks before it runs out."""
_OWN = {"0.0.0.0": ["127.0.0.1"], "::": ["127.0.0.1", "::1"]}  # noqa: S104 - it is looked up
"""Nobody calls 0.0.0.0 by that name; who looks after the process calls it on its own machine."""
ROLES = ("registry", "oidc", "ca", "log", "tsa", "tuf", "scanner", "admission")
SERVED = (*ROLES, "provider", "runtime")
"""With those that need to be told whom they serve."""


@dataclass(slots=True)
class Running:
    """What runs, and where."""

    platform: Platform
    url: str
    """Of all but the webhook; empty where nothing but that listens."""
    webhook: str | None
    provider: str | None
    """Of what Gatekeeper asks about images."""
    admission: AdmissionApp | None
    roles: tuple[str, ...]
    metrics: Metrics
    listeners: Listeners
    cluster: str
    """The API server that is asked what policies ask of a cluster; empty where nobody is."""
    rules: FileWatch[Rules] | None
    """Falco's, of the runtime role, which are read again."""


@contextlib.asynccontextmanager
async def running(settings: Settings, roles: Iterable[str] = ROLES, *, host: str = "127.0.0.1", port: int | None = 0,
                  webhook_port: int = 0, webhook_names: Iterable[str] = (), provider_port: int = 0,
                  policies: PolicySet | None = None) -> AsyncIterator[Running]:
    """All services of `roles` up on entry and closed on exit. Raises UsageError, NetworkError, ConflictError.

    The webhook's certificate names `host`, `webhook_names` and localhost, unless the settings name a certificate.
    `port` answers /healthz, and /readyz for the webhook, without a client's certificate: for those who only look after
    it. None: admission alone needs no such port.
    """
    chosen = tuple(roles)
    for role in chosen:
        if role not in SERVED:
            raise UsageError(f"--roles: got {role!r}, expected some of {', '.join(SERVED)}")
    if port is None and not {*chosen} <= {"admission", "provider"}:
        raise UsageError(f"--port: got none, expected one for {', '.join(chosen)}")
    box: list[App] = []

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        await box[0](scope, receive, send)

    refuse_unused(settings.auth, settings.tls_client_ca, settings.tls_certificate, events="runtime" in chosen)
    events = runtime.events_app(settings) if "runtime" in chosen else None
    cluster = cluster_lookup(settings, in_pod=True) if "admission" in chosen else None
    metrics = Metrics()
    names = _names(settings, host)
    health = Health({})
    listeners = Listeners(host, metrics, health, settings.max_connections_per_peer)
    url = ""
    if port is not None:
        tls = _files(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
        url = listeners.open(HostCheck(plain, names) if names is not None else plain, port, tls, "main", "--port")
    http = service_http(settings)
    platform = Platform(settings, url or f"http://{host}", http=http)
    admission = AdmissionApp() if "admission" in chosen else None
    webhook = provider = None
    keeper: DecisionKeeper | None = None
    working: list[asyncio.Task[None]] = []
    stack = contextlib.AsyncExitStack()
    try:
        for role, check in checks(platform, chosen, admission, events).items():
            health.add(role, check)
        box.append(_plain_app(platform, chosen, health, metrics, events))
        gauges.of_platform(metrics, platform, chosen)
        # Whoever serves none of these leaves the files alone, and needs no authority's keys.
        if trust := [role for role in chosen if role in TRUST_ROLES]:
            platform.export(trust)
        if "tuf" in chosen:
            platform.publish()
            working.append(asyncio.create_task(tuf.watch(platform).run()))
        if admission is not None:
            tls = _webhook_files(platform, host, webhook_names)
            app: App = Paths({"/metrics": metrics, "/": cast(App, admission)})
            if settings.webhook_client_names:
                app = Named(app, settings.webhook_client_names)
            webhook = listeners.open(app, webhook_port, tls, "webhook", "--webhook-port", role="admission")
            admission.health = health
            exempt = admission.exemption = Exemption.of((), (), (), settings.exempt_namespaces)
            if exempt:
                logging.getLogger(__name__).info("%s", exempt.note)
                health.add("exemptions", lambda: State(note=exempt.note))
            given = policies if policies is not None else PolicySet.load(settings.policies, kinds(settings),
                                                                         exceptions=exceptions(settings))
            keeper = decision_keeper(settings, system_clock)
            before = remembered(settings, system_clock)
            source = gatherer(settings, registry_client(settings, http), remembered=before)
            judge = admission.admission = platform.admission(given, source, None, cluster)
            early = prefetch(judge, source, system_clock, platform.lookup(cluster),
                             own_names(settings, url) if url else lambda _: ())
            judge.observer = both(observer(metrics, keeper), early)
            if (summaries := summarizing(settings, http, source.client, system_clock)) is not None:
                judge.observer = both(judge.observer, summaries)
                working.append(asyncio.create_task(summaries.run()))
                gauges.of_summaries(metrics, summaries)
            if settings.watch_interval:
                admitted = platform.admitted()
                judge.observer = both(judge.observer, admitted)
                working.append(asyncio.create_task(admitted.run()))
            if "registry" in chosen:
                platform.registry.observer = early.pushed
            working.append(asyncio.create_task(early.run()))
            gauges.of_prefetch(metrics, early)
            gauges.of_admission(metrics, admission.admission)
            if keeper is not None:
                gauges.of_decisions(metrics, keeper)
            if before is not None:
                gauges.of_evidence(metrics, before)
                working.append(asyncio.create_task(before.watch()))
        if "provider" in chosen:
            provider = _provider(platform, listeners, health, host, provider_port)
        watching = (platform.watching(http, url.partition("://")[2], chosen)
                    if settings.watch_interval and {"registry", "scanner"} & set(chosen) else None)
        if events is not None:
            events.run = await stack.enter_async_context(watch_run(settings, runtime.watched(settings), _told))
            gauges.of_runtime(metrics, events)
        async with serving(*listeners.all):
            if watching is not None:
                working.append(asyncio.create_task(watching.run(settings.watch_interval)))
            yield Running(platform, url, webhook, provider, admission, chosen, metrics, listeners,
                          cluster.cluster.url if cluster is not None else "",
                          events.run.rules if events is not None and events.run is not None else None)
    finally:
        listeners.close()
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        try:
            await stack.aclose()
        except CustodyError as error:  # what was folded waits in the notes for the next process
            logging.getLogger(__name__).warning("not all alerts were told: %s", error.message)
        if keeper is not None:
            await asyncio.to_thread(keeper.close)
        if cluster is not None:
            await cluster.close()
        await http.close()
        platform.close()


def _names(settings: Settings, host: str) -> Hosts | None:
    """Whom the plain listener answers to; None for everybody. The webhook's TLS does the same by its certificate.

    Behind an address that others reach, their proxies, probes and clusters have names that only settings know.
    """
    if not is_loopback(host) and not settings.hosts:
        return None
    return Hosts(host, [*settings.hosts, *(urlsplit(url).netloc for url in settings.urls.values())])


def _provider(platform: Platform, listeners: Listeners, health: Health, host: str, port: int) -> str:
    """The URL of a listener for Gatekeeper. Raises UsageError, MalformedError, NetworkError."""
    settings = platform.settings
    stated = settings.external_data
    source = gatherer(settings, registry_client(settings, platform.http))
    answers = evidence_answers(settings, source, system_clock)
    assert stated is not None  # who answers was made of it
    app: App = ProviderApp(answers, health)
    if stated.client_names:
        app = Named(app, stated.client_names, "external_data.client_names")
    tls = _files(stated.certificate, stated.key, stated.client_ca, prefix="external_data.", demanded=True)
    if tls is None:
        own = _OWN.get(host, [host])
        names = list(dict.fromkeys((*own, *stated.names, "localhost")))
        made = platform.certificate(names, "provider")
        tls = TlsFiles(made.certificate, made.key, Path(stated.client_ca), True,
                       lambda: platform.certificate(names, "provider"))
    elif stated.names:
        raise UsageError(f"external_data.names: got {stated.names[0]}, and the names are those of its certificate")
    return listeners.open(app, port, tls, "provider", "--provider-port", role="provider")


def _webhook_files(platform: Platform, host: str, names: Iterable[str]) -> TlsFiles:
    """By the settings' certificate, else by one that is made and renewed here."""
    settings = platform.settings
    names = [*settings.webhook_names, *names]
    if settings.webhook_client_names and settings.webhook_client_ca is None:
        raise UsageError("webhook_client_names: needs webhook_client_ca, whose certificates have these names")
    if settings.webhook_certificate is not None or settings.webhook_key is not None:
        if names:
            raise UsageError(f"webhook_names: got {names[0]}, and the names are those of webhook_certificate")
        files = _files(settings.webhook_certificate, settings.webhook_key, settings.webhook_client_ca, prefix="webhook",
                       demanded=True)
        assert files is not None
        return files
    own = _OWN.get(host, [host])
    chosen = list(dict.fromkeys((*own, *names, "localhost")))
    made = platform.certificate(chosen)
    client_ca = Path(settings.webhook_client_ca) if settings.webhook_client_ca else None
    worker = current()
    renew = None if worker is not None and not worker.first else lambda: platform.certificate(chosen)
    return TlsFiles(made.certificate, made.key, client_ca, True, renew)


def _files(certificate: str | None, key: str | None, client_ca: str | None, *, prefix: str = "tls",
           demanded: bool = False) -> TlsFiles | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UsageError(f"{prefix}_{'key' if key is None else 'certificate'}: got none, expected one beside "
                         f"{prefix}_{'certificate' if key is None else 'key'}")
    return TlsFiles(Path(certificate), Path(key), Path(client_ca) if client_ca else None, demanded)


def _told(text: str) -> None:
    logging.getLogger(__name__).warning("%s", text)


def _plain_app(platform: Platform, roles: tuple[str, ...], health: Health, metrics: Metrics,
               events: runtime.RuntimeApp | None) -> App:
    """Registry and trust services share a port: their paths do not meet."""
    from custody.server import ca, log, oidc, tsa
    from custody.server.rpcstatus import EXCEPTION_HANDLERS

    routes: list[Route] = []
    if "oidc" in roles:
        routes += oidc.routes(platform.people)
    if "ca" in roles:
        routes += [*ca.routes(platform.ca), *log.tile_routes("/ct", platform.ct.log.reader)]
    if "log" in roles:
        routes += log.routes(platform.log, platform.log.log.reader)
    if "tsa" in roles:
        routes += tsa.routes(platform.tsa)
    if "tuf" in roles:
        routes += tuf.routes(platform.tuf.folder)
    apps: dict[str, App] = {"/healthz": health, "/readyz": health, "/metrics": metrics}
    if routes:
        apps["/"] = cast(App, Starlette(routes=routes, exception_handlers=EXCEPTION_HANDLERS))
    if "registry" in roles:
        served = cast(App, RegistryApp(platform.registry))
        auth = platform.settings.auth
        apps["/v2"] = served if auth is None else _gated(served, auth, platform, health, metrics)
    if events is not None:
        apps["/runtime"] = events
    return Paths(apps)


def _gated(app: App, auth: Auth, platform: Platform, health: Health, metrics: Metrics) -> App:
    passwords = password_file(auth, platform)
    if passwords is not None:
        health.add("htpasswd", lambda: htpasswd(passwords))
        metrics.reloads("htpasswd", passwords.failure)
    return gate(app, auth, platform, passwords)
