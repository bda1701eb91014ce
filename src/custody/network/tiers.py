"""The policies of one direction of a pod, folded tier by tier into what may pass to or from every peer at once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import groupby
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

from custody.network.atoms import MOST, pieces, too_many
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


_AT_ONCE = 40_000
"""Looks at a state for a rule, before peers are folded piece by piece."""
_SMALL = 64
_BEGIN = State(EMPTY, ALL, EMPTY, EMPTY, EMPTY)


def _step(state: State, action: Action, ports: Intervals, certain: bool) -> State:
    """Small ones are kept: many pods have them alike. Large ones have one pod each, and would fill the memory."""
    if len(ports.pairs) + sum(len(part.pairs) for part in state) > _SMALL:
        return _stepped(state, action, ports, certain)
    return _kept(state, action, ports, certain)


def _stepped(state: State, action: Action, ports: Intervals, certain: bool) -> State:
    hit = ports & state.undecided
    if not hit:
        return state
    allowed, undecided, passed, may_allow, may_deny = state
    if not certain:
        return State(allowed, undecided, passed, may_allow if action is Action.DENY else may_allow | hit,
                     may_deny if action is Action.ALLOW else may_deny | hit)
    return State(allowed | hit if action is Action.ALLOW else allowed, undecided - hit,
                 passed | hit if action is Action.PASS else passed, may_allow, may_deny)


_kept = lru_cache(1 << 14)(_stepped)


class _ManyError(Exception):
    """More states than are worth while to look at for each rule."""


def fold(policies: Sequence[Applied[S]], universe: S) -> dict[Outcome, S]:
    """Every peer of the universe in the set of its outcome. `policies` in the order in which they are asked.

    Few outcomes are folded for all peers at once; many of them, as thousands of rules with ports of their own make, for
    each piece that no rule divides. Raises UnsupportedError where those are too many too (`atoms.MOST`).
    """
    with suppress(_ManyError):
        return _whole(policies, universe, [_AT_ONCE])
    return _by_pieces(policies, universe)


def _by_pieces(policies: Sequence[Applied[S]], universe: S) -> dict[Outcome, S]:
    spaces = [space for policy in policies for part in policy.parts for space in (part.space, part.maybe)]
    outcomes: dict[Outcome, list[S]] = {}
    work = 0
    for numbers, space in pieces(spaces, universe).items():
        work += len(policies) + len(numbers)
        if work > MOST:
            raise too_many()
        meant, at = frozenset(numbers), 0
        told: list[Applied[int]] = []
        for policy in policies:
            first, at = at, at + 2 * len(policy.parts)
            inside = sorted({(number - first) // 2 for number in numbers[bisect_left(numbers, first):
                                                                          bisect_left(numbers, at)]})
            told.append(Applied(policy.tier, policy.order, policy.isolates, _neighbours([
                Part(part.action, int(first + 2 * index in meant), int(first + 2 * index + 1 in meant), part.ports,
                     part.certain) for index in inside for part in (policy.parts[index],)])))
        [outcome] = _whole(told, 1, [MOST])
        outcomes.setdefault(outcome, []).append(space)
    return {outcome: joined(spaces) for outcome, spaces in outcomes.items()}


def _neighbours(parts: Sequence[Part[int]]) -> list[Part[int]]:
    """Those that say the same of one piece, one after the other, as one with the ports of all."""
    return [Part(*alike[:3], Intervals(pair for part in run for pair in part.ports), alike[3])
            for alike, group in groupby(parts, lambda part: (part.action, part.space, part.maybe, part.certain))
            for run in (list(group),)]


def joined(spaces: Sequence[S]) -> S:
    """All of them as one set."""
    if isinstance(spaces[0], Intervals):
        union: Any = Intervals(pair for space in spaces for pair in space)  # type: ignore[attr-defined]
        result: S = union
        return result
    result = spaces[0]
    for space in spaces[1:]:
        result = result | space
    return result


def _whole(policies: Sequence[Applied[S]], universe: S, budget: list[int]) -> dict[Outcome, S]:
    states: dict[State, S] = {_BEGIN: universe} if universe else {}
    for tier, members in groupby(policies, lambda policy: policy.tier):
        inside = list(members)
        for _, tied in groupby(inside, lambda policy: policy.order):
            group = list(tied)
            if tier.ordered and len(group) > 1:
                states = _apply(states, list(_conflicts(group, universe, budget)), budget)
            for policy in group:
                states = _apply(states, policy.parts, budget)
        states = _finish(states, denies=tier.denies and any(policy.isolates for policy in inside))
    outcomes: dict[Outcome, S] = {}
    for state, space in states.items():
        allowed = state.allowed | state.undecided
        uncertain = (state.may_allow - allowed) | (state.may_deny & allowed)
        outcome = Outcome(allowed - uncertain, uncertain)
        outcomes[outcome] = outcomes[outcome] | space if outcome in outcomes else space
    return outcomes


def _apply(states: dict[State, S], parts: Iterable[Part[S]], budget: list[int]) -> dict[State, S]:
    for part in parts:
        budget[0] -= len(states)
        if budget[0] < 0:
            raise _ManyError
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


def _conflicts(group: Sequence[Applied[S]], universe: S, budget: list[int]) -> Iterable[Part[S]]:
    """Of policies that are equally early: where two of them say different words, as rules that may match."""
    empty = universe ^ universe
    before: list[tuple[tuple[Intervals, Intervals, Intervals], S]] = [((EMPTY, EMPTY, EMPTY), universe)]
    for policy in group:
        alone = _apply({_BEGIN: universe}, policy.parts, budget)
        after = []
        budget[0] -= len(before) * len(alone)
        if budget[0] < 0:
            raise _ManyError
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
