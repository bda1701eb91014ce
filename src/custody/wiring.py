"""The only composition root: settings → adapters → services."""

from __future__ import annotations

from custody.adapters.http.stdlib import StdlibHttp
from custody.ports.http import Http
from custody.registry.client import RegistryClient
from custody.settings import Settings


def command_http(settings: Settings) -> Http:
    """HTTP for one command: starts fast, no event-loop client library."""
    return StdlibHttp(offline=settings.offline)


def service_http(settings: Settings) -> Http:
    """HTTP for a service: many requests at once."""
    from custody.adapters.http.aiohttp import AiohttpHttp

    return AiohttpHttp(offline=settings.offline)


def registry_client(settings: Settings, http: Http | None = None) -> RegistryClient:
    return RegistryClient(http or command_http(settings), mirrors=settings.mirrors, plain_http=settings.plain_http)
