"""Discovery and public keys of custody's OIDC issuer. Nothing here mints (see custody.trust.oidc)."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from custody.trust.oidc import OidcIssuer


def routes(issuer: OidcIssuer) -> list[Route]:
    """Below the path of the issuer's URL."""
    path = urlsplit(issuer.url).path

    async def discovery(_: Request) -> Response:
        return Response(issuer.discovery(), media_type="application/json")

    async def keys(_: Request) -> Response:
        return Response(issuer.jwks(), media_type="application/jwk-set+json")

    return [Route(f"{path}/.well-known/openid-configuration", discovery, methods=["GET"]),
            Route(f"{path}/keys", keys, methods=["GET"])]
