"""What keeps a replica and the cluster at what the policies say, step by step.

    1. compile what the cluster has, by the kinds that it serves now; judge by it from then on, but for what the API
       server judges itself
    2. the certificate, renewed in time
    3. who leads: make the kinds of constraints, tell the API server what to ask, and each policy how it is; of
       Gatekeeper's kinds each replica says that for itself

Steps are taken when something changed, and every half a minute. One that fails is said and taken again; what was done
before stays in force.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from custody.errors import CustodyError
from custody.kit.clock import Clock
from custody.policy.fields import Fields
from custody.policy.gatekeeper.config import Config
from custody.policy.kinds import Kinds
from custody.policy.load import PolicySet
from custody.policy.model import Kind
from custody.ports.cluster import ApiError, ClusterObjects, Object
from custody.services.cluster import podstatus, status
from custody.services.cluster.certificates import Certificate
from custody.services.cluster.constraintkinds import TEMPLATE, ConstraintKinds
from custody.services.cluster.emitting import Emission
from custody.services.cluster.feed import Feed
from custody.services.cluster.lease import LEASES, Leadership
from custody.services.cluster.permissions import Permissions, named
from custody.services.cluster.policies import Held
from custody.services.cluster.rights import Rights
from custody.services.cluster.webhooks import Webhooks, wanted
from custody.services.mirror import key_of

_LOG = logging.getLogger(__name__)
_SETTLE, _PROMPT, _QUIET = 0.1, 0.01, 1.0
"""Seconds without another change after which a step is taken, since `kubectl apply -f` of a folder is many; fewer for
the first one after a second without any: who applies a policy expects it to be in force."""
_LATEST = 1.0
"""Seconds after the first change, however many follow: a burst of them makes one set of policies a second."""
_AGAIN = 30.0
_FAILED = 2.0
_SKEW = timedelta(seconds=5)


class Certificates(Protocol):
    async def ensure(self, now: datetime) -> Certificate: ...


class Discovery(Protocol):
    async def kinds(self, *, refresh: bool = False) -> Kinds: ...


class Operator:
    """Of one replica."""

    def __init__(self, *, cluster: ClusterObjects, discovery: Discovery, feed: Feed, certificates: Certificates,
                 webhooks: Webhooks, leadership: Leadership, presence: Leadership, clock: Clock,
                 judge: Callable[[PolicySet], None], serve: Callable[[Certificate], None],
                 kept: Callable[[], Collection[Kind]] = tuple, lost: Callable[[], Mapping[Kind, str]] = dict) -> None:
        """`judge` is told of each new set of policies, `serve` of each new certificate. `presence` holds a Lease that
        only says that this replica lives. `kept` tells the kinds in the inventory, `lost` why some of them are not
        served."""
        self.kinds: Kinds | None = None
        """What is served, as policies are checked by it when they are applied."""
        self.failure: str | None = None
        """Why the last step did not come to its end; None where it did."""
        self.ready = False
        """Whether policies were compiled and the API server asked just what they need, once."""
        self.policies: PolicySet | None = None
        """What is in force; None until the first were compiled."""
        self.stepped = asyncio.Event()
        """Set after each step that came to its end."""
        self.leadership = leadership
        self._identity = presence.identity
        self._cluster, self._discovery, self._feed = cluster, discovery, feed
        self._certificates, self._judge, self._serve = certificates, judge, serve
        self._kept, self._lost = kept, lost
        self._webhooks, self._presence, self._clock = webhooks, presence, clock
        self._emission = Emission(cluster)
        self._constraint_kinds = ConstraintKinds(cluster)
        self._events = (feed.changed, leadership.changed, presence.changed, webhooks.changed, self._emission.changed)
        self._certificate: Certificate | None = None
        self._compiled: tuple[str, Kinds] | None = None
        self._judged: PolicySet | None = None
        self._refused: PolicySet | None = None
        """Policies of which the API server does not take the configurations that Kyverno would write."""
        self._lenient: Kinds | None = None
        self._changed = 0.0
        self.replica = podstatus.Replica(podstatus.id_of(self._identity, webhooks.place.namespace, webhooks.place.name))
        """Whose entries of statuses this one writes, as it was when it wrote last."""
        self._permissions = Permissions(cluster)
        self._rights = Rights(self._permissions)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed.run())
            for mirror in (*self._webhooks.mirrors.values(), *self._emission.mirrors.values()):
                group.create_task(mirror.run())
            for lease in (self.leadership, self._presence):
                group.create_task(lease.run())
            await self._feed.synced()
            await self._webhooks.synced()
            while True:
                for event in self._events:
                    event.clear()
                failed = await self._attempt()
                await self._wait(_FAILED if failed else _FAILED / 4 if not self.ready or self._emission.pending
                                 else _AGAIN)

    async def _attempt(self) -> bool:
        """Whether it failed."""
        try:
            await self._step()
        except CustodyError as error:
            before, self.failure = self.failure, error.message
            if self.failure != before:
                _LOG.warning("%s", self.failure)
            return True
        except Exception as error:
            _LOG.exception("a step failed")
            self.failure = f"an internal error ({type(error).__name__})"
            return True
        self.failure = None
        self.stepped.set()
        return False

    async def _wait(self, seconds: float) -> None:
        waiting = [asyncio.create_task(event.wait()) for event in self._events]
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if done:
            await self._settled()

    async def _settled(self) -> None:
        """Until policies stop changing for a moment, but not for ever."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        pause = _PROMPT if begun - self._changed > _QUIET else _SETTLE
        while (left := begun + _LATEST - loop.time()) > 0:
            self._feed.changed.clear()
            try:
                async with asyncio.timeout(min(pause, left)):
                    await self._feed.changed.wait()
            except TimeoutError:
                break
            pause = _SETTLE
        self._changed = loop.time()

    async def _step(self) -> None:
        # 1. Compile, and judge by it.
        kinds = self._lenient
        if kinds is None or self._feed.served_changed or kinds.unknown:
            self._feed.served_changed = False
            fresh = await self._discovery.kinds(refresh=True)
            if kinds is not None:
                fresh = fresh.recalling(kinds)
            if kinds is None or (fresh.resources, fresh.unknown) != (kinds.resources, kinds.unknown):
                self.kinds, self._lenient = fresh, fresh.unchecked()
                kinds = self._lenient
        policies = await asyncio.to_thread(self._feed.collection.compile, kinds)
        manager = "kyverno" if self._feed.kyvernos else "custody"
        await self._emission.keep(self._feed.collection, kinds, leading=False, manager=manager)
        if self._compiled != (policies.digest, kinds):
            self._compiled, self._judged = (policies.digest, kinds), None
            self.policies = policies
        policies = self.policies or policies
        emitted = {name for name, made in self._emission.result.items() if made.generated} - _longer(policies)
        names = {(policy.kind, policy.name) for policy in policies.policies} - emitted
        if self._judged is None or names != {(policy.kind, policy.name) for policy in self._judged.policies}:
            judged = policies.only(lambda policy: (policy.kind, policy.name) not in emitted) if emitted else policies
            self._judge(judged)
            self._judged = judged
            many = len(judged.policies)
            _LOG.info("judges by %d %s now", many, "policy" if many == 1 else "policies")
        # 2. The certificate.
        certificate = await self._certificates.ensure(self._clock())
        if self._certificate is None or certificate.pair != self._certificate.pair:
            self._serve(certificate)
        self._certificate = certificate
        # 3. The API server, and each policy's status.
        kyvernos = await self._webhooks.like_kyvernos(defined=self._feed.kyvernos)
        plain = wanted(self._webhooks.place, certificate.bundle, self._judged)
        documents = wanted(self._webhooks.place, certificate.bundle, self._judged, kyvernos=True) if (
            kyvernos and self._refused is not self._judged) else plain
        if self.leadership.leading:
            await self._constraint_kinds.keep(self._feed.collection, self._feed.definitions, self._feed.templates)
            try:
                await self._webhooks.keep(documents)
            except ApiError as error:
                if documents is plain or error.reason != "Invalid":
                    raise
                # One policy's condition or selector is not to keep all others from being asked about.
                _LOG.warning("the API server refuses the configurations that Kyverno would write, and gets custody's: "
                             "%s", error.message)
                self._refused = self._judged
                await self._webhooks.keep(plain)
            await self._emission.keep(self._feed.collection, kinds, leading=True, manager=manager)
            self.ready = True
        elif not self.ready:
            self.ready = self._webhooks.current(documents) or self._webhooks.current(plain)
        if self._presence.leading:  # before, its entries would be taken for those of a replica that is gone
            await self._tell(policies)

    async def _tell(self, policies: PolicySet) -> None:
        """Each policy whose status is not what it should be. One that cannot be written does not stop the others."""
        replica = self.replica = await self._replica()
        in_force = {(policy.kind, policy.name): policy for policy in policies.policies}
        failed: CustodyError | None = None
        for held in self._feed.collection.compiled:  # of what came meanwhile the next step tells
            try:
                if podstatus.is_gatekeepers(held):
                    made = self._constraint_kinds.faults.get(key_of(held.document)[1])
                    of_template = held.definition is TEMPLATE
                    unsynced = podstatus.unsynced(held, self._kept()) if of_template else self._unserved(held)
                    await podstatus.write(self._cluster, held, replica, unsynced=unsynced,
                                          made=made if of_template and replica.leads else None)
                    continue
                if not replica.leads:
                    continue
                missing = await self._missing(held) if held.definition.cel and held.ready else ""
                lacking = await self._lacking(held)
                said = status.wanted(held, in_force.get(_named(held)), registered=True, now=self._clock(),
                                     missing=missing, lacking=lacking, emitted=self._emission.result.get(_named(held)))
                if said is not None:
                    await status.write(self._cluster, held, said)
            except CustodyError as error:
                failed = error
        if failed is not None:
            raise failed

    async def _replica(self) -> podstatus.Replica:
        """Whose entry this replica writes; with all that live, where it leads. Raises CustodyError."""
        place = self._webhooks.place
        own = podstatus.id_of(self._identity, place.namespace, place.name)
        if not self.leadership.leading:
            return podstatus.Replica(own)
        live = {podstatus.id_of(str(lease["spec"].get("holderIdentity") or ""), place.namespace, place.name)
                for lease in await self._replicas(place.namespace)}
        return podstatus.Replica(own, leads=True, live=frozenset({own, *live}))

    async def _replicas(self, namespace: str) -> list[Object]:
        """The Leases of all replicas that live. Raises CustodyError."""
        listing = await self._cluster.list(LEASES, namespace, labels=PRESENCE_SELECTOR)
        now = datetime.now(UTC)
        return [lease for lease in listing.items if _alive(lease, now)]

    def _unserved(self, held: Held) -> list[str]:
        """What a Config names for the inventory and the cluster does not serve."""
        if held.judged is None or held.definition.kind != "Config":
            return []
        named = Config(Fields(held.judged, "")).kinds
        return [fault for kind, fault in self._lost().items() if kind in named]

    async def _lacking(self, held: Held) -> str:
        return await self._rights.lacking(held.judged or held.document, self.kinds) if held.ready and self.kinds else ""

    async def _missing(self, held: Held) -> str:
        made = [config["spec"] for config in status.shown_configs(held).values()]
        return await self._permissions.missing(named([held.document.get("spec") or {}, *made]), self.kinds)

    async def withdraw(self) -> bool:
        """Let the API server ask nothing any more, where no other replica lives. Whether it was so."""
        if any((lease.get("metadata") or {}).get("name") != self._presence.name
               for lease in await self._replicas(self._webhooks.place.namespace)):
            return False
        await self._webhooks.withdraw()
        return True


PRESENCE = {"app.kubernetes.io/part-of": "custody", "app.kubernetes.io/component": "replica"}
PRESENCE_SELECTOR = ",".join(f"{name}={value}" for name, value in PRESENCE.items())


def _alive(lease: Object, now: datetime) -> bool:
    """By its writer's clock, which may be some seconds off: whoever is in doubt leaves the webhooks where they are."""
    spec = lease.get("spec") or {}
    try:
        renewed = datetime.fromisoformat(str(spec.get("renewTime")))
    except ValueError:
        return False
    return bool(spec.get("holderIdentity")) and now - renewed < timedelta(
        seconds=float(spec.get("leaseDurationSeconds") or 15)) + _SKEW


def _longer(policies: PolicySet) -> set[tuple[str, str]]:
    """(kind, name) of policies that say more than the one rule which the API server can have: rules for controllers of
    pods, above all. The webhook judges them whole."""
    return {(policy.kind, policy.name) for policy in policies.policies
            if policy.kind == "ClusterPolicy" and len(policy.rules) > 1}


def _named(held: Held) -> tuple[str, str]:
    metadata = held.document.get("metadata") or {}
    namespace, name = metadata.get("namespace"), str(metadata.get("name"))
    return held.definition.kind, f"{namespace}/{name}" if namespace else name

