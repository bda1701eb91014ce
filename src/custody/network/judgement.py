"""One connection judged and explained: which policies select its ends, and which rule spoke.

It asks the rules one by one, and so is a second way to the verdict that `tiers` folds for all at once.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from custody.network.addresses import V4, V6
from custody.network.classes import own_ports
from custody.network.connectivity import Connectivity
from custody.network.intervals import Intervals
from custody.network.model import Action, Direction, NamedPort, Peer, Pod, Policy, Rule, Topology, together
from custody.network.selector import EVERYTHING, Scope, matches

PLUGIN = "the network plugin decides"


class Verdict(enum.Enum):
    ALLOWED = "allowed"
    DENIED = "denied"
    DEPENDS = "depends"
    """On the plugin, or on what is not modelled: the reasons say on what."""


class Spoken(NamedTuple):
    """A rule that matched."""

    policy: Policy
    rule: Rule
    reasons: tuple[str, ...] = ()
    """Why that is not certain; none where it is."""


@dataclass
class Half:
    """One direction: what the policies of its subject say of the connection."""

    direction: Direction
    verdict: Verdict = Verdict.ALLOWED
    selecting: list[Policy] = field(default_factory=list)
    """In the order in which they are asked."""
    isolating: list[Policy] = field(default_factory=list)
    """Those that make a denial of what none allows."""
    decided: Spoken | None = None
    """The rule that allows or denies; None where none matched."""
    passed: list[Spoken] = field(default_factory=list)
    uncertain: list[Spoken] = field(default_factory=list)
    """Rules that may match, before the one that decided."""
    tied: bool = False
    """Whether policies of equal priority say different words."""
    notes: list[str] = field(default_factory=list)

    @property
    def reason(self) -> str:
        """A line for people."""
        if self.decided is not None:
            policy, rule, _ = self.decided
            said = {Action.ALLOW: "allows it", Action.DENY: "denies it"}.get(rule.action, "passes it")
            return f"{policy.identity} {said}: {rule.where}" + (f" ({rule.name})" if rule.name else "")
        if not self.selecting:
            return "no policy selects it"
        if self.isolating:
            return "no rule allows it: isolated by " + ", ".join(
                dict.fromkeys(str(policy.identity) for policy in self.isolating))
        return "no rule speaks of it, and no policy isolates it"


@dataclass
class Judgement:
    """A connection."""

    verdict: Verdict
    egress: Half | None
    """None where the source is no pod: nobody's egress."""
    ingress: Half | None
    notes: list[str]


class End(NamedTuple):
    """A pod, a pod by one of its addresses, or an address that no pod has."""

    pod: Pod | None
    address: int | None = None


def judge(engine: Connectivity, source: End, target: End, port: int) -> Judgement:
    """`port` as network.ports.key makes it. At least one end is a pod."""
    notes: list[str] = []
    egress = _half(engine, source.pod, target, port, Direction.EGRESS) if source.pod else None
    ingress = _half(engine, target.pod, source, port, Direction.INGRESS) if target.pod else None
    if source.pod and target.pod and source.pod.place == target.pod.place:
        _soften(ingress, egress, notes, f"a pod's connections to itself: {PLUGIN} whether policies see them")
    if ingress and target.pod and _node_of(engine.topology, target.pod, source):
        _soften(ingress, None, notes, "from the pod's own node: Kubernetes lets it through, whatever policies say")
    verdicts = [half.verdict for half in (egress, ingress) if half is not None]
    verdict = (Verdict.DENIED if Verdict.DENIED in verdicts else Verdict.DEPENDS if Verdict.DEPENDS in verdicts
               else Verdict.ALLOWED)
    return Judgement(verdict, egress, ingress, notes)


def _soften(ingress: Half | None, egress: Half | None, notes: list[str], note: str) -> None:
    for half in (ingress, egress):
        if half is not None and half.verdict is Verdict.DENIED:
            half.verdict = Verdict.DEPENDS
            half.notes.append(note)
    notes.append(note)


def _node_of(topology: Topology, pod: Pod, source: End) -> bool:
    node = next((known for known in topology.nodes if known.name == pod.node), None)
    if node is None:
        return False
    addresses = source.pod.addresses if source.pod and source.pod.host_network else (source.address,)
    return any(address in node.addresses for address in addresses)


def _half(engine: Connectivity, subject: Pod | None, peer: End, port: int, direction: Direction) -> Half:
    assert subject is not None
    topology = engine.topology
    half = Half(direction)
    half.selecting = engine.selecting(engine.classes.of(subject), direction)
    named = (subject if direction is Direction.INGRESS else peer.pod)
    undecided = True
    for tier, members in groupby(half.selecting, lambda policy: policy.tier):
        inside = list(members)
        passed = False
        for _, tied in groupby(inside, lambda policy: policy.order):
            group = list(tied)
            first = [_first(policy, direction, subject, peer, port, named, topology) for policy in group]
            spoken = [certain for _, certain in first if certain]
            actions = {certain.rule.action for certain in spoken}
            if tier.ordered and len(actions) > 1:
                tie = f"equal priorities: {PLUGIN} which is asked first"
                half.uncertain += [certain._replace(reasons=(tie,)) for certain in spoken]
                half.tied = True
            for uncertain, certain in first:
                half.uncertain += uncertain
                if certain is not None:
                    if certain.rule.action is Action.PASS:
                        half.passed.append(certain)
                        passed = True
                    else:
                        half.decided = certain
                        undecided = False
                    break
            if passed or not undecided:
                break
        if not undecided:
            break
        isolating = [policy for policy in inside if (section := policy.section(direction)) and section.isolates]
        if isolating and tier.denies and not passed:
            half.isolating = isolating
            break
    _conclude(half, subject)
    return half


def _conclude(half: Half, subject: Pod) -> None:
    allowed = half.decided.rule.action is Action.ALLOW if half.decided else not half.isolating
    half.verdict = Verdict.ALLOWED if allowed else Verdict.DENIED
    other_way = {Action.PASS, Action.DENY if allowed else Action.ALLOW}
    if half.tied or any(spoken.rule.action in other_way for spoken in half.uncertain):
        half.verdict = Verdict.DEPENDS
    if not allowed and subject.host_network and any(policy.host_subjects is None for policy in half.selecting):
        half.verdict = Verdict.DEPENDS
        half.notes.append(f"a pod on the host's network: {PLUGIN} whether policies see it")


def _first(policy: Policy, direction: Direction, subject: Pod, peer: End, port: int, named: Pod | None,
           topology: Topology) -> tuple[list[Spoken], Spoken | None]:
    """The first rule of a policy that matches for certain, and those before it that may."""
    section = policy.section(direction)
    uncertain: list[Spoken] = []
    for rule in section.rules if section else ():
        if rule.subject != EVERYTHING and not matches(rule.subject, topology.labels(subject)):
            continue
        if port not in own_ports(rule.ports, named.ports if named else frozenset[NamedPort]()):
            continue
        reasons = _match(rule, peer, topology)
        if reasons is None:
            continue
        if reasons or rule.narrower:
            uncertain.append(Spoken(policy, rule, (*reasons, *rule.narrower)))
        else:
            return uncertain, Spoken(policy, rule)
    return uncertain, None


def _match(rule: Rule, peer: End, topology: Topology) -> tuple[str, ...] | None:
    """None: it does not match; else why that is not certain."""
    best: tuple[str, ...] | None = None
    for candidate in together(rule.peers):
        reasons = _peer(candidate, peer, topology)
        if reasons == ():
            return ()
        best = reasons if best is None else best
    return best


def _peer(candidate: Peer, peer: End, topology: Topology) -> tuple[str, ...] | None:
    pod = peer.pod
    if pod is None:
        address = -1 if peer.address is None else peer.address
        nodes = candidate.nodes is not None and any(
            address in node.addresses and matches(candidate.nodes, {
                Scope.POD: node.labels, Scope.NAMESPACE: {}, Scope.ACCOUNT: {}, Scope.ABOUT: {"name": node.name}})
            for node in topology.nodes)
        known = candidate.nodeless and any(address in node.addresses for node in topology.nodes)
        return () if nodes or (address in candidate.outside and not known) else None
    if candidate.pods is None or not matches(candidate.pods, topology.labels(pod)):
        return None
    reasons: list[str] = []
    if candidate.within is not None:
        addresses = pod.addresses if peer.address is None else (peer.address,)
        if addresses:
            inside = [address for address in addresses if address in candidate.within]
            if not inside:
                return None
            if len(inside) < len(addresses):
                reasons.append("one of the pod's addresses is in the block, another is not")
        elif not candidate.within:
            return None
        elif not _whole(candidate.within):
            reasons.append("the pod's address is not known")
    if pod.host_network and candidate.host_pods is not True:
        if candidate.host_pods is False:
            return None
        reasons.append(f"a pod on the host's network: {PLUGIN} whether selectors mean it")
    return tuple(reasons)


def _whole(addresses: Intervals) -> bool:
    return not (V4 - addresses) and not (V6 - addresses)


