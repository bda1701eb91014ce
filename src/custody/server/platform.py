"""custody's services behind addresses: one plain listener for registry and trust, one with TLS for the webhook."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.routing import Route

from custody.errors import UsageError
from custody.policy.load import PolicySet
from custody.server.admission import AdmissionApp
from custody.server.asgi import App, Receive, Scope, Send
from custody.server.checks import checks
from custody.server.health import Health
from custody.server.hosts import HostCheck, Hosts, is_loopback
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

    names = _names(settings, host)
    checked = HostCheck(plain, names) if names is not None else plain
    per_peer = settings.max_connections_per_peer
    listeners = [Listener(checked, host, port, per_peer=per_peer)] if port is not None else []
    http = service_http(settings)
    url = listeners[0].url if listeners else ""
    platform = Platform(settings, url or f"http://{host}", http=http)
    admission = AdmissionApp() if "admission" in chosen else None
    webhook = None
    try:
        health = Health(checks(platform, chosen, admission))
        box.append(_plain_app(platform, chosen, health))
        # Whoever serves none of these leaves the files alone, and needs no authority's keys.
        if trust := [role for role in chosen if role in TRUST_ROLES]:
            platform.export(trust)
        if admission is not None:
            certificate = platform.certificate(list(dict.fromkeys((host, *webhook_names, "localhost"))))
            listeners.append(Listener(cast(App, admission), host, webhook_port, certificate=certificate.certificate,
                                      key=certificate.key, flag="--webhook-port", per_peer=per_peer))
            admission.health = health
            webhook = listeners[-1].url
            given = policies if policies is not None else PolicySet.load(settings.policies, kinds(settings))
            admission.admission = platform.admission(given, gatherer(settings, registry_client(settings, http)))
        async with serving(*listeners):
            yield Running(platform, url, webhook, admission, chosen)
    finally:
        for listener in listeners:
            listener.close()
        await http.close()
        platform.close()


def _names(settings: Settings, host: str) -> Hosts | None:
    """Whom the plain listener answers to; None for everybody. The webhook's TLS does the same by its certificate.

    Behind an address that others reach, their proxies, probes and clusters have names that only settings know.
    """
    if not is_loopback(host) and not settings.hosts:
        return None
    return Hosts(host, [*settings.hosts, *(urlsplit(url).netloc for url in settings.urls.values())])


def _plain_app(platform: Platform, roles: tuple[str, ...], health: Health) -> App:
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
    apps: dict[str, App] = {"/healthz": health, "/readyz": health}
    if routes:
        apps["/"] = cast(App, Starlette(routes=routes, exception_handlers=EXCEPTION_HANDLERS))
    if "registry" in roles:
        apps["/v2"] = cast(App, RegistryApp(platform.registry))
    return Paths(apps)
