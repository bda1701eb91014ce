"""Who can reach whom as rows of workloads, for tables, JSON and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from custody.errors import UnsupportedError
from custody.network.addresses import texts
from custody.network.connectivity import Connectivity
from custody.network.intervals import EMPTY, Intervals
from custody.network.model import Direction, Pod
from custody.network.ports import ALL
from custody.network.tiers import Outcome

MOST = 2_000_000
"""Rows; more of them nobody reads, and they do not fit into memory."""
OUTSIDE = "outside"
"""What is at no pod's address."""


class Connection(NamedTuple):
    """From a workload or addresses to a workload or addresses."""

    source: str
    target: str
    allowed: Intervals
    depends: Intervals
    source_outside: bool = False
    target_outside: bool = False


def connections(engine: Connectivity, sources: Sequence[Pod] | None = None, targets: Sequence[Pod] | None = None,
                ports: Intervals = ALL, *, outside: bool = True,
                advance: Callable[[int, int], None] | None = None) -> list[Connection]:
    """What is not denied, of ports that are asked for; workloads with pods that differ have a row for each difference.
    Raises UnsupportedError for more than `MOST` rows.

    `outside`: with addresses that no pod has, too, from and to what is not limited.
    """
    classes = engine.classes
    left = _bits(engine, sources)
    right = _bits(engine, targets)
    chosen = (None if sources is None else {pod.place for pod in sources},
              None if targets is None else {pod.place for pod in targets})
    names = [tuple({pod.shown: pod for pod in pods.values()}) for pods in classes.members]
    kept = [_shown(engine, side) for side in chosen]
    rows: dict[Connection, None] = {}
    for cell in engine.cells(left, right, advance):
        outcome = _limited(cell.outcome, ports)
        if not (outcome.allowed or outcome.depends):
            continue
        if cell.source == cell.target and len(classes.members[cell.source]) == 1:
            continue  # a pod to itself
        for source in names[cell.source]:
            if kept[0] is not None and source not in kept[0]:
                continue
            for target in names[cell.target]:
                if kept[1] is None or target in kept[1]:
                    rows[Connection(source, target, *outcome)] = None
            if len(rows) > MOST:
                raise UnsupportedError("connections", f"more than {MOST:,} of them are not listed",
                                       hint="--from, --to and --port say which")
    if outside and targets is None:
        _addresses(engine, left, Direction.EGRESS, ports, names, kept[0], rows)
    if outside and sources is None:
        _addresses(engine, right, Direction.INGRESS, ports, names, kept[1], rows)
    return sorted(rows, key=lambda row: (row.source_outside, row.source, row.target_outside, row.target,
                                         row.allowed.pairs, row.depends.pairs))


def _shown(engine: Connectivity, places: set[str] | None) -> set[str] | None:
    return None if places is None else {pod.shown for pod in engine.topology.pods if pod.place in places}


def _limited(outcome: Outcome, ports: Intervals) -> Outcome:
    return outcome if ports == ALL else Outcome(outcome.allowed & ports, outcome.depends & ports)


def _bits(engine: Connectivity, pods: Sequence[Pod] | None) -> int:
    if pods is None:
        return engine.classes.live
    bits = 0
    for pod in pods:
        bits |= 1 << engine.classes.of(pod)
    return bits


def _addresses(engine: Connectivity, bits: int, direction: Direction, ports: Intervals, names: list[tuple[str, ...]],
               kept: set[str] | None, rows: dict[Connection, None]) -> None:
    for number, shown in enumerate(names):
        if not bits >> number & 1:
            continue
        merged: dict[Outcome, Intervals] = {}
        for outcome, space in engine.reach(number, direction).addresses.items():
            told = _limited(outcome, ports)
            if told.allowed or told.depends:
                merged[told] = merged.get(told, EMPTY) | space
        for outcome, space in merged.items():
            words = ", ".join(texts(space))
            for name in shown:
                if kept is not None and name not in kept:
                    continue
                if direction is Direction.EGRESS:
                    rows[Connection(name, words, *outcome, target_outside=True)] = None
                else:
                    rows[Connection(words, name, *outcome, source_outside=True)] = None
