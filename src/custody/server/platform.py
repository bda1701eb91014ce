"""custody's services behind addresses: one plain listener for registry and trust, one with TLS for the webhook."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import cast

from starlette.applications import Starlette
from starlette.routing import Route

from custody.admission.answered import Answered, Observer
from custody.admission.webhook import Admission
from custody.errors import UsageError
from custody.policy.load import PolicySet
from custody.server.admission import AdmissionApp
from custody.server.asgi import App, Receive, Scope, Send, respond
from custody.server.metrics import Metrics
from custody.server.observed import Observed, decided
from custody.server.registry import RegistryApp
from custody.server.run import Listener, Paths, serving
from custody.settings import Settings
from custody.wiring import TRUST_ROLES, Platform, gatherer, kinds, registry_client, service_http

ROLES = ("registry", "oidc", "ca", "log", "tsa", "admission")


@dataclass(slots=True)
class Running:
    """What runs, and where."""

    platform: Platform
    url: str
    """Of all but the webhook; empty where nothing but that listens."""
    webhook: str | None
    admission: AdmissionApp | None
    roles: tuple[str, ...]
    metrics: Metrics


@contextlib.asynccontextmanager
async def running(settings: Settings, roles: Iterable[str] = ROLES, *, host: str = "127.0.0.1", port: int | None = 0,
                  webhook_port: int = 0, webhook_names: Iterable[str] = (),
                  policies: PolicySet | None = None) -> AsyncIterator[Running]:
    """All services of `roles` up on entry and closed on exit. Raises UsageError, NetworkError, ConflictError.

    The webhook's certificate names `host`, `webhook_names` and localhost. `port` answers /healthz, and /readyz for the
    webhook, without TLS: for those who only look after it. None: admission alone needs no such port.
    """
    chosen = tuple(roles)
    for role in chosen:
        if role not in ROLES:
            raise UsageError(f"--roles: got {role!r}, expected some of {', '.join(ROLES)}")
    if port is None and set(chosen) != {"admission"}:
        raise UsageError(f"--port: got none, expected one for {', '.join(chosen)}")
    box: list[App] = []

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        await box[0](scope, receive, send)

    listeners = [Listener(plain, host, port)] if port is not None else []
    http = service_http(settings)
    url = listeners[0].url if listeners else ""
    platform = Platform(settings, url or f"http://{host}", http=http)
    admission = AdmissionApp() if "admission" in chosen else None
    webhook = None
    metrics = Metrics()
    try:
        box.append(Observed(_plain_app(platform, chosen, admission, metrics), metrics))
        # Whoever serves none of these leaves the files alone, and needs no authority's keys.
        if trust := [role for role in chosen if role in TRUST_ROLES]:
            platform.export(trust)
        if admission is not None:
            certificate = platform.certificate(list(dict.fromkeys((host, *webhook_names, "localhost"))))
            app = Observed(Paths({"/metrics": metrics, "/": cast(App, admission)}), metrics, "admission")
            listeners.append(Listener(app, host, webhook_port, certificate=certificate.certificate,
                                      key=certificate.key, flag="--webhook-port"))
            webhook = listeners[-1].url
            given = policies if policies is not None else PolicySet.load(settings.policies, kinds(settings))
            admission.admission = platform.admission(given, gatherer(settings, registry_client(settings, http)),
                                                     _observer(metrics))
            _gauges(metrics, admission.admission)
        async with serving(*listeners):
            yield Running(platform, url, webhook, admission, chosen, metrics)
    finally:
        for listener in listeners:
            listener.close()
        await http.close()
        platform.close()


def _observer(metrics: Metrics) -> Observer:
    def observe(answered: Answered) -> None:
        metrics.reviewed(answered)
        decided(answered)

    return observe


def _gauges(metrics: Metrics, admission: Admission) -> None:
    metrics.read("custody_policies", "Policies that reviews are judged by.", (),
                 lambda: [((), len(admission.policies.policies))])


def _plain_app(platform: Platform, roles: tuple[str, ...], admission: AdmissionApp | None, metrics: Metrics) -> App:
    """Registry and trust services share a port: their paths do not meet."""
    from custody.server import ca, log, oidc, tsa
    from custody.server.rpcstatus import EXCEPTION_HANDLERS

    routes: list[Route] = []
    if "oidc" in roles:
        routes += [route for issuer in (platform.people,) for route in oidc.routes(issuer)]
    if "ca" in roles:
        routes += [*ca.routes(platform.ca), *log.tile_routes("/ct", platform.ct.log.reader)]
    if "log" in roles:
        routes += log.routes(platform.log, platform.log.log.reader)
    if "tsa" in roles:
        routes += tsa.routes(platform.tsa)
    apps: dict[str, App] = {"/healthz": _healthy, "/metrics": metrics}
    if admission is not None:
        apps["/readyz"] = cast(App, admission)
    if routes:
        apps["/"] = cast(App, Starlette(routes=routes, exception_handlers=EXCEPTION_HANDLERS))
    if "registry" in roles:
        apps["/v2"] = cast(App, RegistryApp(platform.registry))
    return Paths(apps)


async def _healthy(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - an ASGI application
    await respond(send, 200, b"ok", b"text/plain")
