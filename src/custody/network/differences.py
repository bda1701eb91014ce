"""Two sets of policies compared: the connections that appear and vanish, exactly, and the rules that make them so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from custody.network.addresses import texts
from custody.network.connectivity import Connectivity, Reach
from custody.network.intervals import EMPTY, Intervals
from custody.network.judgement import End, Half, Judgement, judge
from custody.network.model import Direction, Pod, Policy
from custody.network.tiers import Outcome


class Delta(NamedTuple):
    """Ports whose verdict differs."""

    appeared: Intervals
    """Denied before, and not now."""
    vanished: Intervals
    unsure: Intervals
    """Allowed in one, and in the other that depends."""

    def __bool__(self) -> bool:
        return bool(self.appeared or self.vanished or self.unsure)


class Change(NamedTuple):
    """Between two workloads, or a workload and addresses."""

    source: str
    target: str
    delta: Delta
    before: tuple[str, ...]
    """Why it was so; a sentence for each direction that changed."""
    after: tuple[str, ...]


class Comparison(NamedTuple):
    changes: list[Change]
    """The first `most` of them, by source and target."""
    total: int
    """How many there are."""
    added: list[str]
    """Workloads that are in the second alone: nothing is compared of them."""
    removed: list[str]

    @property
    def equivalent(self) -> bool:
        return not self.total


class _Group(NamedTuple):
    old: int
    new: int
    pods: list[Pod]


def compare(old: Connectivity, new: Connectivity, *, most: int = 10_000,
            advance: Callable[[int], None] | None = None) -> Comparison:
    """Of the pods that both know, every pair, every port, and all addresses. `advance` is told of each pod class done.

    A pod's connections to itself are not compared: what policies say of them is the plugin's.
    """
    former = {pod.place: pod for pod in old.topology.pods}
    latter = {pod.place: pod for pod in new.topology.pods}
    by_pair: dict[tuple[int, int], _Group] = {}
    for place, pod in latter.items():
        if place in former:
            key = (old.classes.of(former[place]), new.classes.of(pod))
            by_pair.setdefault(key, _Group(*key, [])).pods.append(pod)
    collected: dict[tuple[str, str, Delta], tuple[Judgement, Judgement]] = {}
    for source, target, delta, judgements in _Comparing(old, new, list(by_pair.values())).deltas(advance):
        collected.setdefault((source, target, delta), judgements)
    changes = []
    for source, target, delta in sorted(collected, key=lambda key: (key[0], key[1], key[2].appeared.pairs))[:most]:
        before, after = collected[source, target, delta]
        changes.append(Change(source, target, delta, *_reasons(before, after)))
    return Comparison(changes, len(collected),
                      sorted({pod.shown for place, pod in latter.items() if place not in former}),
                      sorted({pod.shown for place, pod in former.items() if place not in latter}))


def delta_of(before: Outcome, after: Outcome) -> Delta:
    """Of one pair."""
    was, now = before.allowed | before.depends, after.allowed | after.depends
    return Delta(now - was, was - now, (before.allowed & after.depends) | (before.depends & after.allowed))


_Told = tuple[str, str, Delta, tuple[Judgement, Judgement]]


class _Comparing:
    def __init__(self, old: Connectivity, new: Connectivity, groups: list[_Group]) -> None:
        self._old, self._new, self._groups = old, new, groups
        self._tables: dict[int, tuple[Reach, list[Outcome]]] = {}
        self._known: dict[Policy, int] = {}
        self._same_pods = old.topology == new.topology
        self._places = {pod.place: pod for pod in old.topology.pods}

    def deltas(self, advance: Callable[[int], None] | None) -> Iterator[_Told]:
        leaving = {at for at, group in enumerate(self._groups) if self._differs(group, Direction.EGRESS)}
        entering = {at for at, group in enumerate(self._groups) if self._differs(group, Direction.INGRESS)}
        for at, source in enumerate(self._groups):
            targets = self._groups if at in leaving else [self._groups[index] for index in sorted(entering)]
            yield from self._from(source, targets)
            if at in leaving:
                yield from self._outside(source, Direction.EGRESS)
            if at in entering:
                yield from self._outside(source, Direction.INGRESS)
            if advance is not None:
                advance(1)

    def _differs(self, group: _Group, direction: Direction) -> bool:
        """Whether what passes there may differ: not where equal policies see equal pods."""
        if not self._same_pods:
            return True
        return self._selected(self._old, group.old, direction) != self._selected(self._new, group.new, direction)

    def _selected(self, engine: Connectivity, number: int, direction: Direction) -> set[tuple[int, int]]:
        return {(self._known.setdefault(policy, len(self._known)), mask)
                for policy, mask in engine.selected(number, direction)}

    def _table(self, engine: Connectivity, number: int, direction: Direction) -> list[Outcome]:
        reach = engine.reach(number, direction)
        known = self._tables.get(id(reach))
        if known is None:
            known = self._tables[id(reach)] = (reach, reach.table())
        return known[1]

    def _from(self, source: _Group, targets: list[_Group]) -> Iterator[_Told]:
        was, now = (self._table(engine, number, Direction.EGRESS)
                    for engine, number in ((self._old, source.old), (self._new, source.new)))
        for target in targets:
            before = was[target.old] & self._table(self._old, target.old, Direction.INGRESS)[source.old]
            after = now[target.new] & self._table(self._new, target.new, Direction.INGRESS)[source.new]
            if before == after or not (delta := delta_of(before, after)):
                continue
            pair = next(((here, there) for here in source.pods for there in target.pods if here.place != there.place),
                        None)
            if pair is None:
                continue
            judgements = self._judged(End(pair[0]), End(pair[1]), delta)
            names = {(here.shown, there.shown) for here in _distinct(source.pods) for there in _distinct(target.pods)}
            for left, right in names:
                yield left, right, delta, judgements

    def _outside(self, group: _Group, direction: Direction) -> Iterator[_Told]:
        was, now = self._old.reach(group.old, direction), self._new.reach(group.new, direction)
        by_delta: dict[Delta, Intervals] = {}
        for before, old_space in was.addresses.items():
            for after, new_space in now.addresses.items():
                if before != after and (space := old_space & new_space) and (delta := delta_of(before, after)):
                    by_delta[delta] = by_delta.get(delta, EMPTY) | space
        for delta, space in by_delta.items():
            address = End(None, space.pairs[0][0])
            pod = End(group.pods[0])
            leaving = direction is Direction.EGRESS
            judgements = self._judged(pod if leaving else address, address if leaving else pod, delta)
            shown = ", ".join(texts(space))
            for known in _distinct(group.pods):
                yield known.shown if leaving else shown, shown if leaving else known.shown, delta, judgements

    def _judged(self, source: End, target: End, delta: Delta) -> tuple[Judgement, Judgement]:
        ports = delta.appeared or delta.vanished or delta.unsure
        port = ports.pairs[0][0]
        return (judge(self._old, self._former(source), self._former(target), port),
                judge(self._new, source, target, port))

    def _former(self, end: End) -> End:
        return end if end.pod is None else End(self._places.get(end.pod.place, end.pod))


def _distinct(pods: list[Pod]) -> list[Pod]:
    return list({pod.shown: pod for pod in pods}.values())


def _reasons(before: Judgement, after: Judgement) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of the directions of which something else is said."""
    pairs = [(was, now) for was, now in ((before.egress, after.egress), (before.ingress, after.ingress))
             if was is not None and now is not None and (was.verdict, was.reason) != (now.verdict, now.reason)]
    changed = [pair for pair in pairs if pair[0].verdict is not pair[1].verdict] or pairs
    return (tuple(_said(was) for was, _ in changed), tuple(_said(now) for _, now in changed))


def _said(half: Half) -> str:
    return f"{half.direction.value}: {half.reason}"
