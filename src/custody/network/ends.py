"""Who the two sides of a recorded flow are among the pods, Services and nodes that are known.

A record names a pod, or its controller, or labels, or an address alone, mostly of last week. So a side is found by
name first, then by its controller, then by an address, and last by the labels that the record itself carries: `how`
says by which, since each is less certain than the one before. What is none of these is an address outside of the
cluster, where that is sure, or *unknown*, with the reason, and is never judged.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from custody.errors import MalformedError
from custody.formats.flows.record import Kind, Side
from custody.network import addresses
from custody.network.classes import boundaries
from custody.network.declared import Declared, DeclaredService
from custody.network.intervals import EMPTY, Intervals
from custody.network.model import Namespace, Pod, Policy, Topology, Workload
from custody.network.owners import controllers, controllers_of_prefix, lasting, valid

_KEPT = 200_000
"""Answers that are kept; a scan of addresses must not fill the memory."""
_GONE = "a pod that is gone, by its controller's name"
_MADE = 20_000
"""Pods that are made of records at most."""
_PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
                                            "169.254.0.0/16", "127.0.0.0/8", "fc00::/7", "fe80::/10", "::1/128")))
_INSIDE = Intervals(pair for network in _PRIVATE for pair in addresses.block(network))


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """Equal only to itself: there is one for all pods that no policy need tell apart."""

    shown: str
    """`shop/web`, `service shop/api`, `node w1`, an address."""
    pod: Pod | None = None
    """One of those it stands for."""
    address: int | None = None
    """As network.addresses numbers them, of what is outside of the pods."""
    service: DeclaredService | None = None
    node: bool = False
    unknown: str = ""
    """Why nobody knows who it is; empty where it is known."""
    how: str = ""
    """By what it was found, where that is less than its name."""
    names: tuple[str, ...] = ()
    """DNS names of an address outside."""


class Ends:
    def __init__(self, topology: Topology, declared: Declared | None = None, pod_blocks: Intervals = EMPTY,
                 policies: Iterable[Policy] = ()) -> None:
        """`pod_blocks` are the addresses that only pods have: what is in there and no pod's is unknown.

        `policies` are those that will judge: pods of one controller that a block of theirs tells apart are two.
        """
        self._boundaries = sorted({edge for policy in policies for section in (policy.ingress, policy.egress)
                                   if section is not None for rule in section.rules for edge in boundaries(rule.peers)})
        self._declared = declared or Declared()
        self._pod_blocks = pod_blocks
        self._answers: dict[tuple[str, str, str, str, str, Kind], tuple[End, int]] = {}
        """And from when on an address was that pod's."""
        self._groups: dict[tuple[object, ...], End] = {}
        self._backends: dict[tuple[str, str, int], tuple[tuple[End, int], ...]] = {}
        self._addresses: dict[tuple[object, ...], End] = {}
        self._by_place: dict[str, Pod] = {}
        self._by_controller: dict[tuple[str, str, str], Pod] = {}
        self._by_address: dict[int, Pod] = {}
        self._services: dict[int, DeclaredService] = {
            address: service for service in self._declared.services for address in service.addresses}
        self._nodes = {address: node.name for node in topology.nodes for address in node.addresses}
        self._made: dict[tuple[object, ...], Pod] = {}
        self.namespaces: dict[str, Namespace] = {}
        """Those that nobody gave, as flows tell of them."""
        self._known = {name for name, namespace in topology.namespaces.items() if namespace.declared}
        self._in_namespace: dict[str, list[Pod]] = defaultdict(list)
        for pod in topology.pods:
            self._by_place[pod.place] = pod
            self._in_namespace[pod.namespace].append(pod)
            if pod.workload is not None:
                self._by_controller.setdefault((pod.namespace, pod.workload.kind, pod.workload.name), pod)
            if not pod.host_network:
                for address in pod.addresses:
                    self._by_address[address] = pod

    @property
    def made(self) -> tuple[Pod, ...]:
        """Pods that only records tell of, by their labels: to be added to the topology that is judged."""
        return tuple(self._made.values())

    def of(self, side: Side, last: int) -> End:
        """`last`: when it was seen, seconds since 1970; 0 where nobody knows."""
        key = (side.namespace, side.pod, side.prefix, side.workload, side.address, side.kind)
        answer = self._answers.get(key)
        if answer is None and side.namespace_labels and side.namespace not in self._known:
            self._tell_namespace(side)
        if answer is None and side.kind is Kind.ELSEWHERE:
            answer = self._unknown(side.pod, "a pod of another cluster"), 0
        if answer is None:
            answer = self._named(side) or self._addressed(side) or self._labelled(side) or (self._remaining(side), 0)
            if len(self._answers) < _KEPT:
                self._answers[key] = answer
        if answer[1] and last and last < answer[1]:
            return self._unknown(side.address, "the pod that has this address now is younger than the flow")
        return answer[0]

    def _tell_namespace(self, side: Side) -> None:
        """What a flow says of a namespace that nobody gave."""
        labels = {key: value for key, _, value in (label.partition("=") for label in side.namespace_labels)}
        if len(self.namespaces) < _MADE and valid(side.namespace, labels):
            self.namespaces.setdefault(side.namespace, Namespace(side.namespace, labels))

    def backends(self, service: DeclaredService, protocol: str, port: int) -> tuple[tuple[End, int], ...]:
        """The pods behind a Service's port, and the port that they listen on; none where none are known."""
        key = (service.place, protocol, port)
        if key not in self._backends:
            self._backends[key] = tuple(self._behind(service, protocol, port))
        return self._backends[key]

    def _behind(self, service: DeclaredService, protocol: str, port: int) -> Iterator[tuple[End, int]]:
        if not service.selector:
            return
        for entry in service.ports:
            if (entry.protocol, entry.port) != (protocol, port):
                continue
            told: set[tuple[int, int]] = set()
            for pod in self._in_namespace.get(service.namespace, ()):
                if any(pod.labels.get(key) != value for key, value in service.selector.items()):
                    continue
                for number in numbers(pod, entry.target, protocol):
                    end = self._group(pod)
                    if (id(end), number) not in told:
                        told.add((id(end), number))
                        yield end, number

    def _named(self, side: Side) -> tuple[End, int] | None:
        if not side.namespace:
            return None
        if side.pod and (pod := self._by_place.get(f"{side.namespace}/{side.pod}")) is not None:
            return self._group(pod), 0
        if side.workload:
            kind, _, name = side.workload.partition("/")
            if (pod := self._by_controller.get((side.namespace, kind, name))) is not None:
                return self._group(pod), 0
        owners = controllers(side.pod) if side.pod else controllers_of_prefix(side.prefix) if side.prefix else ()
        for kind, name in owners:
            if (pod := self._by_controller.get((side.namespace, kind, name))) is not None:
                return self._group(pod, "" if pod.representative else _GONE), 0
        return None

    def _addressed(self, side: Side) -> tuple[End, int] | None:
        if not side.address or side.pod or side.prefix:
            return None
        number = addresses.number(side.address)
        if (service := self._services.get(number)) is not None:
            return self._once(("service", service.place), End(f"service {service.place}", service=service)), 0
        if (pod := self._by_address.get(number)) is not None:
            return self._group(pod), self._declared.since(pod.place)
        if (node := self._nodes.get(number)) is not None:
            return self._once(("node", number), End(f"node {node}", address=number, node=True)), 0
        return None

    def _labelled(self, side: Side) -> tuple[End, int] | None:
        """A pod that nobody has any more, or that was not given: what the record says of it."""
        if not side.namespace or not side.labels:
            return None
        labels = {key: value for key, _, value in (label.partition("=") for label in side.labels)}
        if not valid(side.namespace, labels):
            return self._unknown(side.namespace, "its labels or its namespace are none that Kubernetes takes"), 0
        kind, _, name = side.workload.partition("/")
        if not name:
            kind, name = next(iter(controllers(side.pod) if side.pod else controllers_of_prefix(side.prefix)
                                   if side.prefix else ()), ("", side.pod or side.prefix.removesuffix("-")))
        key = (side.namespace, kind, name, tuple(lasting(labels).items()))
        pod = self._made.get(key)
        if pod is None:
            if len(self._made) >= _MADE:
                return self._unknown("further pods", f"more than {_MADE} pods that only flows tell of"), 0
            pod = self._made[key] = Pod(
                namespace=side.namespace, name=f"{name or 'pod'} (from flows {len(self._made) + 1})", labels=labels,
                workload=Workload(kind, name) if name else None, representative=True, where="a flow")
        return self._group(pod, "a pod that was not given, by the labels that the flow carries"), 0

    def _remaining(self, side: Side) -> End:
        shown = (f"{side.namespace}/{side.pod or side.prefix + '*'}" if side.namespace and (side.pod or side.prefix)
                 else side.address or side.namespace or "?")
        if side.namespace and (side.pod or side.prefix or side.workload):
            return self._unknown(shown, "a pod that was not given, and the flow carries no labels of it")
        if not side.address:
            return self._unknown("a node" if side.kind is Kind.NODE else "outside" if side.kind is Kind.OUTSIDE else
                                 shown, "its address was aggregated away"
                                 if side.kind is not Kind.UNKNOWN else "the flow says neither name nor address")
        number = addresses.number(side.address)
        if side.kind is Kind.NODE:
            return self._address(End(f"node {side.address}", address=number, node=True))
        if number in self._pod_blocks:
            return self._unknown(side.address, "a pod's address, and no pod that was given has it")
        if side.kind is not Kind.OUTSIDE and number in _INSIDE and not self._pod_blocks:
            return self._unknown(side.address, "no pod, Service or node that was given has this address, and without "
                                               "--pod-cidr it may be a pod's")
        return self._address(End(side.address, address=number, names=side.names))

    def _address(self, end: End) -> End:
        key = (end.address, end.node)
        known = self._addresses.get(key)
        if known is None:
            if len(self._addresses) >= _KEPT:
                return self._unknown("further addresses", f"more than {_KEPT} addresses")
            known = self._addresses[key] = end
        return known

    def _unknown(self, shown: str, reason: str) -> End:
        key = (shown, reason)
        known = self._addresses.get(key)
        if known is None:
            if len(self._addresses) >= _KEPT:
                shown, key = "further names", ("further names", reason)
            known = self._addresses.setdefault(key, End(shown, unknown=reason))
        return known

    def _group(self, pod: Pod, how: str = "") -> End:
        """One for all pods of a controller with the labels that last."""
        owner = pod.workload or pod.name
        key = (pod.namespace, owner, tuple(lasting(pod.labels).items()), pod.ports, pod.host_network, pod.account, how,
               tuple(bisect_right(self._boundaries, address) for address in pod.addresses))
        return self._once(key, End(pod.shown, pod=pod, how=how))

    def _once(self, key: tuple[object, ...], end: End) -> End:
        return self._groups.setdefault(key, end)


def numbers(pod: Pod, target: int | str, protocol: str) -> tuple[int, ...]:
    """What a Service's targetPort is on a pod: none where no container gives a port that name."""
    if isinstance(target, int):
        return (target,)
    return tuple(sorted(named.number for named in pod.ports if (named.name, named.protocol) == (target, protocol)))


def blocks(texts: Iterable[str], where: str = "--pod-cidr") -> Intervals:
    """Raises MalformedError."""
    chosen = EMPTY
    for text in texts:
        if addresses.host_bits(text):
            addresses.network(text, where)
            raise MalformedError(where, got=text, expected="an address block without bits beyond its mask")
        chosen |= addresses.block(addresses.network(text, where))
    return chosen


def with_made(topology: Topology, ends: Ends) -> Topology:
    """The topology, and the pods and namespaces that only flows tell of."""
    if not ends.made and not ends.namespaces:
        return topology
    return replace(topology, pods=(*topology.pods, *ends.made),
                   namespaces={**topology.namespaces, **ends.namespaces})
