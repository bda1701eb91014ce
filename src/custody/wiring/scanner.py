"""The scanner: what attests scans anew, and as whom."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from custody.errors import UsageError
from custody.kit.clock import Clock
from custody.ports.http import Http
from custody.settings import Settings
from custody.settings.tables import Rescan
from custody.wiring import trust
from custody.wiring.clients import trusted_root

if TYPE_CHECKING:
    from custody.adapters.relational.queue import RelationalQueue
    from custody.adapters.relational.store import RelationalStore
    from custody.adapters.sqlite.advisories import SqliteAdvisories
    from custody.registry.client import RegistryClient
    from custody.services.rescans import Rescans
    from custody.sign.keys import PrivateKey
    from custody.trust.oidc import OidcIssuer
    from custody.trust.roots import SigningConfig

_AUDIENCE = "sigstore"


def stated(settings: Settings) -> list[str]:
    """The repositories of `rescan` that are named whole."""
    return [name for name in settings.rescan.repositories if "*" not in name] if settings.rescan else []


def rescans(settings: Settings, http: Http, client: RegistryClient, store: RelationalStore, queue: RelationalQueue,
            advisories: SqliteAdvisories, clock: Clock, issuer: Callable[[], OidcIssuer]) -> Rescans | None:
    """None where no image is released. `issuer` is the scanner's own, asked for where the data directory has its key.
    Raises UsageError, MalformedError.
    """
    from custody.formats.namepattern import Pattern
    from custody.services.rescans import Rescans
    from custody.sign.signer import Signer

    terms = settings.rescan
    if terms is None:
        return None
    if terms.key and terms.identity_token:
        raise UsageError("rescan: got key and identity_token, expected one; a key signs without an identity")
    patterns = [Pattern(text, f"rescan.repositories[{number}]") for number, text in enumerate(terms.repositories)]
    if not patterns:
        raise UsageError("rescan.repositories: got none, expected patterns such as registry.example/shop/*")
    key = _key(terms)

    async def signer() -> Signer:
        token = None if key is not None else await _token(settings, http, terms, issuer)
        return Signer(http=http, config=_config(settings), root=trusted_root(settings), key=key, token=token)

    return Rescans(client, store, queue, advisories, clock, signer, patterns, timedelta(hours=terms.refresh),
                   timedelta(days=terms.max_age))


def _config(settings: Settings) -> SigningConfig:
    from custody.trust.roots import SigningConfig, parse_signing_config

    path = Path(settings.signing_config) if settings.signing_config else trust.trust_files(settings.data / "trust")[1]
    if not path.is_file():
        if settings.signing_config:
            raise UsageError(f"signing_config: {path}: no such file")
        return SigningConfig()
    return parse_signing_config(path.read_bytes(), str(path))


def _key(terms: Rescan) -> PrivateKey | None:
    from custody.sign.keys import load_private_key, read_key_file

    if terms.key is None:
        return None
    pem = read_key_file(terms.key, "rescan.key")
    password = os.environ.get("COSIGN_PASSWORD")
    if password is None and b"ENCRYPTED" in pem[:64]:
        raise UsageError(f"rescan.key: {terms.key}: needs a password, and nobody is there to ask",
                         hint="set COSIGN_PASSWORD")
    return load_private_key(pem, os.fsencode(password or ""), terms.key)


async def _token(settings: Settings, http: Http, terms: Rescan, issuer: Callable[[], OidcIssuer]) -> str:
    from custody.adapters.http.stdlib import StdlibHttp
    from custody.sign.ambient import Place, ambient_token

    if terms.identity_token is not None:
        try:
            return Path(terms.identity_token).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"rescan.identity_token: {terms.identity_token}: cannot be read: "
                             f"{type(error).__name__}") from None
    if settings.signing_config is None and (settings.data / "trust" / "oidc.key").is_file():
        return issuer().mint({"sub": f"{trust.WORKLOADS['scanner']}/scanner"})
    direct = StdlibHttp(offline=settings.offline, proxies=False)
    try:
        identity = await ambient_token(Place(http=http, direct=direct), _AUDIENCE)
    finally:
        await direct.close()
    if identity is None:
        raise UsageError("rescan: no key and no identity to sign with",
                         hint="rescan.key, or rescan.identity_token in custody.toml")
    return identity[1]

