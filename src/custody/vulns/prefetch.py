"""All that a scan will ask the advisories for, asked at once: a question a package costs more than its answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from custody.formats.bom import Package
from custody.formats.epss import Epss
from custody.formats.kev import Exploited
from custody.formats.osv import Advisory, cve_of
from custody.ports.advisories import AdvisoryReader, AdvisoryStatus
from custody.vulns.match import names, place_of


class Prefetched:
    """AdvisoryReader that answers from memory for some packages, and for vulnerabilities that it is to `expect`."""

    def __init__(self, store: AdvisoryReader, packages: Iterable[Package]) -> None:
        self._store = store
        asked: dict[str, set[str]] = {}
        called: list[tuple[str, str, list[str]]] = []
        for package in packages:
            ecosystem = place_of(package)
            if ecosystem is not None:
                spoken = [name for name, _, _ in names(package)]
                asked.setdefault(ecosystem, set()).update(spoken)
                called.append((package.purl, ecosystem, spoken))
        self._asked = asked
        self._counts = {ecosystem: store.count(ecosystem) for ecosystem in asked}
        self._records = {ecosystem: store.find_all(ecosystem, sorted(spelled)) if self._counts[ecosystem] else {}
                         for ecosystem, spelled in asked.items()}
        self._spoken_of = {purl for purl, ecosystem, spoken in called
                           if not self._records[ecosystem].keys().isdisjoint(spoken)}
        self._named: dict[str, list[Advisory]] = {}
        self._exploited: Mapping[str, Exploited] = {}
        self._scores: Mapping[str, Epss] = {}
        self._cves: frozenset[str] = frozenset()

    def speaks_of(self, package: Package) -> bool:
        """Whether any advisory does."""
        return package.purl in self._spoken_of

    def expect(self, vulnerabilities: Iterable[str]) -> None:
        """It will be asked who is `named` so, and whether those of them that are CVEs are exploited."""
        self._named = {name: [] for name in vulnerabilities}
        self._cves = frozenset(cve for name in self._named if (cve := cve_of(name)))
        self._exploited = self._store.exploited(self._cves)
        self._scores = self._store.scores(self._cves)
        for advisory in self._store.named(self._named):
            for name in {advisory.id, *advisory.aliases, *advisory.hashes}:
                if name in self._named:
                    self._named[name].append(advisory)

    def find(self, ecosystem: str, name: str) -> Sequence[Advisory]:
        if name in self._asked.get(ecosystem, ()):
            return self._records.get(ecosystem, {}).get(name, ())
        return self._store.find(ecosystem, name)

    def find_all(self, ecosystem: str, asked_for: Iterable[str]) -> Mapping[str, Sequence[Advisory]]:
        return self._store.find_all(ecosystem, asked_for)

    def named(self, asked_for: Iterable[str]) -> Sequence[Advisory]:
        known = tuple(asked_for)
        if not all(name in self._named for name in known):
            return self._store.named(known)
        records = {(advisory.id, advisory.source, advisory.part): advisory for name in known
                   for advisory in self._named[name]}
        return [records[key] for key in sorted(records)]

    def speaking(self, asked_for: Iterable[str]) -> Sequence[Advisory]:
        return self._store.speaking(asked_for)

    def exploited(self, cves: Iterable[str]) -> Mapping[str, Exploited]:
        known = tuple(cves)
        if not self._cves.issuperset(known):
            return self._store.exploited(known)
        return {cve: self._exploited[cve] for cve in known if cve in self._exploited}

    def scores(self, cves: Iterable[str]) -> Mapping[str, Epss]:
        known = tuple(cves)
        if not self._cves.issuperset(known):
            return self._store.scores(known)
        return {cve: self._scores[cve] for cve in known if cve in self._scores}

    def count(self, ecosystem: str) -> int:
        counted = self._counts.get(ecosystem)
        return self._store.count(ecosystem) if counted is None else counted

    def status(self) -> AdvisoryStatus:
        return self._store.status()
