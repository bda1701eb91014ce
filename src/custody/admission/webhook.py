"""The admission webhook without its transport: a review's bytes in, the answer's bytes out, before the deadline.

Whatever happens on the way, a review that can be read has an answer: what was not gathered, not evaluated or not
decided in time is denied, with the reason. An error to the API server instead would fall under `failurePolicy`, and
under Ignore admit what nobody judged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from custody.admission.answered import Answered, Observer
from custody.admission.endpoint import Endpoint
from custody.admission.review import OversizedError, Review, answer, read
from custody.errors import CustodyError
from custody.evidence.model import EvidenceSet, Rejected, State
from custody.kit.clock import Clock
from custody.policy.decide import decide, pin
from custody.policy.kyverno.messages import blocked, shortened
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request
from custody.trust.roots import TrustedRoot

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
DEFAULT_TIMEOUT = 10.0
_LARGE = 16 * 1024  # bytes of a review that is read and decided beside the event loop: 500 images fit into them
_HEAVY = 512 * 1024  # bytes of evidence, for the same
_ENDPOINTS = 128  # of one snapshot that are remembered; a configuration has some twenty at most


@dataclass(frozen=True)
class Snapshot:
    """What a review is judged by, all of one moment: policies, the keys and types that they name, and the trust root.

    A review takes one when it begins and uses no other. To change anything, make a new one and `Admission.swap` it.
    """

    policies: PolicySet
    root: TrustedRoot | None = None
    """None: the gatherer's own."""
    keys: tuple[bytes, ...] = field(init=False)
    predicate_types: frozenset[str] = field(init=False)
    _parts: dict[Endpoint, tuple[Snapshot, bool]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple(self.policies.public_keys()))
        object.__setattr__(self, "predicate_types", self.policies.predicate_types())
        object.__setattr__(self, "_parts", {})

    def asked_by(self, endpoint: Endpoint) -> tuple[Snapshot, bool]:
        """The policies that a path asks, and whether the API server was told of them as they are.

        All policies answer where it was not: it could ask for one of a group that it does not know of.
        """
        known = self._parts.get(endpoint)
        if known is not None:
            return known
        if not endpoint.division:
            part = self, True
        elif not endpoint.made_for(self.policies.policies):
            part = self, False
        elif endpoint.asks_all:
            part = self, True
        else:
            part = Snapshot(self.policies.only(endpoint.selects), self.root), True
        if len(self._parts) < _ENDPOINTS:  # a stranger can think of others without end
            said = not all(current for _, current in self._parts.values())
            self._parts[endpoint] = part
            if not part[1] and not said:
                _LOG.warning("the API server's webhook configuration was made for other policies than are loaded: all "
                             "policies answer /%s, and for some it does not ask at all; apply `custody admission "
                             "config` again", endpoint.path)
        return part


Gather = Callable[[Snapshot, list[str]], Awaitable[Mapping[str, EvidenceSet]]]
"""Evidence for these images, verified as the snapshot says. Images without an entry count as not verified."""


class Admission:
    """Answers reviews by one snapshot at a time."""

    def __init__(self, policies: PolicySet, gather: Gather, clock: Clock, *, root: TrustedRoot | None = None,
                 margin: float = 0.1, observer: Observer | None = None) -> None:
        """`margin` is the share of the API server's timeout that is kept for answering; at least 0.1 s are kept.

        `observer` is told of each review once it is answered.
        """
        self.snapshot = Snapshot(policies, root)
        self._gather = gather
        self._clock = clock
        self._margin = margin
        self.observer = observer
        self.registered: dict[str, bool] = {}
        """Whether the last request to validate, and to mutate, was by a configuration made for what is loaded."""
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="decide")

    def swap(self, snapshot: Snapshot) -> None:
        """Judge reviews that begin from now on by this snapshot; those under way end with the one they began with."""
        self.snapshot = snapshot

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
        endpoint, snapshot = endpoint or Endpoint(mutate), self.snapshot
        decision: Decision | None = None
        response, reason = b"", ""
        try:
            review = await self._work(read, body, beside=len(body) > _LARGE)
        except OversizedError as error:
            review, reason = error.review, error.message
        if not reason:
            try:
                async with asyncio.timeout_at(decided):
                    part, self.registered[endpoint.verb] = snapshot.asked_by(endpoint)
                    decision, response = await self._judge(review, part, gathered, mutate=endpoint.mutate,
                                                           large=len(body) > _LARGE)
            except TimeoutError:
                reason = f"it was not decided within {decided - begun:.1f} s"
            except Exception as error:
                _LOG.exception("a review could not be judged")
                reason = f"judging it failed with {_words(error)}"
        response = response or refuse(review, reason)
        self._tell(Answered(review, endpoint, asyncio.get_running_loop().time() - begun, snapshot.policies.digest,
                            decision, reason))
        return response

    def refuse(self, review: Review, endpoint: Endpoint, reason: str) -> bytes:
        """The denial of a review that its transport could not read whole."""
        self._tell(Answered(review, endpoint, 0.0, self.snapshot.policies.digest, None, reason))
        return refuse(review, reason)

    def _tell(self, answered: Answered) -> None:
        if self.observer is None:
            return
        try:
            self.observer(answered)
        except Exception:  # a fault of who looks on is not one of the judge
            _LOG.exception("a decision could not be reported")

    async def _judge(self, review: Review, snapshot: Snapshot, deadline: float, *, mutate: bool,
                     large: bool) -> tuple[Decision, bytes]:
        policies = snapshot.policies
        request = policies.kinds.located(review.request)
        # 1. Which images need evidence.
        images = [] if request.operation == "DELETE" else await self._work(policies.images, request, beside=large)
        # 2. Gather it within the time that is left.
        evidence = await self._evidence(snapshot, images, deadline) if images else {}
        # 3. Decide, and say so.
        context = Context(now=self._clock())
        return await self._work(self._decide, review, request, evidence, policies, context, mutate,
                                beside=large or sum(gathered.weight for gathered in evidence.values()) > _HEAVY)

    async def _evidence(self, snapshot: Snapshot, images: list[str], deadline: float) -> Mapping[str, EvidenceSet]:
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(deadline):
                return await self._gather(snapshot, images)
        except TimeoutError:
            return _nothing(images, f"not gathered within {deadline - begun:.1f} s")
        except CustodyError as error:
            return _nothing(images, error.message)
        except Exception as error:
            _LOG.exception("evidence could not be gathered")
            return _nothing(images, f"gathering failed with {_words(error)}")

    def _decide(self, review: Review, request: Request, evidence: Mapping[str, EvidenceSet], policies: PolicySet,
                context: Context, mutate: bool) -> tuple[Decision, bytes]:
        decision = (pin(request, evidence, policies, context) if mutate else
                    decide(request, evidence, policies, context, mutate=False))
        message = "" if decision.allowed else blocked(request, decision.results)
        return decision, answer(review, allowed=decision.allowed, message=message, patch=decision.patch,
                                warnings=shortened(decision.warnings),
                                audit={"inputs-digest": decision.inputs_digest, "verdict": str(decision.verdict)})

    async def _work(self, function: Callable[..., _T], *arguments: Any, beside: bool) -> _T:
        """What the function gives: called here where it is small, in a thread where it would hold up other reviews."""
        if not beside:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def refuse(review: Review, reason: str) -> bytes:
    """The denial of a review that could not be judged."""
    request = review.request
    named = f"{request.kind.kind}/{request.namespace}/{request.name}" if request.kind.kind else "of this request"
    return answer(review, allowed=False, message=f"\n\nresource {named} was blocked: {reason}\n")


def _words(error: Exception) -> str:
    return error.message if isinstance(error, CustodyError) else f"an internal error ({type(error).__name__})"


def _nothing(images: list[str], reason: str) -> dict[str, EvidenceSet]:
    return {image: EvidenceSet(subject="", rejected=(
        Rejected(subject="", evidence=None, source="gather", state=State.UNVERIFIABLE, reason=reason),))
        for image in images}
