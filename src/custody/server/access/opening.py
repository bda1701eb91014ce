"""The gate that the settings describe."""

from __future__ import annotations

from pathlib import Path

from custody.errors import UsageError
from custody.server.access.bearer import Tokens
from custody.server.access.callers import Callers
from custody.server.access.gate import Gate
from custody.server.access.htpasswd import PasswordFile
from custody.server.access.rules import CERTIFICATE, HTPASSWD, Rules
from custody.server.asgi import App
from custody.settings.tables import Auth
from custody.wiring import Platform


def password_file(auth: Auth, platform: Platform) -> PasswordFile | None:
    """The one that `auth` names, closed with the platform. Raises UsageError, MalformedError."""
    if auth.htpasswd is None:
        return None
    passwords = PasswordFile(Path(auth.htpasswd))
    platform.closes(passwords)
    return passwords


def gate(app: App, auth: Auth, platform: Platform, passwords: PasswordFile | None) -> Gate:
    """`app` behind the rules of `auth`. Raises UsageError, MalformedError, naming the field."""
    settings = platform.settings
    ways = [HTPASSWD] if auth.htpasswd is not None else []
    ways += [CERTIFICATE] if settings.tls_client_ca is not None else []
    ways += [issuer.url for issuer in auth.issuers]
    rules = Rules(auth, ways)
    sources = {issuer: platform.issuer_keys(issuer.url, issuer.jwks) for issuer in auth.issuers}
    tokens = Tokens(sources, platform.clock) if sources else None
    return Gate(app, Callers(passwords, tokens), rules)


def refuse_unused(auth: Auth | None, client_ca: str | None, certificate: str | None, *,
                  events: bool = False) -> None:
    """Raises UsageError for a setting that would mean nothing without another. `events`: whoever posts events may show
    a certificate too."""
    if client_ca is not None and auth is None and not events:
        raise UsageError("tls_client_ca: says who somebody is, for [auth], and there is no such table")
    if client_ca is not None and certificate is None:
        raise UsageError("tls_client_ca: needs tls_certificate and tls_key: clients show certificates in TLS only")
