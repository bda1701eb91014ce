"""The engine: who can reach whom, on which ports, of all pods and policies, and again after a change.

Everything is answered for classes of equal pods (`classes`); what the policies of one direction of a class let pass is
folded once for all classes that the same policies select (`tiers`), when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple, TypeVar

from custody.network.addresses import EVERYWHERE
from custody.network.classes import Classes, boundaries, own_ports, positions
from custody.network.intervals import EMPTY, Intervals
from custody.network.model import (
    Action,
    Direction,
    Identity,
    NamedPort,
    Namespace,
    Pod,
    Policy,
    Rule,
    Section,
    Topology,
)
from custody.network.ports import ALL
from custody.network.selector import EVERYTHING, Scope, tests
from custody.network.tiers import CLOSED, Applied, Outcome, Part, Space, fold

S = TypeVar("S", bound=Space)
_Selected = tuple[tuple[int, int], ...]


class Reach:
    """What one direction of some pods lets pass, by peer: to whom in egress, from whom in ingress."""

    def __init__(self) -> None:
        self.pods: dict[Outcome, int] = {}
        """Classes by outcome."""
        self.addresses: dict[Outcome, Intervals] = {}
        """Addresses outside of the pods by outcome."""
        self.covered = 0
        """Classes that are judged."""
        self._inherited = 0

    def at(self, number: int) -> Outcome:
        """Of the class of this number."""
        for outcome, bits in self.pods.items():
            if bits >> number & 1:
                return outcome
        raise KeyError(number)

    def inherit(self, splits: Sequence[tuple[int, int]]) -> None:
        """Classes that were taken out of judged ones are judged as those were."""
        taken: dict[int, int] = {}
        origins: dict[int, int] = {}  # what was taken out of a class may have been divided again
        for former, number in splits[self._inherited:]:
            if self.covered >> former & 1 and not self.covered >> number & 1:
                origin = origins[number] = origins.get(former, former)
                taken[origin] = taken.get(origin, 0) | 1 << number
                self.covered |= 1 << number
        if taken:
            formers = sum(1 << number for number in taken)
            for outcome, bits in self.pods.items():
                for number in positions(bits & formers):
                    self.pods[outcome] |= taken[number]
        self._inherited = len(splits)

    def table(self) -> list[Outcome]:
        """Of all classes, by their numbers."""
        result = [CLOSED] * self.covered.bit_length()
        for outcome, bits in self.pods.items():
            for number in positions(bits):
                result[number] = outcome
        return result

    def outside(self, address: int) -> Outcome:
        for outcome, addresses in self.addresses.items():
            if address in addresses:
                return outcome
        raise KeyError(address)


class Cell(NamedTuple):
    """Two classes and what may pass from one to the other."""

    source: int
    target: int
    outcome: Outcome


class Asked(NamedTuple):
    """A rule as it is asked about some pods."""

    policy: Policy
    rule: Rule
    pods: list[Part[int]]
    addresses: list[Part[Intervals]]


class Connectivity:
    """Of a topology and policies, both of which may change. Not for several threads at once."""

    def __init__(self, topology: Topology, policies: Iterable[Policy] = ()) -> None:
        self._policies: dict[int, Policy] = {}
        self._numbers: dict[Identity, tuple[int, ...]] = {}
        self._next = 0
        self._splits: list[tuple[int, int]] = []
        """Classes that were taken out of others, which they are like to all policies before."""
        self.topology = topology
        policies = list(policies)
        self.classes = Classes(topology, [edge for policy in policies for edge in _edges(policy)],
                               [key for policy in policies for key in _keys(policy)])
        self._selected: dict[Direction, list[dict[int, int]]] = {
            direction: [{} for _ in range(len(self.classes))] for direction in Direction}
        self._reaches: dict[tuple[Direction, _Selected, frozenset[NamedPort], bool], Reach] = {}
        for policy in policies:
            self._enter(policy)

    @property
    def policies(self) -> list[Policy]:
        """In the order in which they are asked."""
        return sorted(self._policies.values(), key=rank)

    # Changes

    def change(self, identity: Identity, policies: Sequence[Policy]) -> None:
        """The policy of this identity is these parts from now on; none: it has gone."""
        for number in self._numbers.pop(identity, ()):
            self._leave(number)
        leaving = self.classes.cut([edge for policy in policies for edge in _edges(policy)],
                                   [key for policy in policies for key in _keys(policy)])
        for former, number in self.classes.split(leaving):
            self._splits.append((former, number))
            for selected in self._selected.values():
                selected.append(dict(selected[former]))
        for policy in policies:
            self._enter(policy)

    def put(self, pod: Pod) -> None:
        """A pod that has come, or is as given from now on."""
        pods = (*(known for known in self.topology.pods if known.place != pod.place), pod)
        self.topology = self.classes.topology = replace(self.topology, pods=pods)
        self._settle(pod)

    def _settle(self, pod: Pod) -> None:
        number = self.classes.add(pod)
        if number < len(self._selected[Direction.INGRESS]):
            return
        for direction in Direction:
            self._selected[direction].append({})
        for at, policy in self._policies.items():
            if self.classes.bits(policy.subject) >> number & 1:
                self._select(at, policy, 1 << number)

    def remove(self, place: str) -> None:
        """The pod `namespace/name` has gone."""
        pods = tuple(known for known in self.topology.pods if known.place != place)
        self.topology = self.classes.topology = replace(self.topology, pods=pods)
        self.classes.remove(place)

    def relabel(self, namespace: Namespace) -> None:
        """A namespace has come, or has other labels."""
        namespaces = {**self.topology.namespaces, namespace.name: namespace}
        self.topology = self.classes.topology = replace(self.topology, namespaces=namespaces)
        for pod in self.topology.pods:
            if pod.namespace == namespace.name:
                self._settle(pod)

    def _enter(self, policy: Policy) -> None:
        number, self._next = self._next, self._next + 1
        self._policies[number] = policy
        self._numbers[policy.identity] = (*self._numbers.get(policy.identity, ()), number)
        self._select(number, policy, self.classes.bits(policy.subject))

    def _select(self, number: int, policy: Policy, bits: int) -> None:
        for direction in Direction:
            section = policy.section(direction)
            if section is None:
                continue
            limited = [(at, self.classes.bits(rule.subject)) for at, rule in enumerate(section.rules)
                       if rule.subject != EVERYTHING]
            whole = (1 << len(section.rules)) - 1
            selected = self._selected[direction]
            for chosen in positions(bits):
                if policy.host_subjects is False and self.classes.samples[chosen].host_network:
                    continue
                off = sum(1 << at for at, subjects in limited if not subjects >> chosen & 1)
                selected[chosen][number] = whole & ~off

    def _leave(self, number: int) -> None:
        del self._policies[number]
        for direction in Direction:
            for chosen in self._selected[direction]:
                chosen.pop(number, None)
        self._reaches = {key: reach for key, reach in self._reaches.items()
                         if all(at != number for at, _ in key[1])}

    # Answers

    def selecting(self, number: int, direction: Direction) -> list[Policy]:
        """The policies that select a class in a direction, in the order in which they are asked."""
        return sorted((self._policies[at] for at in self._selected[direction][number]), key=rank)

    def isolated(self, number: int, direction: Direction) -> bool:
        """Whether any policy makes a denial of what none allows there."""
        return any(section.isolates and policy.tier.denies for at in self._selected[direction][number]
                   if (section := (policy := self._policies[at]).section(direction)) is not None)

    def like(self, direction: Direction) -> dict[_Selected, list[int]]:
        """Classes with pods that the same rules select, by those."""
        result: dict[_Selected, list[int]] = {}
        for number in positions(self.classes.live):
            result.setdefault(tuple(sorted(self._selected[direction][number].items())), []).append(number)
        return result

    def selected(self, number: int, direction: Direction) -> list[tuple[Policy, int]]:
        """The policies that select a class, each with the set of its rules that are about it."""
        return [(self._policies[at], mask) for at, mask in sorted(self._selected[direction][number].items())]

    def asked(self, number: int, direction: Direction) -> list[Asked]:
        """The rules that are asked about a class, in their order, with what each means there."""
        result: list[Asked] = []
        ports = self.classes.samples[number].ports
        selected = self._selected[direction][number]
        for at in sorted(selected, key=lambda at: rank(self._policies[at])):
            policy = self._policies[at]
            section = policy.section(direction)
            result += [Asked(policy, rule, self._pods(rule, direction, ports), self._addresses(rule, direction, ports))
                       for index, rule in enumerate(section.rules if section else ()) if selected[at] >> index & 1]
        return result

    def reach(self, number: int, direction: Direction) -> Reach:
        """What may pass from (egress) or to (ingress) the pods of a class."""
        sample = self.classes.samples[number]
        selected = self._selected[direction][number]
        signature = tuple(sorted(selected.items()))
        ports = sample.ports if direction is Direction.INGRESS and self._names_ports(signature) else frozenset()
        key = (direction, signature, ports, sample.host_network)
        reach = self._reaches.get(key)
        if reach is None:
            reach = self._reaches[key] = Reach()
        reach.inherit(self._splits)
        missing = self.classes.mask & ~reach.covered
        if missing:
            self._judge(reach, direction, signature, ports, missing, host=sample.host_network)
        return reach

    def _names_ports(self, selected: _Selected) -> bool:
        return any(rule.ports.names or rule.ports.exceptions for at, _ in selected
                   if (section := self._policies[at].ingress) is not None for rule in section.rules)

    def _judge(self, reach: Reach, direction: Direction, selected: _Selected, ports: frozenset[NamedPort],
               missing: int, *, host: bool) -> None:
        chosen = sorted(((self._policies[at], mask) for at, mask in selected), key=lambda pair: rank(pair[0]))
        unsure = host and any(policy.host_subjects is None for policy, _ in chosen)
        pods = fold([_applied(policy, direction, mask, lambda rule: self._pods(rule, direction, ports), _either)
                     for policy, mask in chosen], missing)
        for outcome, bits in pods.items():
            told = _unsure(outcome) if unsure else outcome
            reach.pods[told] = reach.pods.get(told, 0) | bits
        if not reach.covered:
            addresses = fold([_applied(policy, direction, mask, lambda rule: self._addresses(rule, direction, ports),
                                       _all_pairs) for policy, mask in chosen], EVERYWHERE)
            for outcome, space in addresses.items():
                told = _unsure(outcome) if unsure else outcome
                reach.addresses[told] = reach.addresses.get(told, EMPTY) | space
        reach.covered |= missing

    def _pods(self, rule: Rule, direction: Direction, ports: frozenset[NamedPort]) -> list[Part[int]]:
        region = self.classes.region(rule.peers)
        certain = not rule.narrower
        if direction is Direction.INGRESS:
            return [Part(rule.action, region.pods, region.maybe, own_ports(rule.ports, ports), certain)]
        return [Part(rule.action, region.pods & bits, region.maybe & bits, numbers, certain)
                for bits, numbers in self.classes.ports(rule.ports)]

    def _addresses(self, rule: Rule, direction: Direction, ports: frozenset[NamedPort]) -> list[Part[Intervals]]:
        numbers = own_ports(rule.ports, ports) if direction is Direction.INGRESS else rule.ports.numbers
        return [Part(rule.action, self.classes.region(rule.peers).addresses, EMPTY, numbers, not rule.narrower)]

    def outcome(self, source: int, target: int) -> Outcome:
        """What may pass between two classes, by the policies alone: a pod to itself is judged as to its like."""
        return self.reach(source, Direction.EGRESS).at(target) & self.reach(target, Direction.INGRESS).at(source)

    def cells(self, sources: int | None = None, targets: int | None = None,
              advance: Callable[[int, int], None] | None = None) -> Iterator[Cell]:
        """Pairs of classes between which anything may pass or depends; all that have pods, or those of the sets.

        `advance` is told how many sources are done, of how many.
        """
        live = self.classes.live
        chosen = live if sources is None else sources & live
        ends = live if targets is None else targets & live
        groups: dict[int, tuple[Reach, int]] = {}
        for number in positions(ends):
            reach = self.reach(number, Direction.INGRESS)
            groups[id(reach)] = (reach, groups.get(id(reach), (reach, 0))[1] | 1 << number)
        total = chosen.bit_count()
        for done, source in enumerate(positions(chosen)):
            leaving = [(outcome, bits & ends) for outcome, bits in self.reach(source, Direction.EGRESS).pods.items()
                       if outcome.allowed or outcome.depends]
            for reach, members in groups.values():
                entering = reach.at(source)
                if not (entering.allowed or entering.depends):
                    continue
                for outcome, bits in leaving:
                    hit = bits & members
                    if hit and any(joined := outcome & entering):
                        for target in positions(hit):
                            yield Cell(source, target, joined)
            if advance is not None:
                advance(done + 1, total)


def rank(policy: Policy) -> tuple[float, str, float, str]:
    """By which policies are asked: tier, order, and then by name, as Calico does: of one text, in which the slash
    stands behind the hyphen (felix/calc/policy_sorter.go, PolKVLess)."""
    identity = policy.identity
    return (policy.tier.order, policy.tier.name, policy.order,
            f"{identity.name}/{identity.namespace}/{identity.kind}")


def _edges(policy: Policy) -> Iterator[int]:
    for section in (policy.ingress, policy.egress):
        if section is not None:
            for rule in section.rules:
                yield from boundaries(rule.peers)


def _keys(policy: Policy) -> Iterator[str]:
    """The labels of pods that it asks for."""
    rules = [rule for section in (policy.ingress, policy.egress) if section is not None for rule in section.rules]
    for expression in (policy.subject, *(rule.subject for rule in rules),
                       *(peer.pods for rule in rules for peer in rule.peers if peer.pods is not None)):
        for test in tests(expression):
            if test.scope is Scope.POD:
                yield test.key


def _applied(policy: Policy, direction: Direction, mask: int, parts: Callable[[Rule], list[Part[S]]],
             join: Callable[[Iterable[S]], S]) -> Applied[S]:
    """Neighbours that say the same word are one part for each set of ports, since their order does not matter then:
    thousands of blocks are joined once. What may pass is left in its order."""
    section = policy.section(direction) or Section((), isolates=False)
    listed = (part for at, rule in enumerate(section.rules) if mask >> at & 1 for part in parts(rule))
    joined: list[Part[S]] = []
    for (action, certain), group in groupby(listed, lambda part: (part.action, part.certain)):
        if action is Action.PASS:
            joined += group
            continue
        by_ports: dict[Intervals, list[Part[S]]] = {}
        for part in group:
            by_ports.setdefault(part.ports, []).append(part)
        joined += [run[0] if len(run) == 1 else Part(action, join(part.space for part in run),
                                                     join(part.maybe for part in run), ports, certain)
                   for ports, run in by_ports.items()]
    return Applied(policy.tier, policy.order, section.isolates, joined)


def _either(sets: Iterable[int]) -> int:
    result = 0
    for bits in sets:
        result |= bits
    return result


def _all_pairs(spaces: Iterable[Intervals]) -> Intervals:
    return Intervals(pair for space in spaces for pair in space)


def _unsure(outcome: Outcome) -> Outcome:
    """Of a pod on the host's network: a plugin that does not look at it lets everything pass."""
    return Outcome(outcome.allowed, ALL - outcome.allowed)
