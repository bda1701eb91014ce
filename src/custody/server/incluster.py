"""The webhook in a cluster: policies, certificate and configurations are the cluster's own, and are kept in step."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from custody.admission.answered import both
from custody.admission.configuration import OWN_NAMESPACES, Service
from custody.admission.exemption import NONE, Exemption
from custody.admission.judging import Judging
from custody.errors import CustodyError
from custody.formats.policyreport import WGPOLICY
from custody.policy.gatekeeper.connection import CHANNEL, CONNECTION
from custody.policy.load import PolicySet, gathered, unwrapped
from custody.policy.resources import ApiResource
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import ApiError, ClusterObjects
from custody.server import gauges
from custody.server.admission import AdmissionApp
from custody.server.asgi import App
from custody.server.health import Health, State
from custody.server.listeners import Listeners
from custody.server.metrics import Metrics
from custody.server.observed import observer
from custody.server.run import Paths, serving
from custody.server.tls import TlsFiles
from custody.services.check import gathering
from custody.services.cluster.certificates import Certificate, GivenCertificate, OwnCertificates
from custody.services.cluster.exempted import Exempted
from custody.services.cluster.feed import Feed
from custody.services.cluster.guard import Guard
from custody.services.cluster.inventory import ClusterInventory
from custody.services.cluster.lease import Leadership
from custody.services.cluster.lookups import WatchedLookup
from custody.services.cluster.operator import PRESENCE, Certificates, Operator
from custody.services.cluster.permissions import Permissions
from custody.services.cluster.policies import GATEKEEPERS_HOME, Collection
from custody.services.cluster.rights import Rights
from custody.services.cluster.webhooks import Place, Webhooks
from custody.services.controllers.audit import INTERVAL, LIMIT
from custody.services.controllers.exporting import Exporting, Terms
from custody.services.controllers.running import Controllers, own_users
from custody.services.controllers.running import Options as Beside
from custody.services.evidencelookup import EvidenceLookup
from custody.settings import Settings
from custody.wiring import (
    Platform,
    cluster_client,
    cluster_lookup,
    gatherer,
    registry_client,
    service_http,
    trusted_root,
)
from custody.wiring.admission import (
    decision_keeper,
    exceptions,
    prefetch,
    remembered,
    summarizing,
    summary_terms,
    violations,
)

_LOG = logging.getLogger(__name__)
_LAST = 10.0
"""Seconds for the last words to the API server."""
_NAMESPACES = ApiResource(version="v1", kind="Namespace", plural="namespaces")


@dataclass(frozen=True)
class Options:
    """How a replica is reached, and what it keeps."""

    place: str | Service
    """Where the API server calls it."""
    namespace: str = "custody"
    """Of its Lease and Secrets; never asked about."""
    host: str = "0.0.0.0"  # noqa: S104 - a pod is called by its own address, which nobody knows before
    webhook_port: int = 9443
    port: int | None = None
    """Where /healthz, /readyz and /metrics answer without TLS."""
    name: str = "custody"
    """Of the configurations, Leases and Secrets."""
    exclude: Sequence[str] = OWN_NAMESPACES
    policies: Sequence[str] = ()
    """Files that are judged by in place of the cluster's policies."""
    tls_secret: str = ""
    """A Secret that somebody else keeps; empty: custody's own authority."""
    inject_ca_from: str = ""
    reports: str = WGPOLICY
    """As which kind PolicyReports are written; empty for none."""
    audit_interval: float = INTERVAL
    """Seconds between two audits of constraints; 0 for none."""
    violations_limit: int = LIMIT
    """That the status of a constraint names."""
    export: bool = False
    """Whether what audits find is exported to the Connection."""
    audit_connection: str = CONNECTION
    audit_channel: str = CHANNEL
    exempt: Exemption = NONE
    """Namespaces that Gatekeeper's policies may leave alone."""
    withdraw: bool = False
    """Whether the last replica that stops takes the webhooks with it."""
    identity: str = field(default_factory=lambda: f"{socket.gethostname()}_{secrets.token_hex(4)}")


@dataclass(slots=True)
class InCluster:
    """What runs, and where."""

    operator: Operator
    app: AdmissionApp
    listeners: Listeners
    metrics: Metrics
    webhook: str
    url: str
    cluster: str
    working: asyncio.Task[None]
    """The operator: its end is the process's."""


@contextlib.asynccontextmanager
async def running_in_cluster(settings: Settings, options: Options) -> AsyncIterator[InCluster]:
    """A replica up on entry, and closed on exit. Raises CustodyError where it cannot start.

    It is ready once the policies are compiled and the API server asks what they need.
    """
    client = cluster_client(settings)
    lookup = cluster_lookup(settings, in_pod=True)
    http = service_http(settings)
    metrics, health = Metrics(), Health({})
    listeners = Listeners(options.host, metrics, health, settings.max_connections_per_peer)
    with tempfile.TemporaryDirectory(prefix="custody-") as folder, contextlib.ExitStack() as closing:
        closing.callback(listeners.close)
        try:
            await _namespace(client, options.namespace)
            certificates = _certificates(client, options)
            files = _Files(Path(folder))
            platform = Platform(settings, "", http=http)
            closing.callback(platform.close)
            files.write(await certificates.ensure(platform.clock()))
            url = ""
            plain = Paths({"/healthz": health, "/readyz": health, "/metrics": metrics})
            if options.port is not None:
                url = listeners.open(plain, options.port, None, "main", "--port")
            app = AdmissionApp()
            app.managed = True
            app.exemption = options.exempt
            app.health = health
            webhook = listeners.open(Paths({"/metrics": metrics, "/": cast(App, app)}), options.webhook_port,
                                     files.tls, "webhook", "--webhook-port", role="admission")
            before = remembered(settings, platform.clock)
            gather = gatherer(settings, registry_client(settings, http), remembered=before)
            root = trusted_root(settings)

            def snapshot(policies: PolicySet) -> Snapshot:
                return Snapshot(policies, root)

            watched = WatchedLookup(client, lambda: operator.kinds, platform.lookup(lookup))
            keeper = decision_keeper(settings, platform.clock)
            if keeper is not None:
                closing.callback(keeper.close)
                gauges.of_decisions(metrics, keeper)
            if before is not None:
                gauges.of_evidence(metrics, before)
            counting = exceptions(settings)
            collection = Collection(generates=True, exceptions=counting, homes=(GATEKEEPERS_HOME, options.namespace))
            judging = Judging(gathering(gather), platform.clock, EvidenceLookup(gather, watched),
                              summary_terms(settings))
            admission = platform.admission(PolicySet([]), gather, None, watched)
            controllers = Controllers(
                client, judging, lambda: admission.snapshot, client.kinds, platform.clock,
                Beside(namespace=options.namespace, excluded=(*options.exclude, options.namespace),
                       own=own_users(options.namespace), instance=options.identity, reports=options.reports,
                       audit_interval=options.audit_interval, violations_limit=options.violations_limit),
                uid_of=collection.uid_of, exporting=Exporting(client, violations, Terms(
                    enabled=options.export, connection=options.audit_connection, channel=options.audit_channel,
                    homes=(GATEKEEPERS_HOME, options.namespace)), lambda: operator.replica))
            early = prefetch(admission, gather, platform.clock, watched)
            gauges.of_prefetch(metrics, early)
            admission.observer = both(both(observer(metrics, keeper), controllers.observe), early)

            summaries = summarizing(settings, http, gather.client, platform.clock)
            if summaries is not None:
                admission.observer = both(admission.observer, summaries)
                gauges.of_summaries(metrics, summaries)

            def judge(policies: PolicySet) -> None:
                watched.inventory.follow(policies)
                admission.swap(snapshot(policies))
                app.admission = admission  # before, reviews are answered as where nobody is: none is admitted unjudged
                controllers.changed()

            if options.policies:
                documents, _ = unwrapped(*gathered(options.policies))
                collection.fix([(where, document) for where, document in documents if not counting.fault(document)])
            feed = Feed(client, collection, watched=not options.policies)
            place = Place(options.place, options.namespace, options.name, options.exclude, options.inject_ca_from,
                          settings.webhooks_named_as, options.exempt)
            exempted = Exempted(client, options.exempt, (*options.exclude, options.namespace))
            operator = Operator(
                cluster=client, discovery=client, feed=feed, certificates=certificates, judge=judge,
                serve=lambda certificate: files.renew(certificate, listeners), webhooks=Webhooks(client, place),
                leadership=Leadership(client, options.namespace, options.name, options.identity),
                presence=Leadership(client, options.namespace, f"{options.name}-{_name(options.identity)}",
                                    options.identity, labels=PRESENCE, kept=False), clock=platform.clock,
                kept=lambda: watched.inventory.followed, lost=lambda: watched.inventory.unserved)
            guard = Guard(client, collection, lambda: operator.kinds or admission.policies.kinds,
                          judging, snapshot,
                          frozenset((*options.exclude, options.namespace)), Rights(Permissions(client)))
            health.add("admission", app.check)
            health.add("cluster", lambda: _state(operator, feed, watched.inventory))
            if options.exempt:
                health.add("exemptions", lambda: State(note=exempted.note))
                gauges.of_exemptions(metrics, exempted)
            gauges.of_admission(metrics, admission)
            gauges.of_controllers(metrics, controllers.counts)
            app.guard = guard.review
            async with serving(*listeners.all):
                working = asyncio.create_task(operator.run())
                watches = [asyncio.create_task(watched.run()), asyncio.create_task(exempted.run()),
                           asyncio.create_task(early.run()),
                           *([asyncio.create_task(summaries.run())] if summaries is not None else []),
                           *([asyncio.create_task(before.watch())] if before is not None else []),
                           *(asyncio.create_task(watch.run()) for watch in listeners.watches),
                           asyncio.create_task(controllers.run(lambda: operator.leadership.leading))]
                try:
                    yield InCluster(operator, app, listeners, metrics, webhook, url, client.url, working)
                finally:
                    await _stop(working, *watches)
                    if options.withdraw:
                        await _withdraw(operator)
        finally:
            if lookup is not None:
                await lookup.close()
            await client.cluster.close()
            await http.close()


def _state(operator: Operator, feed: Feed, inventory: ClusterInventory) -> State:
    """Once ready it stays so: what fails then is judged around by what is known, which is said."""
    unknown = operator.kinds.unknown if operator.kinds is not None else ()
    silent = [f"{group}/{version}: the API server behind it gives no answer" for group, version in sorted(unknown)]
    notes = [*([operator.failure] if operator.failure else []), *silent, *feed.failures, *inventory.failures]
    waiting = f"the inventory waits for {', '.join(inventory.waiting)}" if inventory.waiting else ""
    if operator.ready and not inventory.listed:
        if waiting:
            return State(ready=False, note="; ".join([waiting, *notes]))
        inventory.listed = True
    if waiting:
        notes.append(waiting)
    if not operator.ready:
        waits = "the API server does not ask yet what the policies need" if operator.policies is not None else (
            "policies are not compiled")
        return State(ready=False, note="; ".join([waits, *notes]))
    return State(note="; ".join(notes))


class _Files:
    """The certificate where TLS reads it."""

    def __init__(self, folder: Path) -> None:
        self._certificate, self._key = folder / "tls.crt", folder / "tls.key"
        self.tls = TlsFiles(self._certificate, self._key)

    def write(self, certificate: Certificate) -> None:
        """The key first: a pair that does not fit is read again."""
        for path, data in ((self._key, certificate.pair.key), (self._certificate, certificate.pair.certificate)):
            part = path.with_suffix(".new")
            part.touch(mode=0o600)
            part.write_bytes(data)
            part.replace(path)

    def renew(self, certificate: Certificate, listeners: Listeners) -> None:
        if self._certificate.read_bytes() != certificate.pair.certificate:
            self.write(certificate)
            for watch in listeners.watches:
                watch.ask()


def _certificates(client: ClusterObjects, options: Options) -> Certificates:
    if options.tls_secret:
        return GivenCertificate(client, options.namespace, options.tls_secret, injected=bool(options.inject_ca_from))
    place = options.place
    hosts = place.hosts if isinstance(place, Service) else (str(urlsplit(place).hostname),)
    return OwnCertificates(client, options.namespace, f"{options.name}-webhook", [*hosts, "localhost"])


async def _namespace(client: ClusterObjects, name: str) -> None:
    """Made where it is missing, which only whoever runs this outside of the cluster meets."""
    if await client.get(_NAMESPACES, name) is None:
        try:
            await client.create(_NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise


def _name(identity: str) -> str:
    """As a Lease may be called."""
    return re.sub(r"[^a-z0-9.-]", "-", identity.lower())[:200].strip("-.")


async def _stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            _LOG.error("stopped by %s", outcome)


async def _withdraw(operator: Operator) -> None:
    try:
        async with asyncio.timeout(_LAST):
            gone = await operator.withdraw()
        _LOG.info("the webhooks are %s", "withdrawn" if gone else "left to the other replicas")
    except (CustodyError, TimeoutError) as error:
        _LOG.warning("the webhooks could not be withdrawn: %s", str(error) or "no answer in time")
