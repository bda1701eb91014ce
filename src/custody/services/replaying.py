"""Kept decisions made again by several processes, in the order and with the words of one."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from multiprocessing import get_context

from custody.policy.load import PolicySet
from custody.policy.model import Decision
from custody.ports.decisions import DecisionSearch, DecisionStore, KeptDecision
from custody.services.decisions import Again, Replayed

_BATCH = 200  # decisions that a process is handed at once; of fewer one process makes all
_AHEAD = 2  # batches for each process that are read before the oldest is done
_Made = tuple[Decision | None, str]
"""Of a Replayed, what the process that reads the store does not have: the decision, and the problem."""
_again: Again


def replayed_together(jobs: int, store: DecisionStore, opened: Callable[[], DecisionStore], search: DecisionSearch,
                      policies: PolicySet | None = None) -> Iterator[Replayed]:
    """What `decisions.replayed` gives, made by so many processes, for each of which a store is `opened`.

    Of a decision that comes out as it was kept there is the verdict alone.
    """
    rows = store.search(search, newest_first=False)
    first = [*islice(rows, _BATCH)]
    if jobs == 1 or len(first) < _BATCH:
        yield from map(Again(store, policies), chain(first, rows))
        return
    # Forked, since what is compiled cannot be sent. They use no connection of this process.
    with ProcessPoolExecutor(jobs, get_context("fork"), _begin, (opened, policies)) as processes:
        try:
            yield from _in_turn(processes, first, rows, _AHEAD * jobs)
        finally:  # also where nobody reads on
            processes.shutdown(cancel_futures=True)


def _in_turn(processes: ProcessPoolExecutor, batch: list[KeptDecision], rows: Iterator[KeptDecision],
             ahead: int) -> Iterator[Replayed]:
    waiting: deque[tuple[list[KeptDecision], Future[list[_Made]]]] = deque()
    while batch or waiting:
        if batch:
            waiting.append((batch, processes.submit(_made, batch)))
            batch = [*islice(rows, _BATCH)]
        if not batch or len(waiting) > ahead:
            handed, made = waiting.popleft()
            for kept, (decision, problem) in zip(handed, made.result(), strict=True):
                yield Replayed(kept, decision, problem)


def _begin(opened: Callable[[], DecisionStore], policies: PolicySet | None) -> None:
    global _again
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's, which ends the process that began this one
    _again = Again(opened(), policies)


def _made(batch: Sequence[KeptDecision]) -> list[_Made]:
    return [_sent(_again(kept)) for kept in batch]


def _sent(repeated: Replayed) -> _Made:
    """A whole decision takes as long to send as half of it takes to make."""
    decision = repeated.decision
    if decision is not None and not repeated.problem and not repeated.changed:
        decision = Decision(verdict=decision.verdict, results=(), inputs_digest="")
    return decision, repeated.problem
