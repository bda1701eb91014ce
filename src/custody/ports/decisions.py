"""Where decisions are kept, to be searched, explained and made again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec


class KeptDecision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision: what is searched by, and its inputs less those that many share."""

    uid: str
    """Of the AdmissionRequest. The mutating and the validating webhook are asked about one request by two of them."""
    at: datetime
    course: str
    operation: str
    kind: str
    namespace: str
    name: str
    username: str
    verdict: str
    inputs_digest: str
    policies_digest: str
    reason: str = ""
    """The first thing that denied."""
    body: bytes
    parts: tuple[str, ...] = ()
    """Digests of what the body names and does not hold: policies, evidence."""


class DecisionSearch(msgspec.Struct, frozen=True, kw_only=True):
    """Empty fields select everything."""

    since: datetime | None = None
    until: datetime | None = None
    verdict: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    username: str = ""
    course: str = ""


class DecisionStore(Protocol):
    """What one replica decided. Not durable to the last second: what is lost by a crash is a gap in a history."""

    def keep(self, decisions: Sequence[KeptDecision], parts: Mapping[str, bytes]) -> None:
        """All or none, with the parts that are not there yet. Raises StorageError."""
        ...

    def named(self, name: str) -> Sequence[KeptDecision]:
        """Those with this uid, or whose inputs' digest begins with it; newest first, at most 100."""
        ...

    def search(self, search: DecisionSearch, *, newest_first: bool = True, limit: int | None = None
               ) -> Iterator[KeptDecision]:
        """As they are when it begins."""
        ...

    def part(self, digest: str) -> bytes | None:
        """What `KeptDecision.parts` names."""
        ...

    def prune(self, before: datetime, most: int) -> int:
        """Let go of older decisions, and of the oldest while all have more than `most` bytes, with the parts that none
        names any more. The number of decisions that went."""
        ...
