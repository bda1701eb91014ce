"""In which order the parts of a formula are asked: what they are guessed to take, and how often they are true."""

from __future__ import annotations

from functools import lru_cache

from policylang.falco.check.formula import Node
from policylang.falco.values.fields import Shape, Type
from policylang.falco.values.operators import OPERATORS

_READ = 1.5  # one field of an event


@lru_cache(1 << 14)
def weigh(node: Node) -> tuple[float, float]:
    """Expected cost, with parts in their best order, and chance of being true."""
    if node.kind == "test":
        read, op, modifier, right = node.parts
        chance = OPERATORS[op].chance
        cost = OPERATORS[op].cost * (1 if not modifier or op in ("startswith", "endswith") else 1 + len(right) / 4)
        cost += _READ + (5 if read.shape is not Shape.ONE or read.kind != "field" else 0)
        if read.type in (Type.ADDRESS, Type.NETWORK):
            cost += 6
        if read.type is Type.BOOL and op == "=":
            chance = 0.3 if right else 0.7
        return cost, chance
    if node.kind == "not":
        cost, chance = weigh(node.parts[0])
        return cost, 1 - chance
    decided, cost, still = node.kind == "or", 0.0, 1.0
    for part in ordered(node):
        of_part, chance = weigh(part)
        cost += still * of_part
        still *= 1 - chance if decided else chance
    return cost, 1 - still if decided else still


@lru_cache(1 << 14)
def ordered(node: Node) -> tuple[Node, ...]:
    """Parts of `and` or `or`, those first that decide it soonest for what they take."""
    return tuple(sorted(node.parts, key=_rank_or if node.kind == "or" else _rank_and))


def _rank_and(node: Node) -> float:
    cost, chance = weigh(node)
    return cost / max(1 - chance, 0.001)


def _rank_or(node: Node) -> float:
    cost, chance = weigh(node)
    return cost / max(chance, 0.001)
