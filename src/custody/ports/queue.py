"""Work that must be done once, by whichever worker is there: a job is put, taken for a time, and done, tried again or
given up.

Who takes a job has it until its lease is over; then it may be taken again. `done`, `again` and `bury` say whether they
counted: not where the lease was over and another took it. What a job does should be harmless twice: a worker may end
between doing it and saying so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol


class Job(NamedTuple):
    number: int
    key: str
    body: bytes
    attempts: int
    """How often it was taken, this time too."""
    lease: str
    """Says that this taking is meant."""


class Buried(NamedTuple):
    number: int
    kind: str
    key: str
    attempts: int
    reason: str


class Queue(Protocol):
    """All of it is synchronous. Raises StorageError."""

    def put(self, kind: str, key: str, body: bytes, due: datetime) -> bool:
        """False where one of this kind and key is there, waiting, done or given up: then nothing is put."""
        ...

    def take(self, kind: str, now: datetime, until: datetime) -> Job | None:
        """The one that is due longest and that nobody has, to be had until then."""
        ...

    def hasten(self, kind: str, key: str, due: datetime) -> bool:
        """One that waits is due then. Who has it has it in vain: it is taken again after that lease."""
        ...

    def done(self, job: Job) -> bool: ...

    def again(self, job: Job, due: datetime, reason: str) -> bool: ...

    def bury(self, job: Job, reason: str) -> bool: ...

    def buried(self) -> Sequence[Buried]: ...

    def revive(self, number: int, due: datetime) -> bool:
        """One that was given up is tried again, as if it were new."""
        ...

    def waiting(self, kind: str) -> int:
        """How many are neither done nor given up."""
        ...

    def prune(self, before: datetime) -> int:
        """Let go of those that are done and were due before; their keys may be put again. Their number."""
        ...
