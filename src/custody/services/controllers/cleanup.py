"""What policies delete by a schedule: CleanupPolicies and DeletingPolicies, when they are due.

A policy is due after its last execution, which its status keeps, or after it was made: what fell due while nobody led
is done once, at once. Each object is judged and deleted by itself, and one that is refused is told as an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime

import msgspec

from custody.admission.judging import Judging
from custody.errors import CustodyError
from custody.kit.clock import Clock
from custody.kit.cron import Schedule
from custody.policy.kinds import Kinds
from custody.policy.model import Change, Request
from custody.policy.phases import Course
from custody.policy.resources import ApiResource
from custody.policy.rule import Policy
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import ClusterObjects, Object
from custody.services.controllers.changes import Carrier
from custody.services.controllers.events import APPLIED, CLEANUP, ERROR, Event, Events
from custody.services.controllers.named import Reference, is_scheduled, resources_of, source_of

_LOG = logging.getLogger(__name__)
_LONGEST = 30.0
"""Seconds between two looks at the policies."""
_MOST = 10_000
"""Objects that one execution deletes; what is beyond waits for the next."""


class Cleanup:
    """`run` while this replica leads. `changed` tells it that there are other policies."""

    def __init__(self, cluster: ClusterObjects, judging: Judging, snapshot: Callable[[], Snapshot],
                 kinds: Callable[[], Awaitable[Kinds]], events: Events, clock: Clock, *,
                 excluded: Iterable[str] = ()) -> None:
        self._cluster, self._judging, self._snapshot, self._kinds = cluster, judging, snapshot, kinds
        self._events, self._clock = events, clock
        self._carrier = Carrier(cluster)
        self._excluded = frozenset(excluded)
        self._last: dict[tuple[str, str], datetime] = {}
        self._woken = asyncio.Event()
        self.deleted = self.failed = 0

    def changed(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        self._last.clear()
        while True:
            self._woken.clear()
            now = self._clock()
            soonest: datetime | None = None
            for policy in [policy for policy in self._snapshot().policies.policies if is_scheduled(policy)]:
                try:
                    when = await self._when(policy, now)
                    if when is not None and when <= now:
                        await self._execute(policy)
                        self._last[policy.name, policy.kind] = now
                        await self._keep(policy, now)
                        when = await self._when(policy, now)
                except CustodyError as error:
                    _LOG.warning("policy %s: %s", policy.name, error.message)
                    continue
                if when is not None:
                    soonest = min(soonest or when, when)
            wait = _LONGEST if soonest is None else min(max((soonest - self._clock()).total_seconds(), 0.05), _LONGEST)
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _when(self, policy: Policy, now: datetime) -> datetime | None:
        document = source_of(self._snapshot().policies, policy)
        key = policy.name, policy.kind
        if key not in self._last:
            there = await self._read(document)
            status = (there or {}).get("status") or {}
            made = ((there or {}).get("metadata") or {}).get("creationTimestamp")
            text = status.get("lastExecutionTime") or made
            self._last[key] = _moment(text) or _moment(made) or now
        return Schedule(str((document.get("spec") or {}).get("schedule"))).after(self._last[key], UTC)

    async def _read(self, document: Object) -> Object | None:
        about = Reference.of(document)
        resource = await self._cluster.resource(about.api_version, about.kind)
        return None if resource is None else await self._cluster.get(resource, about.name, about.namespace)

    async def _keep(self, policy: Policy, now: datetime) -> None:
        about = Reference.of(source_of(self._snapshot().policies, policy))
        resource = await self._cluster.resource(about.api_version, about.kind)
        if resource is not None:
            await self._cluster.patch(resource, about.name, about.namespace, {
                "status": {"lastExecutionTime": f"{now:%Y-%m-%dT%H:%M:%SZ}"}}, subresource="status")

    async def _execute(self, policy: Policy) -> None:
        part = self._snapshot().only(lambda named: (named.name, named.kind) == (policy.name, policy.kind))
        kinds = await self._kinds()
        namespace = policy.name.rpartition("/")[0]
        deleted = 0
        for resource in {resource for rule in policy.rules for resource in resources_of(rule, kinds)}:
            if namespace and not resource.namespaced:
                continue
            for document in await self._listed(resource, namespace):
                if deleted >= _MOST:
                    _LOG.warning("policy %s: more than %d objects: the others wait", policy.name, _MOST)
                    return
                request = msgspec.structs.replace(Request.create(document), existing=True)
                deadline = asyncio.get_running_loop().time() + 30
                judged = await self._judging.judge(request, part, Course.GENERATING, deadline=deadline)
                for change in judged.decision.changes:
                    if change.verb == "delete":
                        deleted += await self._delete(policy, change)

    async def _listed(self, resource: ApiResource, namespace: str) -> list[Object]:
        items = (await self._cluster.list(resource, namespace)).items
        for document in items:
            document["metadata"].pop("managedFields", None)
        return [document for document in items
                if not document["metadata"].get("deletionTimestamp")
                and str(document["metadata"].get("namespace") or "") not in self._excluded]

    async def _delete(self, policy: Policy, change: Change) -> int:
        """How many were deleted. A refusal is told, and ends nothing."""
        policies = self._snapshot().policies
        regarding = Reference.of(source_of(policies, policy))
        about = Reference.of(change.object)
        word = "delete" if "Deleting" in policy.kind else "clean up"
        named = f"{about.kind}/{about.namespace}/{about.name}"
        try:
            done = await self._carrier.carry_out([change])
        except CustodyError as error:
            self.failed += 1
            self._events.add([Event(regarding, about, CLEANUP, ERROR, "None",
                                    f"failed to {word} the target resource {named}: {error.message}")])
            return 0
        if not done:
            return 0
        self.deleted += 1
        past = {"delete": "deleted", "clean up": "cleaned up"}[word]
        self._events.add([Event(regarding, about, CLEANUP, APPLIED, "Resource Cleaned Up",
                                f"successfully {past} the target resource {named}")])
        return 1


def _moment(text: object) -> datetime | None:
    """Of a status, which others may write too; None for what is no time."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
