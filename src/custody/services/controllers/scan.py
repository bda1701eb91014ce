"""What lies in a cluster, judged by the policies that speak of it: each object when it changes, and by each policy when
that changes. What is found is in its report, and violations are told as events.

Kinds are watched, not listed again and again. One object is judged at a time, and between two others have their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from custody.admission.judging import Judging
from custody.errors import CustodyError
from custody.formats.policyreport import Result
from custody.kit.clock import Clock
from custody.kit.digest import sha256
from custody.policy.kinds import Kinds
from custody.policy.load import PolicySet
from custody.policy.model import Decision, Outcome, Request
from custody.policy.phases import Course, Phase
from custody.policy.resources import ApiResource
from custody.policy.rule import Policy
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import ClusterObjects, Object
from custody.services.controllers.events import SCAN, Events, of_decision
from custody.services.controllers.following import Following
from custody.services.controllers.named import Reference, resources_of, version_of
from custody.services.controllers.reports import Reports, quietly, results_of, reviewed_in
from custody.services.mirror import Key, Mirror, key_of

_LOG = logging.getLogger(__name__)
_MUTATING = frozenset({"MutatingPolicy", "NamespacedMutatingPolicy", "MutatingAdmissionPolicy"})
"""Kinds whose scan says whether an object is as they would make it."""
_NEVER = frozenset({"Event", "Lease", "PolicyReport", "ClusterPolicyReport", "Report", "ClusterReport",
                    "UpdateRequest", "EphemeralReport", "ClusterEphemeralReport"})
_REVIEWED = 20_000
"""Objects of which what reviews said is kept, beyond what their reports say."""
NOT_APPLIED = "mutation is not applied"
_LOOK = 1.0  # seconds
_SHARE = 1.0
"""Seconds that pass for each second of judging: half of one processor, at most, goes into scans."""

PolicyKey = tuple[str, str]
"""(name, kind)."""
Task = tuple[ApiResource, Key]


class Scan:
    """`run` while this replica leads. `changed` tells it that there are other policies, or kinds."""

    def __init__(self, cluster: ClusterObjects, judging: Judging, snapshot: Callable[[], Snapshot],
                 kinds: Callable[[], Awaitable[Kinds]], reports: Reports, events: Events, clock: Clock, *,
                 excluded: Iterable[str] = (), share: float = _SHARE) -> None:
        """Objects in `excluded` namespaces are not judged, as the webhook is not asked about them."""
        self._cluster, self._judging, self._snapshot, self._kinds = cluster, judging, snapshot, kinds
        self._reports, self._events, self._clock = reports, events, clock
        self._excluded = frozenset(excluded)
        self._share = share
        self._mirrors: Following[ApiResource] = Following()
        self._waiting: dict[Task, None] = {}
        self._woken = asyncio.Event()
        self._stale = True
        self._ends: datetime | None = None
        """When the next exception ends: what it excused is judged again then."""
        self._parts: dict[PolicyKey, str] = {}
        """A digest of each policy that scans."""
        self._said: dict[str, dict[PolicyKey, tuple[str, list[Result]]]] = {}
        """By uid and policy: the digest of the policy, and what it said of the object as it is."""
        self._reviewed: dict[str, tuple[Reference, dict[PolicyKey, list[Result]]]] = {}
        """What reviews said that no scan says."""
        self._left: dict[str, str] = {}
        """Namespaces of reports that another replica left, by uid, until all is judged."""
        self._only: dict[frozenset[PolicyKey], Snapshot] = {}
        self.judged = 0

    def changed(self) -> None:
        self._stale = True
        self._woken.set()

    @property
    def idle(self) -> bool:
        """Nothing waits, and all kinds are known whole."""
        return not (self._stale or self._waiting) and all(
            mirror.synced.is_set() for mirror in self._mirrors.values())

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self._take_over()
            while True:
                if self._stale or (self._ends is not None and self._clock() > self._ends):
                    self._stale = False
                    await self._policies_changed()
                if not self._waiting:
                    if self._left and self.idle:
                        await self._quiet(self._settle())
                    self._woken.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK if self._left or self._ends is not None else None):
                            await self._woken.wait()
                    continue
                task = next(iter(self._waiting))
                del self._waiting[task]
                begun = time.monotonic()
                try:
                    await self._judge(*task)
                except CustodyError as error:
                    _LOG.warning("%s %s is not judged: %s", task[0].kind, "/".join(task[1]), error.message)
                except Exception:
                    _LOG.exception("%s %s is not judged", task[0].kind, "/".join(task[1]))
                await asyncio.sleep((time.monotonic() - begun) * self._share)
        finally:
            await self._mirrors.close()

    @staticmethod
    async def _quiet(work: Awaitable[None]) -> None:
        try:
            await work
        except CustodyError as error:
            _LOG.warning("reports: %s", error.message)

    def reviewed(self, request: Request, decision: Decision, policies: PolicySet) -> None:
        """What a review said of an object that was let in, for the policies that no scan asks."""
        about = Reference.about(request)
        if not about.uid or request.subresource or request.dry_run or request.operation not in ("CREATE", "UPDATE"):
            return
        if about.kind in _NEVER:  # a report about a report would be reviewed, too, and so on
            return
        quiet = {(policy.name, policy.kind) for policy in policies.policies if not policy.background}
        said = [result for result in decision.results if (result.policy, result.kind) in quiet]
        if not said:
            return
        part = msgspec.structs.replace(decision, results=tuple(said))
        by_policy: dict[PolicyKey, list[Result]] = {}
        results = results_of(part, policies, int(self._clock().timestamp()), scanned=False)
        for original, result in zip(said, results, strict=True):
            by_policy.setdefault((original.policy, original.kind), []).append(result)
        known = self._reviewed.setdefault(about.uid, (about, {}))
        known[1].update(by_policy)
        self._reviewed[about.uid] = (about, known[1])
        if len(self._reviewed) > _REVIEWED:
            del self._reviewed[next(iter(self._reviewed))]
        group, _, version = about.api_version.rpartition("/")
        resource = ApiResource(group=group, version=version, kind=about.kind, plural="",
                               namespaced=bool(about.namespace))
        self._waiting[resource, (about.namespace, about.uid)] = None
        self._woken.set()

    # Policies

    async def _take_over(self) -> None:
        """What reviews said before this replica led is kept; reports that nothing is said in any more are removed once
        all is judged (`_settle`). Those of objects that are gone are the garbage collector's."""
        self._left = {}
        try:
            there = await self._reports.known()
        except CustodyError as error:
            _LOG.warning("reports cannot be listed: %s", error.message)
            return
        kinds = {policy.name: policy.kind for policy in self._snapshot().policies.policies if not policy.background}
        for document in there:
            uid = str(document["metadata"]["name"])
            scope = document.get("scope") or {}
            about = Reference.of({"apiVersion": scope.get("apiVersion"), "kind": scope.get("kind"),
                                  "metadata": {**scope, "uid": uid}})
            self._left[uid] = about.namespace
            by_policy: dict[PolicyKey, list[Result]] = {}
            for result in reviewed_in(document):
                if result.policy in kinds:
                    by_policy.setdefault((result.policy, kinds[result.policy]), []).append(result)
            if by_policy and uid not in self._reviewed:
                self._reviewed[uid] = about, by_policy

    async def _settle(self) -> None:
        left, self._left = self._left, {}
        for uid, namespace in left.items():
            said = any(results for _, results in self._said.get(uid, {}).values())
            if not said and uid not in self._reviewed:
                await self._reports.remove(uid, namespace)

    async def _policies_changed(self) -> None:
        policies = self._snapshot().policies
        self._only.clear()
        shared = [document for document in policies.documents
                  if isinstance(document, dict) and document.get("kind") == "PolicyException"]
        scanning = [policy for policy in policies.policies if _scans(policy)]
        now = self._clock()
        ends = [exception.expires for policy in scanning for rule in policy.rules for exception in rule.exceptions
                if exception.expires is not None]
        self._ends = min((moment for moment in ends if moment >= now), default=None)
        self._parts = {(policy.name, policy.kind): _digest(policies, policy, shared, _ended(policy, now))
                       for policy in scanning}
        kinds = await self._kinds()
        named = {_unversioned(resource): resource for policy in scanning for rule in policy.rules
                  for resource in resources_of(rule, kinds) if resource.kind not in _NEVER}
        kept = set(named.values())
        for resource in [resource for resource in self._mirrors if resource not in kept]:
            for document in (await self._mirrors.drop(resource)).objects.values():
                self._waiting[resource, key_of(document)] = None
                await self._drop(document)
        for resource in kept - set(self._mirrors):
            self._mirrors.follow(resource, Mirror(self._cluster, [version_of(resource)], resource.kind,
                                                  changed=self._note(resource)))
        for resource, mirror in self._mirrors.items():
            for key in mirror.objects:
                self._waiting[resource, key] = None
        known = {(policy.name, policy.kind) for policy in policies.policies}
        for uid, (about, by_policy) in [*self._reviewed.items()]:
            if gone := by_policy.keys() - known:
                for key in gone:
                    del by_policy[key]
                await self._tell(about, uid)

    def _note(self, resource: ApiResource) -> Callable[[Object | None, Object | None], None]:
        def note(before: Object | None, after: Object | None) -> None:
            if before is not None and after is not None and _alike(before, after):
                return
            if before is not None and after is not None and _uid(before) == _uid(after):
                self._said.pop(_uid(after), None)
            document = after or before
            if document is not None:
                if after is None:
                    self._gone(document)
                self._waiting[resource, key_of(document)] = None
                self._woken.set()
        return note

    def _gone(self, document: Object) -> None:
        self._said.pop(_uid(document), None)
        self._reviewed.pop(_uid(document), None)

    async def _drop(self, document: Object) -> None:
        if self._said.pop(_uid(document), None):
            await self._tell(Reference.of(document), _uid(document))

    # Objects

    async def _judge(self, resource: ApiResource, key: Key) -> None:
        if not resource.plural:  # what a review said
            known = self._reviewed.get(key[1])
            if known is not None:
                await self._tell(known[0], key[1])
            return
        mirror = self._mirrors.get(resource)
        document = mirror.objects.get(key) if mirror else None
        namespace = key[1] if resource.kind == "Namespace" else key[0]
        if document is None or namespace in self._excluded:
            return
        uid = _uid(document)
        said = self._said.setdefault(uid, {})
        stale = frozenset(policy for policy, digest in self._parts.items()
                          if policy not in said or said[policy][0] != digest)
        gone = said.keys() - self._parts.keys()
        for policy in gone:
            del said[policy]
        if stale:
            for policy, results in (await self._said_by(stale, document)).items():
                said[policy] = self._parts.get(policy, ""), results
        if stale or gone:
            await self._tell(Reference.of(document), uid)

    async def _said_by(self, asked: frozenset[PolicyKey], document: Object) -> dict[PolicyKey, list[Result]]:
        snapshot = self._part(asked)
        request = msgspec.structs.replace(Request.create(document), existing=True)
        about = Reference.of(document)
        results: dict[PolicyKey, list[Result]] = {policy: [] for policy in asked}
        for part, course in ((snapshot, Course.BACKGROUND), *(
                (self._part(frozenset({policy})), Course.MUTATING) for policy in asked if policy[1] in _MUTATING)):
            judged = await self._judging.judge(request, part, course, deadline=asyncio.get_running_loop().time() + 30)
            decision = judged.decision
            if course is Course.MUTATING and decision.patch:
                decision = msgspec.structs.replace(decision, results=tuple(
                    msgspec.structs.replace(result, outcome=Outcome.FAIL, message=NOT_APPLIED, enforce=False)
                    if result.outcome is Outcome.PASS else result for result in decision.results))
            self.judged += 1
            said = results_of(decision, part.policies, int(self._clock().timestamp()), scanned=True)
            for original, result in zip(decision.results, said, strict=True):
                results[original.policy, original.kind].append(result)
            # Nothing is blocked here, whatever the rules would do with a request.
            told = msgspec.structs.replace(decision, verdict=type(decision.verdict).ALLOWED)
            self._events.add(of_decision(part.policies, told, about, SCAN))
        return results

    def _part(self, asked: frozenset[PolicyKey]) -> Snapshot:
        if asked not in self._only:
            if len(self._only) > 64:
                self._only.clear()
            self._only[asked] = self._snapshot().only(lambda policy: (policy.name, policy.kind) in asked)
        return self._only[asked]

    async def _tell(self, about: Reference, uid: str) -> None:
        results = [result for _, said in self._said.get(uid, {}).values() for result in said]
        results += [result for said in self._reviewed.get(uid, (about, {}))[1].values() for result in said]
        await quietly(self._reports, about, results)


def _scans(policy: Policy) -> bool:
    if not policy.background or policy.engine == "gatekeeper":  # constraints have an audit of their own
        return False
    return any(rule.phase in Course.BACKGROUND.phases or (rule.phase is Phase.MUTATE and policy.kind in _MUTATING)
               for rule in policy.rules)


def _ended(policy: Policy, now: datetime) -> list[str]:
    """Names of its exceptions that are over."""
    return sorted({exception.name for rule in policy.rules for exception in rule.exceptions
                   if exception.expires is not None and exception.expires < now})


def _digest(policies: PolicySet, policy: Policy, shared: list[Object], ended: list[str]) -> str:
    """Of the documents that a policy is made of, whatever the cluster notes beside them, and of what ended of them."""
    said = [*(_said_in(document) for document in [*policies.sources(policy), *shared]), ended]
    return sha256(json.dumps(said, sort_keys=True).encode())


def _said_in(document: Mapping[str, Any]) -> list[Any]:
    metadata = document.get("metadata") or {}
    return [document.get("kind"), metadata.get("name"), metadata.get("namespace"), metadata.get("annotations"),
            document.get("spec")]


def _alike(before: Object, after: Object) -> bool:
    """Whether nothing changed that policies speak of: a status is the cluster's own."""
    def told(document: Object) -> dict[str, Any]:
        metadata = {name: value for name, value in document["metadata"].items() if name != "resourceVersion"}
        return {**document, "metadata": metadata, "status": None}
    return told(before) == told(after)


def _uid(document: Object) -> str:
    return str(document["metadata"].get("uid") or "")


def _unversioned(resource: ApiResource) -> tuple[str, str]:
    """One object is served in each version of its kind, and judged once."""
    return resource.group, resource.kind
