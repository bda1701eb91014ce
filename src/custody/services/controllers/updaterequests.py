"""What is to be made or changed because of a request that was admitted, kept in the cluster until it is done.

A replica that answers a review writes an UpdateRequest (kyverno.io/v2) for each policy that would change other objects
because of it; the one that leads works them off (`generating`). So nothing is lost with a replica, and what waits can
be looked at: `kubectl get updaterequests`. Dry runs ask for nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from custody.admission.answered import Answered
from custody.errors import CustodyError
from custody.policy.lookup import Answers, LookupFailedError, UnansweredError
from custody.policy.model import Kind, Request, Resource, User
from custody.policy.phases import Course, Phase
from custody.policy.resources import ApiResource
from custody.policy.rule import Policy
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import ClusterObjects, Object
from custody.services.controllers.named import Reference, is_scheduled

_LOG = logging.getLogger(__name__)
REQUESTS = ApiResource(group="kyverno.io", version="v2", kind="UpdateRequest", plural="updaterequests",
                       namespaced=True)
POLICY_KIND = "custody.internal/policy-kind"
MOST = 10_000
"""Requests that wait to be written, in one replica."""
_ATTEMPTS = 6
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_TYPES = {"MutatingPolicy": "cel-mutate", "NamespacedMutatingPolicy": "cel-mutate", "GeneratingPolicy": "cel-generate",
          "NamespacedGeneratingPolicy": "cel-generate"}


class Triggers:
    """Of one replica. `own` are the users by which custody itself, or Kyverno, changes objects: rules that skip
    background requests, which is their default, do not speak of those."""

    def __init__(self, cluster: ClusterObjects, namespace: str, snapshot: Callable[[], Snapshot],
                 own: Iterable[str] = ()) -> None:
        self._cluster, self._namespace, self._snapshot = cluster, namespace, snapshot
        self._own = frozenset(own)
        self._waiting: asyncio.Queue[Object] = asyncio.Queue(MOST)
        self.written = self.dropped = 0

    def observe(self, answered: Answered) -> None:
        """An `admission.answered.Observer`."""
        decision = answered.decision
        if decision is None or not decision.allowed or answered.endpoint.course is not Course.VALIDATING:
            return
        self.admitted(answered.review.request, answered.review.uid)

    def admitted(self, request: Request, uid: str = "") -> None:
        if request.dry_run:
            return
        for policy in self._asked(request):
            try:
                self._waiting.put_nowait(update_request(policy, request, self._namespace, uid))
            except asyncio.QueueFull:
                self.dropped += 1
                _LOG.error("policy %s is not carried out for %s: %d requests wait already", policy.name,
                           Reference.about(request), MOST)

    def _asked(self, request: Request) -> Iterator[Policy]:
        background = request.user.username in self._own
        seen: set[int] = set()
        for rule in self._snapshot().policies.of(Phase.GENERATE):
            if id(rule.policy) in seen or is_scheduled(rule.policy) or (
                    background and rule.skip_background_requests):
                continue
            try:
                silent = rule.silence(request, Answers({})) is not None
            except (UnansweredError, LookupFailedError):
                silent = False
            if not silent or request.operation == "DELETE" or request.old_object is not None:
                # One that does not match any more takes away what it had made.
                if silent and not _named(rule, request):
                    continue
                seen.add(id(rule.policy))
                yield rule.policy

    async def run(self) -> None:
        """Write them, until cancelled."""
        while True:
            document = await self._waiting.get()
            pause = 0.2
            for _ in range(_ATTEMPTS):
                try:
                    await self._cluster.create(REQUESTS, document)
                    self.written += 1
                    break
                except CustodyError as error:
                    _LOG.warning("an UpdateRequest could not be written: %s", error.message)
                    await asyncio.sleep(pause)
                    pause *= 2
            else:
                self.dropped += 1


def _named(rule: Any, request: Request) -> bool:
    """Whether a rule speaks of the kind of what a request is about."""
    answers = Answers({})
    fresh = msgspec.structs.replace(request, operation="CREATE", object=request.old_object or request.object,
                                    old_object=None)
    try:
        return rule.silence(fresh, answers) is None
    except (UnansweredError, LookupFailedError):
        return True


def update_request(policy: Policy, request: Request, namespace: str, uid: str = "") -> Object:
    """The object that was admitted is not kept: it is read again, and may be a Secret."""
    about, resource = Reference.about(request), request.resource or Resource("")
    review: dict[str, Any] = {
        "uid": uid, "kind": msgspec.to_builtins(request.kind), "resource": msgspec.to_builtins(resource),
        "operation": request.operation, "name": about.name, "namespace": request.namespace,
        "userInfo": {"username": request.user.username, "groups": list(request.user.groups)}}
    if request.old_object is not None:
        review["oldObject"] = _small(request.old_object)
    if request.subresource:
        review |= {"subResource": request.subresource, "object": _small(request.object)}
    return {"apiVersion": "kyverno.io/v2", "kind": "UpdateRequest",
            "metadata": {"generateName": "ur-", "namespace": namespace, "labels": {POLICY_KIND: policy.kind}},
            "spec": {"requestType": _TYPES.get(policy.kind, "generate"), "policy": policy.name, "rule": "",
                     "resource": about.document(), "deleteDownstream": False,
                     "context": {"userInfo": {"userInfo": review["userInfo"]},
                                 "admissionRequestInfo": {"operation": request.operation, "admissionRequest": review}}}}


def _small(document: Object | None) -> Object | None:
    """Without managedFields, which no policy reads, and without what a Secret keeps: who may look at requests for
    updates may not therefore read Secrets."""
    if document is None:
        return None
    metadata = {name: value for name, value in (document.get("metadata") or {}).items() if name != "managedFields"}
    if document.get("kind") == "Secret" and document.get("apiVersion") == "v1":
        document = {name: value for name, value in document.items() if name not in ("data", "stringData")}
        notes = metadata.get("annotations")
        if isinstance(notes, dict):  # kubectl apply writes the whole object into one
            metadata["annotations"] = {name: value for name, value in notes.items() if name != _LAST_APPLIED}
    return {**document, "metadata": metadata}


def request_of(document: Object) -> Request:
    """The request that an UpdateRequest keeps."""
    spec = document.get("spec") or {}
    info = (spec.get("context") or {}).get("admissionRequestInfo") or {}
    review = info.get("admissionRequest") or {}
    user = review.get("userInfo") or {}
    kind, resource = review.get("kind") or {}, review.get("resource")
    return Request(
        operation=str(review.get("operation") or info.get("operation") or "CREATE"),
        kind=Kind(str(kind.get("kind") or ""), str(kind.get("version") or "v1"), str(kind.get("group") or "")),
        namespace=str(review.get("namespace") or ""), name=str(review.get("name") or ""),
        object=review.get("object"), old_object=review.get("oldObject"),
        subresource=str(review.get("subResource") or ""),
        user=User(username=str(user.get("username") or ""), groups=tuple(user.get("groups") or ())),
        resource=Resource(str(resource.get("resource")), str(resource.get("version")), str(resource.get("group") or ""))
        if isinstance(resource, dict) and resource.get("resource") else None)
