"""All roles over one data directory, each opened when it is first asked for."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from custody.kit.clock import Clock, system_clock
from custody.ports.http import Http
from custody.settings import Settings
from custody.wiring import admission, registry, trust
from custody.wiring.clients import (
    command_http,
    key_lookup,
    notify_key,
    provider_client,
    registry_client,
    signers,
    trusted_root_file,
)

if TYPE_CHECKING:
    from custody.adapters.http.providers import ProviderClient
    from custody.admission.answered import Observer
    from custody.admission.certs import ServingCertificate
    from custody.admission.webhook import Admission
    from custody.formats.bom import Catalog
    from custody.policy.load import PolicySet
    from custody.ports.lookup import Lookup
    from custody.registry.scrub import Archive
    from custody.registry.store import Registry
    from custody.services.admitted import Admitted
    from custody.services.gather import Gatherer
    from custody.services.watching import Watching
    from custody.trust.ca import SigningAuthority
    from custody.trust.log import Sequencer
    from custody.trust.material import Endpoints, Material
    from custody.trust.oidc import OidcIssuer
    from custody.trust.roots import SigningConfig, TrustedRoot
    from custody.trust.token import KeySource
    from custody.trust.tsa import TimestampAuthority
    from custody.trust.tuf.repository import Repository


_PAGE = 1000


class Closable(Protocol):
    def close(self) -> None: ...


class Platform:
    """The embedded services, put together by the builders of this package.

    `base` is the URL that they are reached by. A log's directory has one writer: a second process is refused.
    """

    def __init__(self, settings: Settings, base: str, clock: Clock = system_clock, http: Http | None = None) -> None:
        self.settings = settings
        self.http = http or command_http(settings)
        self.base = base
        self.clock = clock
        self._stack = ExitStack()

    def close(self) -> None:
        """Everything that was opened, the last first."""
        self._stack.close()

    def closes(self, resource: Closable) -> None:
        """With this platform."""
        self._stack.enter_context(closing(resource))

    @cached_property
    def data(self) -> Path:
        """The data directory, made where there is none: all that is opened here writes."""
        return self.settings.state()

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
        return trust.trust_files(self.data / "trust")

    def trust_documents(self, roles: Collection[str] = tuple(trust.TRUST_ROLES)) -> tuple[TrustedRoot, SigningConfig]:
        """What the two files say of the services of `roles` at this platform's base."""
        from custody.trust.material import Endpoints

        # Signers go to where the services listen, whatever the trust root calls them.
        return (self.material.trusted_root(self.endpoints, roles),
                self.material.signing_config(Endpoints.at(self.base), roles))

    def export(self, roles: Collection[str] = tuple(trust.TRUST_ROLES)) -> tuple[Path, Path]:
        """Write trusted_root.json and signing_config.json beside the keys; what they say of other roles stays."""
        trust.export(self.data / "trust", *self.trust_documents(roles), roles)
        return self.trust_files

    @cached_property
    def people(self) -> OidcIssuer:
        """Vouches for email addresses."""
        return trust.local_issuer(self.endpoints.oidc, self.material, self._jwks, self.clock)

    @cached_property
    def workloads(self) -> dict[str, OidcIssuer]:
        return {name: trust.local_issuer(url, self.material, self._jwks, self.clock)
                for name, url in trust.WORKLOADS.items()}

    def issuer_keys(self, url: str, jwks: str | None) -> KeySource:
        """Of another's issuer: from a file, else by discovery. Raises UsageError, MalformedError."""
        return trust.issuer_keys(self.http, url, jwks)

    @property
    def _jwks(self) -> Path:
        return self.data / "trust" / "oidc.jwks"

    @cached_property
    def log(self) -> Sequencer:
        return trust.open_log(self._stack, self.data / "log", self.material.log_signer(self.endpoints))

    @cached_property
    def ct(self) -> Sequencer:
        return trust.open_ct_log(self._stack, self.data / "ctlog", self.material.ct_signer(self.endpoints))

    @cached_property
    def ca(self) -> SigningAuthority:
        return trust.certificate_authority(self.material, self.endpoints, self.ct, own_jwks=self._jwks,
                                           issuers=self.settings.issuers, http=self.http, clock=self.clock)

    @cached_property
    def tsa(self) -> TimestampAuthority:
        from custody.trust.tsa import TimestampAuthority

        return TimestampAuthority(self.material.tsa_key, self.material.tsa_chain, self.clock)

    @cached_property
    def tuf(self) -> Repository:
        """The repository that tells clients of this data directory's trust files."""
        return trust.tuf_repository(self.data / "tuf", self.material, self.clock)

    @property
    def published(self) -> tuple[Path, Path]:
        """The two files that it tells of: the settings', else the services' own."""
        config = self.settings.signing_config
        return trusted_root_file(self.settings), Path(config) if config else self.trust_files[1]

    def publish(self, *, refresh: bool = False) -> bool:
        """Bring the TUF repository to what the files say. Returns whether it is one: there must be a trusted root."""
        targets = trust.tuf_targets(*self.published)
        if "trusted_root.json" in targets:
            self.tuf.update(targets, refresh=refresh)
        return "trusted_root.json" in targets

    def rotate_tuf_root(self, key: Path | None, *, online: bool) -> int:
        """Another root key signs with the old one, that of `key` or the data directory's; `online`: and another key
        signs the rest. Returns the version of the root metadata. Raises UsageError, MalformedError.
        """
        version = trust.rotate_tuf_root(self.tuf, self.material, key, online=online)
        self.publish()
        return version

    # Registry and admission

    @cached_property
    def registry(self) -> Registry:
        return registry.open_registry(self._stack, self.data / "registry", self.clock,
                                      sparse_indexes=self.settings.sparse_indexes)

    def archive(self, *, exclusive: bool = False) -> Archive:
        """What the registry holds, to look at beside the process that serves it. Raises ConflictError, `exclusive`."""
        return registry.open_archive(self._stack, self.data / "registry", exclusive=exclusive)

    def certificate(self, hosts: list[str], role: str = "admission") -> ServingCertificate:
        return admission.serving_certificate(self.data / role, hosts, self.clock)

    def admission(self, policies: PolicySet, gatherer: Gatherer, observer: Observer | None = None,
                  lookup: Lookup | None = None) -> Admission:
        return admission.admission(policies, gatherer, self.clock, observer, self.lookup(lookup),
                                   admission.summary_terms(self.settings))

    def admitted(self) -> Admitted:
        """Notes in the inventory which images are let in."""
        from custody.services.admitted import Admitted
        from custody.wiring import local

        store = local.inventory(self.settings)
        self.closes(store)
        return Admitted(store, self.clock)

    def watching(self, http: Http, host: str, roles: Collection[str]) -> Watching:
        """Looks at the images of this registry, which is served at `host`, where that is a role; with the scanner role
        at those of `rescan` too, whose scans it attests. Raises UsageError, MalformedError.
        """
        from custody.services.arrivals import Arrivals
        from custody.services.attestedvex import AttestedVex
        from custody.services.contents import catalog_image, readers
        from custody.services.counting import Words
        from custody.services.notify import Notifier
        from custody.services.watching import Watching
        from custody.wiring import local, scanner

        cache = self.data / "cache"
        client, layers = registry_client(self.settings, http), local.layer_cache(cache / "layers.db")

        async def catalog(target: str) -> Catalog:
            return await catalog_image(target, client, cache, layers, lambda _title, _size: nullcontext(),
                                       archives=local.java_archives(self.settings))

        def repositories() -> list[str]:
            names: list[str] = []
            while "registry" in roles and (page := self.registry.repositories.names(names[-1] if names else "", _PAGE)):
                names += page
            return list(dict.fromkeys([*(f"{host}/{name}" for name in names), *stated]))

        store, queue = local.inventory(self.settings), local.queue(self.settings)
        self.closes(store)
        self.closes(queue)
        key = notify_key(self.settings)
        notifiers = [Notifier(url, key, queue, http, self.clock, "/custody/watch")
                     for url in self.settings.notify] if key is not None else []
        records = local.advisories(self.settings)
        rescans = scanner.rescans(
            self.settings, http, client, store, queue, records, self.clock,
            lambda: self.workloads["scanner"]) if "scanner" in roles else None
        stated = scanner.stated(self.settings) if rescans is not None else []
        arrivals = Arrivals(client, store, queue, self.clock, catalog, readers(local.java_archives(self.settings)),
                            signers(self.settings, client, self.clock))
        said, terms = local.counting(self.settings)
        attested = AttestedVex(store, terms, self.clock) if said.attested and terms is not None else None
        return Watching(store, queue, records, self.clock, arrivals, repositories, notifiers, rescans,
                        lambda heard: Words(said, self.clock(), terms, heard),
                        None if attested is None else lambda: attested.look(client))

    @cached_property
    def providers(self) -> ProviderClient:
        """What they said counts for all who ask."""
        return provider_client(self.settings, self.http)

    def lookup(self, beyond: Lookup | None = None) -> Lookup:
        """Whom policies ask: the servers that the settings name, the key services of the environment, Gatekeeper's
        providers, and `beyond`."""
        from custody.adapters.http.providers import ProviderLookup

        lookup: Lookup = ProviderLookup(self.providers, key_lookup(self.settings, self.http, beyond, self.clock))
        if self.settings.policy_hosts:
            from custody.adapters.http.lookup import HttpLookup

            lookup = HttpLookup(self.http, self.settings.policy_hosts, lookup)
        return lookup
