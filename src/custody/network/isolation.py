"""Whether a pod is cut off: who still reaches it and whom it still reaches, on the policies that stand there.

Proved by the engine for every other pod and for every address outside, in both directions. What no policy can cut is
not looked at: a pod's connections to itself, its node to it, and connections that were open before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from custody.network import addresses
from custody.network.classes import positions
from custody.network.connectivity import Connectivity
from custody.network.intervals import EMPTY, Intervals
from custody.network.model import Action, Direction, Identity, Pod
from custody.network.ports import text

_TOLD = 20
_NAMES = 3


@dataclass(frozen=True, slots=True)
class Leak:
    """A way in or out that is left."""

    direction: Direction
    peer: str
    """Pods that no policy tells apart, `shop/web, shop/api and 3 more`, or blocks of addresses."""
    ports: Intervals
    certain: bool
    """False where it is the plugin that decides."""
    because: tuple[Identity, ...]
    """Policies of which a rule allows it; none where no policy isolates the pod."""

    @property
    def told(self) -> str:
        way = f"from {self.peer}" if self.direction is Direction.INGRESS else f"to {self.peer}"
        cause = (f"allowed by {', '.join(map(str, self.because))}" if self.because else
                 "no policy isolates it") if self.certain else "the plugin decides"
        return f"{way} on {text(self.ports)}: {cause}"


@dataclass(frozen=True, slots=True)
class Isolation:
    pod: str
    leaks: tuple[Leak, ...]
    """The first of them, those that are certain first."""
    count: int = 0
    """How many there are."""
    reason: str = ""
    """Why no policy could, where that is so."""

    @property
    def whole(self) -> bool:
        return not self.count and not self.reason


def isolation(engine: Connectivity, place: str, unread: Sequence[str] = ()) -> Isolation:
    """Of the pod `namespace/name` of the engine's topology. Raises KeyError where there is none.

    `unread` are policies that stand there and are not judged: nothing is proved beside them.
    """
    pod = next((known for known in engine.topology.pods if known.place == place), None)
    if pod is None:
        raise KeyError(place)
    if pod.host_network:
        return Isolation(place, (), reason="it is on its node's network, where no policy of pods is sure to apply")
    leaks = sorted(_leaks(engine, pod), key=lambda leak: (not leak.certain, leak.direction.value, leak.peer))
    beside = f"{', '.join(unread[:_NAMES])} may let pass, and custody does not judge it" if unread and not leaks else ""
    return Isolation(place, tuple(leaks[:_TOLD]), len(leaks), beside)


def _leaks(engine: Connectivity, pod: Pod) -> Iterator[Leak]:
    number = engine.classes.of(pod)
    for direction in Direction:
        reach = engine.reach(number, direction)
        for outcome, bits in reach.pods.items():
            if not (outcome.allowed or outcome.depends):
                continue
            for peer in positions(bits & engine.classes.live):
                shown = _shown(engine, peer, pod)
                if not shown:
                    continue
                between = engine.outcome(peer, number) if direction is Direction.INGRESS else engine.outcome(
                    number, peer)
                for ports, certain in ((between.allowed, True), (between.depends, False)):
                    if ports:
                        yield Leak(direction, shown, ports, certain, _allowing(engine, number, direction, peer, None))
        for outcome, outside in reach.addresses.items():
            for ports, certain in ((outcome.allowed, True), (outcome.depends, False)):
                if ports and outside:
                    yield Leak(direction, ", ".join(addresses.texts(outside, 3)), ports, certain,
                               _allowing(engine, number, direction, None, outside))


def _shown(engine: Connectivity, peer: int, pod: Pod) -> str:
    """The pods of a class but for the pod itself: `shop/web, shop/api and 3 more`; empty where there are none."""
    names = sorted({member.shown for place, member in engine.classes.members[peer].items() if place != pod.place})
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


def _allowing(engine: Connectivity, number: int, direction: Direction, peer: int | None, outside: Intervals | None
              ) -> tuple[Identity, ...]:
    """Policies that select the pod and have a rule that allows this peer."""
    names: dict[Identity, None] = {}
    for policy in engine.selecting(number, direction):
        section = policy.section(direction)
        for rule in section.rules if section else ():
            region = engine.classes.region(rule.peers)
            meant = (region.pods | region.maybe) >> peer & 1 if peer is not None else \
                region.addresses & (outside or EMPTY)
            if rule.action is Action.ALLOW and meant:
                names[policy.identity] = None
    return tuple(names)
