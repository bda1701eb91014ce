"""Many flows as few connections: who reached whom on which port, how often, and when first and last.

Read once from the first line to the last, in memory that is bounded by the number of distinct connections, whatever the
number of lines. A connection that is seen at both its ends counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from custody.errors import MalformedError
from custody.formats.flows.record import Flow, Passed, Verdict
from custody.network.ends import End, Ends

MOST = 200_000
"""Distinct connections."""
_NAMED = 20
"""Lines that cannot be read of which is told why."""
_WORDS = {"source": 0, "destination": 1, "": 2}


class Connection(NamedTuple):
    source: End
    destination: End
    protocol: str
    port: int


class Tally:
    """Of one connection."""

    __slots__ = ("allowed", "answered", "denied", "first", "guessed", "last", "late", "silent", "unanswered",
                 "verdicts")

    def __init__(self) -> None:
        self.allowed = [0, 0, 0]
        """Seen at the source, at the destination, and by who does not say where."""
        self.denied = [0, 0, 0]
        self.unanswered = 0
        self.first = self.last = 0
        self.guessed = True
        """Whether who began it is only concluded from ports, each time."""
        self.answered = self.silent = False
        """Whether it was seen to be answered, and whether it was seen to be begun without an answer."""
        self.late = False
        """First seen after the time until which connections are learnt."""
        self.verdicts: set[Verdict] = set()

    @property
    def count(self) -> int:
        """Connections, records or packets, as the recorder counts."""
        allowed = max(self.allowed[:2]) + self.allowed[2]
        return max(allowed + max(self.denied[:2]) + self.denied[2] + self.unanswered, 1)

    @property
    def happened(self) -> bool:
        """Whether it was allowed on both ends at least once, as far as was recorded."""
        source, destination, neither = (kind > 0 for kind in self.allowed)
        if Verdict.ALLOWED in self.verdicts and not any(self.allowed):
            return not any(self.denied)
        return destination or neither or (source and not self.denied[1])

    @property
    def refused(self) -> bool:
        """Whether it was denied, and never allowed on both ends."""
        return Verdict.DENIED in self.verdicts and not self.happened

    def add(self, flow: Flow) -> None:
        at = _WORDS[flow.observer]
        self.verdicts.add(flow.verdict)
        if flow.verdict is Verdict.ALLOWED:
            self.allowed[at] += flow.count
        elif flow.verdict is Verdict.DENIED:
            self.denied[at] += flow.count
        else:
            self.unanswered += flow.count
        self.guessed = self.guessed and flow.guessed
        if flow.answered is not None:
            if flow.answered:
                self.answered = True
            else:
                self.silent = True
        if flow.first and (not self.first or flow.first < self.first):
            self.first = flow.first
        if flow.last > self.last:
            self.last = flow.last


class Unread(NamedTuple):
    where: str
    """`flows.log:17`"""
    reason: str


class Observed:
    def __init__(self, ends: Ends, *, since: int = 0, until: int = 0, most: int = MOST) -> None:
        """Flows that ended before `since` are left out; those that began after `until` are marked (`Tally.late`)."""
        self.ends = ends
        self.connections: dict[Connection, Tally] = {}
        self.lines = self.flows = self.lost = 0
        self.over = 0
        """Flows of connections beyond `most`, which nobody judges."""
        self.early = self.timeless = self.guessed = 0
        """Flows before `since`; flows without a time where one was asked for; flows whose direction is concluded."""
        self.unread_count = 0
        self.unread: list[Unread] = []
        """The first of them."""
        self.passed: Counter[str] = Counter()
        self.first = self.last = 0
        self.answers = False
        """Whether the logs tell of connections that they were answered, so that those of which they do not were not."""
        self._since, self._until, self._most = since, until, most

    def add(self, where: str, number: int, said: Flow | Passed | MalformedError) -> None:
        """One line of a log."""
        self.lines += 1
        if isinstance(said, Flow):
            self._flow(said)
        elif isinstance(said, Passed):
            self.passed[said.reason] += 1
            self.lost += said.lost
        else:
            self.unread_count += 1
            if len(self.unread) < _NAMED:
                self.unread.append(Unread(f"{where}:{number}", said.message))

    def _flow(self, flow: Flow) -> None:
        self.flows += 1
        self.guessed += flow.guessed
        late = False
        if self._since or self._until:
            if not flow.last:
                self.timeless += 1
                return
            if flow.last < self._since:
                self.early += 1
                return
            late = bool(self._until) and flow.first > self._until
        if flow.last:
            self.first = min(self.first or flow.first, flow.first) if flow.first else self.first
            self.last = max(self.last, flow.last)
        last = flow.last
        ends = self.ends
        wire = (ends.of(flow.source, last), ends.of(flow.destination, last), flow.protocol, flow.port)
        tally = self.connections.get(wire)  # type: ignore[call-overload]  # equal to the Connection, and made faster
        if tally is None:
            if len(self.connections) >= self._most:
                self.over += 1
                return
            tally = self.connections[Connection(*wire)] = Tally()
            tally.late = late
        elif not late:
            tally.late = False
        if flow.answered and flow.protocol == "TCP":
            self.answers = True
        tally.add(flow)

    def ordered(self) -> Iterator[tuple[Connection, Tally]]:
        """In an order that the lines' order does not change."""
        return iter(sorted(self.connections.items(), key=lambda item: (
            item[0].source.shown, item[0].destination.shown, item[0].protocol, item[0].port, item[0].source.how,
            item[0].destination.how)))
