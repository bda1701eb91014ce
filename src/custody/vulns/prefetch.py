"""All that a scan will ask the advisories for, asked at once: a question a package costs more than its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from custody.formats.bom import Package
from custody.formats.epss import Epss
from custody.formats.kev import Exploited
from custody.formats.osv import Advisory, cve_of
from custody.ports.advisories import AdvisoryReader, AdvisoryStatus, Entry
from custody.vulns import aliases
from custody.vulns.match import Hit, Names, names, place_of, whole
from custody.vulns.reach import keys

_Said = TypeVar("_Said", Exploited, Epss)


class Prefetched:
    """AdvisoryReader that answers from memory for some packages, and for vulnerabilities that it is to `expect`."""

    def __init__(self, store: AdvisoryReader, packages: Iterable[Package]) -> None:
        self._store = store
        by_place: dict[str, list[tuple[Package, Names]]] = {}
        for package in packages:
            if (ecosystem := place_of(package)) is not None:
                by_place.setdefault(ecosystem, []).append((package, names(package)))
        self._counts = {ecosystem: store.count(ecosystem) for ecosystem in by_place}
        self._asked: dict[str, set[str]] = {}
        self._known: dict[str, set[str]] = {}
        self._records: dict[str, Mapping[str, Sequence[Advisory]]] = {}
        self._judged: set[str] = set()
        self._ahead: dict[str, Mapping[str, Sequence[Entry]]] = {}
        for ecosystem, listed in by_place.items():
            asked = self._asked[ecosystem] = {name for _, called in listed for name, _, _ in called}
            known = self._known[ecosystem] = (
                store.known(ecosystem, sorted(asked)) if self._counts[ecosystem] else set())
            spoken = [(package.purl, [*keys(package, ecosystem, called)]) for package, called in listed
                      if any(name in known for name, _, _ in called)]
            reached = store.reached(ecosystem, (pair for _, pairs in spoken for pair in pairs)) if spoken else set()
            judged = [(purl, pairs) for purl, pairs in spoken if not reached.isdisjoint(pairs)]
            self._judged.update(purl for purl, _ in judged)
            first = [*_from_the_first(pairs for _, pairs in judged)]
            said = store.ahead(ecosystem, first) if judged else {}
            self._ahead[ecosystem] = {**dict.fromkeys((name for name, _ in first), ()), **said}
            # What a bundle mends may be what a record that is silent now speaks of.
            bundled = [name for name, entries in said.items() if any(aliases.bundle(row.advisory) for row in entries)]
            self._records[ecosystem] = store.find_all(ecosystem, bundled) if bundled else {}
        self._exploited: Mapping[str, Exploited] = {}
        self._scores: Mapping[str, Epss] = {}
        self._cves: frozenset[str] = frozenset()

    def affectable(self, packages: Iterable[Package]) -> list[Package]:
        """Those of these whose version an advisory may affect, or be undecided of."""
        return [package for package in packages if package.purl in self._judged]

    def told(self, ecosystem: str, name: str) -> Iterable[Entry]:
        """What is said of packages that advisories may affect, without what ended before all of their versions."""
        entries = self._ahead[ecosystem].get(name)
        return whole(self)(ecosystem, name) if entries is None else entries

    def expect(self, hits: Sequence[Hit], status: AdvisoryStatus) -> None:
        """It will be asked whether the CVEs of these are exploited, and how likely that is."""
        self._cves = frozenset().union(*[hit.cves for hit in hits], *[
            filter(None, map(cve_of, hit.bundle)) for hit in hits if hit.bundle])
        self._exploited = self._store.exploited(self._cves) if status.exploited else {}
        self._scores = self._store.scores(self._cves) if status.scored else {}

    def find(self, ecosystem: str, name: str) -> Sequence[Advisory]:
        records = self._records.get(ecosystem, {}).get(name)
        if records is None and name in self._asked.get(ecosystem, ()) and name not in self._known[ecosystem]:
            return ()
        return self._store.find(ecosystem, name) if records is None else records

    def known(self, ecosystem: str, asked_for: Iterable[str]) -> set[str]:
        names = set(asked_for)
        beyond = names - self._asked.get(ecosystem, set())
        known = names & self._known.get(ecosystem, set())
        return known | self._store.known(ecosystem, beyond) if beyond else known

    def reached(self, ecosystem: str, versions: Iterable[tuple[str, bytes | None]]) -> set[tuple[str, bytes | None]]:
        return self._store.reached(ecosystem, versions)

    def find_all(self, ecosystem: str, asked_for: Iterable[str]) -> Mapping[str, Sequence[Advisory]]:
        return self._store.find_all(ecosystem, asked_for)

    def ahead(self, ecosystem: str, versions: Iterable[tuple[str, bytes | None]]) -> Mapping[str, Sequence[Entry]]:
        return self._store.ahead(ecosystem, versions)

    def named(self, asked_for: Iterable[str]) -> Sequence[Advisory]:
        return self._store.named(asked_for)

    def raters(self, asked_for: Iterable[str]) -> Sequence[Advisory]:
        return self._store.raters(asked_for)

    def speaking(self, asked_for: Iterable[str]) -> Sequence[Advisory]:
        return self._store.speaking(asked_for)

    def exploited(self, cves: Iterable[str]) -> Mapping[str, Exploited]:
        return self._of(cves, self._exploited, self._store.exploited)

    def scores(self, cves: Iterable[str]) -> Mapping[str, Epss]:
        return self._of(cves, self._scores, self._store.scores)

    def count(self, ecosystem: str) -> int:
        counted = self._counts.get(ecosystem)
        return self._store.count(ecosystem) if counted is None else counted

    def status(self) -> AdvisoryStatus:
        return self._store.status()

    def _of(self, cves: Iterable[str], answers: Mapping[str, _Said],
            ask: Callable[[Iterable[str]], Mapping[str, _Said]]) -> Mapping[str, _Said]:
        known = tuple(cves)
        if not self._cves.issuperset(known):
            return ask(known)
        return {cve: answers[cve] for cve in known if cve in answers} if answers else {}


def _from_the_first(packages: Iterable[Sequence[tuple[str, bytes | None]]]) -> Iterator[tuple[str, bytes | None]]:
    """All names of each package with the first of its versions: an upgrade must clear whatever is said of any name."""
    for pairs in packages:
        versions = [key for _, key in pairs]
        first = None if None in versions else min(key for key in versions if key is not None)
        yield from ((name, first) for name, _ in pairs)
