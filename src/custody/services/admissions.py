"""What is known of admissions: which images were let in, with what, and how the webhook decided."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from custody.policy.model import Verdict
from custody.ports.decisions import DecisionSearch, DecisionStore
from custody.ports.inventory import Seen, Sightings

_MOST = 200_000
_AROUND = timedelta(minutes=10)


class Decided(NamedTuple):
    at: datetime
    verdict: str
    reason: str
    uid: str
    policies: str
    """Digest of the policies that it was decided by."""


class Admissions:
    """Of one moment. Two sources, either of which may be missing: sightings of the inventory, kept decisions."""

    def __init__(self, sightings: Sightings | None, decisions: DecisionStore | None) -> None:
        """Raises StorageError."""
        self._sightings = sightings
        self._latest: dict[tuple[str, str, str], Decided] = {}
        self._times: list[datetime] = []
        self._policies: dict[str, datetime] = {}
        self.decisions = decisions is not None
        for kept in decisions.search(DecisionSearch(), limit=_MOST) if decisions is not None else ():
            self._times.append(kept.at)
            self._policies[kept.policies_digest] = kept.at  # newest first: the first use stands in the end
            if kept.course != "mutating":
                self._latest.setdefault((kept.namespace, kept.kind, kept.name), Decided(
                    kept.at, kept.verdict, kept.reason, kept.uid, kept.policies_digest))
        self._times.sort()

    @property
    def first(self) -> datetime | None:
        """When the first kept decision was made."""
        return self._times[0] if self._times else None

    def answered_around(self, moment: datetime) -> bool:
        """Whether the webhook decided anything within ten minutes."""
        at = bisect_left(self._times, moment - _AROUND)
        return at < len(self._times) and self._times[at] <= moment + _AROUND

    def decided(self, namespace: str, kind: str, name: str) -> Decided | None:
        """The last decision about such an object; of one whose name was generated only as such."""
        return self._latest.get((namespace, kind, name))

    def by_since(self, policies: str) -> datetime | None:
        """When these policies decided first, as far as is kept."""
        return self._policies.get(policies)

    def family(self, digests: Collection[str]) -> Mapping[str, frozenset[str]]:
        """Of each digest: itself, the indexes that name it, and the images that it names."""
        if self._sightings is None:
            return {digest: frozenset((digest,)) for digest in digests}
        seen = self._sightings.seen(digests)
        families: dict[str, frozenset[str]] = {}
        for digest in digests:
            above = {row.where for row in seen.get(digest, ()) if row.kind == "index"}
            families[digest] = frozenset((digest, *above, *self._sightings.holders("index", digest)))
        return families

    def seen(self, digests: Iterable[str]) -> Mapping[str, list[Seen]]:
        """Admissions by digest; what was never let in is not in it."""
        admitted: dict[str, list[Seen]] = defaultdict(list)
        if self._sightings is not None:
            for digest, rows in self._sightings.seen(list(digests)).items():
                admitted[digest] += [row for row in rows if row.kind == "admission"]
        return {digest: rows for digest, rows in admitted.items() if rows}

    def let_in(self, where: str) -> list[str]:
        """Digests that were let in with `namespace/Kind/name`, the last first."""
        return list(self._sightings.holders("admission", where)) if self._sightings is not None else []


def is_denied(decided: Decided | None) -> bool:
    return decided is not None and decided.verdict == str(Verdict.DENIED)
