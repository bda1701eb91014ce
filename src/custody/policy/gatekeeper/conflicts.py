"""What mutators imply of an object's shape, and which of them contradict each other (Gatekeeper pkg/mutation/schema).

A field cannot be a list and an object, a list has one key, and below what is a text nothing is written. Mutators that
contradict another one are not applied, by whatever order they came.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from custody.policy.gatekeeper.location import Item, Location
from custody.policy.gatekeeper.mutators import Mutator

_UNKNOWN, _LIST, _OBJECT = "Unknown", "List", "Object"


class _Node:
    def __init__(self) -> None:
        self.by: set[int] = set()
        """Mutators whose locations lead through here."""
        self.ends: set[int] = set()
        """Those that want nothing below."""
        self.children: dict[str, dict[str, _Node]] = {}
        """By name, and by what the child is."""

    def add(self, rank: int, location: Location, mutator: Mutator) -> None:
        self.by.add(rank)
        if not location:
            if mutator.terminates:
                self.ends.add(rank)
            return
        node = location[0]
        name = node.key if isinstance(node, Item) else node.name
        if len(location) < 2:
            kind = mutator.terminal or _UNKNOWN
        else:
            kind = _LIST if isinstance(location[1], Item) else _OBJECT
        child = self.children.setdefault(name, {}).setdefault(kind, _Node())
        child.add(rank, location[1:], mutator)

    def conflicts(self) -> Iterator[int]:
        for kinds in self.children.values():
            known = [kind for kind in kinds if kind != _UNKNOWN]
            for kind, child in kinds.items():
                if kind != _UNKNOWN and (len(known) > 1 or (kind == _LIST and len(child.children) > 1)):
                    yield from child.by
            ended = any(child.ends for child in kinds.values())
            if ended and any(child.children for child in kinds.values()):
                for child in kinds.values():
                    yield from child.ends
                    for deeper in child.children.values():
                        for grandchild in deeper.values():
                            yield from grandchild.by
            for child in kinds.values():
                yield from child.conflicts()


def conflicting(mutators: Sequence[Mutator]) -> set[int]:
    """Positions of the mutators that contradict another one."""
    roots: dict[tuple[str, str, str, str], _Node] = {}
    for rank, mutator in enumerate(mutators):
        for entry in mutator.apply_to:
            for binding in entry.bindings:
                roots.setdefault(binding, _Node()).add(rank, mutator.location, mutator)
    return {rank for root in roots.values() for rank in root.conflicts()}
