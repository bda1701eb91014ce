"""What policies would do with connections that were observed: let them pass, cut them, or nobody knows.

Each connection is judged on what stands and on what is proposed. Nothing is called allowed of which a side is not
known, and a connection that nobody answered is told apart from those that worked.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from custody.network import ports
from custody.network.classes import own_ports
from custody.network.connectivity import Connectivity
from custody.network.ends import End, Ends
from custody.network.model import Action, Direction, Identity, Policy
from custody.network.observed import Connection, Observed, Tally
from custody.network.ports import PROTOCOLS, protocol_named
from custody.network.selector import NAME_LABEL, Expression, Not, Scope, Test


class State(enum.Enum):
    """Of a connection under one set of policies."""

    ALLOWED = "allowed"
    DENIED = "denied"
    PLUGIN = "the plugin decides"
    UNKNOWN = "unknown"


class Verdict(enum.Enum):
    """Of an observed connection, once the proposed policies stand."""

    CUT = "would be cut"
    NEWLY = "newly allowed"
    PLUGIN = "the plugin decides"
    UNKNOWN = "unknown"
    UNANSWERED = "unanswered, would be cut"
    DENIED = "still denied"
    ALLOWED = "allowed"


@dataclass(frozen=True, slots=True)
class Judged:
    state: State
    reasons: tuple[str, ...] = ()
    """Why it is denied, or is not known."""
    policies: tuple[Identity, ...] = ()
    """Those that deny it, or isolate a side of it."""


_ALLOWED = Judged(State.ALLOWED)


@dataclass(frozen=True, slots=True)
class Row:
    connection: Connection
    tally: Tally
    verdict: Verdict
    judged: Judged
    contradicted: bool = False
    """It happened, and the policies that stand deny it: they are not those that stood, or the plugin does not enforce
    them."""


class Judge:
    """One set of policies, asked about many connections."""

    def __init__(self, engine: Connectivity, ends: Ends) -> None:
        self._engine, self._ends = engine, ends

    def of(self, connection: Connection) -> Judged:
        source, destination = connection.source, connection.destination
        for end in (source, destination):
            if end.unknown:
                return Judged(State.UNKNOWN, (f"{end.shown}: {end.unknown}",))
        if source.service is not None:
            return Judged(State.UNKNOWN, (f"{source.shown}: a Service's address begins no connection",))
        if destination.service is not None:
            backends = self._ends.backends(destination.service, connection.protocol, connection.port)
            if not backends:
                return Judged(State.UNKNOWN, (f"{destination.shown}: no pod that was given is behind its port "
                                              f"{connection.port}",))
            return _worst(self._pair(source, end, connection.protocol, number) for end, number in backends)
        return self._pair(source, destination, connection.protocol, connection.port)

    def _pair(self, source: End, destination: End, protocol: str, port: int) -> Judged:
        if source.pod is None and destination.pod is None:
            return Judged(State.UNKNOWN, ("neither side is a pod, and policies speak of pods",))
        sides = [self._side(end, peer, direction, protocol, port) for end, peer, direction in (
            (source, destination, Direction.EGRESS), (destination, source, Direction.INGRESS)) if end.pod is not None]
        return _worst(sides)

    def _side(self, end: End, peer: End, direction: Direction, protocol: str, port: int) -> Judged:
        engine = self._engine
        assert end.pod is not None
        number = engine.classes.of(end.pod)
        where = f"{direction.value} of {end.shown}"
        if protocol not in PROTOCOLS:
            names = self._isolating(number, direction)
            return Judged(State.PLUGIN, (f"{where}: policies say nothing of {protocol}",), names) if names else Judged(
                State.ALLOWED)
        if peer.pod is None and peer.address is None:
            return Judged(State.UNKNOWN, (f"{peer.shown}: its address is not known",))
        reach = engine.reach(number, direction)
        outcome = reach.at(engine.classes.of(peer.pod)) if peer.pod is not None else reach.outside(peer.address or 0)
        key = ports.key(protocol_named(protocol), port)
        if key in outcome.allowed:
            return _ALLOWED
        if peer.node and direction is Direction.INGRESS:
            return Judged(State.PLUGIN, (f"{where}: a node reaches its own pods whatever policies say",),
                          self._isolating(number, direction))
        if key in outcome.depends:
            return Judged(State.PLUGIN, (f"{where}: policies alone do not say",), self._isolating(number, direction))
        return self._denied(number, end, peer, direction, protocol, port)

    def _isolating(self, number: int, direction: Direction) -> tuple[Identity, ...]:
        return tuple(dict.fromkeys(policy.identity for policy in self._engine.selecting(number, direction)
                                   if (section := policy.section(direction)) is not None and section.isolates))

    def _denied(self, number: int, end: End, peer: End, direction: Direction, protocol: str, port: int) -> Judged:
        where = f"{direction.value} of {end.shown}"
        for policy in self._engine.selecting(number, direction):
            if (rule := self._deny(policy, end, peer, direction, ports.key(protocol_named(protocol), port))):
                return Judged(State.DENIED, (f"{where}: denied by {policy.identity} {rule}",), (policy.identity,))
        names = self._isolating(number, direction)
        told = ", ".join(map(str, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return Judged(State.DENIED, (f"{where}: isolated by {told}, and no rule allows {peer.shown} on "
                                     f"{port}/{protocol}",), names)

    def _deny(self, policy: Policy, end: End, peer: End, direction: Direction, key: int) -> str:
        section = policy.section(direction)
        for rule in section.rules if section is not None else ():
            if rule.action is not Action.DENY:
                continue
            region = self._engine.classes.region(rule.peers)
            target = end.pod if direction is Direction.INGRESS else peer.pod
            numbers = own_ports(rule.ports, target.ports if target is not None else frozenset())
            meant = region.pods >> self._engine.classes.of(peer.pod) & 1 if peer.pod is not None else \
                peer.address in region.addresses if peer.address is not None else False
            if meant and key in numbers:
                return rule.where
        return ""


_ORDER = (State.DENIED, State.UNKNOWN, State.PLUGIN, State.ALLOWED)


def _worst(judged: Iterable[Judged]) -> Judged:
    """Both directions have to allow, and all pods behind a Service: one denial is one."""
    parts = list(judged)
    if len(parts) == 1:
        return parts[0]
    if all(part is _ALLOWED for part in parts):
        return _ALLOWED
    state = min((part.state for part in parts), key=_ORDER.index)
    hit = [part for part in parts if part.state is state]
    return Judged(state, tuple(dict.fromkeys(reason for part in hit for reason in part.reasons)),
                  tuple(dict.fromkeys(name for part in hit for name in part.policies)))


def guessed_namespaces(observed: Observed, engine: Connectivity) -> list[str]:
    """Namespaces of observed pods whose labels nobody gave, where a policy asks for labels of namespaces: such a
    selector does not match there, which may be wrong."""
    if not any(_asks(expression) for policy in engine.policies for expression in _expressions(policy)):
        return []
    names = {end.pod.namespace for connection in observed.connections for end in connection[:2] if end.pod is not None}
    return sorted(name for name in names if not engine.topology.namespace(name).declared)


def _expressions(policy: Policy) -> Iterator[Expression]:
    yield policy.subject
    for section in (policy.ingress, policy.egress):
        for rule in section.rules if section is not None else ():
            yield rule.subject
            yield from (peer.pods for peer in rule.peers if peer.pods is not None)


def _asks(expression: Expression) -> bool:
    if isinstance(expression, Test):
        return expression.scope is Scope.NAMESPACE and expression.key != NAME_LABEL
    return any(map(_asks, (expression.of,) if isinstance(expression, Not) else expression.of))


def simulate(observed: Observed, proposed: Connectivity, standing: Connectivity | None = None) -> Iterator[Row]:
    """A row for each connection, in their order; `standing` are the policies of now, where they are known.

    Both have the pods of the topology that the flows were resolved with, and those that only flows tell of
    (`ends.with_made`).
    """
    judge = Judge(proposed, observed.ends)
    now = Judge(standing, observed.ends) if standing is not None else None
    for connection, tally in observed.ordered():
        judged = judge.of(connection)
        contradicted = now is not None and tally.happened and now.of(connection).state is State.DENIED
        yield Row(connection, tally, _verdict(judged, tally), judged, contradicted)


def _verdict(judged: Judged, tally: Tally) -> Verdict:
    if judged.state is State.UNKNOWN:
        return Verdict.UNKNOWN
    if judged.state is State.PLUGIN:
        return Verdict.PLUGIN
    denied = judged.state is State.DENIED
    if tally.happened:
        return Verdict.CUT if denied else Verdict.ALLOWED
    if tally.refused:
        return Verdict.DENIED if denied else Verdict.NEWLY
    return Verdict.UNANSWERED if denied else Verdict.ALLOWED
