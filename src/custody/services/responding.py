"""Doing something about alerts in a cluster: what `runtime.responses` intends, within limits, and told as alerts.

Whatever is done, and whatever is not done and why, is an alert with source `custody`. Nothing is done to a pod that is
not certain to be the one the alert is about.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeVar

from custody.errors import ConflictError, CustodyError, NetworkError, UnsupportedError, UsageError
from custody.kit.amount import amount
from custody.kit.clock import Clock, parse_rfc3339
from custody.network.isolation import Isolation
from custody.ports.cluster import ApiError, ClusterObjects, Object
from custody.runtime.event import Place
from custody.runtime.responses import Annotations, Cordon, Intent, Labels, Quarantine, Responses, Terminate
from custody.services import quarantine
from custody.services.isolating import NotIsolatedError, cut_off
from policylang.falco import Alert

_T = TypeVar("_T")
_LOG = logging.getLogger("custody.responses")
Outcome = Literal["done", "dry-run", "not-done", "failed"]
PROTECTED = frozenset(("kube-system", "kube-public", "kube-node-lease"))
_RULES: Mapping[Outcome, tuple[str, str]] = {
    "done": ("Response done", "Notice"), "dry-run": ("Response would be done", "Notice"),
    "not-done": ("Response not done", "Warning"), "failed": ("Response failed", "Error")}
_REMEMBERED = 10_000
_WAYS = 3
_EVENTS = "events.k8s.io/v1"
_ODD = re.compile(r"[^a-z0-9.-]+")


class Limits(NamedTuple):
    """Actions within `seconds`; what exceeds them is told and not done."""

    namespace: int = 10
    workload: int = 3
    seconds: float = 3600.0
    protected: frozenset[str] = PROTECTED
    """Namespaces in which nothing is ever done."""
    stale: float = 900.0
    """Seconds after which an alert is of the past: recordings that are read again change nothing."""
    ahead: float = 5.0
    """Seconds that the clock of whoever tells alerts may be before this one's."""


class _Refused(Exception):  # noqa: N818 - it is an answer
    """Why nothing is done."""


class _Pod(NamedTuple):
    document: Object
    namespace: str
    name: str
    uid: str
    node: str
    workload: str
    """`ReplicaSet/web-1`, or the pod itself."""


class Responding:
    """Implements runtime.detecting.Responder. With `dry_run` the API server judges what would be done, and keeps none.

    `leading` is asked before each action: where replicas see the same alerts, one of them acts.
    """

    def __init__(self, cluster: ClusterObjects, responses: Responses, clock: Clock, *, dry_run: bool = True,
                 limits: Limits = Limits(), leading: Callable[[], bool] = lambda: True,
                 pauses: Sequence[float] = (1.0, 4.0), seconds: float = 30.0) -> None:
        self._cluster, self._responses, self._clock = cluster, responses, clock
        self._dry_run, self._limits, self._leading = dry_run, limits, leading
        self._pauses, self._seconds = pauses, seconds
        self._acted: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._times: dict[tuple[str, str], deque[float]] = {}

    def swap(self, responses: Responses) -> None:
        """From the next alert on. What was done, and when, counts on."""
        self._responses = responses

    async def __call__(self, alert: Alert, place: Place) -> list[Alert]:
        """What was done, and what was not."""
        told: list[Alert] = []
        for intents in self._responses.of(alert):
            for intent in intents:
                outcome, reason, pod = await self._one(intent, alert, place)
                told.append(self._alert(intent, alert, place, pod, outcome, reason))
                if outcome == "done" and pod is not None:
                    await self._note(intent, alert, pod, reason)
                if (outcome == "failed" and not intent.ignore_errors) or not intent.proceed:
                    break
        return told

    async def _one(self, intent: Intent, alert: Alert, place: Place) -> tuple[Outcome, str, _Pod | None]:
        pod: _Pod | None = None
        key: tuple[str, str, str] | None = None
        reserved: list[deque[float]] = []
        done = False
        try:
            async with asyncio.timeout(self._seconds):
                # 1. Who it is about.
                if not self._leading():
                    raise _Refused("another replica acts")
                if not place.namespace or not place.pod:
                    raise _Refused("the alert tells no pod")
                if place.refused:  # else whoever may do nothing could have anybody's pod ended
                    raise _Refused("the API server refused the request, so that nothing happened to the pod")
                if place.namespace in self._limits.protected:
                    raise _Refused(f"namespace {place.namespace} is protected")
                self._timely(alert)
                pod = await self._pod(alert, place)
                # 2. Once for each pod, whatever it does again.
                key = (pod.uid, intent.rule, intent.action)
                if key in self._acted:
                    key = None
                    raise _Refused("it was done to this pod before")
                # 3. What speaks against it, before it counts.
                self._check(intent, pod)
                # 4. Within limits; reserved before anything is waited for, since alerts come together.
                reserved = self._reserve(pod)
                self._acted[key] = None
                while len(self._acted) > _REMEMBERED:
                    self._acted.popitem(last=False)
                # 5. Done, or judged by the API server.
                dry_run = self._dry_run or intent.dry_run
                reason = await self._tried(intent, pod, dry_run)
                done = True
                return "dry-run" if dry_run else "done", reason, pod
        except _Refused as refused:
            return "not-done", str(refused), pod
        except ConflictError as conflict:
            return "not-done", f"the pod changed meanwhile: {conflict.message}", pod
        except TimeoutError:
            reserved = []  # what may have been done counts
            return "failed", f"no end within {self._seconds:g} seconds; it may have been done", pod
        except CustodyError as error:
            if isinstance(error, ApiError) and (error.reason == "Conflict" or (
                    error.reason == "Invalid" and "metadata.uid" in error.words)):
                return "not-done", f"the pod changed meanwhile: {error.words[:300]}", pod
            if isinstance(error, ApiError) and error.missing:
                return "not-done", "the pod is gone", pod
            return "failed", _said(error), pod
        finally:
            if not done:
                if key is not None:
                    self._acted.pop(key, None)
                for times in reserved:
                    times.pop()

    def _timely(self, alert: Alert) -> None:
        if alert.time is None:
            return
        age = self._clock().timestamp() - alert.time / 1e9
        if age > self._limits.stale:
            raise _Refused(f"the alert is {age / 60:.0f} minutes old")
        if age < -self._limits.ahead:
            raise _Refused(f"the alert is {-age:.0f} seconds ahead of this clock")

    # --- 1 --------------------------------------------------------------------------------------------------------

    async def _pod(self, alert: Alert, place: Place) -> _Pod:
        document = await self._retried(lambda: self._get("v1", "Pod", place.pod, place.namespace))
        if document is None:
            raise _Refused("the pod is gone")
        metadata = document.get("metadata") or {}
        pod = _Pod(document, place.namespace, place.pod, str(metadata.get("uid") or ""),
                   str((document.get("spec") or {}).get("nodeName") or ""), _workload(metadata, place.pod))
        self._same(pod, alert, place)
        return pod

    @staticmethod
    def _same(pod: _Pod, alert: Alert, place: Place) -> None:
        """Names are given again: a StatefulSet's pod has its name after it was made anew."""
        if place.pod_uid:
            if place.pod_uid != pod.uid:
                raise _Refused(f"another pod has this name now (uid {pod.uid}, not {place.pod_uid})")
            return
        if place.container_id:
            if not any(identifier.startswith(place.container_id) for identifier in _containers(pod.document)):
                raise _Refused(f"the pod has no container {place.container_id[:12]} any more")
            return
        created = _created(pod.document)
        if alert.time is None or created is None or created.timestamp() + 1 > alert.time / 1e9:
            raise _Refused("the alert tells neither uid nor container, and the pod is not older than the alert: it may "
                           "be another one of this name")

    # --- 3 --------------------------------------------------------------------------------------------------------

    @staticmethod
    def _check(intent: Intent, pod: _Pod) -> None:
        metadata = pod.document.get("metadata") or {}
        owner = next((owner for owner in metadata.get("ownerReferences") or () if owner.get("controller")), None)
        deed = intent.deed
        if metadata.get("deletionTimestamp"):
            raise _Refused("the pod is being deleted")
        if isinstance(deed, Terminate):
            kind = str(owner.get("kind")) if owner else ""
            if kind == "Node":
                raise _Refused("it is a static pod: its node makes it again from a file")
            if not kind and not deed.allow_bare:
                raise _Refused("no controller would bring the pod back; `allow_bare: true` deletes it all the same")
            if (kind == "DaemonSet" and deed.spare_daemon_sets) or (kind == "StatefulSet" and deed.spare_stateful_sets):
                raise _Refused(f"it is of a {kind}, which the rule spares")
        elif isinstance(deed, Quarantine):
            if quarantine.LABEL in (metadata.get("labels") or {}):
                raise _Refused("the pod is in quarantine already")
        elif isinstance(deed, (Labels, Annotations)) and not (isinstance(deed, Labels) and deed.level == "node"):
            have = metadata.get("labels" if isinstance(deed, Labels) else "annotations") or {}
            if all(have.get(name) == value for name, value in deed.values.items()):
                raise _Refused("the pod has them already")
        if (isinstance(deed, Cordon) or (isinstance(deed, Labels) and deed.level == "node")) and not pod.node:
            raise _Refused("the pod is on no node")

    # --- 4 --------------------------------------------------------------------------------------------------------

    def _reserve(self, pod: _Pod) -> list[deque[float]]:
        now = self._clock().timestamp()
        kept = []
        for most, key, words in ((self._limits.namespace, (pod.namespace, ""), f"namespace {pod.namespace}"),
                                 (self._limits.workload, (pod.namespace, pod.workload), pod.workload)):
            times = self._times.setdefault(key, deque())
            while times and times[0] <= now - self._limits.seconds:
                times.popleft()
            if len(times) >= most:
                raise _Refused(f"the limit of {most} actions in {words} within {self._limits.seconds / 3600:g} h is "
                               "reached")
            kept.append(times)
        for times in kept:
            times.append(now)
        if len(self._times) > _REMEMBERED:
            self._times = {key: times for key, times in self._times.items() if times}
        return kept

    # --- 5 --------------------------------------------------------------------------------------------------------

    async def _tried(self, intent: Intent, pod: _Pod, dry_run: bool) -> str:
        return await self._retried(lambda: self._done(intent, pod, dry_run))

    async def _retried(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Again where nothing was heard: each action is the same if it is done twice."""
        for pause in (*self._pauses, None):
            try:
                return await work()
            except NetworkError:
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError

    async def _done(self, intent: Intent, pod: _Pod, dry_run: bool) -> str:
        deed = intent.deed
        if isinstance(deed, Quarantine):
            return await self._quarantined(deed, pod, dry_run)
        if isinstance(deed, Terminate):
            return await self._deleted(deed, pod, dry_run)
        if isinstance(deed, Cordon):
            node = await self._get("v1", "Node", pod.node)
            if node is None:
                raise _Refused(f"node {pod.node} is gone")
            if (node.get("spec") or {}).get("unschedulable"):
                raise _Refused(f"node {pod.node} is cordoned already")
            await self._patch("Node", pod.node, "", {"spec": {"unschedulable": True}}, dry_run)
            return f"node {pod.node} takes no more pods"
        key = "labels" if isinstance(deed, Labels) else "annotations"
        changes = ", ".join(f"{name}={value}" if value is not None else f"{name} removed"
                            for name, value in deed.values.items())
        if isinstance(deed, Labels) and deed.level == "node":
            await self._patch("Node", pod.node, "", {"metadata": {key: dict(deed.values)}}, dry_run)
            return f"{key} of node {pod.node}: {changes}"
        # With its uid the API server refuses another pod of the same name.
        body = {"metadata": {"uid": pod.uid, key: dict(deed.values)}}
        await self._patch("Pod", pod.name, pod.namespace, body, dry_run)
        return f"{key}: {changes}"

    async def _quarantined(self, deed: Quarantine, pod: _Pod, dry_run: bool) -> str:
        """Proved before, and after: a pod of which some way would be left is not touched."""
        place = f"{pod.namespace}/{pod.name}"
        try:
            made = await cut_off(self._cluster, place, deed.method, dry_run=dry_run, uid=pod.uid)
        except NotIsolatedError as error:
            raise _Refused(f"{error.message}: {_left(error.plan.proof)}") from None
        except UnsupportedError:
            raise
        except UsageError:  # gone since, or cut off by another
            raise _Refused("the pod is gone, or in quarantine already") from None
        if made.proof is not None and not made.proof.whole:
            if dry_run:
                raise _Refused(f"it would not be cut off: {_left(made.proof)}")
            raise ConflictError(f"what stands has changed, and it is not cut off: {_left(made.proof)}")
        told = [*(change.told for change in made.changes), *made.notes]
        if made.unread:
            told.append(f"{amount(len(made.unread), 'document')} about the network not judged")
        return "; ".join(told)

    async def _deleted(self, deed: Terminate, pod: _Pod, dry_run: bool) -> str:
        resource = await self._resource("v1", "Pod")
        there = await self._cluster.delete(resource, pod.name, pod.namespace, uid=pod.uid, grace=deed.grace,
                                           dry_run=dry_run)
        if not there:
            raise _Refused("the pod is gone")
        back = f"; {pod.workload} makes another" if not pod.workload.startswith("Pod/") else "; nothing brings it back"
        return f"deleted{back}"

    async def _patch(self, kind: str, name: str, namespace: str, body: Object, dry_run: bool) -> None:
        await self._cluster.patch(await self._resource("v1", kind), name, namespace, body, dry_run=dry_run)

    async def _get(self, version: str, kind: str, name: str, namespace: str = "") -> Object | None:
        return await self._cluster.get(await self._resource(version, kind), name, namespace)

    async def _resource(self, version: str, kind: str) -> Any:
        resource = await self._cluster.resource(version, kind)
        if resource is None:
            raise NetworkError(f"{self._cluster.url} serves no {kind} of {version}")
        return resource

    # --- told -----------------------------------------------------------------------------------------------------

    def _alert(self, intent: Intent, alert: Alert, place: Place, pod: _Pod | None, outcome: Outcome,
               reason: str) -> Alert:
        rule, priority = _RULES[outcome]
        where = f"{place.namespace}/{place.pod}" if place.pod else "no pod"
        fields = {"custody.response.rule": intent.rule, "custody.response.action": intent.action,
                  "custody.response.actionner": intent.actionner, "custody.response.outcome": outcome,
                  "custody.response.reason": reason, "custody.response.alert": alert.rule,
                  "k8s.ns.name": place.namespace or None, "k8s.pod.name": place.pod or None,
                  "k8s.pod.uid": (pod.uid if pod is not None else place.pod_uid) or None}
        words = {"done": "", "dry-run": "would be done, ", "not-done": "not done, ", "failed": "failed, "}[outcome]
        return Alert(rule, priority, "custody",
                     f"{intent.actionner} for {alert.rule}: {words}pod={where} rule={intent.rule} | {reason}", fields,
                     ("custody", "response"), int(self._clock().timestamp() * 1e9), alert.hostname)

    async def _note(self, intent: Intent, alert: Alert, pod: _Pod, reason: str) -> None:
        """A Kubernetes Event on the pod, for whoever asks `kubectl describe`. One that fails is logged and no more."""
        now = self._clock()
        name = _ODD.sub("-", pod.name.lower()).strip("-.")[:200] or "pod"
        document = {
            "apiVersion": _EVENTS, "kind": "Event",
            "metadata": {"name": f"{name}.{int(now.timestamp() * 1e6):x}", "namespace": pod.namespace},
            "eventTime": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}", "reportingController": "custody-runtime",
            "reportingInstance": "custody-runtime", "action": intent.action[:128], "reason": "CustodyResponse",
            "regarding": {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "namespace": pod.namespace,
                          "uid": pod.uid},
            "note": f"{intent.actionner} for {alert.rule}: {reason}"[:1024], "type": "Warning"}
        try:
            await self._cluster.create(await self._resource(_EVENTS, "Event"), document)
        except CustodyError as error:
            _LOG.warning("an event on pod %s/%s could not be written: %s", pod.namespace, pod.name, error.message)


def _left(proof: Isolation | None) -> str:
    """The ways in and out that are left, or why no policy cuts it off."""
    if proof is None:
        return "it is not proved"
    told = [leak.told for leak in proof.leaks[:_WAYS]]
    more = f" and {proof.count - len(told)} more" if proof.count > len(told) else ""
    return proof.reason or f"{'; '.join(told)}{more}"


def _workload(metadata: Mapping[str, Any], name: str) -> str:
    """What makes the pod: one workload is limited, however many pods it has."""
    owner = next((owner for owner in metadata.get("ownerReferences") or () if owner.get("controller")), None)
    return f"{owner.get('kind')}/{owner.get('name')}" if owner else f"Pod/{name}"


def _containers(pod: Object) -> list[str]:
    """Identifiers without their runtimes' scheme, of all containers that run or ran."""
    status = pod.get("status") or {}
    identifiers = []
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for container in status.get(kind) or ():
            last = (container.get("lastState") or {}).get("terminated") or {}
            identifiers += [str(container.get("containerID") or ""), str(last.get("containerID") or "")]
    return [identifier.rpartition("//")[2] for identifier in identifiers if identifier]


def _created(pod: Object) -> datetime | None:
    moment = (pod.get("metadata") or {}).get("creationTimestamp")
    try:
        return parse_rfc3339(moment)
    except CustodyError:
        return None


def _said(error: CustodyError) -> str:
    if isinstance(error, ApiError):
        return f"the API server refused: {error.words[:500]}"
    return error.message[:500]
