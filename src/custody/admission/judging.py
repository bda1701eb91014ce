"""One request judged: what the rules need is gathered and looked up, decided on, and what they ask then is found out.

The webhook, `custody check` and scans of what lies in a cluster ask here. Rounds and time are bounded: what is not
known by then fails the rules that ask for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from custody.errors import CustodyError
from custody.evidence.model import EvidenceSet, State, unreached
from custody.kit.clock import Clock
from custody.policy.decide import decide, written
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request, SummaryTerms
from custody.policy.phases import Course
from custody.policy.record import record
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import Answer, Answered, Failed, Lookup, NoLookup, Partial, Question

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
"""Evidence for these images, verified as the snapshot says. Images without an entry count as not verified.

Its method `known`, where it has one, gives the same without asking anybody; None where somebody has to be asked.
"""
Known = Callable[[Snapshot, Sequence[str]], Mapping[str, EvidenceSet] | None]


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
    text: bytes
    """The request as `decide.written` gives it."""

    def record(self) -> bytes:
        """For `custody replay`."""
        return record(self.request, self.evidence, self.snapshot.policies, self.context, at=self.at,
                      answers=self.answers, decision=self.decision)


class Proceeding:
    """A request on its way to a decision: in each round what is asked for is found out, and all is decided again."""

    __slots__ = ("_asked", "_rounds", "_text", "answers", "at", "evidence", "images", "judged", "questions", "request",
                 "snapshot")

    def __init__(self, request: Request, snapshot: Snapshot, at: Course) -> None:
        self.request = snapshot.policies.kinds.located(request)
        self.snapshot, self.at = snapshot, at
        self._text = written(self.request)
        needs = snapshot.policies.needs(self.request, at)
        self.images: Sequence[str] = [*needs.images]
        """Whose evidence is to be gathered before the next round."""
        self.questions: Sequence[Question] = needs.questions
        """That are to be answered before it."""
        self.evidence: dict[str, EvidenceSet] = {}
        self.answers: dict[Question, Answer] = {}
        self.judged: Judged | None = None
        """Once it is decided."""
        self._asked: set[str] = set()
        self._rounds = 0

    @property
    def heavy(self) -> bool:
        """Whether deciding takes so long that it is not done on the event loop."""
        return bool(self.evidence) and sum(about.weight for about in self.evidence.values()) > _HEAVY

    def gathered(self, evidence: Mapping[str, EvidenceSet]) -> None:
        """What is known of `images`, which are not asked for again."""
        self._asked.update(self.images)
        self.evidence |= evidence
        self.images = ()

    def answered(self, answers: dict[Question, Answer]) -> None:
        """Answers to the first of `questions`, as many as `left` allows."""
        self.answers |= _bounded(self.questions, answers, self.answers)
        self.questions = ()

    @property
    def left(self) -> int:
        """How many questions may still be looked up."""
        return max(QUESTIONS - len(self.answers), 0)

    def decide(self, context: Context) -> None:
        """Decide, and find out what that asks: of what a rule changed, of what a policy computes."""
        self._rounds += 1
        decision = decide(self.request, self.evidence, self.snapshot.policies, context, at=self.at,
                          answers=self.answers, text=self._text)
        self.images = [name for name in decision.asks.images if name not in self._asked]
        self.questions = decision.asks.questions
        if self._rounds == ROUNDS or not (self.images or self.questions):
            self.judged = Judged(self.request, self.snapshot, self.evidence, self.answers, context, self.at, decision,
                                 self._text)


class Judging:
    """`clock` says the time that a decision is made for."""

    def __init__(self, gather: Gather, clock: Clock, lookup: Lookup | None = None,
                 summaries: SummaryTerms | None = None) -> None:
        """`summaries` are those that count where evidence cannot be had."""
        self._gather = gather
        self._known: Known = getattr(gather, "known", _unknown)
        self._summaries = summaries
        self._clock = clock
        self._lookup = lookup or NoLookup()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="decide")

    async def judge(self, request: Request, snapshot: Snapshot, at: Course, *, deadline: float | None = None,
                    large: bool = False) -> Judged:
        """`deadline` is the event loop's time until which things are found out. A `large` request is decided on beside
        the event loop, as is one with much evidence.
        """
        proceeding = await self.work(Proceeding, request, snapshot, at, beside=large)
        return await self.conclude(proceeding, deadline=deadline, large=large)

    def begin(self, request: Request, snapshot: Snapshot, at: Course) -> Proceeding:
        """As far as it gets without waiting for anybody: mostly to its decision."""
        proceeding = Proceeding(request, snapshot, at)
        while proceeding.judged is None:
            try:
                evidence = self._known(snapshot, proceeding.images) if proceeding.images else {}
                answers = self._answers_known(proceeding.questions[:proceeding.left])
            except Exception:
                # Whoever waits asks again, and is told of each image and question what it failed with.
                _LOG.exception("what is known could not be had")
                return proceeding
            if evidence is None or answers is None:
                return proceeding
            if proceeding.images:
                proceeding.gathered(evidence)
            if proceeding.questions:
                proceeding.answered(answers)
            if proceeding.heavy:
                return proceeding
            proceeding.decide(self._context(snapshot.policies))
        return proceeding

    def _answers_known(self, questions: Sequence[Question]) -> dict[Question, Answer] | None:
        answers: dict[Question, Answer] = {}
        for question in questions:
            answer = self._lookup.known(question)
            if answer is None:
                return None
            answers[question] = answer
        return answers

    async def conclude(self, proceeding: Proceeding, *, deadline: float | None = None, large: bool = False) -> Judged:
        """The decision of what was begun. See `judge`."""
        while proceeding.judged is None:
            if proceeding.images:
                proceeding.gathered(await self._evidence(proceeding.snapshot, [*proceeding.images], deadline))
            if proceeding.questions:
                proceeding.answered(await self._answers(proceeding.questions[:proceeding.left], deadline))
            context = self._context(proceeding.snapshot.policies)
            await self.work(proceeding.decide, context, beside=large or proceeding.heavy)
        return proceeding.judged

    def _context(self, policies: PolicySet) -> Context:
        return Context(now=self._clock(), summaries=self._terms(policies))

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

    async def _answers(self, questions: Sequence[Question], deadline: float | None) -> dict[Question, Answer]:
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


def _unknown(*_: object) -> None:
    """Of evidence that is gathered each time."""


def _bounded(questions: Sequence[Question], found_out: dict[Question, Answer],
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
    if not isinstance(answer, Answered) or isinstance(answer.value, Partial):  # which bounds itself
        return 0
    return len(msgspec.json.encode(answer.value))


def words(error: Exception) -> str:
    return error.message if isinstance(error, CustodyError) else f"an internal error ({type(error).__name__})"


def _seconds(begun: float, deadline: float | None) -> str:
    return f"{(deadline or begun) - begun:.1f} s"


def _nothing(images: Iterable[str], reason: str) -> dict[str, EvidenceSet]:
    return {image: unreached(State.UNVERIFIABLE, reason) for image in images}
