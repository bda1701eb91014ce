"""Who else rates a vulnerability that a matched record leaves unrated: records of another ecosystem, or a CVE's own."""

from __future__ import annotations

from collections.abc import Set

from custody.ports.advisories import AdvisoryReader
from custody.vulns.severity import Rating, Severity, rate

Weight = tuple[int, float, str]
"""By which of several ratings one speaks: the severity, the score, and of equals the record with the later name."""


def weight(rating: Rating, identifier: str) -> Weight:
    return rating.severity, rating.score or 0, identifier


class Namesakes:
    """The ratings of all records with one of some names, asked for at once and rated once each.

    Bundles do not rate what they mend, and what is not rated, or rated as nothing, weighs no more than what asks: they
    are left out.
    """

    def __init__(self, store: AdvisoryReader, names: Set[str]) -> None:
        self._store = store
        self._asked: set[str] = set()
        self._rated: dict[str, list[tuple[Weight, tuple[str, str], Rating]]] = {}
        self._ask(names)

    def worst(self, names: Set[str]) -> tuple[Weight, Rating] | None:
        """The rating that weighs most of those of any of these names; names that are new are asked for."""
        if not self._asked.issuperset(names):
            self._ask(names - self._asked)
        if self._rated.keys().isdisjoint(names):
            return None
        entries = [entry for name in self._rated.keys() & names for entry in self._rated[name]]
        heaviest = max(weighed for weighed, _, _ in entries)
        # Of two that weigh the same, the first in the order of publishers.
        _, rating = min(((place, rating) for weighed, place, rating in entries if weighed == heaviest),
                        key=lambda entry: entry[0])
        return heaviest, rating

    def _ask(self, names: Set[str]) -> None:
        self._asked |= names
        for record in self._store.raters(names) if names else ():
            rating = rate(record)
            if rating.severity <= Severity.UNKNOWN:
                continue
            entry = weight(rating, record.id), (record.source, record.part), rating
            for name in {record.id, *record.aliases, *record.hashes}.intersection(names):
                self._rated.setdefault(name, []).append(entry)
