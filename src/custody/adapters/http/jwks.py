"""The keys of an OIDC issuer that answers over HTTP (OpenID Connect Discovery)."""

from __future__ import annotations

import asyncio
import time

from custody.errors import MalformedError, NetworkError
from custody.kit import strictjson
from custody.ports.http import Http
from custody.trust.token import VerificationKey, parse_jwks

_MAX_DOCUMENT = 1024 * 1024
_FRESH = 300.0
_PAUSE = 10.0
"""Seconds between two requests: tokens with made-up key IDs must not become a flood on the issuer."""


class DiscoveredKeys:
    """Implements trust.token.KeySource: keys are kept five minutes, and asked for again when a key is unknown.

    Anybody can name a key that is unknown. So whoever has a known one does not wait for that request, nor lose the keys
    where it fails.
    """

    def __init__(self, http: Http, issuer: str) -> None:
        self._http = http
        self._issuer = issuer
        self._keys: tuple[VerificationKey, ...] = ()
        self._asked = self._had = float("-inf")
        self._lock = asyncio.Lock()

    async def keys(self, *, refresh: bool) -> tuple[VerificationKey, ...]:
        if not refresh and self._fresh():
            return self._keys
        async with self._lock:
            if (refresh or not self._fresh()) and time.monotonic() - self._asked > _PAUSE:
                self._asked = time.monotonic()
                try:
                    self._keys = await self._fetch()
                    self._had = self._asked
                except (NetworkError, MalformedError):
                    if not self._fresh():
                        raise
            if not self._fresh():
                raise NetworkError(f"issuer {self._issuer}: it gave no keys a moment ago",
                                   hint=f"try again in {_PAUSE:.0f} seconds")
            return self._keys

    def _fresh(self) -> bool:
        return bool(self._keys) and time.monotonic() - self._had <= _FRESH

    async def _fetch(self) -> tuple[VerificationKey, ...]:
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        document = strictjson.loads(await self._get(url), url, max_depth=16)
        document = document if isinstance(document, dict) else {}
        claimed, where = document.get("issuer"), document.get("jwks_uri")
        if claimed != self._issuer:
            raise MalformedError(f"{url} issuer", got=claimed, expected=self._issuer)
        if not isinstance(where, str) or not where.startswith(("https://", "http://")):
            raise MalformedError(f"{url} jwks_uri", got=where, expected="an http or https URL")
        return parse_jwks(await self._get(where), where)

    async def _get(self, url: str) -> bytes:
        async with await self._http.request("GET", url, headers={"Accept": "application/json"}) as answer:
            if answer.status != 200:
                raise NetworkError(f"GET {url}: got status {answer.status}, expected 200")
            return await answer.read(_MAX_DOCUMENT)
