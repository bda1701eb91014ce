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
from custody.admission.judging import Gather, Judged, Judging, Proceeding, words
from custody.admission.parts import Parts
from custody.admission.review import OversizedError, Review, answer, read
from custody.kit.clock import Clock
from custody.policy.decide import MAX_MESSAGE
from custody.policy.kyverno.messages import blocked, shortened
from custody.policy.load import PolicySet
from custody.policy.model import Decision, Request, SummaryTerms
from custody.policy.phases import Course
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import Lookup
from custody.trust.roots import TrustedRoot

_LOG = logging.getLogger(__name__)
DEFAULT_TIMEOUT = 10.0
_LARGE = 16 * 1024  # bytes of a review that is read and decided beside the event loop: 500 images fit into them


class Hearing:
    """A review that is being answered."""

    __slots__ = ("begun", "body", "decided", "endpoint", "gathered", "large", "parts", "proceeding", "reason",
                 "response", "review")

    def __init__(self, body: bytes, endpoint: Endpoint, parts: Parts, begun: float, seconds: float,
                 margin: float) -> None:
        """`begun` is the event loop's time, as are `gathered` and `decided`: until when that must be."""
        self.body, self.endpoint, self.parts, self.begun = body, endpoint, parts, begun
        self.large = len(body) > _LARGE
        self.gathered = begun + max(seconds - margin, 0.05)
        self.decided = begun + max(seconds - margin / 2, 0.1)
        self.review: Review
        self.proceeding: Proceeding | None = None
        self.reason = ""
        """Why there is no decision."""
        self.response = b""
        """Once it is answered."""

    def reads(self) -> None:
        """Raises MalformedError for what is no AdmissionReview."""
        try:
            self.review = read(self.body)
        except OversizedError as error:
            self.review, self.reason = error.review, error.message

    def failed(self, error: Exception) -> None:
        _LOG.exception("a review could not be judged")
        self.reason = f"judging it failed with {words(error)}"


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
        hearing = self.hear(body, seconds=seconds, endpoint=endpoint or Endpoint(mutate))
        return hearing.response or await self.conclude(hearing)

    def hear(self, body: bytes, *, seconds: float, endpoint: Endpoint) -> Hearing:
        """A review as far as it gets without waiting for anybody, which is mostly its answer; `conclude` does the rest.

        Raises MalformedError for what is no AdmissionReview.
        """
        begun = asyncio.get_running_loop().time()
        hearing = Hearing(body, endpoint, self.parts, begun, seconds, max(seconds * self._margin, 0.1))
        if not hearing.large:
            hearing.reads()
            if not hearing.reason:
                try:
                    hearing.proceeding = proceeding = self._judging.begin(*self._asked(hearing))
                    if proceeding.judged is not None:
                        hearing.response = self._answer(hearing.review, proceeding.judged)
                except Exception as error:
                    hearing.failed(error)
            if hearing.response or hearing.reason:
                self._close(hearing)
        return hearing

    async def conclude(self, hearing: Hearing) -> bytes:
        """The answer to a review that was begun. Raises MalformedError for what is no AdmissionReview."""
        judging, large = self._judging, hearing.large
        if large:
            await judging.work(hearing.reads, beside=True)
        if not hearing.reason:
            try:
                async with asyncio.timeout_at(hearing.decided):
                    if hearing.proceeding is None:
                        hearing.proceeding = await judging.work(Proceeding, *self._asked(hearing), beside=large)
                    judged = await judging.conclude(hearing.proceeding, deadline=hearing.gathered, large=large)
                    hearing.response = await judging.work(self._answer, hearing.review, judged, beside=large)
            except TimeoutError:
                hearing.reason = f"it was not decided within {hearing.decided - hearing.begun:.1f} s"
            except Exception as error:
                hearing.failed(error)
        return self._close(hearing)

    def _asked(self, hearing: Hearing) -> tuple[Request, Snapshot, Course]:
        endpoint = hearing.endpoint
        part, self.registered[endpoint.verb] = hearing.parts.asked_by(endpoint)
        return hearing.review.request, part, endpoint.course

    def _close(self, hearing: Hearing) -> bytes:
        response = hearing.response = hearing.response or refuse(hearing.review, hearing.reason)
        # What a thread decides after the time is over is no answer to anybody.
        judged = hearing.proceeding.judged if hearing.proceeding is not None and not hearing.reason else None
        self._tell(Answered(hearing.review, hearing.endpoint, asyncio.get_running_loop().time() - hearing.begun,
                            hearing.parts.snapshot.digest, judged.decision if judged is not None else None,
                            hearing.reason, judged, len(hearing.body)))
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
        return answer_of(review, judged.request, judged.decision)


def answer_of(review: Review, request: Request, decision: Decision) -> bytes:
    """The reply to a review that was decided on; `request` is it as it was judged."""
    message = "" if decision.allowed else blocked(request, decision.results)
    return answer(review, allowed=decision.allowed, message=message, patch=decision.patch,
                  warnings=shortened(decision.warnings),
                  audit={**_audited(decision), "inputs-digest": decision.inputs_digest,
                         "verdict": str(decision.verdict)})


def _audited(decision: Decision) -> dict[str, str]:
    """What rules have for the audit log; the API server puts the webhook's name before each annotation's."""
    return {name: text[:MAX_MESSAGE] for result in decision.results for name, text in result.audit.items()}


def refuse(review: Review, reason: str) -> bytes:
    """The denial of a review that could not be judged."""
    request = review.request
    named = f"{request.kind.kind}/{request.namespace}/{request.name}" if request.kind.kind else "of this request"
    return answer(review, allowed=False, message=f"\n\nresource {named} was blocked: {reason}\n")
