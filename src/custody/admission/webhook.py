"""The admission webhook without its transport: a review's bytes in, the answer's bytes out, before the deadline.

Whatever happens on the way, a review that can be read has an answer: what was not gathered, not evaluated or not
decided in time is denied, with the reason. An error to the API server instead would fall under `failurePolicy`, and
under Ignore admit what nobody judged.
"""

from __future__ import annotations

import asyncio
import logging

from custody.admission.answered import Answered, Observer
from custody.admission.endpoint import Endpoint
from custody.admission.judging import Gather, Judged, Judging, words
from custody.admission.parts import Parts
from custody.admission.review import OversizedError, Review, answer, read
from custody.kit.clock import Clock
from custody.policy.kyverno.messages import blocked, shortened
from custody.policy.load import PolicySet
from custody.policy.model import SummaryTerms
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import Lookup
from custody.trust.roots import TrustedRoot

_LOG = logging.getLogger(__name__)
DEFAULT_TIMEOUT = 10.0
_LARGE = 16 * 1024  # bytes of a review that is read and decided beside the event loop: 500 images fit into them


class Admission:
    """Answers reviews by one snapshot at a time."""

    def __init__(self, policies: PolicySet, gather: Gather, clock: Clock, *, root: TrustedRoot | None = None,
                 margin: float = 0.1, observer: Observer | None = None, lookup: Lookup | None = None,
                 summaries: SummaryTerms | None = None) -> None:
        """`margin` is the share of the API server's timeout that is kept for answering; at least 0.1 s are kept.

        `lookup` answers what policies ask of the world; without one such rules fail, with that reason. `observer` is
        told of each review once it is answered. `summaries` count where evidence cannot be had.
        """
        self.parts = Parts(Snapshot(policies, root))
        self._judging = Judging(gather, clock, lookup, summaries)
        self._margin = margin
        self.observer = observer
        self.registered: dict[str, bool] = {}
        """Whether the last request to validate, and to mutate, was by a configuration made for what is loaded."""

    def swap(self, snapshot: Snapshot) -> None:
        """Judge reviews that begin from now on by this snapshot; those under way end with the one they began with."""
        self.parts = Parts(snapshot)

    @property
    def snapshot(self) -> Snapshot:
        return self.parts.snapshot

    @property
    def policies(self) -> PolicySet:
        return self.snapshot.policies

    @policies.setter
    def policies(self, policies: PolicySet) -> None:
        self.swap(Snapshot(policies, self.snapshot.root))

    async def review(self, body: bytes, *, mutate: bool = False, seconds: float = DEFAULT_TIMEOUT,
                     endpoint: Endpoint | None = None) -> bytes:
        """Raises MalformedError for what is no AdmissionReview, and nothing else. An endpoint says more than `mutate`.

        `seconds` is what is left of the API server's timeout. Evidence that has not come by then, less the margin, is
        unverifiable; a decision that has not been made, less half of it, is a denial.
        """
        begun = asyncio.get_running_loop().time()
        margin = max(seconds * self._margin, 0.1)
        gathered, decided = begun + max(seconds - margin, 0.05), begun + max(seconds - margin / 2, 0.1)
        endpoint, parts, large = endpoint or Endpoint(mutate), self.parts, len(body) > _LARGE
        judged: Judged | None = None
        response, reason = b"", ""
        try:
            review = await self._judging.work(read, body, beside=large)
        except OversizedError as error:
            review, reason = error.review, error.message
        if not reason:
            try:
                async with asyncio.timeout_at(decided):
                    part, self.registered[endpoint.verb] = parts.asked_by(endpoint)
                    judged = await self._judging.judge(review.request, part, endpoint.course, deadline=gathered,
                                                       large=large)
                    response = await self._judging.work(self._answer, review, judged, beside=large)
            except TimeoutError:
                reason = f"it was not decided within {decided - begun:.1f} s"
            except Exception as error:
                _LOG.exception("a review could not be judged")
                reason = f"judging it failed with {words(error)}"
        response = response or refuse(review, reason)
        self._tell(Answered(review, endpoint, asyncio.get_running_loop().time() - begun, parts.snapshot.digest,
                            judged.decision if judged is not None else None, reason, judged, len(body)))
        return response

    def refuse(self, review: Review, endpoint: Endpoint, reason: str) -> bytes:
        """The denial of a review that its transport could not read whole."""
        self._tell(Answered(review, endpoint, 0.0, self.snapshot.digest, None, reason))
        return refuse(review, reason)

    def _tell(self, answered: Answered) -> None:
        if self.observer is None:
            return
        try:
            self.observer(answered)
        except Exception:  # a fault of who looks on is not one of the judge
            _LOG.exception("a decision could not be reported")

    def _answer(self, review: Review, judged: Judged) -> bytes:
        decision = judged.decision
        message = "" if decision.allowed else blocked(judged.request, decision.results)
        return answer(review, allowed=decision.allowed, message=message, patch=decision.patch,
                      warnings=shortened(decision.warnings),
                      audit={"inputs-digest": decision.inputs_digest, "verdict": str(decision.verdict)})


def refuse(review: Review, reason: str) -> bytes:
    """The denial of a review that could not be judged."""
    request = review.request
    named = f"{request.kind.kind}/{request.namespace}/{request.name}" if request.kind.kind else "of this request"
    return answer(review, allowed=False, message=f"\n\nresource {named} was blocked: {reason}\n")
