"""All trust services in one process on one port of 127.0.0.1, put together by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Route

from custody.adapters.filesystem.tiles import DirectoryCheckpoint, DirectoryTiles
from custody.adapters.sqlite.leaves import SqliteLeaves
from custody.kit.clock import Clock, system_clock
from custody.server import ca as ca_server
from custody.server import log as log_server
from custody.server import oidc as oidc_server
from custody.server import tsa as tsa_server
from custody.server.rpcstatus import EXCEPTION_HANDLERS
from custody.trust.ca import SigningAuthority
from custody.trust.ctlog import CtLog
from custody.trust.identity import IdentityVerifier, TrustedIssuer
from custody.trust.log import MerkleLog, Sequencer
from custody.trust.material import Endpoints, Material, load_or_create
from custody.trust.oidc import OidcIssuer
from custody.trust.token import LocalKeys
from custody.trust.tsa import TimestampAuthority
from tests.serving import served

NOW = datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=UTC)
GITHUB = "https://token.actions.githubusercontent.com"


class SettableClock:
    """A clock that stands until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Stack:
    material: Material
    endpoints: Endpoints
    people: OidcIssuer
    builds: OidcIssuer
    github: OidcIssuer
    """The real issuer's URL, known to the CA by a local key set."""
    log_store: DirectoryTiles
    log: Sequencer
    ct_store: DirectoryTiles
    ct: Sequencer
    ca: SigningAuthority
    tsa: TimestampAuthority
    routes: list[Route]
    leaves: SqliteLeaves
    locks: tuple[DirectoryCheckpoint, ...]

    def app(self) -> Starlette:
        return Starlette(routes=self.routes, exception_handlers=EXCEPTION_HANDLERS)

    def close(self) -> None:
        for store in (self.leaves, self.log_store, self.ct_store, *self.locks):
            store.close()


def build(directory: Path, base: str = "http://127.0.0.1:5080", clock: Clock = system_clock) -> Stack:
    material, endpoints = load_or_create(directory / "trust", clock), Endpoints.at(base)
    people = OidcIssuer(endpoints.oidc, material.oidc_key, clock)
    builds = OidcIssuer(f"{endpoints.oidc}/builds", material.oidc_key, clock)
    github = OidcIssuer(GITHUB, material.oidc_key, clock)
    services = OidcIssuer("https://services.example", material.oidc_key, clock)
    locks = DirectoryCheckpoint(directory / "log"), DirectoryCheckpoint(directory / "ctlog")
    log_store, ct_store = map(DirectoryTiles, locks)
    leaves = SqliteLeaves(directory / "log" / "state" / "leaves.db")
    log = Sequencer(MerkleLog(log_store, locks[0], material.log_signer(endpoints), leaves))
    ct = Sequencer(MerkleLog(ct_store, locks[1], material.ct_signer(endpoints)), unique=False)
    identities = IdentityVerifier((
        TrustedIssuer(people.url, LocalKeys(people.jwks())),
        TrustedIssuer(builds.url, LocalKeys(builds.jwks()), "github-workflow"),
        TrustedIssuer(GITHUB, LocalKeys(github.jwks()), "github-workflow"),
        TrustedIssuer(services.url, LocalKeys(services.jwks()), "uri", subject_domain="https://services.example")))
    ca = SigningAuthority(material.ca_key, material.ca_chain,
                          CtLog(ct, material.ctlog_key, material.ca_chain[0], clock), identities, clock)
    tsa = TimestampAuthority(material.tsa_key, material.tsa_chain, clock)
    routes = [*oidc_server.routes(people), *oidc_server.routes(builds), *ca_server.routes(ca),
              *log_server.routes(log, log_store), *log_server.tile_routes("/ct", ct_store), *tsa_server.routes(tsa)]
    return Stack(material, endpoints, people, builds, github, log_store, log, ct_store, ct, ca, tsa, routes, leaves,
                 locks)


@contextlib.contextmanager
def serving(directory: Path, clock: Clock = system_clock) -> Iterator[Stack]:
    """The stack behind the HTTP server, in a thread."""
    made: list[Stack] = []

    def app(url: str) -> Starlette:
        made.append(build(directory, url, clock))
        return made[0].app()

    with served(app):
        try:
            yield made[0]
        finally:
            made[0].close()
