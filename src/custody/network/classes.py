"""Pods that no policy can tell apart, as one bit; what selectors mean, as sets of those bits.

Two pods are of one class where namespace, ports' names and service account are equal, and so are the labels that
policies ask for, and where no block of a policy contains an address of one and not of the other. A set of classes is an
int, so that matching thousands of pods is a few operations on numbers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from custody.network.addresses import V4, V6
from custody.network.intervals import EMPTY, Intervals
from custody.network.model import NamedPort, Peer, Pod, PortMatch, Topology, together
from custody.network.ports import PROTOCOLS, Protocol, port
from custody.network.selector import (
    POD_NETWORK,
    All,
    Any,
    Expression,
    Labels,
    Not,
    Operator,
    Scope,
    Test,
    matches,
    tests,
)

_Key = tuple[object, ...]


def positions(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set, the lowest first."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


class Region(NamedTuple):
    """What peers of a rule mean: classes that match, those that may (the plugin decides), and addresses."""

    pods: int
    maybe: int
    addresses: Intervals


class Classes:
    """All pods of a topology. Pods can come, go and change, and new policies can tell more of them apart (`cut`)."""

    def __init__(self, topology: Topology, boundaries: Iterable[int] = (), keys: Iterable[str] = ()) -> None:
        """`boundaries`: where a block of a policy begins, and the address behind its last; `keys`: labels of pods that
        policies ask for."""
        self.topology = topology
        self.boundaries = sorted(set(boundaries))
        self.keys = frozenset(keys)
        self.members: list[dict[str, Pod]] = []
        """By bit, and then by place; empty where all have gone."""
        self.samples: list[Pod] = []
        """A pod of each class, also of those that have gone."""
        self.mask = 0
        """All bits."""
        self.live = 0
        """Those of the classes that have pods."""
        self._at: dict[_Key, int] = {}
        self._of: dict[str, int] = {}
        self._labels: list[Labels] = []
        self._index: dict[tuple[Scope, str], dict[str, int]] = {}
        self._named: dict[tuple[str, Protocol], dict[int, int]] = {}
        self._bits: dict[Expression, int] = {}
        self._within: dict[Intervals, tuple[int, int]] = {}
        self._addresses: list[tuple[int, ...]] = []
        self._sorted: list[tuple[int, int]] = []
        self._nowhere = self._several = 0
        self._regions: dict[tuple[Peer, ...], Region] = {}
        for pod in topology.pods:
            self.add(pod)

    def __len__(self) -> int:
        return len(self.members)

    def of(self, pod: Pod) -> int:
        """The bit's number of a pod that was added. Raises KeyError."""
        return self._of[pod.place]

    def labels(self, number: int) -> Labels:
        return self._labels[number]

    def _key(self, pod: Pod) -> _Key:
        namespace = self.topology.namespace(pod.namespace)
        account = self.topology.accounts.get((pod.namespace, pod.account), {})
        return (pod.namespace, self._asked_for(pod), frozenset(namespace.labels.items()), pod.ports,
                pod.host_network, pod.account, frozenset(account.items()), pod.representative,
                tuple(bisect_right(self.boundaries, address) for address in pod.addresses))

    def _asked_for(self, pod: Pod) -> frozenset[tuple[str, str]]:
        return frozenset((key, value) for key, value in pod.labels.items() if key in self.keys)

    def add(self, pod: Pod) -> int:
        """Its class: a new bit where there is none like it. One of the same place goes first."""
        self.remove(pod.place)
        key = self._key(pod)
        number = self._at.get(key)
        if number is None:
            number = self._at[key] = len(self.members)
            self.members.append({})
            self.samples.append(pod)
            self._grow(pod, number)
        self.members[number][pod.place] = pod
        self.live |= 1 << number
        self._of[pod.place] = number
        return number

    def remove(self, place: str) -> None:
        number = self._of.pop(place, None)
        if number is not None:
            del self.members[number][place]
            if not self.members[number]:
                self.live &= ~(1 << number)

    def _grow(self, pod: Pod, number: int) -> None:
        bit = 1 << number
        labels = self.topology.labels(pod)
        self._labels.append(labels)
        self.mask |= bit
        self._note(pod, bit)
        for expression, bits in self._bits.items():
            if matches(expression, labels):
                self._bits[expression] = bits | bit
        for addresses, (certain, maybe) in self._within.items():
            inside, perhaps = _inside(pod, addresses)
            self._within[addresses] = (certain | bit * inside, maybe | bit * perhaps)
        self._regions.clear()

    def _note(self, pod: Pod, bit: int) -> None:
        """Its labels that are asked for, and its ports' names."""
        for scope, values in self.topology.labels(pod).items():
            for key, value in values.items():
                if scope is not Scope.POD or key in self.keys:
                    by_value = self._index.setdefault((scope, key), {})
                    by_value[value] = by_value.get(value, 0) | bit
        for named in pod.ports:
            by_number = self._named.setdefault((named.name, named.protocol), {})
            by_number[named.number] = by_number.get(named.number, 0) | bit

    def cut(self, boundaries: Iterable[int], keys: Iterable[str]) -> list[tuple[Pod, int]]:
        """Take these up too. Pods that are no longer like the others of their class, with its number: for `split`."""
        merged, known = sorted({*self.boundaries, *boundaries}), self.keys | frozenset(keys)
        fresh, edges = known - self.keys, sorted(set(merged) - set(self.boundaries))
        if not fresh and not edges:
            return []
        self.boundaries, self.keys = merged, known
        self._at = {}
        leaving: list[tuple[Pod, int]] = []
        for number, pods in enumerate(self.members):
            sample = self.samples[number] = next(iter(pods.values()), self.samples[number])
            if fresh and pods:
                self._labels[number] = self.topology.labels(sample)
            if pods:  # what was known of a class that all have left may be of labels that its namespace had
                self._at.setdefault(self._key(sample), number)
            told = _apart(sample, fresh, edges)
            leaving += [(pod, number) for pod in pods.values() if _apart(pod, fresh, edges) != told]
            for name in fresh & self._labels[number][Scope.POD].keys():
                by_value = self._index.setdefault((Scope.POD, name), {})
                value = self._labels[number][Scope.POD][name]
                by_value[value] = by_value.get(value, 0) | 1 << number
        self._addresses = []
        if fresh:
            self._bits = {expression: bits for expression, bits in self._bits.items()
                          if not any(test.key in fresh for test in tests(expression))}
        return leaving

    def split(self, leaving: Sequence[tuple[Pod, int]]) -> list[tuple[int, int]]:
        """Pods of which `cut` told leave their classes for others. The classes that are new, each behind the one that
        it was taken out of: all that was known of that applies to it."""
        made: list[tuple[int, int]] = []
        taken: dict[int, int] = {}
        for pod, former in leaving:
            del self.members[former][pod.place]
            number = self._at.setdefault(self._key(pod), len(self.members))
            if number == len(self.members):
                self.members.append({})
                self.samples.append(pod)
                self._labels.append(self.topology.labels(pod))
                self.mask |= 1 << number
                self._note(pod, 1 << number)
                made.append((former, number))
                taken[former] = taken.get(former, 0) | 1 << number
            self.members[number][pod.place] = pod
            self.live |= 1 << number
            self._of[pod.place] = number
        for former in {number for _, number in leaving}:
            if not self.members[former]:
                self.live &= ~(1 << former)
        if made:
            formers = sum(1 << number for number in taken)

            def grown(bits: int) -> int:
                for number in positions(bits & formers):
                    bits |= taken[number]
                return bits

            self._bits = {expression: grown(bits) for expression, bits in self._bits.items()}
            self._within = {space: (grown(certain), grown(maybe)) for space, (certain, maybe) in self._within.items()}
            self._regions.clear()
        return made

    def bits(self, expression: Expression) -> int:
        """The classes of which it is true."""
        known = self._bits.get(expression)
        if known is None:
            known = self._bits[expression] = self._evaluate(expression)
        return known

    def _evaluate(self, expression: Expression) -> int:
        result = 0
        match expression:
            case Test():
                by_value = self._index.get((expression.scope, expression.key), {})
                if expression.operator is Operator.IN:
                    for value in expression.values:
                        result |= by_value.get(value, 0)
                else:
                    for value, bits in by_value.items():
                        result |= bits if expression.accepts(value) else 0
            case Not():
                result = self.mask ^ self.bits(expression.of)
            case All():
                result = self.mask
                for part in expression.of:
                    result &= self.bits(part)
            case Any():
                for part in expression.of:
                    result |= self.bits(part)
        return result

    def within(self, addresses: Intervals) -> tuple[int, int]:
        """Classes that have their addresses in there, and those of which that is not known: no address of theirs is
        known, or one is in there and another is not."""
        known = self._within.get(addresses)
        if known is None:
            if len(self._addresses) < len(self.samples):
                self._sort()
            certain = 0
            for first, last in addresses:
                for at in range(bisect_left(self._sorted, (first,)), bisect_left(self._sorted, (last + 1,))):
                    certain |= 1 << self._sorted[at][1]
            torn = sum(1 << number for number in positions(certain & self._several)
                       if not all(address in addresses for address in self._addresses[number]))
            inside, perhaps = _unknown(addresses)
            known = self._within[addresses] = (certain & ~torn | self._nowhere * inside,
                                               torn | self._nowhere * perhaps)
        return known

    def _sort(self) -> None:
        """The addresses of all classes, in their order, and the classes that have none."""
        self._addresses = [pod.addresses for pod in self.samples]
        self._sorted = sorted((address, number) for number, known in enumerate(self._addresses) for address in known)
        self._nowhere = sum(1 << number for number, known in enumerate(self._addresses) if not known)
        self._several = sum(1 << number for number, known in enumerate(self._addresses) if len(known) > 1)

    def having(self, name: str, protocol: Protocol | None) -> int:
        """Classes whose containers name a port so."""
        result = 0
        for _, _, bits in self._having((name, protocol)):
            result |= bits
        return result

    def region(self, peers: tuple[Peer, ...]) -> Region:
        """What any of the peers means."""
        known = self._regions.get(peers)
        if known is None:
            pods = maybe = 0
            addresses = EMPTY
            for peer in together(peers):
                certain, perhaps = self._peer(peer)
                pods |= certain
                maybe |= perhaps
                addresses |= self._outside(peer) | self._nodes(peer)
            known = self._regions[peers] = Region(pods, maybe & ~pods, addresses)
        return known

    def _peer(self, peer: Peer) -> tuple[int, int]:
        if peer.pods is None:
            return 0, 0
        certain = base = self.bits(peer.pods)
        maybe = 0
        if peer.within is not None:
            inside, perhaps = self.within(peer.within)
            certain, maybe = base & inside, base & perhaps
        if peer.host_pods is not True:
            own = self.bits(POD_NETWORK)
            maybe = maybe & own if peer.host_pods is False else maybe | certain & ~own
            certain &= own
        return certain, maybe

    def _outside(self, peer: Peer) -> Intervals:
        if not peer.nodeless:
            return peer.outside
        return peer.outside - Intervals((address, address) for node in self.topology.nodes
                                        for address in node.addresses)

    def _nodes(self, peer: Peer) -> Intervals:
        if peer.nodes is None:
            return EMPTY
        return Intervals((address, address) for node in self.topology.nodes for address in node.addresses
                         if matches(peer.nodes, {Scope.POD: node.labels, Scope.NAMESPACE: {}, Scope.ACCOUNT: {},
                                                 Scope.ABOUT: {"name": node.name}}))

    def ports(self, match: PortMatch) -> list[tuple[int, Intervals]]:
        """Of an egress rule: classes, and what its ports are on them. Addresses have the numbers alone."""
        parts = [(self.mask, match.numbers)]
        for name in match.exceptions:
            for number, protocol, bits in self._having(name):
                parts = [part for have, numbers in parts
                         for part in ((have & bits, numbers - port(protocol, number)), (have & ~bits, numbers))
                         if part[0]]
        return parts + [(bits, port(protocol, number)) for name in match.names
                        for number, protocol, bits in self._having(name)]

    def _having(self, name: tuple[str, Protocol | None]) -> Iterator[tuple[int, Protocol, int]]:
        for protocol in PROTOCOLS if name[1] is None else (name[1],):
            for number, bits in self._named.get((name[0], protocol), {}).items():
                yield number, protocol, bits


def own_ports(match: PortMatch, named: frozenset[NamedPort]) -> Intervals:
    """What a rule's ports are on a pod that names its own like this."""
    result = match.numbers
    for name, protocol, number in named:
        if (name, protocol) in match.exceptions or (name, None) in match.exceptions:
            result -= port(protocol, number)
    for name, protocol, number in named:
        if (name, protocol) in match.names or (name, None) in match.names:
            result |= port(protocol, number)
    return result


def _apart(pod: Pod, keys: Iterable[str], edges: list[int]) -> tuple[object, ...]:
    """What tells it from its like, once these labels and boundaries count."""
    return (*(pod.labels.get(key) for key in keys), *(bisect_right(edges, address) for address in pod.addresses))


def _inside(pod: Pod, addresses: Intervals) -> tuple[int, int]:
    """Whether the pod's addresses are in there, and whether that is not known: 1 or 0 each."""
    if pod.addresses:
        inside = sum(address in addresses for address in pod.addresses)
        return int(inside == len(pod.addresses)), int(0 < inside < len(pod.addresses))
    return _unknown(addresses)


def _unknown(addresses: Intervals) -> tuple[int, int]:
    """The same of a pod whose address is not known."""
    covers = not (V4 - addresses) and not (V6 - addresses)
    return int(covers), int(bool(addresses) and not covers)


def boundaries(peers: Iterable[Peer]) -> Iterator[int]:
    """Where the blocks of peers begin, and the addresses behind them."""
    for peer in peers:
        if peer.within is not None:
            for first, last in peer.within:
                yield first
                yield last + 1
