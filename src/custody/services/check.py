"""Check: the question that the webhook answers, asked from a command line, with the same answer.

A pod is judged as the API server would have it judged: the mutating webhook first, which verifies images and pins
tags, then the validating webhook on the pinned pod. `decide(..., mutate=True)` is both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from custody.errors import MalformedError
from custody.evidence.model import EvidenceSet
from custody.formats import reference
from custody.kit.clock import Clock
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request
from custody.policy.record import record
from custody.services.gather import Gatherer


@dataclass(frozen=True, slots=True)
class Checked:
    request: Request
    evidence: dict[str, EvidenceSet]
    decision: Decision
    record: bytes
    """Everything that was decided on, for `custody replay`."""


async def check(resource: dict[str, Any], policies: PolicySet, gatherer: Gatherer, clock: Clock,
                namespace: str = "default") -> Checked:
    """Gather and decide for one resource that is about to be created."""
    request = Request.create(resource, namespace)
    images = policies.images(request)
    evidence = await gatherer.gather(images, policies.public_keys()) if images else {}
    context = Context(now=clock())
    decision = decide(request, evidence, policies, context, mutate=True)
    return Checked(request, evidence, decision, record(request, evidence, policies, context, mutate=True,
                                                       decision=decision))


def pod_of(image: str) -> dict[str, Any]:
    """The smallest restricted pod that runs `image`: what `custody check IMAGE` asks about."""
    reference.parse(image)
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "image", "namespace": "default"},
            "spec": {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                     "containers": [{"name": "image", "image": image, "securityContext": security}]}}


def resources(documents: list[Any], where: str) -> list[dict[str, Any]]:
    """The resources of a file. Raises MalformedError for what has no kind."""
    for at, document in enumerate(documents):
        if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
            raise MalformedError(f"{where}[{at}]", got=type(document).__name__, expected="a resource with a kind")
    return documents
