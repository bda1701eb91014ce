"""Check: the question that the webhook answers, asked from a command line, with the same answer.

A pod is judged as the API server would have it judged: the mutating webhook first, which verifies images and pins
tags, then the validating webhook on the pinned pod. `Course.ADMISSION` is both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from custody.admission.judging import Gather, Judged, Judging
from custody.evidence.model import EvidenceSet
from custody.formats import reference
from custody.kit.clock import Clock
from custody.policy.load import PolicySet
from custody.policy.model import Decision, Kind, Request, SummaryTerms, Verdict
from custody.policy.phases import Course
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import Lookup
from custody.services.evidencelookup import EvidenceLookup
from custody.services.gather import Gatherer


@dataclass(frozen=True, slots=True)
class Checked:
    name: str
    """`Pod/default/web`, or the image as it was given."""
    judged: Judged

    @property
    def request(self) -> Request:
        return self.judged.request

    @property
    def evidence(self) -> dict[str, EvidenceSet]:
        return self.judged.evidence

    @property
    def decision(self) -> Decision:
        return self.judged.decision

    @property
    def record(self) -> bytes:
        """Everything that was decided on, for `custody replay`."""
        return self.judged.record()


async def check(resource: dict[str, Any], policies: PolicySet, gatherer: Gatherer, clock: Clock,
                namespace: str = "default", at: Course = Course.ADMISSION, lookup: Lookup | None = None,
                summaries: SummaryTerms | None = None) -> Checked:
    """Gather and decide for one resource that is about to be created, or lies in a cluster (`Course.BACKGROUND`).

    `lookup` answers what policies ask of the world, `summaries` are those that count where evidence cannot be had.
    """
    request = request_of(resource, policies, namespace, existing=at is Course.BACKGROUND)
    return await check_request(request, policies, gatherer, clock, at, lookup, summaries)


async def check_request(request: Request, policies: PolicySet, gatherer: Gatherer, clock: Clock,
                        at: Course = Course.ADMISSION, lookup: Lookup | None = None,
                        summaries: SummaryTerms | None = None) -> Checked:
    """Gather and decide for a whole request: with who asks, what was there before, and a subresource."""
    name = f"{request.kind.kind}/{request.namespace}/{request.name}"
    judging = Judging(gathering(gatherer), clock, EvidenceLookup(gatherer, lookup), summaries)
    return Checked(name, await judging.judge(request, Snapshot(policies), at))


def request_of(resource: dict[str, Any], policies: PolicySet, namespace: str = "default", *,
               existing: bool = False) -> Request:
    """What the API server asks when this resource is created by nobody; `existing`: of what lies in it already.

    `namespace` is for a resource that names none, unless its kind is known to stand in none: the API server writes it
    into the object before it asks.
    """
    request = Request.create(resource, namespace)
    namespaced = policies.kinds.namespaced(request.kind)
    if namespaced is False:  # of a Namespace the API server says its own name
        own = request.name if request.kind == Kind("Namespace") else ""
        request = msgspec.structs.replace(request, namespace=own)
    elif isinstance(metadata := resource.get("metadata"), dict) and not metadata.get("namespace"):
        filled = {**resource, "metadata": {**metadata, "namespace": request.namespace}}
        request = msgspec.structs.replace(request, object=filled)
    return msgspec.structs.replace(request, existing=existing)


async def check_image(image: str, policies: PolicySet, gatherer: Gatherer, clock: Clock,
                      namespace: str = "default", lookup: Lookup | None = None,
                      summaries: SummaryTerms | None = None) -> Checked:
    """Gather and decide for an image alone, in a namespace: rules about the pod around it do not speak."""
    request = request_of_image(image, namespace)
    return Checked(image, (await check_request(request, policies, gatherer, clock, lookup=lookup,
                                               summaries=summaries)).judged)


def request_of_image(image: str, namespace: str = "default") -> Request:
    """What is asked of an image alone. Raises MalformedError."""
    return msgspec.structs.replace(Request.create(pod_of(image, namespace)), bare=True)


def gathering(gatherer: Gatherer) -> Gather:
    """What a Judging asks for evidence: with the keys, the types and the root of the snapshot that it judges by."""
    return _Gathering(gatherer)


class _Gathering:
    def __init__(self, gatherer: Gatherer) -> None:
        self._gatherer = gatherer

    def __call__(self, snapshot: Snapshot, images: Sequence[str]) -> Awaitable[Mapping[str, EvidenceSet]]:
        types = dict.fromkeys(images, snapshot.predicate_types)
        if snapshot.root is None:  # the gatherer's own
            return self._gatherer.gather(types, snapshot.keys)
        return self._gatherer.gather(types, snapshot.keys, root=snapshot.root)

    def known(self, snapshot: Snapshot, images: Sequence[str]) -> Mapping[str, EvidenceSet] | None:
        return self._gatherer.known(dict.fromkeys(images, snapshot.predicate_types), snapshot.keys, root=snapshot.root)


def pod_of(image: str, namespace: str = "default") -> dict[str, Any]:
    """The smallest restricted pod that runs `image`: what `custody check IMAGE` asks about."""
    reference.parse(image)
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "image", "namespace": namespace},
            "spec": {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                     "containers": [{"name": "image", "image": image, "securityContext": security}]}}


def unjudged(request: Request, decision: Decision, policies: PolicySet) -> str | None:
    """Why a resource that runs containers counts as not judged; None where it was judged, or runs none.

    Rules about pods that are loaded and did not reach a pod template leave it unjudged, whatever others say of the
    object that holds it.
    """
    if decision.verdict is Verdict.DENIED:
        return None
    if decision.verdict is Verdict.NOT_JUDGED:
        runs = request.kind.kind == "Pod" or bool(decision.unjudged)
        return "no rule speaks of it" if runs else None
    if decision.unjudged and any(rule.scope.selects(Kind("Pod")) for rule in policies.rules):
        return f"the rules about pods do not see the pod template at {', '.join(decision.unjudged)}"
    return None
