"""From a verified token to what a signing certificate says: issuer types, name, and Fulcio's extensions.

(fulcio docs/oid-info.md; the templates of the `github-workflow` type are those of fulcio's config/identity.)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from cryptography import x509

from custody.errors import AuthenticationError, ReplayedTokenError, UsageError
from custody.trust.token import KeySource, Token, parse_token, verify_token

IssuerType = Literal["email", "github-workflow", "uri"]
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_MAX_CLAIM = 2048
_MAX_SPENT = 100_000
_GITHUB = "https://github.com"
_WORKFLOW = {  # extension 1.3.6.1.4.1.57264.1.N → template over the claims
    2: "{event_name}", 3: "{sha}", 4: "{workflow}", 5: "{repository}", 6: "{ref}",
    9: _GITHUB + "/{job_workflow_ref}", 10: "{job_workflow_sha}", 11: "{runner_environment}",
    12: _GITHUB + "/{repository}", 13: "{sha}", 14: "{ref}", 15: "{repository_id}",
    16: _GITHUB + "/{repository_owner}", 17: "{repository_owner_id}", 18: _GITHUB + "/{workflow_ref}",
    19: "{workflow_sha}", 20: "{event_name}",
    21: _GITHUB + "/{repository}/actions/runs/{run_id}/attempts/{run_attempt}", 22: "{repository_visibility}"}


@dataclass(frozen=True, slots=True)
class Identity:
    """What the certificate will say, and what the holder of the new key must have signed."""

    name: x509.RFC822Name | x509.UniformResourceIdentifier
    challenge: str
    """The claim's value that the proof of possession covers: `email`, or else `sub`."""
    extensions: tuple[tuple[int, str], ...]
    """N of 1.3.6.1.4.1.57264.1.N, and its text."""


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An OIDC issuer whose tokens the CA takes."""

    url: str
    keys: KeySource
    type: IssuerType = "email"
    client_id: str = "sigstore"
    subject_domain: str | None = None
    """For type uri: scheme and host that every subject has, such as https://builder.example."""
    single_use: bool = False
    """Each of its tokens counts once."""

    def __post_init__(self) -> None:
        if (self.type == "uri") != (self.subject_domain is not None):
            raise UsageError(f"issuer {self.url}: a subject domain belongs to type uri and only there")
        if self.subject_domain and _site(self.subject_domain) != _site(self.url):
            raise UsageError(f"issuer {self.url}: subject domain {self.subject_domain} is not of the issuer's domain")

    def configuration(self) -> dict[str, Any]:
        """An entry of Fulcio's GET /api/v2/configuration."""
        return {"issuerUrl": self.url, "audience": self.client_id, "spiffeTrustDomain": "",
                "challengeClaim": "email" if self.type == "email" else "sub",
                "subjectDomain": self.subject_domain or "",
                "issuerType": {"github-workflow": "ci-provider"}.get(self.type, self.type),
                "skipEmailVerification": False}


class IdentityVerifier:
    """Turns tokens of the trusted issuers into identities; which of them counted is known to this process alone."""

    def __init__(self, issuers: tuple[TrustedIssuer, ...]) -> None:
        self.issuers = issuers
        self._by_url = {issuer.url: issuer for issuer in issuers}
        if len(self._by_url) != len(issuers):
            raise UsageError("issuers: an issuer's URL is configured twice, expected each once")
        self._spent: dict[bytes, float] = {}
        """The digest of each token that counts no more → when it expires, which says the same then."""

    async def verify(self, text: str, now: datetime) -> Identity:
        """Raises AuthenticationError, ReplayedTokenError or MalformedError with the reason."""
        token = parse_token(text)
        issuer = self._by_url.get(token.issuer)
        if issuer is None:
            raise AuthenticationError(f"identity token iss: {token.issuer[:200]!r} is not a trusted issuer",
                                      hint="trusted are " + ", ".join(self._by_url))
        await verify_token(token, issuer.keys, issuer.client_id, now)
        identity = identity_of(issuer, token.claims)
        if issuer.single_use:
            self._spend(token, now.timestamp())
        return identity

    def _spend(self, token: Token, now: float) -> None:
        # What is signed is hashed, and not the text: an ECDSA signature has two spellings, and base64 several.
        digest = hashlib.sha256(token.signed).digest()
        if digest in self._spent:
            raise ReplayedTokenError("identity token: it was used before, and this issuer's tokens count once",
                                     hint="ask the issuer for a new one")
        if len(self._spent) >= _MAX_SPENT:
            self._spent = {spent: end for spent, end in self._spent.items() if end > now}
        if len(self._spent) >= _MAX_SPENT:
            raise AuthenticationError(f"identity token: {_MAX_SPENT} that are still valid were used, and no more are "
                                      "remembered", hint="try again when some of them have expired")
        self._spent[digest] = float(token.claims["exp"])


def identity_of(issuer: TrustedIssuer, claims: Mapping[str, Any]) -> Identity:
    """What verified claims say of who somebody is, in the issuer's type. Raises AuthenticationError."""
    subject = text_claim(claims, "sub")
    extensions = {1: issuer.url, 8: issuer.url, 24: subject}
    if issuer.type == "email":
        email = text_claim(claims, "email")
        if claims.get("email_verified") is not True:
            raise AuthenticationError(f"identity token email_verified: got {claims.get('email_verified')!r}, "
                                      "expected true: the issuer does not vouch for the address")
        if not _EMAIL.fullmatch(email):
            raise AuthenticationError(f"identity token email: got {email!r}, expected an address in ASCII")
        return Identity(x509.RFC822Name(email), email, tuple(sorted(extensions.items())))
    if issuer.type == "uri":
        parts = urlsplit(subject)
        if f"{parts.scheme}://{parts.netloc}" != issuer.subject_domain:
            raise AuthenticationError(f"identity token sub: got {subject!r}, expected a URI below "
                                      f"{issuer.subject_domain}")
        return Identity(_uri(subject), subject, tuple(sorted(extensions.items())))
    used = _Claims(claims)
    extensions |= {number: template.format_map(used) for number, template in _WORKFLOW.items()}
    if "environment" in claims:
        extensions[23] = text_claim(claims, "environment")
    return Identity(_uri(extensions[9]), subject, tuple(sorted(extensions.items())))


class _Claims:
    """What templates may use: claims that are there and are text."""

    def __init__(self, claims: Mapping[str, Any]) -> None:
        self._claims = claims

    def __getitem__(self, name: str) -> str:
        if name not in self._claims:
            raise AuthenticationError(f"identity token {name}: the claim is missing, and a workflow's certificate "
                                      "needs it")
        return text_claim(self._claims, name)


def text_claim(claims: Mapping[str, Any], name: str) -> str:
    """A claim that is there and is text. Raises AuthenticationError."""
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_CLAIM or not value.isprintable():
        raise AuthenticationError(f"identity token {name}: got {str(value)[:200]!r}, expected printable text "
                                  f"of at most {_MAX_CLAIM} characters")
    return value


def _uri(text: str) -> x509.UniformResourceIdentifier:
    if not text.isascii() or " " in text or not urlsplit(text).netloc:
        raise AuthenticationError(f"identity token: got {text!r}, expected a URI in ASCII")
    return x509.UniformResourceIdentifier(text)


def _site(url: str) -> tuple[str, ...]:
    """The last two labels of the host, or the whole address."""
    host = urlsplit(url).hostname or ""
    return (host,) if host.replace(".", "").isdigit() else tuple(host.split(".")[-2:])
