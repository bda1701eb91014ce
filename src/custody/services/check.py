"""Check: the question that the webhook answers, asked from a command line, with the same answer.

A pod is judged as the API server would have it judged: the mutating webhook first, which verifies images and pins
tags, then the validating webhook on the pinned pod. `decide(..., mutate=True)` is both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from custody.evidence.model import EvidenceSet
from custody.formats import reference
from custody.kit.clock import Clock
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Kind, Request, Verdict
from custody.policy.record import record
from custody.services.gather import Gatherer


@dataclass(frozen=True, slots=True)
class Checked:
    name: str
    """`Pod/default/web`, or the image as it was given."""
    request: Request
    evidence: dict[str, EvidenceSet]
    decision: Decision
    record: bytes
    """Everything that was decided on, for `custody replay`."""


async def check(resource: dict[str, Any], policies: PolicySet, gatherer: Gatherer, clock: Clock,
                namespace: str = "default") -> Checked:
    """Gather and decide for one resource that is about to be created."""
    request = Request.create(resource, namespace)
    if policies.kinds.namespaced(request.kind) is False:  # of a Namespace the API server says its own name
        own = request.name if request.kind == Kind("Namespace") else ""
        request = msgspec.structs.replace(request, namespace=own)
    return await _check(f"{request.kind.kind}/{request.namespace}/{request.name}", request, policies, gatherer, clock)


async def check_image(image: str, policies: PolicySet, gatherer: Gatherer, clock: Clock,
                      namespace: str = "default") -> Checked:
    """Gather and decide for an image alone, in a namespace: rules about the pod around it do not speak."""
    request = msgspec.structs.replace(Request.create(pod_of(image, namespace)), bare=True)
    return await _check(image, request, policies, gatherer, clock)


async def _check(name: str, request: Request, policies: PolicySet, gatherer: Gatherer, clock: Clock) -> Checked:
    images = dict.fromkeys(policies.images(request), policies.predicate_types())
    evidence = await gatherer.gather(images, policies.public_keys()) if images else {}
    context = Context(now=clock())
    decision = decide(request, evidence, policies, context, mutate=True)
    return Checked(name, request, evidence, decision, record(request, evidence, policies, context, mutate=True,
                                                             decision=decision))


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
    if decision.unjudged and any(rule.selects_pods for rule in policies.rules):
        return f"the rules about pods do not see the pod template at {', '.join(decision.unjudged)}"
    return None
