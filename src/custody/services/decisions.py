"""Decisions of the webhook, kept as they are made; and asked for again: what was decided, and what others would.

Keeping holds no review up: a thread writes what an observer was told, in batches; what it has no room for is counted.
What waits are bytes: objects that live until they are written are looked through for circles again and again, and what
the thread does with them the event loop waits for. Only large reviews are encoded by the thread.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import NamedTuple

import msgspec

from custody.admission.answered import Answered
from custody.admission.judging import ROUNDS, Judged
from custody.errors import CustodyError, MalformedError
from custody.evidence.model import EvidenceSet
from custody.kit.clock import Clock
from custody.policy.decide import decide
from custody.policy.kept import Inputs, Own, divided, encoded, inputs, joined, own
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Verdict
from custody.policy.phases import Course
from custody.policy.record import Record
from custody.ports.decisions import DecisionSearch, DecisionStore, KeptDecision
from custody.ports.lookup import Absent, Answer, Question
from custody.ports.lookup import Answered as Known
from custody.services.verdicts import Verdicts

_LOG = logging.getLogger(__name__)
_WAITING = 8 * 1024 * 1024  # bytes of decisions that are not written yet
_LARGE = 64 * 1024  # bytes of a review that is not encoded on the event loop
_BATCH = 200
_MOMENT = 0.25  # seconds between two looks: many decisions of one transaction change few pages more than one does
_PRUNE = 1200  # looks between two prunings
_EVIDENCE = 64  # images whose evidence is known to be kept
_REASON = 300  # characters


class _Waiting(NamedTuple):
    """A decision that is not written yet."""

    made: Callable[..., KeptDecision]
    """With the body and its parts it is one to keep."""
    own: Own | Judged
    evidence: Mapping[str, EvidenceSet]
    policies: PolicySet
    context: Context
    at: Course
    size: int
    """Bytes that it keeps from others, about."""


class DecisionKeeper:
    """An Observer that keeps decisions for `days`, in at most `most` bytes; a thread of its own writes."""

    def __init__(self, store: DecisionStore, clock: Clock, days: float, most: int) -> None:
        self._store, self._clock = store, clock
        self._longest, self._most = timedelta(days=days), most
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0
        self.dropped = 0
        """Decisions that were made and not kept."""
        self._evidence: OrderedDict[int, tuple[EvidenceSet, str]] = OrderedDict()
        self._stored: set[str] = set()
        """Digests of parts that the store has."""
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decisions", daemon=True)
        self._thread.start()

    def __call__(self, answered: Answered) -> None:
        judged, request = answered.judged, answered.review.request
        if judged is None or request.dry_run:
            return  # without a decision there is nothing to explain; a dry run changes nothing, also here
        if self._waiting + answered.size > _WAITING:
            self.dropped += 1
            return
        request, decision, policies = judged.request, judged.decision, judged.snapshot.policies
        if answered.size > _LARGE:
            part: Own | Judged = judged
            size = answered.size
        else:
            part = own(request, judged.text, judged.answers, decision)
            size = len(part.request) + len(part.decision)
        made = partial(
            KeptDecision, uid=answered.review.uid, at=judged.context.now, course=str(judged.at),
            operation=request.operation, kind=request.kind.kind, namespace=request.namespace, name=request.name,
            username=request.user.username, verdict=str(decision.verdict), inputs_digest=decision.inputs_digest,
            policies_digest=policies.digest, reason=reason_of(decision))
        self._waiting += size
        self._queue.append(_Waiting(made, part, judged.evidence, policies, judged.context, judged.at, size))

    def close(self) -> None:
        """Write what waits, and end."""
        self._ended.set()
        self._thread.join(10)

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            self._write()

    def _write(self) -> None:
        while batch := [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]:
            try:
                parts: dict[str, bytes] = {}
                self._store.keep([self._row(waiting, parts) for waiting in batch], parts)
                self._stored.update(parts)
            except CustodyError as error:  # a full disk takes no history, and stops no webhook
                self.dropped += len(batch)
                _LOG.warning("%d decisions are not kept: %s", len(batch), error.message)
            except Exception:
                self.dropped += len(batch)
                _LOG.exception("%d decisions are not kept", len(batch))
            finally:
                self._waiting -= sum(waiting.size for waiting in batch)

    def _run(self) -> None:
        looks = 0
        while not self._ended.wait(_MOMENT):
            self.flush()
            if looks % _PRUNE == 0:
                self._prune()
            looks += 1
        self.flush()

    def _prune(self) -> None:
        with self._writing, contextlib.suppress(CustodyError):
            self._stored.clear()
            self._store.prune(self._clock() - self._longest, self._most)

    def _row(self, waiting: _Waiting, parts: dict[str, bytes]) -> KeptDecision:
        policies, part = waiting.policies, waiting.own
        evidence = {image: self._digest(about, parts) for image, about in waiting.evidence.items()}
        if policies.digest not in parts and policies.digest not in self._stored:
            parts[policies.digest] = msgspec.json.encode(policies.documents)
        if isinstance(part, Judged):
            part = own(part.request, part.text, part.answers, part.decision)
        return waiting.made(body=divided(part, evidence, policies.digest, waiting.context, at=waiting.at),
                            parts=(policies.digest, *evidence.values()))

    def _digest(self, about: EvidenceSet, parts: dict[str, bytes]) -> str:
        known = self._evidence.get(id(about))
        if known is not None and known[0] is about and (known[1] in self._stored or known[1] in parts):
            self._evidence.move_to_end(id(about))
            return known[1]
        digest, parts[digest] = encoded(about)
        self._evidence[id(about)] = (about, digest)
        if len(self._evidence) > _EVIDENCE:
            self._evidence.popitem(last=False)
        return digest


def reason_of(decision: Decision) -> str:
    """The first thing that denied: `policy/rule: message`; empty where nothing did."""
    for result in () if decision.allowed else decision.results:
        if result.denies:
            return f"{result.title}: {' '.join(result.message.split())}"[:_REASON]
    return ""


# Asked for again


def whole(store: DecisionStore, kept: KeptDecision) -> Record:
    """Raises MalformedError, WithheldError."""
    return joined(kept.body, store.part)


class Replayed(NamedTuple):
    """One kept decision, made again."""

    kept: KeptDecision
    decision: Decision | None = None
    """None where it could not be made again."""
    problem: str = ""
    """Why not, or what these policies ask that nobody asked then."""
    now: tuple[str, ...] = ()
    """What nobody asked then and was asked now: the verdict rests on the cluster as it is."""

    @property
    def changed(self) -> bool:
        return self.decision is not None and not self.problem and self.decision.verdict != self.kept.verdict


Ask = Callable[[Sequence[Question]], Mapping[Question, Answer]]
"""Answers of a live cluster; one that has failed is none."""


def replayed(store: DecisionStore, search: DecisionSearch, policies: PolicySet | None = None,
             ask: Ask | None = None) -> Iterator[Replayed]:
    """Each kept decision of a search again, oldest first: by its own policies, or by others.

    `ask` is asked what nobody asked then; without it that is not known. The decisions have no inputs' digest, and of
    what comes out as it was kept there may be the verdict alone.
    """
    return map(Again(store, policies, ask), store.search(search, newest_first=False))


class Again:
    """Makes kept decisions again, one after the other: what they share is read and compiled once."""

    def __init__(self, store: DecisionStore, policies: PolicySet | None = None, ask: Ask | None = None) -> None:
        self._store, self._policies, self._ask = store, policies, ask
        self._own: dict[str, PolicySet | CustodyError] = {}
        self._parts: OrderedDict[str, bytes | None] = OrderedDict()
        self._verdicts: dict[str, Verdicts] = {}

    def __call__(self, kept: KeptDecision) -> Replayed:
        try:
            judging = self._policies or _own(kept.policies_digest, self._part, self._own)
            verdicts = self._verdicts_by(judging)
            like = verdicts.likeness(kept.body) if self._ask is None else None
            if like is not None and (verdict := verdicts.known(like, partial(self._decided, kept))) == kept.verdict:
                return Replayed(kept, Decision(verdict=verdict, results=(), inputs_digest=""))
            known_then = inputs(kept.body, self._part)
            decision, live = _again(known_then, judging, self._ask)
        except CustodyError as error:
            return Replayed(kept, None, error.message)
        if like is not None:
            verdicts.learn(like, decision)
        return Replayed(kept, decision, _unknown(decision, known_then) if decision.asks else "", live)

    def _decided(self, kept: KeptDecision, policies: PolicySet) -> Decision:
        decision, _ = _again(inputs(kept.body, self._part), policies, None)
        return decision

    def _verdicts_by(self, policies: PolicySet) -> Verdicts:
        verdicts = self._verdicts.get(policies.digest)
        if verdicts is None:
            verdicts = self._verdicts[policies.digest] = Verdicts(policies)
        return verdicts

    def _part(self, digest: str) -> bytes | None:
        if digest not in self._parts:
            self._parts[digest] = self._store.part(digest)
            if len(self._parts) > _EVIDENCE:
                self._parts.popitem(last=False)
        return self._parts[digest]


def _again(then: Inputs, policies: PolicySet, ask: Ask | None) -> tuple[Decision, tuple[str, ...]]:
    """The decision, and what was asked for it now. What was not answered then is not asked again."""
    answers, live = dict(then.answers), list[str]()
    asked_then = then.decision.asks.questions if ask is not None else ()
    rounds = 0
    while True:
        rounds += 1
        decision = decide(then.request, then.evidence, policies, then.context, at=then.at, answers=answers,
                          digested=False)
        if ask is None or rounds == ROUNDS or not decision.asks.questions:
            break
        known = {question: answer for question, answer in ask(
            [question for question in decision.asks.questions if question not in asked_then]).items()
            if isinstance(answer, (Known, Absent))}
        if not known:
            break
        answers |= known
        live += map(str, known)
    return decision, tuple(live)


def _unknown(decision: Decision, then: Inputs) -> str:
    """What was not known then, and is asked now: the verdict would rest on an answer that nobody had."""
    asked = then.decision.asks
    images = [f"the evidence of {name}" for name in decision.asks.images if name not in asked.images]
    questions = [str(question) for question in decision.asks.questions if question not in asked.questions]
    return f"nobody asked then for {', '.join(images + questions)}" if images or questions else ""


def _own(digest: str, part: Callable[[str], bytes | None], known: dict[str, PolicySet | CustodyError]) -> PolicySet:
    from custody.policy.kinds import UNCHECKED

    if digest not in known:
        data = part(digest)
        try:
            if data is None:
                raise MalformedError("kept decision", got=f"no policies {digest}", expected="those it was made by")
            known[digest] = PolicySet(msgspec.json.decode(data), kinds=UNCHECKED)
        except CustodyError as error:  # of another version of custody
            known[digest] = error
    policies = known[digest]
    if isinstance(policies, CustodyError):
        raise policies
    return policies


class Tally:
    """What became of many decisions under other policies."""

    def __init__(self) -> None:
        self.same = 0
        self.live = 0
        """How many rest on what the cluster says now."""
        self.unknown: list[Replayed] = []
        self.changed: dict[tuple[str, str], list[Replayed]] = {}
        """By (verdict then, verdict now)."""

    def add(self, repeated: Replayed) -> None:
        self.live += bool(repeated.now)
        if repeated.decision is None or repeated.problem:
            self.unknown.append(repeated)
        elif repeated.changed:
            self.changed.setdefault((repeated.kept.verdict, str(repeated.decision.verdict)), []).append(repeated)
        else:
            self.same += 1

    @property
    def denied_now(self) -> int:
        return sum(len(replays) for (_, now), replays in self.changed.items() if now == Verdict.DENIED)

    @property
    def rules(self) -> Mapping[str, int]:
        """How many requests that were not denied each rule would deny."""
        counts: dict[str, int] = {}
        for (_, now), replays in self.changed.items():
            for replay in replays if now == Verdict.DENIED else ():
                assert replay.decision is not None
                for name in dict.fromkeys(result.title for result in replay.decision.results
                                          if result.denies):
                    counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))
