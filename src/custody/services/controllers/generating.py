"""UpdateRequests worked off: the policy is asked about the trigger as it is now, and what it wants is carried out.

What fails is tried again, a little later each time; what would fail again is told as an event and given up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from custody.admission.judging import Judging
from custody.errors import CustodyError, NetworkError
from custody.policy.model import Change, Decision, Outcome, Request
from custody.policy.phases import Course
from custody.policy.rule import Policy
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import ClusterObjects, Object
from custody.services.controllers.changes import Carrier, is_lasting
from custody.services.controllers.events import APPLIED, ERROR, GENERATE, MUTATE, Event, Events
from custody.services.controllers.named import Reference, source_of
from custody.services.controllers.updaterequests import POLICY_KIND, REQUESTS, request_of
from custody.services.mirror import Mirror

_LOG = logging.getLogger(__name__)
ATTEMPTS = 6
_FIRST, _LONGEST = 0.5, 30.0
"""Seconds before the second attempt, doubled each time."""
_WORKERS = 4
_DEADLINE = 30.0

PolicyKey = tuple[str, str]
"""(name, kind)."""
Settled = Callable[[Policy, Reference, tuple[Change, ...]], Any]
"""Told what a policy wants because of a trigger, once that is done. A coroutine function."""


@dataclass(eq=False)
class Job:
    policy: PolicyKey
    request: Request
    update_request: str = ""
    """Its name; empty where nobody asked by one."""
    attempt: int = 0


class Generating:
    """`run` while this replica leads. `settled` may be set to be told what was carried out."""

    def __init__(self, cluster: ClusterObjects, namespace: str, judging: Judging, snapshot: Callable[[], Snapshot],
                 events: Events) -> None:
        self._cluster, self._namespace, self._judging, self._snapshot = cluster, namespace, judging, snapshot
        self._events = events
        self._carrier = Carrier(cluster)
        self._jobs: asyncio.Queue[Job] = asyncio.Queue()
        self._seen: set[str] = set()
        self.settled: Settled | None = None
        self.done = self.failed = 0
        self.busy = 0

    @property
    def waiting(self) -> int:
        return self._jobs.qsize()

    def add(self, job: Job) -> None:
        self._jobs.put_nowait(job)

    async def run(self) -> None:
        """Until cancelled."""
        self._seen.clear()
        mirror = Mirror(self._cluster, ["kyverno.io/v2"], "UpdateRequest", namespace=self._namespace,
                        changed=self._note)
        async with asyncio.TaskGroup() as group:
            group.create_task(mirror.run())
            for _ in range(_WORKERS):
                group.create_task(self._work())

    def _note(self, _before: Object | None, after: Object | None) -> None:
        if after is None:
            return
        metadata = after["metadata"]
        name = str(metadata["name"])
        if name in self._seen or metadata.get("deletionTimestamp"):
            return
        self._seen.add(name)
        kind = str((metadata.get("labels") or {}).get(POLICY_KIND) or "")
        self.add(Job((str((after.get("spec") or {}).get("policy") or ""), kind), request_of(after), name))

    async def _work(self) -> None:
        while True:
            job = await self._jobs.get()
            self.busy += 1
            try:
                await self._attempt(job)
            except Exception as error:
                if not isinstance(error, CustodyError):
                    _LOG.exception("policy %s", job.policy[0])
                await self._missed(job, error)
            finally:
                self.busy -= 1

    async def _attempt(self, job: Job) -> None:
        """Raises CustodyError for what is to be tried again, or told."""
        policy = next((policy for policy in self._snapshot().policies.policies
                       if policy.name == job.policy[0] and job.policy[1] in ("", policy.kind)), None)
        if policy is None:
            await self._close(job)
            return
        request = job.request
        if request.operation != "DELETE" and not request.subresource:
            trigger = await self._read(Reference.about(request))
            if trigger is None:
                if job.attempt < 2:  # it was admitted, and may be written in a moment
                    raise NetworkError(f"{Reference.about(request)} is not there yet")
                await self._close(job)
                return
            request = msgspec.structs.replace(request, object=trigger)
        part = self._snapshot().only(lambda named: (named.name, named.kind) == (policy.name, policy.kind))
        deadline = asyncio.get_running_loop().time() + _DEADLINE
        decision = (await self._judging.judge(request, part, Course.GENERATING, deadline=deadline)).decision
        about = Reference.about(request)
        try:
            touched = await self._carrier.carry_out(decision.changes)
        finally:
            if self.settled is not None:
                await self.settled(policy, about, decision.changes)
        errors = [result for result in decision.results if result.outcome is Outcome.ERROR]
        if errors:
            raise CustodyError("; ".join(f"{result.rule}: {result.message}" for result in errors))
        self._told(policy, decision, touched)
        self.done += 1
        await self._close(job)

    async def _read(self, about: Reference) -> Object | None:
        resource = await self._cluster.resource(about.api_version, about.kind)
        if resource is None or not about.name:
            return None
        return await self._cluster.get(resource, about.name, about.namespace)

    async def _close(self, job: Job) -> None:
        if job.update_request:
            self._seen.discard(job.update_request)
            await self._cluster.delete(REQUESTS, job.update_request, self._namespace)

    async def _missed(self, job: Job, error: Exception) -> None:
        message = error.message if isinstance(error, CustodyError) else f"an internal error ({type(error).__name__})"
        job.attempt += 1
        lasting = isinstance(error, CustodyError) and is_lasting(error) and type(error) is not CustodyError
        if not lasting and job.attempt < ATTEMPTS:
            pause = min(_FIRST * 2 ** (job.attempt - 1), _LONGEST)
            asyncio.get_running_loop().call_later(pause, self._jobs.put_nowait, job)
            return
        self.failed += 1
        _LOG.warning("policy %s because of %s: %s", job.policy[0], Reference.about(job.request), message)
        policies = self._snapshot().policies
        for policy in policies.policies:
            if (policy.name, policy.kind) == job.policy:
                name = job.policy[0].rpartition("/")[2]
                self._events.add([Event(Reference.of(source_of(policies, policy)), Reference.about(job.request),
                                        self._source(policy), ERROR, "None", f"policy {name} error: {message}")])
        try:
            await self._close(job)
        except CustodyError as refused:
            _LOG.warning("UpdateRequest %s is not deleted: %s", job.update_request, refused.message)

    def _told(self, policy: Policy, decision: Decision, touched: list[Reference]) -> None:
        policies = self._snapshot().policies
        regarding = Reference.of(source_of(policies, policy)) if policy in policies.policies else None
        if regarding is None:
            return
        mutates = all(change.verb == "patch" for change in decision.changes)
        word, action = ("mutated", "Resource Mutated") if mutates else ("generated", "Resource Generated")
        self._events.add(Event(regarding, target, self._source(policy), APPLIED, action, f"resource {word}")
                         for target in touched)
        if not mutates:
            self._events.add(Event(target, None, GENERATE, APPLIED, "None", f"Created {target.kind} {target.name} as a "
                                   f"result of applying policy {policy.name}") for target in touched)

    @staticmethod
    def _source(policy: Policy) -> str:
        return MUTATE if "Mutating" in policy.kind else GENERATE
