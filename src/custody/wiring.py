"""The only composition root: settings → adapters → stages and services."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import MalformedError, UsageError
from custody.kit.clock import Clock, system_clock
from custody.ports.http import Http
from custody.registry.client import RegistryClient
from custody.settings import Settings

if TYPE_CHECKING:
    from custody.admission.answered import Observer
    from custody.admission.certs import ServingCertificate
    from custody.admission.webhook import Admission
    from custody.policy.kinds import Kinds
    from custody.policy.load import PolicySet
    from custody.ports.lookup import Lookup
    from custody.registry.scrub import Archive
    from custody.registry.store import Registry
    from custody.services.gather import Gatherer
    from custody.trust.ca import SigningAuthority
    from custody.trust.log import Sequencer
    from custody.trust.material import Endpoints, Material
    from custody.trust.oidc import OidcIssuer
    from custody.trust.roots import SigningConfig, TrustedRoot
    from custody.trust.token import KeySource
    from custody.trust.tsa import TimestampAuthority

WORKLOADS = {"builder": "https://builder.custody.internal", "scanner": "https://scanner.custody.internal"}
"""custody's own workloads: each has an issuer of its own, whose subjects are URIs below the issuer's URL."""

TRUST_ROLES = {"oidc": ((), "oidc"), "ca": (("certificate_authorities", "ctlogs"), "ca"), "log": (("tlogs",), "rekor"),
               "tsa": (("timestamp_authorities",), "tsa")}
"""The roles that trust files speak of: their parts of the trusted root, and of the signing configuration."""


def command_http(settings: Settings, *, proxies: bool = True) -> Http:
    """HTTP for one command: starts fast, no event-loop client library."""
    return StdlibHttp(offline=settings.offline, proxies=proxies)


def service_http(settings: Settings) -> Http:
    """HTTP for a service: many requests at once."""
    from custody.adapters.http.aiohttp import AiohttpHttp

    return AiohttpHttp(offline=settings.offline)


def registry_client(settings: Settings, http: Http | None = None) -> RegistryClient:
    from custody.adapters.http.telling import TellingHttp

    return RegistryClient(TellingHttp(http or command_http(settings)), mirrors=settings.mirrors,
                          plain_http=settings.plain_http)


def trusted_root(settings: Settings) -> TrustedRoot | None:
    """The root that the settings name, else the one of this data directory's services, else none."""
    from custody.trust.roots import parse_trusted_root

    path = trusted_root_file(settings)
    if not path.is_file():
        if settings.trusted_root:
            raise UsageError(f"{path}: no such file", hint="trusted_root in custody.toml names it")
        return None
    return parse_trusted_root(path.read_bytes(), str(path))


def trusted_root_file(settings: Settings) -> Path:
    return Path(settings.trusted_root) if settings.trusted_root else settings.data / "trust" / "trusted_root.json"


def kinds(settings: Settings, crds: Sequence[str | Path] = (), kubeconfig: Path | None = None) -> Kinds:
    """What policies may name: of the API server that `kubeconfig` names, else of Kubernetes, and custom resources."""
    from custody.policy.kinds import builtin
    from custody.policy.load import gathered, unwrapped

    served = builtin()
    if kubeconfig is not None:
        from custody.adapters.kubeconfig import Cluster

        served = asyncio.run(Cluster(kubeconfig, offline=settings.offline).kinds())
    others, definitions = unwrapped(*gathered(crds or settings.crds))
    if others:
        where, document = others[0]
        got = document.get("kind") if isinstance(document, dict) else type(document).__name__
        raise MalformedError(where, got=got, expected="a CustomResourceDefinition")
    return served.with_crds([crd for _, crd in definitions], [where for where, _ in definitions])


def gatherer(settings: Settings, client: RegistryClient, clock: Clock = system_clock) -> Gatherer:
    from custody.services.gather import Bounds, Gatherer
    from custody.sign.listing import Limits

    size = settings.max_document * 1024 * 1024
    limits = Limits(documents=200, document=size, total=4 * size)
    return Gatherer(client, trusted_root(settings), clock, keep=settings.keep_evidence,
                    bounds=Bounds(documents=limits, weight=5 * size, memory=6 * size))


class Closable(Protocol):
    def close(self) -> None: ...


class Platform:
    """The embedded services over one data directory; each is opened when it is first asked for.

    `base` is the URL that they are reached by. A log's directory has one writer: a second process is refused.
    """

    def __init__(self, settings: Settings, base: str, clock: Clock = system_clock, http: Http | None = None) -> None:
        self.settings = settings
        self.http = http or command_http(settings)
        self.base = base
        self.clock = clock
        self._opened: list[Closable] = []

    @cached_property
    def data(self) -> Path:
        """The data directory, made where there is none: all that is opened here writes."""
        return self.settings.state()

    def close(self) -> None:
        for resource in reversed(self._opened):
            resource.close()
        self._opened.clear()

    def closes(self, resource: Closable) -> None:
        """With this platform."""
        self._opened.append(resource)

    # Trust

    @cached_property
    def material(self) -> Material:
        """Reads and makes a role's keys when they are asked for, and no others."""
        from custody.trust.material import Material

        return Material(self.data / "trust", self.clock)

    @cached_property
    def endpoints(self) -> Endpoints:
        from custody.trust.material import Endpoints

        return replace(Endpoints.at(self.base), **self.settings.urls)

    @property
    def trust_files(self) -> tuple[Path, Path]:
        """Where trusted_root.json and signing_config.json are, if they are."""
        folder = self.data / "trust"
        return folder / "trusted_root.json", folder / "signing_config.json"

    def trust_documents(self, roles: Collection[str] = tuple(TRUST_ROLES)) -> tuple[TrustedRoot, SigningConfig]:
        """What the two files say of the services of `roles` at this platform's base."""
        from custody.trust.material import Endpoints

        # Signers go to where the services listen, whatever the trust root calls them.
        return (self.material.trusted_root(self.endpoints, roles),
                self.material.signing_config(Endpoints.at(self.base), roles))

    def export(self, roles: Collection[str] = tuple(TRUST_ROLES)) -> tuple[Path, Path]:
        """Write trusted_root.json and signing_config.json beside the keys, each whole.

        What they say of services that are none of `roles` stays: another process serves those, or none does yet.
        """
        from custody.trust.keyfiles import locked
        from custody.trust.roots import SigningConfig, TrustedRoot, parse_signing_config, parse_trusted_root

        root_file, config_file = self.trust_files
        root, config = self.trust_documents(roles)
        with locked(root_file.parent):  # two processes that start together lose nothing of each other's
            old_root = (parse_trusted_root(root_file.read_bytes(), str(root_file))
                        if root_file.is_file() else TrustedRoot())
            old_config = (parse_signing_config(config_file.read_bytes(), str(config_file))
                          if config_file.is_file() else SigningConfig())
            for role in roles:
                parts, service = TRUST_ROLES[role]
                old_root = msgspec.structs.replace(old_root, **{name: getattr(root, name) for name in parts})
                old_config = msgspec.structs.replace(old_config, **{service: getattr(config, service)})
            _replace(root_file, old_root.to_json())
            _replace(config_file, old_config.to_json())
        return root_file, config_file

    @cached_property
    def people(self) -> OidcIssuer:
        """Vouches for email addresses."""
        return self._issuer(self.endpoints.oidc)

    @cached_property
    def workloads(self) -> dict[str, OidcIssuer]:
        return {name: self._issuer(url) for name, url in WORKLOADS.items()}

    def _issuer(self, url: str) -> OidcIssuer:
        """One of this machine's issuers, whose public key is put where the certificate authority looks for it."""
        from custody.trust.oidc import OidcIssuer

        issuer = OidcIssuer(url, self.material.oidc_key, self.clock)
        if not self._jwks.is_file() or self._jwks.read_bytes() != issuer.jwks():
            _replace(self._jwks, issuer.jwks())
        return issuer

    def issuer_keys(self, url: str, jwks: str | None) -> KeySource:
        """Of another's issuer: from a file, else by discovery. Raises UsageError, MalformedError."""
        from custody.adapters.http.jwks import DiscoveredKeys
        from custody.trust.token import LocalKeys

        if jwks is None:
            return DiscoveredKeys(self.http, url)
        try:
            return LocalKeys(Path(jwks).read_bytes(), jwks)
        except OSError as error:
            raise UsageError(f"issuer {url}: {jwks}: {error.strerror}") from None

    @property
    def _jwks(self) -> Path:
        return self.data / "trust" / "oidc.jwks"

    @cached_property
    def log(self) -> Sequencer:
        from custody.adapters.filesystem.tiles import DirectoryTiles
        from custody.adapters.sqlite.leaves import SqliteLeaves
        from custody.trust.log import MerkleLog, Sequencer

        tiles = DirectoryTiles(self.data / "log")
        self._opened.append(tiles)
        leaves = SqliteLeaves(self.data / "log" / "state" / "leaves.db")
        self._opened.append(leaves)
        return Sequencer(MerkleLog(tiles, self.material.log_signer(self.endpoints), leaves))

    @cached_property
    def ct(self) -> Sequencer:
        from custody.adapters.filesystem.tiles import DirectoryTiles
        from custody.trust.log import MerkleLog, Sequencer

        tiles = DirectoryTiles(self.data / "ctlog")
        self._opened.append(tiles)
        return Sequencer(MerkleLog(tiles, self.material.ct_signer(self.endpoints)), unique=False)

    @cached_property
    def ca(self) -> SigningAuthority:
        from custody.adapters.filesystem.jwks import StoredKeys
        from custody.trust.ca import SigningAuthority
        from custody.trust.ctlog import CtLog
        from custody.trust.identity import IdentityVerifier, TrustedIssuer

        own = StoredKeys(self._jwks)
        issuers = [TrustedIssuer(self.endpoints.oidc.rstrip("/"), own)]
        issuers += [TrustedIssuer(url, own, "uri", subject_domain=url) for url in WORKLOADS.values()]
        issuers += [TrustedIssuer(entry.url, self.issuer_keys(entry.url, entry.jwks), entry.type, entry.client_id,
                                  entry.subject_domain) for entry in self.settings.issuers]
        material = self.material
        ctlog = CtLog(self.ct, material.ctlog_key, material.ca_chain[0], self.clock)
        return SigningAuthority(material.ca_key, material.ca_chain, ctlog, IdentityVerifier(tuple(issuers)), self.clock)

    @cached_property
    def tsa(self) -> TimestampAuthority:
        from custody.trust.tsa import TimestampAuthority

        return TimestampAuthority(self.material.tsa_key, self.material.tsa_chain, self.clock)

    # Registry and admission

    @cached_property
    def registry(self) -> Registry:
        from custody.adapters.filesystem.blobs import FilesystemBlobs
        from custody.adapters.sqlite.repositories import SqliteRepositories
        from custody.registry.store import Registry

        # The lock comes first: an index that another process writes to is not even opened.
        blobs = FilesystemBlobs(self.data / "registry")
        try:
            repositories = SqliteRepositories(self.data / "registry" / "index.db")
        except BaseException:
            blobs.close()
            raise
        self._opened.append(repositories)
        registry = Registry(blobs, repositories, self.clock, sparse_indexes=self.settings.sparse_indexes)
        self._opened.append(registry)
        return registry

    def archive(self, *, exclusive: bool = False) -> Archive:
        """What the registry in the data directory holds, to look at beside the process that serves it.

        `exclusive`: with no such process; raises ConflictError where there is one.
        """
        from custody.adapters.filesystem.blobs import BlobDirectory, FilesystemBlobs
        from custody.adapters.sqlite.repositories import SqliteRepositories
        from custody.registry.scrub import Archive

        folder = self.data / "registry"
        writer = FilesystemBlobs(folder) if exclusive else None
        if writer is not None:
            self._opened.append(writer)
        repositories = SqliteRepositories(folder / "index.db")
        self._opened.append(repositories)
        return Archive(writer or BlobDirectory(folder), repositories, writer)

    def certificate(self, hosts: list[str]) -> ServingCertificate:
        from custody.admission.certs import ServingCertificate

        serving = ServingCertificate(self.data / "admission", hosts)
        serving.ensure(self.clock())
        return serving

    def admission(self, policies: PolicySet, gatherer: Gatherer, observer: Observer | None = None,
                  lookup: Lookup | None = None) -> Admission:
        from custody.admission.webhook import Admission
        from custody.services.check import gathering

        return Admission(policies, gathering(gatherer), self.clock, observer=observer, lookup=lookup)


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(data)
    part.replace(path)
