"""What asks others: HTTP, a registry's client, the trust root that answers are judged by, and the gatherer."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from custody.errors import MalformedError, UsageError
from custody.kit.clock import Clock, system_clock
from custody.ports.http import Http
from custody.settings import Settings
from policylang.errors import Shape

if TYPE_CHECKING:
    from custody.adapters.http.kms import KeyLookup
    from custody.adapters.http.providers import ProviderClient, ProviderLookup
    from custody.adapters.kubernetes.client import ClusterClient
    from custody.adapters.kubernetes.cluster import Cluster
    from custody.adapters.kubernetes.lookup import ClusterLookup
    from custody.policy.kinds import Kinds
    from custody.ports.lookup import Lookup
    from custody.ports.programs import Programs
    from custody.registry.client import RegistryClient
    from custody.registry.layout import Layout
    from custody.services.gather import Gatherer
    from custody.services.notaryevidence import NotaryTrust
    from custody.services.remembered import Remembered
    from custody.services.signers import Signers
    from custody.services.simulation.testing import Others
    from custody.trust.roots import TrustedRoot


def command_http(settings: Settings, *, proxies: bool = True) -> Http:
    """HTTP for one command: starts fast, no event-loop client library."""
    from custody.adapters.http.stdlib import StdlibHttp

    return StdlibHttp(offline=settings.offline, proxies=proxies)


def service_http(settings: Settings, *, ca_file: Path | None = None) -> Http:
    """HTTP for a service: many requests at once. `ca_file`: whom servers' certificates must be of, instead of the
    system's authorities."""
    from custody.adapters.http.aiohttp import AiohttpHttp

    return AiohttpHttp(offline=settings.offline, ca_file=ca_file)


def programs() -> Programs:
    """Plugins' processes."""
    from custody.adapters.programs import SystemPrograms

    return SystemPrograms()


def registry_client(settings: Settings, http: Http | None = None) -> RegistryClient:
    from custody.adapters.http.telling import TellingHttp
    from custody.registry.client import RegistryClient

    return RegistryClient(TellingHttp(http or command_http(settings)), mirrors=settings.mirrors,
                          plain_http=settings.plain_http)


def layout_client(layout: Layout, *, writable: bool = False) -> RegistryClient:
    """A client that reads an OCI layout on this disk, and with `writable` writes it, whatever an image is called.

    It opens no socket. Leaving it writes the layout's index.
    """
    from custody.adapters.filesystem.layout import LayoutHttp
    from custody.registry.client import RegistryClient

    return RegistryClient(LayoutHttp(layout, writable=writable))


def trusted_root(settings: Settings) -> TrustedRoot | None:
    """The root that the settings name, else the one of this data directory, else none.

    Raises VerificationError where that is a mirror's, has run out, and the settings refuse it then.
    """
    from custody.trust.roots import parse_trusted_root
    from custody.trust.tuf.mirrored import check_age

    path = trusted_root_file(settings)
    if not settings.trusted_root:
        check_age(path.parent, refuse=settings.expired_trusted_root == "refuse")
    if not path.is_file():
        if settings.trusted_root:
            raise UsageError(f"{path}: no such file", hint="trusted_root in custody.toml names it")
        return None
    return parse_trusted_root(path.read_bytes(), str(path))


def signers(settings: Settings, client: RegistryClient, clock: Clock) -> Signers | None:
    """By the trust root, whoever it is; None where there is none."""
    from custody.services.signers import Signers
    from custody.services.verify import Terms
    from custody.sign.verify import Trust

    root = trusted_root(settings)
    return None if root is None else Signers(client, Terms(Trust(root=root)), clock)


def trusted_root_file(settings: Settings) -> Path:
    return Path(settings.trusted_root) if settings.trusted_root else settings.data / "trust" / "trusted_root.json"


def kinds(settings: Settings, crds: Sequence[str | Path] = (), kubeconfig: Path | None = None) -> Kinds:
    """What policies may name: of the API server that `kubeconfig` names, else of Kubernetes, and custom resources."""
    from custody.policy.kinds import builtin
    from custody.policy.load import gathered, unwrapped

    served = builtin()
    if kubeconfig is not None:
        served = asyncio.run(_served(settings, kubeconfig))
    documents, definitions = unwrapped(*gathered(crds or settings.crds))
    if documents:
        where, document = documents[0]
        got = document.get("kind") if isinstance(document, dict) else Shape(document)
        raise MalformedError(where, got=got, expected="a CustomResourceDefinition")
    return served.with_crds([crd for _, crd in definitions], [where for where, _ in definitions])


async def _served(settings: Settings, kubeconfig: Path) -> Kinds:
    from custody.adapters.http.stdlib import StdlibHttp
    from custody.adapters.kubernetes.cluster import Cluster
    from custody.adapters.kubernetes.kubeconfig import of_kubeconfig

    access = of_kubeconfig(kubeconfig)
    cluster = Cluster(access, StdlibHttp(offline=settings.offline, tls=access.tls))
    try:
        return await cluster.kinds()
    finally:
        await cluster.close()


def cluster_lookup(settings: Settings, *, in_pod: bool = False) -> ClusterLookup | None:
    """What asks the API server that the settings' kubeconfig names; with `in_pod` and without one, the pod's own.

    None where there is neither. To be closed.
    """
    from custody.adapters.kubernetes.lookup import ClusterLookup

    cluster = _cluster(settings, in_pod=in_pod)
    return None if cluster is None else ClusterLookup(cluster)


def _cluster(settings: Settings, *, in_pod: bool) -> Cluster | None:
    from custody.adapters.http.aiohttp import AiohttpHttp
    from custody.adapters.kubernetes.cluster import Cluster
    from custody.adapters.kubernetes.kubeconfig import of_kubeconfig
    from custody.adapters.kubernetes.pod import of_pod

    if settings.kubeconfig is not None:
        access = of_kubeconfig(Path(settings.kubeconfig))
    elif (pod := of_pod(os.environ) if in_pod else None) is not None:
        access = pod
    else:
        return None
    return Cluster(access, AiohttpHttp(offline=settings.offline, tls=access.tls))


def key_lookup(settings: Settings, http: Http, beyond: Lookup | None = None, clock: Clock = system_clock) -> KeyLookup:
    """Asks the key management services that the environment names; `beyond` answers other questions."""
    from custody.adapters.http.kms import KeyLookup

    return KeyLookup(http, os.environ, settings.policy_hosts, clock, beyond, vault_token)


def provider_client(settings: Settings, http: Http) -> ProviderClient:
    """Asks Gatekeeper's external data providers, of which policies say where they are; it is closed with `http`.

    Raises UsageError where the settings name half of a certificate.
    """
    from functools import partial

    from custody.adapters.http.providers import ClientFiles, ProviderClient
    from custody.ports.http import secured

    certificate, key = settings.provider_certificate, settings.provider_key
    if (certificate is None) != (key is None):
        raise UsageError(f"provider_{'certificate' if certificate is None else 'key'}: got none, expected one beside "
                         f"provider_{'key' if certificate is None else 'certificate'}")
    files = ClientFiles(Path(certificate), Path(key)) if certificate is not None and key is not None else None
    return ProviderClient(partial(secured, http), files, keep=settings.provider_cache)


def provider_lookup(settings: Settings, http: Http, beyond: Lookup | None = None) -> ProviderLookup:
    """Asks providers; `beyond` answers other questions."""
    from custody.adapters.http.providers import ProviderLookup

    return ProviderLookup(provider_client(settings, http), beyond)


def vault_token() -> str:
    """Where Vault's own command keeps it; "" where it is not."""
    try:
        return (Path.home() / ".vault-token").read_text()
    except OSError:
        return ""


def notify_key(settings: Settings) -> bytes | None:
    """What messages to `notify` are signed with; None where nobody is told. Raises UsageError, MalformedError."""
    from custody.formats import webhook

    if not settings.notify:
        return None
    if settings.notify_secret is None:
        raise UsageError("notify: got no secret to sign messages with, expected CUSTODY_NOTIFY_SECRET",
                         hint="export CUSTODY_NOTIFY_SECRET=whsec_$(openssl rand -base64 32)")
    return webhook.secret(settings.notify_secret)


def cluster_client(settings: Settings) -> ClusterClient:
    """The objects of the cluster that the settings' kubeconfig names, else of the one that this is a pod of.

    Raises UsageError where there is neither. To be closed: `cluster.close()`.
    """
    from custody.adapters.kubernetes.client import ClusterClient

    cluster = _cluster(settings, in_pod=True)
    if cluster is None:
        raise UsageError("no cluster: got no --kubeconfig, and this is no pod with a service account",
                         hint="--kubeconfig FILE names an API server")
    return ClusterClient(cluster)


def gatherer(settings: Settings, client: RegistryClient, clock: Clock = system_clock,
             remembered: Remembered | None = None, http: Http | None = None) -> Gatherer:
    """`http` asks who was revoked, where `client` reads a folder and asks nobody."""
    from custody.services.gather import Bounds, Gatherer
    from custody.sign.listing import Limits

    size = settings.max_document * 1024 * 1024
    limits = Limits(documents=200, document=size, total=4 * size)
    return Gatherer(client, trusted_root(settings), clock, keep=settings.keep_evidence,
                    bounds=Bounds(documents=limits, weight=5 * size, memory=6 * size), remembered=remembered,
                    notation=notary_trust(settings, http or client.http, clock))


def notary_trust(settings: Settings, http: Http, clock: Clock = system_clock) -> NotaryTrust | None:
    """By whom signatures of the Notary Project count; None where the settings name no folder. `http` asks who was
    revoked.

    Raises UsageError where it is none.
    """
    if settings.notation is None:
        return None
    from custody.services.notaryevidence import NotaryTrust
    from custody.sign.notary.directory import Directory

    folder = Path(settings.notation)
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="notation in custody.toml names it")
    return NotaryTrust(Directory(folder, folder, settings.data / "cache" / "notation"), http, clock, settings.state,
                       max_staple_age(settings))


def max_staple_age(settings: Settings) -> timedelta | None:
    """None: as long as answers say themselves."""
    return timedelta(hours=settings.max_staple_age) if settings.max_staple_age else None


@contextlib.asynccontextmanager
async def others(settings: Settings, *, registry: bool = False, cluster: bool = False) -> AsyncIterator[Others]:
    """Whom policies that are tried out may ask: registries, and the cluster of the settings' kubeconfig."""
    from custody.services.simulation.testing import Others

    http = service_http(settings) if registry else None
    known = cluster_lookup(settings) if cluster else None
    try:
        if http is None:
            yield Others(lookup=known.answer if known is not None else None)
            return
        from custody.policy.snapshot import Snapshot
        from custody.services.check import gathering
        from custody.services.evidencelookup import EvidenceLookup

        source = gatherer(settings, registry_client(settings, http))
        asked = provider_lookup(settings, http, key_lookup(settings, http, known))
        gather, lookup = gathering(source), EvidenceLookup(source, asked)
        yield Others(lookup=lookup.answer, gather=lambda policies, images: gather(Snapshot(policies), images))
    finally:
        if known is not None:
            await known.close()
        if http is not None:
            await http.close()
