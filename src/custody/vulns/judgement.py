"""One package judged by advisories as a scan would, whatever image it is in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from custody.formats.epss import Epss
from custody.formats.kev import Exploited
from custody.formats.osv import Advisory
from custody.ports.advisories import AdvisoryReader, AdvisoryStatus, Entry
from custody.ports.inventory import Component
from custody.vulns.deferral import divide, own_undecided
from custody.vulns.findings import Finding, findings
from custody.vulns.match import Undecided, match_package, place_of


class Judgement(msgspec.Struct, frozen=True):
    findings: tuple[Finding, ...] = ()
    undecided: tuple[Undecided, ...] = ()


_NOTHING = Judgement()


def judge(component: Component, store: AdvisoryReader) -> Judgement:
    """As `report.scan` judges it: of what a distribution's package installed, that is left to the distribution of which
    its advisories of that package speak.
    """
    package = component.package
    ecosystem = place_of(package)
    if ecosystem is None:
        return _NOTHING
    matched = match_package(package, ecosystem, store)
    if not matched.hits and not matched.undecided:
        return _NOTHING
    judged, undecided = findings(package, ecosystem, matched, store), matched.undecided
    if component.owner is not None and (advisories := store.find(*component.owner)):
        judged, _ = divide(judged, "", advisories)
        undecided = own_undecided(undecided, advisories)
    return Judgement(tuple(judged), tuple(undecided))


class Remembering:
    """AdvisoryReader that asks for what it was asked before only once; for as long as the advisories stay the same."""

    def __init__(self, store: AdvisoryReader) -> None:
        self._store = store
        self._by_name: dict[tuple[str, str], Sequence[Advisory]] = {}

    def find(self, ecosystem: str, name: str) -> Sequence[Advisory]:
        key = ecosystem, name
        if key not in self._by_name:
            if len(self._by_name) >= 4096:
                self._by_name.clear()
            self._by_name[key] = self._store.find(ecosystem, name)
        return self._by_name[key]

    def find_all(self, ecosystem: str, names: Iterable[str]) -> Mapping[str, Sequence[Advisory]]:
        return {name: records for name in names if (records := self.find(ecosystem, name))}

    def known(self, ecosystem: str, names: Iterable[str]) -> set[str]:
        return self._store.known(ecosystem, names)

    def reached(self, ecosystem: str, versions: Iterable[tuple[str, bytes | None]]) -> set[tuple[str, bytes | None]]:
        return self._store.reached(ecosystem, versions)

    def ahead(self, ecosystem: str, versions: Iterable[tuple[str, bytes | None]]) -> Mapping[str, Sequence[Entry]]:
        return self._store.ahead(ecosystem, versions)

    def named(self, names: Iterable[str]) -> Sequence[Advisory]:
        return self._store.named(names)

    def raters(self, names: Iterable[str]) -> Sequence[Advisory]:
        return self._store.raters(names)

    def speaking(self, names: Iterable[str]) -> Sequence[Advisory]:
        return self._store.speaking(names)

    def exploited(self, cves: Iterable[str]) -> Mapping[str, Exploited]:
        return self._store.exploited(cves)

    def scores(self, cves: Iterable[str]) -> Mapping[str, Epss]:
        return self._store.scores(cves)

    def count(self, ecosystem: str) -> int:
        return self._store.count(ecosystem)

    def status(self) -> AdvisoryStatus:
        return self._store.status()
