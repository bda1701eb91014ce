"""Identity tokens of named OIDC issuers as credentials: who the bearer is, by a claim that the settings name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from custody.errors import AuthenticationError, UsageError
from custody.kit.clock import Clock
from custody.server.access.rules import Caller
from custody.settings.tables import AuthIssuer
from custody.trust.identity import TrustedIssuer, identity_of, text_claim
from custody.trust.token import KeySource, parse_token, verify_token


@dataclass(frozen=True, slots=True)
class _Trusted:
    settings: AuthIssuer
    keys: KeySource
    issuer: TrustedIssuer | None
    """For the types that certificates have too; None for `subject`."""


class Tokens:
    """Verifies tokens: issuer, signature, audience, times (custody.trust.token), then the identity."""

    def __init__(self, issuers: Mapping[AuthIssuer, KeySource], clock: Clock) -> None:
        """Raises UsageError for an issuer that is named twice, or settings that do not fit each other."""
        self._clock = clock
        self._by_url: dict[str, _Trusted] = {}
        for issuer, keys in issuers.items():
            if issuer.url in self._by_url:
                raise UsageError(f"auth.issuers: {issuer.url} is named twice, expected each once")
            if not issuer.audience:
                raise UsageError(f"auth.issuers: {issuer.url}: audience: got none, expected the registry's name")
            if issuer.identity != "uri" and issuer.subject_domain is not None:
                raise UsageError(f"auth.issuers: {issuer.url}: subject_domain belongs to identity uri and only there")
            trusted = None if issuer.identity == "subject" else TrustedIssuer(
                issuer.url, keys, issuer.identity, issuer.audience, issuer.subject_domain)
            self._by_url[issuer.url] = _Trusted(issuer, keys, trusted)

    async def caller(self, text: str) -> Caller:
        """Raises AuthenticationError, MalformedError; NetworkError where the issuer's keys cannot be had."""
        token = parse_token(text)
        trusted = self._by_url.get(token.issuer)
        if trusted is None:
            raise AuthenticationError(f"identity token iss: {token.issuer[:200]!r} is not a trusted issuer")
        await verify_token(token, trusted.keys, trusted.settings.audience, self._clock())
        name = (text_claim(token.claims, "sub") if trusted.issuer is None
                else identity_of(trusted.issuer, token.claims).name.value)
        return Caller(token.issuer, (name,))
