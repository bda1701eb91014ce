"""The admission webhook without its transport: a review's bytes in, the answer's bytes out, before the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from custody.admission.review import answer, read
from custody.errors import CustodyError
from custody.evidence.model import EvidenceSet, Rejected, State
from custody.kit.clock import Clock
from custody.policy.decide import decide, pin
from custody.policy.kyverno.messages import blocked, shortened
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request

Gather = Callable[[Request, list[str]], Awaitable[Mapping[str, EvidenceSet]]]
"""Evidence for these images, by their names as given. Images without an entry count as not verified."""
Seen = Callable[[Request, Mapping[str, EvidenceSet], Context, Decision], None]
DEFAULT_TIMEOUT = 10.0


class Admission:
    """One policy set and one way to gather. `policies` may be replaced at any time; a review uses one of them whole."""

    def __init__(self, policies: PolicySet, gather: Gather, clock: Clock, *, margin: float = 0.1,
                 seen: Seen | None = None) -> None:
        """`margin` is the share of the API server's timeout that is kept for answering; at least 0.1 s are kept."""
        self.policies = policies
        self._gather = gather
        self._clock = clock
        self._margin = margin
        self._seen = seen

    async def review(self, body: bytes, *, mutate: bool, seconds: float = DEFAULT_TIMEOUT) -> bytes:
        """Raises MalformedError for what is no AdmissionReview.

        `seconds` is the API server's timeout. Evidence that has not come by then, less the margin, is unverifiable:
        under Enforce that denies with the reason, while an unanswered review would fall under failurePolicy.
        """
        review, policies = read(body), self.policies
        request = policies.kinds.located(review.request)
        # 1. Which images need evidence.
        images = [] if request.operation == "DELETE" else policies.images(request)
        # 2. Gather it within the time that is left.
        evidence: Mapping[str, EvidenceSet] = {}
        if images:
            left = max(seconds - max(seconds * self._margin, 0.1), 0.05)
            try:
                async with asyncio.timeout(left):
                    evidence = await self._gather(request, images)
            except TimeoutError:
                evidence = _nothing(images, f"not gathered within {left:.1f} s")
            except CustodyError as error:
                evidence = _nothing(images, error.message)
        # 3. Decide.
        context = Context(now=self._clock())
        decision = (pin(request, evidence, policies, context) if mutate else
                    decide(request, evidence, policies, context, mutate=False))
        if self._seen is not None:
            self._seen(request, evidence, context, decision)
        # 4. Answer.
        message = "" if decision.allowed else blocked(request, decision.results)
        return answer(review, allowed=decision.allowed, message=message, patch=decision.patch,
                      warnings=shortened(decision.warnings), audit={"inputs-digest": decision.inputs_digest})


def _nothing(images: list[str], reason: str) -> dict[str, EvidenceSet]:
    return {image: EvidenceSet(subject="", rejected=(
        Rejected(subject="", evidence=None, source="gather", state=State.UNVERIFIABLE, reason=reason),))
        for image in images}
