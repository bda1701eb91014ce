"""How workloads are covered: isolated or not, in each direction, and by which policies."""

from __future__ import annotations

import enum
from typing import NamedTuple

from custody.network.connectivity import Connectivity
from custody.network.model import Direction


class Cover(enum.Enum):
    OPEN = "open"
    """No policy isolates it: whatever no other rule denies may pass."""
    ISOLATED = "isolated"
    """Isolated, and some may pass by a rule."""
    CLOSED = "closed"
    """Isolated, and no rule lets anything pass: a default denial alone."""


class Row(NamedTuple):
    """A workload and how it is covered."""

    namespace: str
    name: str
    pods: int
    ingress: Cover
    egress: Cover
    policies: tuple[str, ...]
    """That select it in any direction."""


def rows(engine: Connectivity) -> list[Row]:
    """Of each workload, by name. Pods of a workload that are covered otherwise have a row of their own."""
    gathered: dict[tuple[str, str, Cover, Cover, tuple[str, ...]], int] = {}
    covers = {(bit, direction): cover(engine, bit, direction) for bit, pods in enumerate(engine.classes.members) if pods
              for direction in Direction}
    for bit, pods in enumerate(engine.classes.members):
        if not pods:
            continue
        names = tuple(dict.fromkeys(str(policy.identity) for direction in Direction
                                    for policy in engine.selecting(bit, direction)))
        for pod in pods.values():
            namespace, _, name = pod.shown.partition("/")
            place = (namespace, name, covers[bit, Direction.INGRESS], covers[bit, Direction.EGRESS], names)
            gathered[place] = gathered.get(place, 0) + 1
    return sorted((Row(place[0], place[1], count, *place[2:]) for place, count in gathered.items()),
                  key=lambda row: (row.namespace, row.name, row.ingress.value, row.egress.value, row.policies))


def cover(engine: Connectivity, number: int, direction: Direction) -> Cover:
    """How a class is covered in a direction."""
    if not engine.isolated(number, direction):
        return Cover.OPEN
    reach = engine.reach(number, direction)
    passes = any(outcome.allowed or outcome.depends for outcome in (*reach.pods, *reach.addresses))
    return Cover.ISOLATED if passes else Cover.CLOSED
