"""Authorization headers by registry and scope (distribution, spec/auth/token.md and oauth.md; RFC 7617).

    1. A registry refuses with a challenge: Bearer with the token service's URL, or Basic.
    2. The login of the host that was asked is looked up.
    3. The token service is asked for the client's own scopes and the challenge's: with the name and password (GET),
       with an identity token (POST, and GET where the service has no POST), or for nobody.
    4. The token is kept until shortly before it expires, and renewed when it is refused.

One renewal at a time for each registry and scope: the others wait for its token.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from weakref import WeakValueDictionary

from custody.errors import AuthenticationError, MalformedError, NetworkError
from custody.kit import strictjson
from custody.kit.address import Network, Reach, reach_from
from custody.kit.clock import parse_rfc3339
from custody.ports.http import Answer
from custody.registry.logins import Logins
from custody.registry.origin import Origin, origin_of

if TYPE_CHECKING:
    from custody.registry.challenge import Challenge
    from custody.registry.credentials import Credential

_USUAL_LIFETIME = 60.0
"""Seconds, where a token does not say (spec/auth/token.md, "expires_in")."""
_MARGIN = 10.0
_MAX_TOKEN = 64 * 1024
"""Bytes of a token service's answer: the largest tokens have some ten thousand, and what comes is parsed at once."""
_MOST = 2_000
_TOKEN = re.compile(r"[\x21-\x7e]+\Z")
_CLIENT = "custody"

Exchange = Callable[[str, str, Mapping[str, str], bytes | None, Reach | None], Awaitable[Answer]]
"""One request: method, URL, headers, body, reach."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Who is asked: `host` as logins are kept by, the origin that may see them, and the repository."""

    host: str
    origin: Origin
    repository: str


@dataclass(frozen=True, slots=True)
class _Kept:
    header: str
    until: float
    challenge: str
    network: Network | None


class Tokens:
    def __init__(self, logins: Logins, now: Callable[[], float] = time.monotonic) -> None:
        self._logins = logins
        self._now = now
        self._kept: dict[tuple[Origin, str], _Kept] = {}
        self._turns: WeakValueDictionary[tuple[Origin, str], asyncio.Lock] = WeakValueDictionary()

    async def authorization(self, registry: Registry, scope: str, exchange: Exchange) -> str | None:
        """What was accepted before, renewed where it is about to expire; None where nothing was asked for yet."""
        kept = self._kept.get((registry.origin, scope))
        if kept is None or self._now() < kept.until:
            return kept.header if kept else None
        return await self.renew(registry, scope, kept.challenge, kept.network, kept.header, exchange)

    async def renew(self, registry: Registry, scope: str, challenge: str, network: Network | None,
                    refused: str | None, exchange: Exchange) -> str:
        """Answer a challenge. `refused` is the header that was sent; `network` is where the challenge came from.

        Raises AuthenticationError, NetworkError.
        """
        key = (registry.origin, scope)
        turn = self._turns.setdefault(key, asyncio.Lock())
        async with turn:
            kept = self._kept.get(key)
            if kept and kept.header != refused and self._now() < kept.until:
                return kept.header
            self.forget(registry, scope)
            header, lifetime = await self._ask(registry, scope, challenge, network, refused, exchange)
            if len(self._kept) >= _MOST:
                self._kept.clear()
            self._kept[key] = _Kept(header, self._now() + lifetime, challenge, network)
            return header

    def forget(self, registry: Registry, scope: str) -> None:
        self._kept.pop((registry.origin, scope), None)

    async def _ask(self, registry: Registry, scope: str, header: str, network: Network | None, refused: str | None,
                   exchange: Exchange) -> tuple[str, float]:
        from custody.registry.challenge import choose  # only where a registry asks

        challenge = choose(header)
        is_basic = challenge is not None and challenge.scheme == "basic"
        credential = await self._logins.find(registry.host, registry.repository,
                                             refused=is_basic and refused is not None)
        hint = f"docker login {registry.host}"
        if credential and credential.registry_token and (refused or "").removeprefix(
                "Bearer ") != credential.registry_token:
            return f"Bearer {credential.registry_token}", float("inf")
        if challenge is None:
            raise AuthenticationError(f"{registry.host}: wants credentials, without a Bearer or Basic challenge that "
                                      "can be answered", hint=hint)
        if is_basic:
            if credential is None or credential.basic() == refused:
                state = "wants credentials" if credential is None else "the credentials are refused"
                raise AuthenticationError(f"{registry.host}: {state}", hint=hint)
            return credential.basic(), float("inf")
        return await self._from_service(registry, scope, challenge, network, credential, exchange)

    async def _from_service(self, registry: Registry, scope: str, challenge: Challenge, network: Network | None,
                            credential: Credential | None, exchange: Exchange) -> tuple[str, float]:
        from custody.registry.challenge import merged_scopes

        realm = challenge.parameters["realm"]
        service = origin_of(realm, f"{registry.host}: token service")
        if registry.origin.scheme == "https" and service.scheme != "https":
            raise NetworkError(f"{registry.host}: names a token service over plain http ({service}), expected https")
        # Its own machine is the registry's to name; another one may only be in a network that it is in itself.
        reach = None if service.host == registry.origin.host else reach_from(network or Network.PUBLIC)
        scopes = merged_scopes(scope, challenge.parameters.get("scope", ""))
        fields = [("service", challenge.parameters["service"])] if "service" in challenge.parameters else []
        answer: Answer | None = None
        if credential and credential.identity_token:
            form = [("grant_type", "refresh_token"), ("client_id", _CLIENT), *fields, ("scope", " ".join(scopes)),
                    ("refresh_token", credential.identity_token)]
            answer = await exchange("POST", realm, {"Content-Type": "application/x-www-form-urlencoded"},
                                    urlencode(form).encode(), reach)
            if answer.status in (401, 404, 405):  # a service without POST; it may take the token as a password
                await answer.__aexit__(None, None, None)
                answer = None
        if answer is None:
            account = [("account", credential.username)] if credential and credential.username else []
            query = urlencode([*fields, *(("scope", scope) for scope in scopes), ("client_id", _CLIENT), *account])
            headers = {"Authorization": credential.basic()} if credential else {}
            answer = await exchange("GET", f"{realm}{'&' if '?' in realm else '?'}{query}", headers, None, reach)
        async with answer:
            if answer.status != 200:
                raise _refusal(registry, service, answer.status)
            try:
                document = strictjson.loads(await answer.read(_MAX_TOKEN), "token", max_depth=16)
            except MalformedError:
                document = None  # its bytes are secrets or a stranger's: they are not shown
        token = document.get("token") or document.get("access_token") if isinstance(document, dict) else None
        if not isinstance(token, str) or not _TOKEN.match(token):
            raise AuthenticationError(f"{registry.host}: the token service answered without a token ({service})")
        return f"Bearer {token}", _lifetime(document, answer.headers.get("date", ""))


def _refusal(registry: Registry, service: Origin, status: int) -> AuthenticationError | NetworkError:
    text = f"{registry.host}: the token service answered {status} ({service})"
    if status in (400, 401, 403, 404):
        return AuthenticationError(text, hint=f"docker login {registry.host}")
    return NetworkError(text)


def _lifetime(document: Mapping[str, Any], date: str) -> float:
    """Seconds for which a token is used: `expires_in` after `issued_at` by the service's own clock, less a margin."""
    seconds = document.get("expires_in")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < 1e9:
        seconds = _USUAL_LIFETIME
    return max(0.0, seconds - _age(document.get("issued_at"), date) - min(_MARGIN, seconds / 5))


def _age(issued: object, date: str) -> float:
    """How old the token is already; 0 where the answer does not say both times."""
    if not isinstance(issued, str) or not date:
        return 0.0
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, (parsedate_to_datetime(date) - parse_rfc3339(issued)).total_seconds())
    except (MalformedError, ValueError, TypeError):
        return 0.0
