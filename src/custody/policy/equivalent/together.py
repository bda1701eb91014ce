"""What policies of several engines do to each other: two that judge the same, what one writes and another refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from custody.errors import CustodyError
from custody.policy.decide import decide
from custody.policy.equivalent.search import Ask, Search
from custody.policy.equivalent.words import Words
from custody.policy.given import Given
from custody.policy.kinds import Kinds
from custody.policy.load import PolicySet
from custody.policy.lookup import Answers
from custody.policy.model import Context, Request
from custody.policy.phases import Phase
from custody.policy.rule import Policy
from custody.ports.lookup import Answer, Question

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_REQUESTS = 250
_PAIRS = 40
_LEAST = 10
"""Requests of which it must be so."""


class Together(NamedTuple):
    """Of `first`, with `second`."""

    first: Policy
    second: Policy
    code: str
    message: str


def together(policies: PolicySet, kinds: Kinds, ask: Callable[[Words], Ask]) -> Iterator[Together]:
    """Of pairs of policies of different engines. `ask`: what policies look up, where they speak of such words."""
    judging = [policy for policy in policies.policies
               if _has(policy, Phase.VALIDATE) and not _has(policy, Phase.MUTATE)]
    changing = [policy for policy in policies.policies if _has(policy, Phase.MUTATE)]
    words = {id(policy): Words(policies.sources(policy)).names for policy in (*judging, *changing)}
    pairs = 0
    for at, first in enumerate(judging):
        for second in judging[at + 1:]:
            if first.engine != second.engine and pairs < _PAIRS and _alike(words[id(first)], words[id(second)]):
                pairs += 1
                yield from _same(policies, first, second, kinds, ask)
    for first in changing:
        for second in judging:
            if pairs < 2 * _PAIRS:
                pairs += 1
                yield from _refused(policies, first, second, kinds, ask)


def _has(policy: Policy, phase: Phase) -> bool:
    return any(rule.phase is phase for rule in policy.rules)


def _alike(left: set[str], right: set[str]) -> bool:
    """Whether most names of the one that says less are the other's, too."""
    return len(left & right) * 4 >= min(len(left), len(right))


def _alone(policies: PolicySet, policy: Policy) -> PolicySet:
    return policies.only(lambda other: other is policy)


def _same(policies: PolicySet, first: Policy, second: Policy, kinds: Kinds,
          ask: Callable[[Words], Ask]) -> Iterator[Together]:
    left, right = _alone(policies, first), _alone(policies, second)
    try:
        search = Search(left, right, kinds, ask(Words([*left.documents, *right.documents])),
                        operations=("CREATE", "UPDATE"))
    except CustodyError:
        return  # of other kinds, or they do more than judge
    found = search.run(_REQUESTS)
    if found.difference is None and min(found.against) >= _LEAST and max(found.against) < found.asked:
        yield Together(first, second, "judged-twice", f"{second.kind} {second.name} of another engine says the same: "
                       f"of {found.asked} requests no difference was found, {found.against[0]} of them against")


def _refused(policies: PolicySet, first: Policy, second: Policy, kinds: Kinds,
             ask: Callable[[Words], Ask]) -> Iterator[Together]:
    """What the first writes, the second never lets through, and some of it would have come through as it was."""
    changing, judging = _alone(policies, first), _alone(policies, second)
    answers_of = ask(Words([*changing.documents, *judging.documents]))
    try:
        search = Search(judging, judging, kinds, answers_of, operations=("CREATE",))
    except CustodyError:
        return
    changed = denied = saved = 0
    for request in search.requests(_REQUESTS // 4):
        mutated = _changed(changing, request, answers_of)
        if mutated is None:
            continue
        changed += 1
        denied += search.verdicts(mutated)[0].denied
        saved += not search.verdicts(request)[0].denied
    if changed >= _LEAST and denied == changed and saved:
        yield Together(first, second, "changed-then-denied", f"{second.kind} {second.name} denies whatever it changes: "
                       f"all of {changed} requests, {saved} of which it let through unchanged")


def _changed(changing: PolicySet, request: Request, ask: Ask) -> Request | None:
    """The request as the policy changes it; None where it does not."""
    answers: dict[Question, Answer] = {}
    try:
        decision = decide(request, {}, changing, Context(now=_NOW), digested=False)
        while questions := [question for question in decision.asks.questions if question not in answers]:
            answers |= {question: ask(question) for question in questions}
            decision = decide(request, {}, changing, Context(now=_NOW), answers=answers, digested=False)
        if not decision.patch:
            return None
        return Given(request, Context(now=_NOW), {}, Answers(answers)).changed(decision.patch).request
    except CustodyError:
        return None

