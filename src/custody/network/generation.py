"""Policies that allow what was observed, and nothing that was not: one for each workload.

Ingress stands at the server and egress at the client, since both have to allow. A selector has the labels that all
pods of a workload keep (its controller's selector, where that is known), and excludes other workloads that have them
too. An address outside is itself alone, unless a width is given. What cannot be said in a policy is listed with its
reason, never left out in silence. Equal input gives equal policies, in one order.
"""

from __future__ import annotations

import ipaddress
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from custody.network import ciliumforms
from custody.network.addresses import address_text
from custody.network.declared import Declared, DeclaredService
from custody.network.ends import End, Ends, numbers
from custody.network.model import Pod, Topology
from custody.network.observed import Connection, Observed, Tally
from custody.network.owners import lasting
from custody.network.ports import PROTOCOLS
from custody.network.selection import owner, selector, selects
from custody.network.selector import NAME_LABEL

GENERATED = {"app.kubernetes.io/managed-by": "custody"}
NAMES = "custody.internal/observed-names"
"""An annotation: DNS names that addresses of the policy had."""
_DNS = {"to": [{"namespaceSelector": {"matchLabels": {NAME_LABEL: "kube-system"}},
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
        "ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}
_MOST_BLOCKS = 500
_NAMED = 10
_Json = dict[str, Any]
Port = tuple[str, int]


class Left(NamedTuple):
    """A connection that no policy says, and why."""

    connection: Connection
    reason: str


class Widened(NamedTuple):
    """Addresses that were not observed and are allowed all the same, as was asked for."""

    block: str
    observed: int
    """How many addresses in it were observed."""


class Options(NamedTuple):
    namespaces: frozenset[str] = frozenset()
    """For whose pods policies are made; empty: all."""
    width4: int = 32
    width6: int = 128
    open_services: bool = False
    """Whoever is outside may reach what a Service offers to the outside."""
    kind: Literal["NetworkPolicy", "CiliumNetworkPolicy"] = "NetworkPolicy"


@dataclass
class Generated:
    policies: list[_Json]
    left: list[Left] = field(default_factory=list)
    widened: list[Widened] = field(default_factory=list)
    undeclared: list[Connection] = field(default_factory=list)
    """In the policies, and no Service that selects the pods has this port."""
    notes: list[str] = field(default_factory=list)


@dataclass
class _Rules:
    """Of one workload: peers, as JSON so that equal ones are one, with their ports."""

    end: End
    ingress: dict[str, set[Port]] = field(default_factory=lambda: defaultdict(set))
    egress: dict[str, set[Port]] = field(default_factory=lambda: defaultdict(set))
    names: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


class Generation:
    def __init__(self, topology: Topology, declared: Declared, ends: Ends, options: Options = Options()) -> None:
        """`topology` has the pods that only flows tell of too."""
        self._topology, self._declared, self._ends, self._options = topology, declared, ends, options
        self._rules: dict[tuple[str, str], _Rules] = {}
        self._left: list[Left] = []
        self._notes: dict[str, None] = {}
        self._blocks: dict[str, set[int]] = defaultdict(set)
        self._in_namespace: dict[str, list[Pod]] = defaultdict(list)
        alike: dict[tuple[object, ...], Pod] = {}
        for pod in topology.pods:  # of a controller's pods that are alike, one
            alike.setdefault((pod.namespace, owner(pod), tuple(lasting(pod.labels).items()), pod.ports,
                              pod.host_network), pod)
        for pod in alike.values():
            self._in_namespace[pod.namespace].append(pod)
        self._names: dict[str, tuple[str, ...]] = {}
        self._nodes: set[str] = set()
        """Blocks that are nodes' addresses."""
        self._open: dict[int, bool] = {}
        self._ported: dict[int, frozenset[Port]] = {}
        self._told: dict[tuple[int, str, bool], list[str] | None] = {}
        self._texts: dict[int, str | None] = {}
        self._services: dict[str, list[DeclaredService]] = defaultdict(list)
        for service in declared.services:
            self._services[service.namespace].append(service)
        self._undeclared: dict[Connection, None] = {}
        self._selectors: dict[int, _Json | None] = {}

    def of_flows(self, observed: Observed) -> Generated:
        """What happened, and was first seen in the time in which was learnt."""
        datagrams = 0
        for connection, tally in observed.ordered():
            if reason := _unlearnt(connection, tally, answers=observed.answers):
                self._left.append(Left(connection, reason))
                continue
            datagrams += connection.protocol == "UDP" and tally.silent and not tally.answered
            if (service := connection.destination.service) is not None:
                backends = self._ends.backends(service, connection.protocol, connection.port)
                for end, number in backends:
                    self._connect(connection, connection.source, end, number)
                if not backends:
                    self._left.append(Left(connection, "no pod that was given is behind this port of the Service"))
            else:
                self._connect(connection, connection.source, connection.destination, connection.port)
        if datagrams:
            self._notes[f"datagrams that nobody answered are allowed as others are: {datagrams} of the connections"
                        ] = None
        self._unseen()
        return self._generated(egress=True)

    def _unseen(self) -> None:
        """Pods beside those that have a policy now, and where DNS is not."""
        selectors: dict[str, list[_Json]] = defaultdict(list)
        for namespace, chosen in self._rules:
            selectors[namespace].append(json.loads(chosen))
        unseen = sorted({pod.shown for namespace, known in selectors.items() for pod in self._in_namespace[namespace]
                         if not pod.host_network and not any(selects(chosen, pod.labels) for chosen in known)})
        if unseen:
            more = f" and {len(unseen) - _NAMED} more" if len(unseen) > _NAMED else ""
            self._notes[f"never seen, and without a policy: {', '.join(unseen[:_NAMED])}{more}"] = None
        system = self._in_namespace.get("kube-system", ())
        if system and not any(pod.labels.get("k8s-app") == "kube-dns" for pod in system):
            self._notes["no pod of kube-system has the label k8s-app: kube-dns, to which DNS is allowed"] = None

    def of_services(self) -> Generated:
        """What Services declare: their ports at their pods, from all pods, and from outside where they offer that.

        Services say nothing of who calls them, nor of egress: policies are about ingress alone.
        """
        for service in self._declared.services:
            if self._options.namespaces and service.namespace not in self._options.namespaces:
                continue
            if not service.selector:
                self._notes[f"service {service.place} selects no pods: nothing is said of it"] = None
                continue
            self._offer(service)
        return self._generated(egress=False)

    def _offer(self, service: DeclaredService) -> None:
        offered = False
        for pod in self._in_namespace.get(service.namespace, ()):
            if not _selected(service, pod):
                continue
            end = End(pod.shown, pod=pod)
            if (rules := self._of(end)) is None:
                self._notes[self._unselectable(end)] = None
                continue
            for entry in service.ports:
                for number in numbers(pod, entry.target, entry.protocol):
                    offered = True
                    rules.ingress[_text({"namespaceSelector": {}})].add((entry.protocol, number))
                    if service.outside:
                        for block in ("0.0.0.0/0", "::/0"):
                            rules.ingress[_text({"ipBlock": {"cidr": block}})].add((entry.protocol, number))
        if not offered:
            self._notes[f"service {service.place}: no pod that was given has its ports"] = None

    def _connect(self, connection: Connection, source: End, destination: End, port: int) -> None:
        protocol = connection.protocol
        if destination.pod is not None and self._declared.services and not self._has_port(
                destination.pod, protocol, port):
            self._undeclared[connection] = None
        if destination.pod is not None and self._wanted(destination):
            self._allow(connection, destination, source, (protocol, port), ingress=True)
        if source.pod is not None and self._wanted(source):
            self._allow(connection, source, destination, (protocol, port), ingress=False)

    def _wanted(self, end: End) -> bool:
        return end.pod is not None and (not self._options.namespaces or end.pod.namespace in self._options.namespaces)

    def _allow(self, connection: Connection, end: End, peer: End, port: Port, *, ingress: bool) -> None:
        assert end.pod is not None
        if end.pod.host_network:
            self._left.append(Left(connection, f"{end.shown} is on its node's network: policies do not apply there"))
            return
        rules = self._of(end)
        if rules is None:
            self._left.append(Left(connection, self._unselectable(end)))
            return
        key = (id(peer), end.pod.namespace, ingress and peer.pod is None and self._options.open_services
               and self._offered(end.pod))
        if key not in self._told:
            blocks = self._peers(end.pod, peer, ingress=ingress)
            self._told[key] = None if blocks is None else [_text(block) for block in blocks]
            for block in blocks or () if peer.names else ():
                if "ipBlock" in block:
                    self._names[_text(block)] = peer.names
        if (texts := self._told[key]) is None:
            self._left.append(Left(connection, self._unselectable(peer)))
            return
        if ingress and peer.node:
            self._notes["connections from nodes are allowed by the nodes' addresses: what comes through a NodePort has "
                        "one of them"] = None
        for text in texts:
            (rules.ingress if ingress else rules.egress)[text].add(port)
            if peer.names and text in self._names:
                rules.names[json.loads(text)["ipBlock"]["cidr"]].update(self._names[text])

    def _of(self, end: End) -> _Rules | None:
        assert end.pod is not None
        if id(end.pod) not in self._texts:
            chosen = self._selector(end.pod)
            self._texts[id(end.pod)] = None if chosen is None else _text(chosen)
        text = self._texts[id(end.pod)]
        if text is None:
            return None
        key = (end.pod.namespace, text)
        if key not in self._rules:
            self._rules[key] = _Rules(end)
        return self._rules[key]

    def _unselectable(self, end: End) -> str:
        if end.pod is not None and end.pod.host_network:
            return f"{end.shown} is on its node's network, and its node's address is not known"
        return f"{end.shown} has no label that lasts: no selector can mean it alone"

    def _peers(self, subject: Pod, peer: End, *, ingress: bool) -> list[_Json] | None:
        if peer.pod is not None and peer.pod.host_network:
            blocks = [self._block(address) for address in peer.pod.addresses]
            self._nodes.update(block["ipBlock"]["cidr"] for block in blocks)
            return blocks or None
        if peer.pod is not None:
            selector = self._selector(peer.pod)
            if selector is None:
                return None
            block: _Json = {"podSelector": selector}
            if peer.pod.namespace != subject.namespace:
                block["namespaceSelector"] = {"matchLabels": {NAME_LABEL: peer.pod.namespace}}
            return [block]
        assert peer.address is not None
        if ingress and not peer.node and self._options.open_services and self._offered(subject):
            return [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]
        if peer.node:
            self._nodes.add(self._block(peer.address)["ipBlock"]["cidr"])
        return [self._block(peer.address, exact=peer.node)]

    def _has_port(self, pod: Pod, protocol: str, port: int) -> bool:
        if id(pod) not in self._ported:
            self._ported[id(pod)] = frozenset(
                (entry.protocol, number) for service in self._services.get(pod.namespace, ())
                if _selected(service, pod) for entry in service.ports
                for number in numbers(pod, entry.target, entry.protocol))
        return (protocol, port) in self._ported[id(pod)]

    def _offered(self, pod: Pod) -> bool:
        if id(pod) not in self._open:
            self._open[id(pod)] = self._offers(pod)
        return self._open[id(pod)]

    def _offers(self, pod: Pod) -> bool:
        return any(service.outside and _selected(service, pod) for service in self._services.get(pod.namespace, ()))

    def _block(self, address: int, *, exact: bool = True) -> _Json:
        parsed = ipaddress.ip_address(address_text(address))
        whole = 32 if parsed.version == 4 else 128
        width = whole if exact else self._options.width4 if parsed.version == 4 else self._options.width6
        network = str(ipaddress.ip_network((parsed, width), strict=False))
        if width != whole:
            self._blocks[network].add(address)
        return {"ipBlock": {"cidr": network}}

    def _selector(self, pod: Pod) -> _Json | None:
        if id(pod) not in self._selectors:
            peers = self._in_namespace[pod.namespace]
            chosen = self._selectors[id(pod)] = selector(pod, peers, self._declared)
            also = sorted({peer.shown for peer in peers if chosen is not None and owner(peer) != owner(pod)
                           and selects(chosen, peer.labels)})
            if also:
                self._notes[f"{pod.shown} has the labels of {', '.join(also[:5])}: what is allowed to one is allowed "
                            "to all of them"] = None
        return self._selectors[id(pod)]

    def _said(self, policy: _Json) -> _Json:
        if self._options.kind == "NetworkPolicy":
            return policy
        said, wider = ciliumforms.of(policy, self._nodes)
        if wider:
            metadata = policy["metadata"]
            self._notes[f"{metadata['namespace']}/{metadata['name']}: Cilium knows nodes only as host and remote-node: "
                        "all nodes are allowed where one was seen"] = None
        return said

    def _generated(self, *, egress: bool) -> Generated:
        taken: dict[tuple[str, str], int] = {}
        policies = []
        for (namespace, text), rules in sorted(self._rules.items()):
            assert rules.end.pod is not None
            name = _name(rules.end.pod)
            taken[namespace, name] = count = taken.get((namespace, name), 0) + 1
            metadata: _Json = {"name": name if count == 1 else f"{name}-{count}", "namespace": namespace,
                               "labels": dict(GENERATED)}
            if rules.names:
                metadata["annotations"] = {NAMES: json.dumps(
                    {block: sorted(names) for block, names in sorted(rules.names.items())}, separators=(",", ":"))}
            spec: _Json = {"podSelector": json.loads(text), "policyTypes": ["Ingress", "Egress"] if egress else
                           ["Ingress"], "ingress": _rules(rules.ingress, "from")}
            if egress:
                spec["egress"] = [_DNS, *_rules(rules.egress, "to")]
            for direction, peers in (("ingress", rules.ingress), ("egress", rules.egress)):
                if (count := sum("ipBlock" in peer for peer in peers)) > _MOST_BLOCKS:
                    self._notes[f"{namespace}/{name}: {count} address blocks in {direction}; --widen makes them fewer"
                                ] = None
            policies.append(self._said({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                                        "metadata": metadata, "spec": spec}))
        return Generated(policies, self._left, [Widened(block, len(addresses)) for block, addresses in
                                                sorted(self._blocks.items())], [*self._undeclared],
                         sorted(self._notes))


def _selected(service: DeclaredService, pod: Pod) -> bool:
    return bool(service.selector) and service.namespace == pod.namespace and all(
        pod.labels.get(key) == value for key, value in service.selector.items())


def _unlearnt(connection: Connection, tally: Tally, *, answers: bool) -> str:
    """Why a connection is not made part of a policy."""
    for end in connection[:2]:
        if end.unknown:
            return f"{end.shown}: {end.unknown}"
    if connection.source.service is not None:
        return "a Service's address begins no connection"
    if connection.source.pod is None and connection.destination.pod is None and connection.destination.service is None:
        return "neither side is a pod"
    if connection.protocol not in PROTOCOLS:
        return f"NetworkPolicies say nothing of {connection.protocol}"
    if not tally.happened:
        return "it was denied" if tally.refused else "nobody answered it"
    if answers and connection.protocol == "TCP" and tally.silent and not tally.answered:
        return "nobody is seen to answer it, as to others: a scan looks like this"
    if tally.late:
        return "it was first seen after --until"
    return ""


def _rules(peers: Mapping[str, set[Port]], end: str) -> list[_Json]:
    """Peers with the same ports are one rule."""
    by_ports: dict[tuple[Port, ...], list[str]] = defaultdict(list)
    for peer, ports in peers.items():
        by_ports[tuple(sorted(ports))].append(peer)
    return [{end: [json.loads(peer) for peer in sorted(chosen)],
             "ports": [{"port": number, "protocol": protocol} for protocol, number in ports]}
            for ports, chosen in sorted(by_ports.items())]


def _name(pod: Pod) -> str:
    """`custody-web`: a name that the API server takes (RFC 1123 subdomain), of 200 characters at most."""
    word = (pod.workload.name if pod.workload else pod.name).lower()
    return "custody-" + "".join(char if (char.isascii() and char.isalnum()) or char in "-." else "-"
                                for char in word)[:190].strip("-.")


def _text(value: _Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
