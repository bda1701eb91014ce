"""What policies of several engines do to each other: two that judge the same, what one writes and another refuses."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from custody.errors import CustodyError
from custody.policy.decide import decide
from custody.policy.equivalent.asking import NOW, Ask, answered
from custody.policy.equivalent.search import NothingInCommonError, Search
from custody.policy.equivalent.words import Words
from custody.policy.given import Given
from custody.policy.kinds import Kinds
from custody.policy.load import PolicySet
from custody.policy.lookup import Answers
from custody.policy.model import Context, Request
from custody.policy.phases import Phase
from custody.policy.rule import Policy
from custody.ports.lookup import Answer, Question

_REQUESTS = 250
_KINDS = 6
_WORK = 24_000
"""Of all pairs: for each request the rules that it may be asked of, and what it takes to make it."""
_MADE = 4
"""What it takes to make a request, in rules."""
_ALIKE = 0.25
"""Likeness from which on two policies may judge the same."""
_LEAST = 10
"""Requests of which it must be so."""


class Together(NamedTuple):
    """Of `first`, with `second`."""

    first: Policy
    second: Policy
    code: str
    message: str


class Look(NamedTuple):
    """At one pair. `requests`: what it took."""

    requests: int
    pair: Together | None = None
    unknown: str = ""
    """Why nothing is known of it."""


class Compared(NamedTuple):
    """Of all pairs: what was found, how many were compared, and those that were not."""

    pairs: list[Together]
    compared: int
    left_out: list[tuple[Policy, Policy]]
    """For want of time."""
    unknown: list[tuple[Policy, Policy, str]]
    """Looked at, and nothing is known of them: why."""


def together(policies: PolicySet, kinds: Kinds, ask: Callable[[Words], Ask],
             progress: Callable[[int], None] | None = None) -> Compared:
    """Of pairs of policies of different engines, until the work that is given to it is done.

    `ask`: what policies look up, where they speak of such words. `progress` is told of each pair.
    """
    twice, refused = _pairs(policies)
    conspicuous: list[Together] = []
    left_out: list[tuple[Policy, Policy]] = []
    unknown: list[tuple[Policy, Policy, str]] = []
    left = 0
    share = _WORK // 2 if twice and refused else _WORK
    for look, pairs in ((_same, twice), (_refused, refused)):
        left += share if pairs else 0  # and what the others left
        for first, second in pairs:
            if left <= 0:
                left_out.append((first, second))
                continue
            seen = look(policies, first, second, kinds, ask)
            left -= (1 + seen.requests) * (_MADE + len(first.rules) + len(second.rules))
            conspicuous += [seen.pair] if seen.pair is not None else []
            unknown += [(first, second, seen.unknown)] if seen.unknown else []
            if progress is not None:
                progress(1)
    return Compared(conspicuous, len(twice) + len(refused) - len(left_out) - len(unknown), left_out, unknown)


def _pairs(policies: PolicySet) -> tuple[list[tuple[Policy, Policy]], list[tuple[Policy, Policy]]]:
    """(those that may judge the same, the most alike first; those of which one may write what the other refuses)"""
    judging = [policy for policy in policies.policies
               if _has(policy, Phase.VALIDATE) and not _has(policy, Phase.MUTATE)]
    changing = [policy for policy in policies.policies if _has(policy, Phase.MUTATE)]
    words = {id(policy): Words(policies.sources(policy)).names for policy in (*judging, *changing)}
    likeness = [(_likeness(words[id(first)], words[id(second)]), first, second)
                for at, first in enumerate(judging) for second in judging[at + 1:] if first.engine != second.engine]
    alike = sorted((pair for pair in likeness if pair[0] >= _ALIKE), key=lambda pair: -pair[0])
    return ([(first, second) for _, first, second in alike],
            [(first, second) for first in changing for second in judging])


def _has(policy: Policy, phase: Phase) -> bool:
    return any(rule.phase is phase for rule in policy.rules)


def _likeness(left: set[str], right: set[str]) -> float:
    """Of the names of the one that says less, the share that the other has, too."""
    least = min(len(left), len(right))
    return len(left & right) / least if least else 1


def _alone(policies: PolicySet, policy: Policy) -> PolicySet:
    return policies.only(lambda standing: standing is policy)


def _same(policies: PolicySet, first: Policy, second: Policy, kinds: Kinds,
          ask: Callable[[Words], Ask]) -> Look:
    """Whether they judge the same. Of other kinds, they do not."""
    left, right = _alone(policies, first), _alone(policies, second)
    try:
        search = Search(left, right, kinds, ask(Words([*left.documents, *right.documents])),
                        operations=("CREATE", "UPDATE"), kinds_tried=_KINDS)
    except NothingInCommonError:
        return Look(0)
    except CustodyError as error:
        return Look(0, unknown=error.message)
    outcome = search.run(_REQUESTS, smallest=False)
    if outcome.difference is None and not all(outcome.judged):
        return Look(outcome.asked, unknown=f"of {outcome.asked} requests one of them judged none")
    if outcome.difference is None and min(outcome.against) >= _LEAST and max(outcome.against) < outcome.asked:
        return Look(outcome.asked, Together(
            first, second, "judged-twice", f"{second.kind} {second.name} of another engine says the same: "
            f"of {outcome.asked} requests no difference was found, {outcome.against[0]} of them against"))
    return Look(outcome.asked)


def _refused(policies: PolicySet, first: Policy, second: Policy, kinds: Kinds,
             ask: Callable[[Words], Ask]) -> Look:
    """Whether what the first writes the second never lets through, and some of it would have come through as it was."""
    changing, judging = _alone(policies, first), _alone(policies, second)
    answers_of = ask(Words([*changing.documents, *judging.documents]))
    try:
        search = Search(judging, judging, kinds, answers_of, operations=("CREATE",), kinds_tried=_KINDS)
    except CustodyError as error:
        return Look(0, unknown=error.message)
    if not any(rule.scope.selects(kind) for rule in first.rules if rule.phase is Phase.MUTATE
               for kind, _ in search.targets):
        return Look(0)  # of other kinds
    changed = saved = asked = 0
    for request in islice(search.requests(_REQUESTS // 4), _REQUESTS // 2):
        asked += 2  # it is judged before and after
        mutated = _changed(changing, request, answers_of)
        if mutated is None:
            continue
        changed += 1
        if not search.verdict(mutated).denied:
            return Look(asked)
        saved += not search.verdict(request).denied
    if changed >= _LEAST and saved:
        return Look(asked, Together(
            first, second, "changed-then-denied", f"{second.kind} {second.name} denies whatever it changes: "
            f"all of {changed} requests, {saved} of which it let through unchanged"))
    return Look(asked, unknown="" if changed else f"the first changed none of {asked // 2} requests")


def _changed(changing: PolicySet, request: Request, ask: Ask) -> Request | None:
    """The request as the policy changes it; None where it does not."""
    answers: dict[Question, Answer] = {}
    try:
        decision = answered(lambda known: decide(
            request, {}, changing, Context(now=NOW), answers=known, digested=False), ask, answers)
        if not decision.patch:
            return None
        return Given(request, Context(now=NOW), {}, Answers(answers)).changed(decision.patch).request
    except CustodyError:
        return None

