"""What several rules ask, so that it is asked once."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from typing import NamedTuple

from policylang.falco.check.formula import Node
from policylang.falco.compiler.costs import weigh

_LIKELY = 0.7  # what is true more often divides nothing


class Numbered(NamedTuple):
    """`number` of a rule, and what must be true for it."""

    number: int
    parts: tuple[Node, ...]


def shared(rules: list[Numbered]) -> tuple[list[tuple[Node, list[Numbered]]], list[Numbered]]:
    """What most rules ask and few events answer, with these rules, again and again; and the rules that are left."""
    asking: dict[Node, list[int]] = defaultdict(list)
    for at, rule in enumerate(rules):
        for part in dict.fromkeys(rule.parts):
            asking[part].append(at)
    counts = Counter({part: len(numbers) for part, numbers in asking.items()})
    heap = [(-_gain(part, counts[part]), at, part) for at, part in enumerate(asking) if counts[part] > 1]
    heapq.heapify(heap)
    groups = []
    gone: set[int] = set()
    while heap:
        gain, order, part = heapq.heappop(heap)
        now = _gain(part, counts[part])
        if now <= 0 or counts[part] < 2:
            continue
        if now < -gain:
            heapq.heappush(heap, (-now, order, part))
            continue
        members = [at for at in asking[part] if at not in gone]
        groups.append((part, [rules[at] for at in members]))
        gone.update(members)
        for at in members:
            counts.subtract(set(rules[at].parts))
    return groups, [rule for at, rule in enumerate(rules) if at not in gone]


def _gain(part: Node, times: int) -> float:
    """Rules that are not asked, as far as one can tell."""
    _, chance = weigh(part)
    return times * (1 - chance) if chance <= _LIKELY else 0.0
