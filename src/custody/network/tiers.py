"""The policies of one direction of a pod, folded tier by tier into what may pass to or from every peer at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

from custody.network.intervals import EMPTY, Intervals
from custody.network.model import Action, Tier
from custody.network.ports import ALL


class Space(Protocol):
    """A set of peers: an int of classes, or Intervals of addresses."""

    def __and__(self, other: Any, /) -> Self: ...

    def __or__(self, other: Any, /) -> Self: ...

    def __xor__(self, other: Any, /) -> Self: ...

    def __bool__(self) -> bool: ...


S = TypeVar("S", bound=Space)


class Outcome(NamedTuple):
    """Ports of one peer. What is in neither is denied."""

    allowed: Intervals
    depends: Intervals
    """Of which nobody knows from the policies alone: the plugin decides, or something that is not modelled."""

    def __and__(self, peer: Outcome) -> Outcome:
        """Both directions have to allow."""
        allowed = self.allowed & peer.allowed
        return Outcome(allowed, ((self.allowed | self.depends) & (peer.allowed | peer.depends)) - allowed)


OPEN = Outcome(ALL, EMPTY)
CLOSED = Outcome(EMPTY, EMPTY)


class Part(NamedTuple, Generic[S]):
    """A rule, or a piece of one, as the fold sees it."""

    action: Action
    space: S
    """Peers that match."""
    maybe: S
    """Peers of which that is not certain."""
    ports: Intervals
    certain: bool


class Applied(NamedTuple, Generic[S]):
    """One policy that selects the subject, in one direction."""

    tier: Tier
    order: float
    isolates: bool
    parts: Sequence[Part[S]]


class State(NamedTuple):
    allowed: Intervals
    undecided: Intervals
    passed: Intervals
    may_allow: Intervals
    """An uncertain rule would have allowed these before they were decided."""
    may_deny: Intervals


_BEGIN = State(EMPTY, ALL, EMPTY, EMPTY, EMPTY)


@lru_cache(1 << 16)
def _step(state: State, action: Action, ports: Intervals, certain: bool) -> State:
    hit = ports & state.undecided
    if not hit:
        return state
    allowed, undecided, passed, may_allow, may_deny = state
    if not certain:
        return State(allowed, undecided, passed, may_allow if action is Action.DENY else may_allow | hit,
                     may_deny if action is Action.ALLOW else may_deny | hit)
    return State(allowed | hit if action is Action.ALLOW else allowed, undecided - hit,
                 passed | hit if action is Action.PASS else passed, may_allow, may_deny)


def fold(policies: Sequence[Applied[S]], universe: S) -> dict[Outcome, S]:
    """Every peer of the universe in the set of its outcome. `policies` in the order in which they are asked."""
    states: dict[State, S] = {_BEGIN: universe} if universe else {}
    for tier, members in groupby(policies, lambda policy: policy.tier):
        inside = list(members)
        for _, tied in groupby(inside, lambda policy: policy.order):
            group = list(tied)
            if tier.ordered and len(group) > 1:
                states = _apply(states, list(_conflicts(group, universe)))
            for policy in group:
                states = _apply(states, policy.parts)
        states = _finish(states, denies=tier.denies and any(policy.isolates for policy in inside))
    outcomes: dict[Outcome, S] = {}
    for state, space in states.items():
        allowed = state.allowed | state.undecided
        uncertain = (state.may_allow - allowed) | (state.may_deny & allowed)
        outcome = Outcome(allowed - uncertain, uncertain)
        outcomes[outcome] = outcomes[outcome] | space if outcome in outcomes else space
    return outcomes


def _apply(states: dict[State, S], parts: Iterable[Part[S]]) -> dict[State, S]:
    for part in parts:
        for space, certain in ((part.space, part.certain), (part.maybe, False)):
            if not space:
                continue
            moved: list[tuple[State, S, State]] = []
            for state, peers in states.items():
                hit = peers & space  # first: most states have nothing to do with a rule
                if hit and (after := _step(state, part.action, part.ports, certain)) != state:
                    moved.append((state, hit, after))
            for state, hit, _ in moved:
                rest = states[state] ^ hit
                if rest:
                    states[state] = rest
                else:
                    del states[state]
            for _, hit, after in moved:
                states[after] = states[after] | hit if after in states else hit
    return states


def _finish(states: dict[State, S], *, denies: bool) -> dict[State, S]:
    """The tier's end: what was passed goes on, and what nobody spoke of where nobody isolates."""
    after: dict[State, S] = {}
    for state, space in states.items():
        going = state.passed if denies else state.passed | state.undecided
        moved = State(state.allowed, going, EMPTY, state.may_allow, state.may_deny)
        after[moved] = after[moved] | space if moved in after else space
    return after


def _conflicts(group: Sequence[Applied[S]], universe: S) -> Iterable[Part[S]]:
    """Of policies that are equally early: where two of them say different words, as rules that may match."""
    empty = universe ^ universe
    before: list[tuple[tuple[Intervals, Intervals, Intervals], S]] = [((EMPTY, EMPTY, EMPTY), universe)]
    for policy in group:
        alone = _apply({_BEGIN: universe}, policy.parts)
        after = []
        for (allow, deny, passing), space in before:
            for state, peers in alone.items():
                if hit := space & peers:
                    denied = ALL - state.allowed - state.passed - state.undecided
                    after.append(((allow | state.allowed, deny | denied, passing | state.passed), hit))
        before = after
    for (allow, deny, passing), space in before:
        torn = (allow & deny) | (allow & passing) | (deny & passing)
        if torn:
            yield Part(Action.PASS, empty, space, torn, certain=False)
