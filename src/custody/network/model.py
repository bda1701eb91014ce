"""Pods, namespaces, and policies of all kinds in one neutral form.

How a connection is judged, of which every kind is a case: it leaves its source and enters its destination, each of
which is a *direction* of one pod, its subject. The policies that select the subject are asked tier by tier, in a
tier by order; the first rule that matches the peer and the port says allow, deny, or pass (go on with the next tier).
Where no rule of a tier matches, the connection is denied if one of the tier's policies isolates the subject, else the
next tier is asked; after the last it is allowed. NetworkPolicies are allow rules that isolate; since all say the same
word their order does not matter. Both directions have to allow.

Sources: kubernetes.io/docs/concepts/services-networking/network-policies; network-policy-api's types; Calico's Tier.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from custody.network.intervals import EMPTY, Intervals
from custody.network.ports import ALL, Protocol
from custody.network.selector import EVERYTHING, NAME_LABEL, Expression, Labels, Scope


class Direction(enum.Enum):
    INGRESS = "ingress"
    EGRESS = "egress"


class Action(enum.Enum):
    ALLOW = "allow"
    DENY = "deny"
    PASS = "pass"  # noqa: S105 (no password)


class NamedPort(NamedTuple):
    """A container's port with a name: what rules that name a port mean on this pod."""

    name: str
    protocol: Protocol
    number: int


class Workload(NamedTuple):
    """Who makes a pod: the controller that a person knows."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Namespace:
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    declared: bool = True
    """False where only pods name it, so that its labels are not known."""

    def all_labels(self) -> Mapping[str, str]:
        return {**self.labels, NAME_LABEL: self.name}


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[int, ...] = ()
    """As network.addresses numbers them."""


@dataclass(frozen=True, slots=True)
class Pod:
    namespace: str
    name: str
    """Of the pod; of its controller where the pod only represents it."""
    labels: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[int, ...] = ()
    """As network.addresses numbers them; none are known of what only represents pods."""
    ports: frozenset[NamedPort] = frozenset()
    host_network: bool = False
    account: str = "default"
    workload: Workload | None = None
    node: str = ""
    representative: bool = False
    """Made of a controller's template, not a pod that runs."""
    where: str = ""

    @property
    def place(self) -> str:
        """`namespace/name`, by which it is known."""
        return f"{self.namespace}/{self.name}"

    @property
    def shown(self) -> str:
        """`namespace/workload`, as people know it."""
        return f"{self.namespace}/{self.workload.name}" if self.workload else self.place


@dataclass(frozen=True, slots=True)
class Service:
    """What names pods: used to look pods up, never judged, since policies see pods."""

    namespace: str
    name: str
    selector: Mapping[str, str]


@dataclass(frozen=True)
class Topology:
    """What there is to be connected."""

    pods: tuple[Pod, ...]
    namespaces: Mapping[str, Namespace]
    nodes: tuple[Node, ...] = ()
    services: tuple[Service, ...] = ()
    accounts: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    """Labels of service accounts, by namespace and name."""

    def namespace(self, name: str) -> Namespace:
        return self.namespaces.get(name) or Namespace(name, declared=False)

    def labels(self, pod: Pod) -> Labels:
        return {Scope.POD: pod.labels, Scope.NAMESPACE: self.namespace(pod.namespace).all_labels(),
                Scope.ACCOUNT: self.accounts.get((pod.namespace, pod.account), {}),
                Scope.ABOUT: {"namespace": pod.namespace, "account": pod.account,
                              "network": "host" if pod.host_network else "pod"}}


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection: pods, and addresses that are no pod's.

    A pod matches where `pods` is true of it and, if `within` is not None, an address of it lies there.
    """

    pods: Expression | None = None
    """None where it means no pods."""
    within: Intervals | None = None
    outside: Intervals = EMPTY
    """Addresses that no pod has."""
    nodeless: bool = False
    """Whether `outside` means no node, though the node's address lies there (Cilium: nodes are entities)."""
    nodes: Expression | None = None
    """Addresses of the nodes that it selects, by their labels (Scope.POD)."""
    host_pods: bool | None = None
    """Whether `pods` means pods on the host's network too; None: the plugin decides."""
    text: str = ""
    """How it is told, and nothing else."""


def together(peers: tuple[Peer, ...]) -> tuple[Peer, ...]:
    """The same peers, with all blocks of addresses as one: 0.0.0.0/0 and ::/0 hold whatever address a pod may have."""
    blocks = [peer for peer in peers if peer.pods == EVERYTHING and peer.within is not None and peer.host_pods is True]
    if len(blocks) < 2:
        return peers
    within, outside = EMPTY, EMPTY
    for peer in blocks:
        within, outside = within | (peer.within or EMPTY), outside | peer.outside
    return (*(peer for peer in peers if peer not in blocks),
            Peer(EVERYTHING, within=within, outside=outside, host_pods=True))


@dataclass(frozen=True, slots=True)
class PortMatch:
    """Ports by number, and by names that the destination's containers give them."""

    numbers: Intervals = EMPTY
    names: tuple[tuple[str, Protocol | None], ...] = ()
    """None: whatever the port's protocol is."""
    exceptions: tuple[tuple[str, Protocol | None], ...] = ()
    """Names whose ports are not meant (Calico's notPorts)."""


ALL_PORTS = PortMatch(ALL)


@dataclass(frozen=True, slots=True)
class Rule:
    action: Action
    peers: tuple[Peer, ...]
    """Any of them."""
    ports: PortMatch
    where: str
    """In its document: `spec.ingress[0]`."""
    name: str = ""
    subject: Expression = EVERYTHING
    """Which of the policy's subjects it is about (Calico: a rule's own end)."""
    narrower: tuple[str, ...] = ()
    """What else has to be true before it matches, which is not modelled: requests, names, source ports. A connection
    that such a rule may match is certain only where the rules after it say the same."""


@dataclass(frozen=True, slots=True)
class Section:
    """One direction of a policy."""

    rules: tuple[Rule, ...]
    isolates: bool
    """Whether what no rule of the tier matches is denied."""


@dataclass(frozen=True, slots=True)
class Tier:
    name: str
    order: float
    ordered: bool = True
    """Whether equal orders are a tie, of which nobody knows who wins."""
    denies: bool = True
    """Whether isolating in it ends in a denial; else in the next tier (Calico's defaultAction Pass)."""


ADMIN = Tier("admin", 1_000)
DEFAULT = Tier("default", 1_000_000, ordered=False)
BASELINE = Tier("baseline", 10_000_000)
"""Their orders are those of the tiers that Calico makes of these kinds, so that its own stand among them."""
NETWORK_POLICY_ORDER = 1_000.0
LAST_ORDER = math.inf


class Identity(NamedTuple):
    """By which a policy is known: `NetworkPolicy shop/web`."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Note(NamedTuple):
    """Something in a document that is read otherwise than it looks, or is not modelled."""

    where: str
    """The field's path in its document."""
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy, or a part of one: a document may be several that stand at several orders."""

    identity: Identity
    where: str
    """The document: `policies.yaml[3]`."""
    subject: Expression
    tier: Tier = DEFAULT
    order: float = NETWORK_POLICY_ORDER
    ingress: Section | None = None
    """None where it does not speak of that direction."""
    egress: Section | None = None
    host_subjects: bool | None = None
    """Whether it applies to pods on the host's network; None: the plugin decides."""
    notes: tuple[Note, ...] = ()

    def section(self, direction: Direction) -> Section | None:
        return self.ingress if direction is Direction.INGRESS else self.egress
