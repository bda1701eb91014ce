"""The audit of constraints: all that lies in a cluster, judged again and again, and what was found in each constraint's
status (Gatekeeper pkg/audit, point `audit.gatekeeper.sh`).

    status: {auditTimestamp, totalViolations, violations: [{group, version, kind, namespace, name, message, …}]}

A violation counts, whatever its action; the status names the first of them. Lists come page by page, and between two
objects others have their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from custody.admission.judging import Judging
from custody.errors import CustodyError
from custody.kit.clock import Clock
from custody.policy.gatekeeper.constraint import ConstraintRule
from custody.policy.gatekeeper.regosource import RegoSource
from custody.policy.kinds import Kinds
from custody.policy.load import PolicySet
from custody.policy.model import Kind, Outcome, Request, RuleResult
from custody.policy.phases import Course
from custody.policy.resources import ApiResource
from custody.policy.rule import Policy
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import ApiError, ClusterObjects, Object
from custody.services.controllers.exporting import Exporting
from policylang.go.wildcards import glob

_LOG = logging.getLogger(__name__)
INTERVAL, LIMIT = 60.0, 20
"""Seconds between two audits, and violations that a status names: Gatekeeper's own."""
_SETTLED = 2.0
"""Seconds after a change of policies, since many come together."""
_FAILED = 10.0
_MESSAGE = 256
_DECIDED = 30.0  # seconds
_SHARE = 1.0
"""Seconds that pass for each second of judging: half of one processor, at most, goes into audits."""
_REST = 0.5
"""The longest of such pauses: who waited for an answer has judged nothing meanwhile."""
Name = tuple[str, str]
"""(kind, name) of a constraint."""


@dataclass(slots=True)
class Tally:
    """What was found of one constraint."""

    limit: int
    total: int = 0
    named: list[Object] = field(default_factory=list)

    def add(self, told: Object) -> None:
        self.total += 1
        if len(self.named) < self.limit:
            self.named.append(told)

    def status(self, at: datetime) -> Object:
        return {"auditTimestamp": _time(at), "totalViolations": self.total,
                "violations": self.named or None}


def told_of(result: RuleResult, document: Object, *, scoped: bool) -> Object:
    """A violation as a status names it."""
    actions = result.properties["enforcementAction"].split(",")
    group, _, version = str(document.get("apiVersion")).rpartition("/")
    metadata = document["metadata"]
    told = {"group": group, "version": version, "kind": document.get("kind"), "name": metadata.get("name"),
            "message": _cut(result.message), "enforcementAction": "scoped" if scoped else actions[0]}
    if metadata.get("namespace"):
        told["namespace"] = metadata["namespace"]
    if scoped:
        told["enforcementActions"] = actions
    return told


class Audit:
    """`run` while this replica leads. `changed` tells it that there are other policies."""

    def __init__(self, cluster: ClusterObjects, judging: Judging, snapshot: Callable[[], Snapshot],
                 kinds: Callable[[], Awaitable[Kinds]], clock: Clock, *, interval: float = INTERVAL,
                 limit: int = LIMIT, share: float = _SHARE, exporting: Exporting | None = None) -> None:
        """`exporting` hears of each violation."""
        self._cluster, self._judging, self._snapshot, self._kinds = cluster, judging, snapshot, kinds
        self._clock, self._interval, self._limit, self._share = clock, interval, limit, share
        self._exporting = exporting
        self._woken = asyncio.Event()
        self._audited = ""
        """The digest of the constraints that the last whole audit was by."""
        self.judged = 0
        self.audits = 0

    def changed(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._woken.clear()
            pause = self._interval
            try:
                await self.once()
            except CustodyError as error:
                _LOG.warning("the audit of constraints is taken up again: %s", error.message)
                pause = min(_FAILED, self._interval)
            await self._wait(pause)

    async def _wait(self, seconds: float) -> None:
        """As long, or until there are other constraints."""
        end = asyncio.get_running_loop().time() + seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while True:
                    await self._woken.wait()
                    await asyncio.sleep(_SETTLED)
                    self._woken.clear()
                    if self._constraints().policies.digest != self._audited:
                        return

    def _constraints(self) -> Snapshot:
        return self._snapshot().only(_is_constraint)

    async def once(self) -> None:
        """One audit of all. Raises CustodyError where the cluster gives no answer: statuses stay as they were, and
        nothing of it is exported."""
        if self._exporting is None:
            await self._once(self._clock())
            return
        began = self._clock()
        try:
            await self._exporting.begin(_time(began))
            await self._exporting.end(await self._once(began))
        except BaseException:
            await self._exporting.drop()
            raise

    async def _once(self, began: datetime) -> list[str]:
        """The kinds that were passed over, by name."""
        passed: list[str] = []
        snapshot = self._constraints()
        policies = snapshot.policies
        tallies = {(policy.kind, policy.name): Tally(self._limit) for policy in policies.policies}
        if tallies:
            kinds = await self._kinds()
            for group, version in sorted(kinds.unknown):
                _LOG.warning("%s/%s is not audited, and statuses of constraints that name its group stay as they were: "
                             "the API server behind it gives no answer", group, version)
            unread = [resource for resource in audited(policies, kinds)
                      if not await self._resource(resource, snapshot, tallies)]
            passed = [*(resource.kind for resource in unread),
                      *(f"{group}/{version}" for group, version in sorted(kinds.unknown))]
            for rule in policies.rules:
                if isinstance(rule, ConstraintRule) and not _is_about(rule, unread, kinds.unknown):
                    await self._tell(rule, tallies[rule.policy.kind, rule.policy.name], began)
        self._audited = policies.digest
        self.audits += 1
        return passed

    async def _resource(self, resource: ApiResource, snapshot: Snapshot, tallies: dict[Name, Tally]) -> bool:
        """Whether its objects could be listed."""
        constraints = {(rule.policy.kind, rule.policy.name): rule for rule in snapshot.policies.rules
                       if isinstance(rule, ConstraintRule)}
        try:
            async for page in self._cluster.pages(resource, mixed=True):
                for document in page.items:
                    begun = time.monotonic()
                    for result in await self.results(document, snapshot):
                        name = result.kind, result.policy
                        constraint = constraints[name]
                        told = told_of(result, document,
                                       scoped=constraint.document["spec"].get("enforcementAction") == "scoped")
                        tallies[name].add(told)
                        if self._exporting is not None:
                            self._exporting.add(constraint.document, result, told, document,
                                                rego=isinstance(constraint.template.source, RegoSource))
                    await asyncio.sleep(min((time.monotonic() - begun) * self._share, _REST))
                if self._exporting is not None:
                    await self._exporting.flush()
        except ApiError as error:
            if error.answered not in (403, 404, 405):
                raise
            _LOG.warning("%s is not audited, and statuses of constraints that name it stay as they were: %s",
                         resource.kind, error.message)
            return False
        return True

    async def results(self, document: Object, snapshot: Snapshot) -> list[RuleResult]:
        """What constraints have against an object."""
        if isinstance(document.get("metadata"), dict):
            document["metadata"].pop("managedFields", None)
        request = msgspec.structs.replace(Request.create(document), existing=True)
        judged = await self._judging.judge(request, snapshot, Course.BACKGROUND,
                                           deadline=asyncio.get_running_loop().time() + _DECIDED)
        self.judged += 1
        return [result for result in judged.decision.results if result.outcome in (Outcome.FAIL, Outcome.ERROR)]

    async def _tell(self, rule: ConstraintRule, tally: Tally, at: datetime) -> None:
        version = str(rule.document["apiVersion"])
        served = await self._cluster.resource(version, rule.policy.kind)
        if served is None:
            return
        try:
            await self._cluster.patch(served, rule.policy.name, "", {"status": tally.status(at)}, subresource="status")
        except ApiError as error:
            if not error.missing:  # one of a file, or that is gone by now
                _LOG.warning("the status of %s %s could not be written: %s", rule.policy.kind, rule.policy.name,
                             error.message)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def audited(policies: PolicySet, kinds: Kinds) -> Iterator[ApiResource]:
    """The resources whose objects any of the constraints may be about, each in the version that is served first."""
    selectors = list(dict.fromkeys(selector for rule in policies.rules if rule.policy.background
                                   for selector in rule.scope.selectors))
    seen: set[tuple[str, str]] = set()
    for resource in kinds.resources:
        kind = Kind(resource.kind, resource.version, resource.group)
        if (resource.group, resource.kind) in seen or not {"UPDATE", "DELETE"} & {*resource.operations}:
            continue  # what can be neither is only asked, as an access review, and never lies there
        if any(selector.selects(kind, "") for selector in selectors):
            seen.add((resource.group, resource.kind))
            yield resource


def _is_about(rule: ConstraintRule, unread: Sequence[ApiResource], unknown: Collection[tuple[str, str]]) -> bool:
    """Whether a constraint names a kind that could not be read, or one of a group of which nothing is known: then
    nobody knows how many violations there are.

    One for every kind is told of those that could be.
    """
    named = [selector for selector in rule.scope.selectors if selector.kind != "*"]
    return any(selector.selects(Kind(resource.kind, resource.version, resource.group), "")
               for selector in named for resource in unread) or any(
        selector.group == group and glob(selector.version, version)
        for selector in named for group, version in unknown)


def _is_constraint(policy: Policy) -> bool:
    """Also one whose actions are none of the audit's: its status says that nothing was found."""
    return bool(policy.rules) and isinstance(policy.rules[0], ConstraintRule)


def _cut(message: str) -> str:
    """As Gatekeeper does, by bytes."""
    data = message.encode()
    return message if len(data) <= _MESSAGE else data[:_MESSAGE - 3].decode(errors="ignore") + "..."
