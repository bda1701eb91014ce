"""All of it, as a replica runs it: what each does with what it answers, and what only the one that leads does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from custody.admission.answered import Answered
from custody.admission.judging import Judging
from custody.formats.policyreport import WGPOLICY
from custody.kit.clock import Clock
from custody.policy.kinds import Kinds
from custody.policy.phases import Course
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import ClusterObjects, Object
from custody.services.controllers.audit import INTERVAL, LIMIT, Audit
from custody.services.controllers.cleanup import Cleanup
from custody.services.controllers.downstream import Downstream
from custody.services.controllers.events import ADMISSION, APPLIED, Event, Events, of_decision
from custody.services.controllers.exporting import Exporting
from custody.services.controllers.generating import Generating
from custody.services.controllers.named import Reference
from custody.services.controllers.reports import Reports
from custody.services.controllers.scan import Scan
from custody.services.controllers.ttl import Ttl
from custody.services.controllers.updaterequests import Triggers
from custody.services.mirror import Mirror

_LOG = logging.getLogger(__name__)
_CONFIG_MAP = "kyverno"
_AGAIN = 5.0  # seconds
_LOOK = 0.5  # seconds


@dataclass(frozen=True, kw_only=True)
class Options:
    namespace: str = "custody"
    """Where UpdateRequests lie, and a ConfigMap `kyverno` whose generateSuccessEvents is obeyed."""
    excluded: tuple[str, ...] = ("kube-system", "custody")
    """Namespaces whose objects are neither scanned nor cleaned up."""
    own: tuple[str, ...] = ()
    """Users by which custody, or a Kyverno beside it, changes objects: such requests trigger nothing."""
    scan: bool = True
    reports: str = WGPOLICY
    """WGPOLICY, OPENREPORTS, or empty for none."""
    audit_interval: float = INTERVAL
    """Seconds between two audits of constraints; 0 for none."""
    violations_limit: int = LIMIT
    """That the status of a constraint names."""
    instance: str = "custody"
    """Of this replica."""
    omitted: frozenset[str] = field(default_factory=frozenset)
    """Reasons of events that are not written."""


class Controllers:
    """`snapshot` gives the policies of now, `kinds` what the cluster serves. Call `changed` when either is another one,
    and `observe` with each review that was answered."""

    def __init__(self, cluster: ClusterObjects, judging: Judging, snapshot: Callable[[], Snapshot],
                 kinds: Callable[[], Awaitable[Kinds]], clock: Clock, options: Options, *,
                 uid_of: Callable[[Reference], str] = lambda _: "", exporting: Exporting | None = None) -> None:
        """`uid_of` a policy, for its events. `exporting` hears of what audits find."""
        self._options, self._snapshot = options, snapshot
        self._settings = Mirror(cluster, ["v1"], "ConfigMap", namespace=options.namespace,
                                fields=f"metadata.name={_CONFIG_MAP}")
        self.events = Events(cluster, clock, options.instance, written=self._tells, uid_of=uid_of)
        self.triggers = Triggers(cluster, options.namespace, snapshot, options.own)
        self.reports = Reports(cluster, options.reports or WGPOLICY)
        self.scan = Scan(cluster, judging, snapshot, kinds, self.reports, self.events, clock,
                         excluded=options.excluded)
        self.generating = Generating(cluster, options.namespace, judging, snapshot, self.events)
        self.downstream = Downstream(cluster, snapshot, kinds, self.generating)
        self.cleanup = Cleanup(cluster, judging, snapshot, kinds, self.events, clock, excluded=options.excluded)
        self.ttl = Ttl(cluster, kinds, clock)
        self.audit = Audit(cluster, judging, snapshot, kinds, clock, interval=options.audit_interval,
                           limit=options.violations_limit, exporting=exporting)
        self._exporting = exporting
        self.leading = False

    def observe(self, answered: Answered) -> None:
        """An `admission.answered.Observer`, of every replica."""
        decision, request = answered.decision, answered.review.request
        if decision is None:
            return
        self.triggers.observe(answered)
        if request.dry_run:
            return
        policies = self._snapshot().policies
        if request.kind.kind != "Event" and (answered.endpoint.course is Course.VALIDATING or not decision.allowed):
            # An event about an event would be asked about, too, and so on.
            self._tell(of_decision(policies, decision, Reference.about(request), ADMISSION))
        if self.leading and decision.allowed and answered.endpoint.course is Course.VALIDATING and self._options.scan:
            self.scan.reviewed(request, decision, policies)

    def _tell(self, events: Iterable[Event]) -> None:
        self.events.add(events)

    def changed(self) -> None:
        for part in (self.scan, self.audit, self.downstream, self.cleanup, self.ttl):
            part.changed()

    async def run(self, leading: Callable[[], bool]) -> None:
        """Of every replica, until cancelled; while it leads, it does what only one may do."""
        async with asyncio.TaskGroup() as group:
            for part in (self._settings.run, self.events.run, self.triggers.run):
                group.create_task(_lasting(part))
            leader: asyncio.Task[None] | None = None
            while True:
                if leading() and leader is None:
                    leader = group.create_task(self.lead())
                elif not leading() and leader is not None:
                    leader.cancel()
                    await asyncio.gather(leader, return_exceptions=True)
                    leader = None
                await asyncio.sleep(_LOOK)

    async def lead(self) -> None:
        """Of the replica that leads, until cancelled."""
        self.leading = True
        self.changed()
        parts: list[Callable[[], Awaitable[None]]] = [self.generating.run, self.downstream.run, self.cleanup.run,
                                                      self.ttl.run]
        if self._options.scan and self._options.reports:
            parts.append(self.scan.run)
        if self._options.audit_interval > 0:
            parts.append(self.audit.run)
        if self._exporting is not None:
            parts.append(self._exporting.run)
        try:
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(_lasting(part))
        finally:
            self.leading = False

    def counts(self) -> dict[str, int]:
        """For metrics, since this replica began."""
        return {"scan_judged": self.scan.judged, "audit_judged": self.audit.judged, "audits": self.audit.audits,
                "reports_written": self.reports.writes,
                "events_written": self.events.written, "events_dropped": self.events.dropped,
                "update_requests_written": self.triggers.written, "update_requests_dropped": self.triggers.dropped,
                "update_requests_done": self.generating.done, "update_requests_failed": self.generating.failed,
                "cleanup_deleted": self.cleanup.deleted + self.ttl.deleted, "cleanup_failed": self.cleanup.failed}

    def _tells(self, reason: str) -> bool:
        """Kyverno's `generateSuccessEvents`."""
        if reason in self._options.omitted:
            return False
        if reason != APPLIED:
            return True
        settings: Object = self._settings.objects.get((self._options.namespace, _CONFIG_MAP), {})
        return str((settings.get("data") or {}).get("generateSuccessEvents")).lower() == "true"


def own_users(namespace: str) -> tuple[str, ...]:
    """The service accounts by which controllers change objects: custody's, and Kyverno's in the same namespace."""
    accounts = ("custody", "custody-background", "kyverno-background-controller")
    return tuple(f"system:serviceaccount:{namespace}:{account}" for account in accounts)


async def _lasting(part: Callable[[], Awaitable[None]]) -> None:
    """A fault of one controller is said, and does not end the others: it begins again."""
    while True:
        try:
            await part()
        except Exception:
            _LOG.exception("a controller begins again")
        await asyncio.sleep(_AGAIN)
