"""Events (events.k8s.io/v1) of what policies say, with Kyverno's reasons, actions and texts.

A queue that is full drops what is new: events are told for people, and no verdict waits for them.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from custody.errors import CustodyError
from custody.kit.clock import Clock
from custody.policy.load import PolicySet
from custody.policy.model import Decision, Outcome, RuleResult
from custody.policy.resources import ApiResource
from custody.policy.rule import Policy
from custody.ports.cluster import ApiError, ClusterObjects
from custody.services.controllers.named import Reference, source_of

_LOG = logging.getLogger(__name__)
_EVENTS = ApiResource(group="events.k8s.io", version="v1", kind="Event", plural="events", namespaced=True)
ADMISSION, SCAN, GENERATE, MUTATE, CLEANUP = (f"kyverno-{part}" for part in
                                              ("admission", "scan", "generate", "mutate", "cleanup"))
"""reportingController, by which people select them."""
VIOLATION, APPLIED, ERROR, SKIPPED = "PolicyViolation", "PolicyApplied", "PolicyError", "PolicySkipped"
_LONGEST = 1024
_ODD = re.compile(r"[^a-z0-9.-]+")


class Event(NamedTuple):
    regarding: Reference
    related: Reference | None
    source: str
    reason: str
    action: str
    """Resource Blocked, Resource Passed, Resource Generated, Resource Mutated, Resource Cleaned Up or None."""
    message: str


class Events:
    """`written` says of a reason whether such events are written now: those of success usually are not."""

    def __init__(self, cluster: ClusterObjects, clock: Clock, instance: str, *, most: int = 1000,
                 written: Callable[[str], bool] = lambda reason: reason != APPLIED,
                 uid_of: Callable[[Reference], str] = lambda _: "") -> None:
        self._cluster, self._clock, self._instance = cluster, clock, instance
        self._writes, self._uid_of = written, uid_of
        self._waiting: asyncio.Queue[Event] = asyncio.Queue(most)
        self.written = self.dropped = 0

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            if not event.regarding.name or not self._writes(event.reason):
                continue
            try:
                self._waiting.put_nowait(event)
            except asyncio.QueueFull:
                self.dropped += 1

    async def run(self) -> None:
        """Write them, until cancelled."""
        last = 0
        while True:
            event = await self._waiting.get()
            moment = self._clock()
            last = max(int(moment.timestamp() * 1e6) * 1000, last + 1)
            try:
                await self._cluster.create(_EVENTS, self._document(event, f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}", last))
                self.written += 1
            except CustodyError as error:
                self.dropped += 1
                if not (isinstance(error, ApiError) and error.missing):  # its namespace may be gone by now
                    _LOG.warning("an event could not be written: %s", error.message)

    def _document(self, event: Event, moment: str, number: int) -> dict[str, Any]:
        about = event.regarding
        if not about.uid:
            about = about._replace(uid=self._uid_of(about))
        name = _ODD.sub("-", about.name.lower()).strip("-.") or "a"
        message = event.message if len(event.message) <= _LONGEST else f"{event.message[:_LONGEST - 3]}..."
        document: dict[str, Any] = {
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": f"{name}.{number:x}", "namespace": about.namespace or "default"},
            "eventTime": moment, "reportingController": event.source,
            "reportingInstance": f"{event.source}-{self._instance}"[:128], "action": event.action,
            "reason": event.reason, "regarding": _versioned(about).document(), "note": message,
            "type": "Normal" if event.reason in (APPLIED, SKIPPED) else "Warning"}
        if event.related is not None:
            document["related"] = _versioned(event.related).document()
        return document


def _versioned(about: Reference) -> Reference:
    """Kyverno's own kinds are told of in the version that its controllers read, whichever custody reads."""
    if about.api_version.startswith("policies.kyverno.io/"):
        return about._replace(api_version="policies.kyverno.io/v1beta1")
    return about


def of_decision(policies: PolicySet, decision: Decision, about: Reference, source: str) -> Iterator[Event]:
    """What is told of one decision: on the policy and on the resource, and of exceptions on them."""
    blocked = not decision.allowed
    by_policy: dict[tuple[str, str], list[RuleResult]] = {}
    for result in decision.results:
        by_policy.setdefault((result.policy, result.kind), []).append(result)
    named = {(policy.name, policy.kind): policy for policy in policies.policies}
    for key, results in by_policy.items():
        policy = named.get(key)
        if policy is not None:
            yield from _of_policy(policies, policy, results, about, source, blocked=blocked)


def _of_policy(policies: PolicySet, policy: Policy, results: list[RuleResult], about: Reference, source: str, *,
               blocked: bool) -> Iterator[Event]:
    regarding = Reference.of(source_of(policies, policy))
    name = regarding.name
    bad = [result for result in results if result.outcome in (Outcome.FAIL, Outcome.ERROR, Outcome.WARN)]
    for result in bad:
        rule = f": [{result.rule}] {result.outcome}" if result.rule else f": {result.outcome}"
        said = f"; {result.message}" if result.message else ""
        yield Event(regarding, about, source, VIOLATION, "Resource Blocked" if blocked else "Resource Passed",
                    f"{about}{rule}{' (blocked)' if blocked else ''}{said}")
        if not blocked:
            yield Event(about, None, source, VIOLATION, "Resource Passed",
                        f"policy {name}/{result.rule} {result.outcome}: {result.message}")
    if bad:
        return
    excused = [result for result in results if result.outcome is Outcome.SKIP and result.properties.get("exceptions")]
    for result in excused:
        yield from _excused(policies, regarding, result, about, source)
    if any(result.outcome is Outcome.PASS for result in results):
        yield Event(regarding, about, source, APPLIED, "Resource Passed", f"{about}: pass")


def _excused(policies: PolicySet, regarding: Reference, result: RuleResult, about: Reference,
             source: str) -> Iterator[Event]:
    """On each PolicyException because of which a rule was not asked, and on its policy."""
    where = "/".join(part for part in (about.kind, about.namespace, about.name) if part)
    rule = "/".join(part for part in (regarding.namespace, regarding.name, result.rule) if part)
    names = result.properties["exceptions"].split(",")
    known = [Reference.of(document) for document in policies.documents
             if isinstance(document, dict) and document.get("kind") == "PolicyException"]
    chosen = [exception for exception in known if exception.name in names]
    for exception in chosen:
        yield Event(exception, about, source, SKIPPED, "Resource Passed",
                    f"resource {where} was skipped from policy rule {rule}")
    listed = ", ".join(f"{exception.namespace}/{exception.name}" for exception in chosen)
    yield Event(regarding, about, source, SKIPPED, "Resource Passed",
                f"resource {where} was skipped from rule {result.rule} due to policy exceptions {listed}")
