"""The one decision: a request, verified evidence and policies in, a verdict with its reasons out. Nothing else in.

No I/O, no clock, no randomness: what it depends on is in its arguments and in `Decision.inputs_digest`. What it would
have to know beside is in `Decision.asks`; whoever can find out decides again (`admission.judging`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import msgspec

from custody.errors import CustodyError, MalformedError
from custody.evidence.model import EvidenceSet
from custody.kit.clock import format_rfc3339
from custody.kit.digest import sha256
from custody.policy.evidenceview import shown
from custody.policy.excepting import excepted
from custody.policy.given import Given
from custody.policy.images import image
from custody.policy.index import Index
from custody.policy.load import PolicySet
from custody.policy.lookup import Answers, UnansweredError
from custody.policy.model import Asks, Change, Context, Decision, Outcome, Request, RuleResult, Silent, Verdict
from custody.policy.phases import JUDGING, Course, Phase, Stage
from custody.policy.podfields import ABOUT_PODS, pod_templates
from custody.policy.recall import Recall
from custody.policy.rule import Rule, Spoken
from custody.ports.lookup import Answer, Answered, ImageEvidence, Question, plain
from policylang.errors import LanguageError

_ENCODER = msgspec.json.Encoder(order="deterministic", enc_hook=plain)
_LOG = logging.getLogger(__name__)
MAX_MESSAGE = 16 * 1024
"""Characters of what one result says: a policy can paste an object into its message, and many rules say one each."""


def decide(request: Request, evidence: Mapping[str, EvidenceSet], policies: PolicySet, context: Context, *,
           at: Course = Course.ADMISSION, answers: Mapping[Question, Answer] = {}, digested: bool = True,
           text: bytes | None = None) -> Decision:
    """Judge a request by the phases of a course, over the object as the rules before change it.

    `evidence` is by the images' canonical names; an image without any is not verified. Only failures under Enforce
    deny; the others are warnings. Where no rule said pass, fail or error, the request was not judged. A question
    without an answer fails the rule that asks it. `digested`: whether the inputs' digest is made, which nobody reads
    who only compares verdicts. `text` is what `written` gives of the request, where that is known.
    """
    asked = Answers(answers)
    fold = _Fold(policies, Given(request, context, evidence, asked), at)
    for stage in at.stages:
        fold.take(stage)
    fold.refuse_old_tags(answers)
    denied = any(result.denies for result in fold.results)
    quiet = policies.quiet
    warnings = tuple(result.told or f"policy {result.policy}.{result.rule}: {said}" for result in fold.results
                     if (said := _warns(result)) and not (quiet and (result.kind, result.policy) in quiet))
    warnings += tuple(_stale(evidence, answers))
    if not denied:
        warnings += tuple(fold.unpinned())
    verdict = Verdict.DENIED if denied else Verdict.ALLOWED if fold.spoke else Verdict.NOT_JUDGED
    return Decision(verdict=verdict, results=tuple(fold.results), silent=tuple(fold.silent),
                    unjudged=_templates(request, fold.spoke), patch=[] if denied else fold.patch,
                    changes=tuple(fold.changes), warnings=warnings,
                    inputs_digest=_inputs(text or written(request), evidence, policies, context, at, answers)
                    if digested else "",
                    asks=Asks(tuple(asked.images), tuple(asked.asked)))


def _stale(evidence: Mapping[str, EvidenceSet], answers: Mapping[Question, Answer]) -> Sequence[str]:
    """What is said of evidence that could not be gathered anew, whoever asked for it."""
    said: dict[str, str] = {}
    for question, answer in answers.items():
        if isinstance(question, ImageEvidence) and isinstance(answer, Answered) and isinstance(answer.value, dict) and (
                since := answer.value.get("stale_since")):
            said[question.image] = f"{since}: {answer.value.get('stale_reason')}"
    said |= {name: f"{format_rfc3339(gathered.stale_since)}: {gathered.stale_reason}"
             for name, gathered in evidence.items() if gathered.stale_since is not None}
    return [f"the evidence of {name} is of {words}" for name, words in said.items()]


def _warns(result: RuleResult) -> str | None:
    """What is said of a result that does not deny: of a skip only where something is passed over by it."""
    if result.outcome is Outcome.SKIP:
        return result.remedy
    if result.outcome is Outcome.WARN or (
            result.warns and not result.enforce and result.outcome in (Outcome.FAIL, Outcome.ERROR)):
        return result.message
    return None


def _against(result: RuleResult) -> bool:
    return result.outcome is Outcome.FAIL or result.outcome is Outcome.ERROR


def _about(result: RuleResult) -> tuple[str, str, str, str | None]:
    return result.kind, result.policy, result.rule, result.image


class _Fold:
    """The way of one request through the phases: `given` is it as it is by now."""

    def __init__(self, policies: PolicySet, given: Given, course: Course) -> None:
        self._policies = policies
        self.given = given
        self._unasked = {*course.phases}
        self.results: list[RuleResult] = []
        self.silent: list[Silent] = []
        self.spoke: list[Rule] = []
        """Rules that judged."""
        self.changes: list[Change] = []
        self.patch: list[dict[str, Any]] = []
        self._pins: list[dict[str, Any]] = []
        """What verify rules patch, all of it applied before the next phase, if there is one."""
        self._pinned: Given | None = None
        """`given` with them, where that was tried already."""
        self._renames = True
        """Whether they are all new names of images, which fit beside each other."""
        self._verified: set[tuple[str, str]] = set()
        """(kind, name) of policies whose verify rules judged."""

    def take(self, stage: Stage) -> None:
        for phase in stage.phases:
            if self._pins:
                self.given = self._with_pins()
                self._pins, self._pinned, self._renames = [], None, True
            self.given.changes = stage.changes
            if phase in self._unasked:
                self._unasked.discard(phase)
                self._ask(phase)
            elif not any(result.denies for result in self.results):
                # Another rule's patch can take an image out of what one exempts, and what was to be changed may not
                # have been: these rules are asked again, and what they have against the object counts.
                known = {_about(result) for result in self.results if _against(result)}
                for rule in self._policies.index(phase).asked(self.given.request):
                    said = _asked(rule, self.given)
                    new = [] if isinstance(said, str) else [
                        result for result in said.results
                        if result.denies or (_against(result) and _about(result) not in known)]
                    if new:
                        self.results += new
                        self.spoke.append(rule)

    def _ask(self, phase: Phase) -> None:
        judging, changes = phase in JUDGING, self.given.changes
        recall = self._policies.recall if phase is Phase.VALIDATE else None
        index = self._policies.index(phase)
        for rule, settled in self._in_order(index) if index.rules else ():
            said = _asked(rule, self.given, settled=settled, recall=recall)
            if isinstance(said, str):
                if said:
                    self.silent.append(Silent(rule.policy.name, rule.name, said))
                continue
            results = self._changed(rule, said) if changes and said.patch else said.results
            self.results += results
            self.changes += said.changes
            if judging:
                for result in results:
                    if result.outcome is not Outcome.SKIP:
                        self.spoke.append(rule)
                        if phase is Phase.VERIFY:
                            self._verified.add((rule.policy.kind, rule.policy.name))
                        break
        self.patch += self._pins

    def refuse_old_tags(self, answers: Mapping[Question, Answer]) -> None:
        """A tag that was resolved before, and cannot be now, admits nothing but the digest that it meant.

        Where no policy pinned it, a node would ask again, and may get another image than the one that was judged.
        """
        old = {question.image for question, answer in answers.items() if isinstance(question, ImageEvidence)
               and isinstance(answer, Answered) and isinstance(answer.value, dict)
               and answer.value.get("tag_since") is not None}
        old |= {name for name, gathered in self.given.evidence.items() if gathered.tag_since is not None}
        if not old:
            return
        pinned = {str(operation.get("value")).rpartition("@")[0] for operation in self.patch}
        judged = {image(result.image) for result in self.results if result.image is not None
                  and result.outcome is Outcome.PASS and (result.kind, result.policy) in self._verified}
        left = {named.written for named in self._with_pins().images if not named.digest and named.name in old} | {
            named.written for named in judged if not named.digest and named.name in old and named.name not in pinned}
        if left:
            self.results = [self._unpinned(result, left) for result in self.results]

    def unpinned(self) -> Sequence[str]:
        """What is said of images that stay named by a tag, where a policy was shown evidence of what it means now."""
        digests = shown(self.given)
        return [f"the evidence of {name} is about {digests[name]}, and a node that pulls its tag may get another "
                "image: name it by its digest, or let a policy pin it"
                for name in dict.fromkeys(named.name for named in self._with_pins().images if not named.digest)
                if name in digests] if digests else []

    def _unpinned(self, result: RuleResult, left: Set[str]) -> RuleResult:
        if result.outcome is not Outcome.PASS or (result.kind, result.policy) not in self._verified or (
                result.image is not None and result.image not in left):
            return result
        return msgspec.structs.replace(
            result, outcome=Outcome.FAIL, message=f"{result.image or min(left)}: what its tag means cannot be looked "
            "up now; by what it meant before it is only admitted where a policy pins its digest",
            remedy="name the image by its digest, or let a policy pin it (mutateDigest)")

    def _in_order(self, index: Index) -> Iterator[tuple[Rule, bool]]:
        """The rules that may speak of the request, as it is when their turn comes; the others are silent.

        With each, whether it is known that it is asked.
        """
        selection, heard = index.of(self.given.request), 0
        if not selection.by_content:
            for rank in selection.ranks(self.given.request):
                self.silent += selection.quiet[heard:selection.before[rank]]
                heard = selection.before[rank + 1]
                yield index.rules[rank], selection.settled[rank]
            self.silent += selection.quiet[heard:]
            return
        turns, given = deque(selection.ranks(self.given.request)), self.given
        while turns:
            rank = turns.popleft()
            self.silent += selection.quiet[heard:selection.before[rank]]
            heard = selection.before[rank + 1]
            yield index.rules[rank], selection.settled[rank]
            if self.given is not given:
                given = self.given
                turns = deque(later for later in selection.ranks(given.request) if later > rank)
        self.silent += selection.quiet[heard:]

    def _changed(self, rule: Rule, said: Spoken) -> Sequence[RuleResult]:
        """What a rule says, once its patch is applied; its failure where the patch does not fit.

        What a verify rule patches must fit beside what the others do, and is applied when all have spoken.
        """
        mutates = rule.phase is Phase.MUTATE
        new = said.patch if mutates else [operation for operation in said.patch if operation not in self._pins]
        if not new:
            return said.results
        if not mutates and self._renames and self.given.renames(new):
            self._pins += new
            self._pinned = None
            return said.results
        try:
            changed = (self.given if mutates else self._with_pins()).changed(new)
        except MalformedError as error:
            return [rule.failed(self.given, f"its patch does not fit: {error.message}")]
        except Exception as error:  # whatever an engine hands out as a patch
            return [rule.failed(self.given, f"its patch could not be applied: {_internal(rule, error)}")]
        if mutates:
            self.given = changed
            self.patch += new
        else:
            self._pinned, self._renames, changed.before = changed, False, self.given
            self._pins += new
        return said.results

    def _with_pins(self) -> Given:
        if self._pinned is None:
            self._pinned = self.given.changed(self._pins) if self._pins else self.given
        return self._pinned


def _asked(rule: Rule, given: Given, *, settled: bool = False, recall: Recall | None = None) -> Spoken | str:
    """What a rule says of a request, or why it says nothing; empty where that is not worth a word.

    `settled`: it is not silent. `recall`: what it said of a request like this one may be said again.
    """
    answers = given.answers
    missed = answers.missed
    try:
        if not settled:
            reason = rule.silence(given.request, answers)
            if reason is not None:
                return reason
        excused = None if rule.excepts_itself else excepted(rule, given)
        said = excused if excused is not None else rule.evaluate(given) if recall is None else recall.evaluate(
            rule, given)
        if answers.missed > missed:  # whatever a language made of it
            raise UnansweredError(answers.last)
        return _bounded(said) if said.results else "it has nothing to judge in this request"
    except Exception as error:  # a fault of ours or of a hostile input denies with a reason, it never admits
        reason = error.message if isinstance(error, (CustodyError, LanguageError)) else _internal(rule, error)
        return _bounded(Spoken([rule.failed(given, f"the rule could not be evaluated: {reason}")]))


def _bounded(said: Spoken) -> Spoken:
    for result in said.results:
        if len(result.message) > MAX_MESSAGE or len(result.told) > MAX_MESSAGE:
            return msgspec.structs.replace(said, results=[msgspec.structs.replace(
                result, message=_cut(result.message), told=_cut(result.told)) for result in said.results])
    return said


def _cut(text: str) -> str:
    rest = len(text) - MAX_MESSAGE
    return text if rest <= 0 else f"{text[:MAX_MESSAGE]}… ({rest} more characters)"


def spoken(rule: Rule, given: Given) -> Spoken | str:
    """For who tries a single rule out: the same as in a decision. `given.changes` is the caller's to set."""
    return _asked(rule, given)


def _internal(rule: Rule, error: Exception) -> str:
    if isinstance(error, RecursionError):  # of what the API server takes, and no pod is
        return "the object is nested too deep to be judged"
    _LOG.error("rule %s/%s", rule.policy.name, rule.name, exc_info=error)
    return f"internal error: {type(error).__name__}"


def _templates(request: Request, spoke: list[Rule]) -> tuple[str, ...]:
    """Pointers of the pod specs in what is no pod, where none of the rules that spoke looks into templates."""
    document = request.object
    if request.kind.kind == "Pod" or request.operation == "DELETE" or document is None:
        return ()
    if request.kind.group in ABOUT_PODS or any(rule.reads_templates for rule in spoke):
        return ()
    try:
        return tuple(pointer for pointer, _ in pod_templates(document))
    except CustodyError as error:
        return (f"/ ({error.message})",)


def written(request: Request) -> bytes:
    """A request as JSON, always in the same order: as the inputs' digest has it, and as it is kept."""
    return _ENCODER.encode(request)


def _inputs(text: bytes, evidence: Mapping[str, EvidenceSet], policies: PolicySet, context: Context,
            at: Course, answers: Mapping[Question, Answer]) -> str:
    """Digest of all inputs. A predicate is in it by the digest of its evidence, whose bytes it was read from."""
    facts = [[name, gathered.subject,
              [[v.evidence, v.kind, v.predicate_type, str(v.signer), v.signed_at, v.log, v.annotations, v.format]
               for v in gathered.verified],
              [[r.evidence, r.source, r.state, r.reason, r.predicate_type] for r in gathered.rejected],
              *([gathered.stale_since] if gathered.stale_since is not None else []),
              *([gathered.tag_since] if gathered.tag_since is not None else [])]
             for name, gathered in sorted(evidence.items())]
    return sha256(_ENCODER.encode([msgspec.Raw(text), facts, policies.digest, context, at, pairs(answers)]))


def pairs(answers: Mapping[Question, Answer]) -> list[tuple[Question, Answer]]:
    """Answers in an order that is always the same."""
    return sorted(answers.items(), key=lambda pair: _ENCODER.encode(pair[0]))
