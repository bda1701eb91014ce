"""One request judged: what the rules need is gathered and looked up, decided on, and what they ask then is found out.

The webhook, `custody check` and scans of what lies in a cluster ask here. Rounds and time are bounded: what is not
known by then fails the rules that ask for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from custody.errors import CustodyError
from custody.evidence.model import EvidenceSet, State, unreached
from custody.kit.clock import Clock
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request, SummaryTerms
from custody.policy.phases import Course
from custody.policy.record import record
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import Answer, Answered, Failed, Lookup, Question

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
ROUNDS = 8
"""How often a request is decided on: each of the rounds before answers what the one before it asked."""
QUESTIONS = 1000
"""That are looked up for one request."""
ANSWERED = 16 * 1024 * 1024
"""Bytes of JSON that the answers to one request may have together; one that is larger than what is left has failed."""
_HEAVY = 512 * 1024  # bytes of evidence that are decided on beside the event loop

Gather = Callable[[Snapshot, list[str]], Awaitable[Mapping[str, EvidenceSet]]]
"""Evidence for these images, verified as the snapshot says. Images without an entry count as not verified."""


class NoLookup:
    """Nobody to ask."""

    async def answer(self, question: Question) -> Answer:
        return Failed(f"there is nobody to ask for {question}")


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision with all that it was made from."""

    request: Request
    snapshot: Snapshot
    evidence: dict[str, EvidenceSet]
    answers: dict[Question, Answer]
    context: Context
    at: Course
    decision: Decision

    def record(self) -> bytes:
        """For `custody replay`."""
        return record(self.request, self.evidence, self.snapshot.policies, self.context, at=self.at,
                      answers=self.answers, decision=self.decision)


class Judging:
    """`clock` says the time that a decision is made for."""

    def __init__(self, gather: Gather, clock: Clock, lookup: Lookup | None = None,
                 summaries: SummaryTerms | None = None) -> None:
        """`summaries` are those that count where evidence cannot be had."""
        self._gather = gather
        self._summaries = summaries
        self._clock = clock
        self._lookup = lookup or NoLookup()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="decide")

    async def judge(self, request: Request, snapshot: Snapshot, at: Course, *, deadline: float | None = None,
                    large: bool = False) -> Judged:
        """`deadline` is the event loop's time until which things are found out. A `large` request is decided on beside
        the event loop, as is one with much evidence.
        """
        policies = snapshot.policies
        request = policies.kinds.located(request)
        # 1. What the rules need.
        needs = await self.work(policies.needs, request, at, beside=large)
        images, questions = [*needs.images], [*needs.questions]
        evidence: dict[str, EvidenceSet] = {}
        answers: dict[Question, Answer] = {}
        asked: set[str] = set()
        rounds = 0
        while True:
            rounds += 1
            # 2. Gather and look up, within the time that is left.
            if images:
                asked.update(images)
                evidence |= await self._evidence(snapshot, images, deadline)
            if questions:
                found_out = await self._answers(questions[:max(QUESTIONS - len(answers), 0)], deadline)
                answers |= _bounded(questions, found_out, answers)
            # 3. Decide, and find out what that asks: of what a rule changed, of what a policy computes.
            context = Context(now=self._clock(), summaries=self._terms(policies))
            beside = large or (bool(evidence) and sum(about.weight for about in evidence.values()) > _HEAVY)
            decision = await self.work(_decide, request, evidence, snapshot, context, at, answers, beside=beside)
            images = [name for name in decision.asks.images if name not in asked]
            questions = [*decision.asks.questions]
            if rounds == ROUNDS or not (images or questions):
                return Judged(request, snapshot, evidence, answers, context, at, decision)

    def _terms(self, policies: PolicySet) -> SummaryTerms | None:
        if self._summaries is None:
            return None
        return msgspec.structs.replace(self._summaries, policies=policies.meaning)

    async def work(self, function: Callable[..., _T], *arguments: Any, beside: bool) -> _T:
        """What the function gives: called here where it is small, in a thread where it would hold up other requests."""
        if not beside:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _evidence(self, snapshot: Snapshot, images: list[str],
                        deadline: float | None) -> Mapping[str, EvidenceSet]:
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(deadline):
                return await self._gather(snapshot, images)
        except TimeoutError:
            return _nothing(images, f"not gathered within {_seconds(begun, deadline)}")
        except CustodyError as error:
            return _nothing(images, error.message)
        except Exception as error:
            _LOG.exception("evidence could not be gathered")
            return _nothing(images, f"gathering failed with {words(error)}")

    async def _answers(self, questions: list[Question], deadline: float | None) -> dict[Question, Answer]:
        return dict(zip(questions, await asyncio.gather(*(self._answer(question, deadline) for question in questions)),
                        strict=True))

    async def _answer(self, question: Question, deadline: float | None) -> Answer:
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(deadline):
                return await self._lookup.answer(question)
        except TimeoutError:
            return Failed(f"not answered within {_seconds(begun, deadline)}")
        except Exception as error:
            if not isinstance(error, CustodyError):
                _LOG.exception("a question of a policy could not be answered")
            return Failed(words(error))


def _bounded(questions: list[Question], found_out: dict[Question, Answer],
             known: Mapping[Question, Answer]) -> dict[Question, Answer]:
    """Answers to all questions: what is beyond the bounds of one request has failed, with that reason."""
    left = ANSWERED - sum(_size(answer) for answer in known.values())
    bounded: dict[Question, Answer] = {}
    for question in questions:
        answer = found_out.get(question, Failed(f"more than {QUESTIONS} questions are asked about one request"))
        try:
            size = _size(answer)
        except (TypeError, ValueError, RecursionError, OverflowError):
            answer, size = Failed("its answer is no JSON"), 0
        if size > left:
            reason = f"its answer has {size} bytes, and {left} are left of {ANSWERED} for the answers to one request"
            answer, size = Failed(reason), 0
        bounded[question] = answer
        left -= size
    return bounded


def _size(answer: Answer) -> int:
    return len(msgspec.json.encode(answer.value)) if isinstance(answer, Answered) else 0


def words(error: Exception) -> str:
    return error.message if isinstance(error, CustodyError) else f"an internal error ({type(error).__name__})"


def _decide(request: Request, evidence: Mapping[str, EvidenceSet], snapshot: Snapshot, context: Context, at: Course,
            answers: Mapping[Question, Answer]) -> Decision:
    return decide(request, evidence, snapshot.policies, context, at=at, answers=answers)


def _seconds(begun: float, deadline: float | None) -> str:
    return f"{(deadline or begun) - begun:.1f} s"


def _nothing(images: Iterable[str], reason: str) -> dict[str, EvidenceSet]:
    return {image: unreached(State.UNVERIFIABLE, reason) for image in images}
