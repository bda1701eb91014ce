"""From records that match a package to findings: one a vulnerability (`aliases`), named by its CVE where there is one.

A bundle stands beside the finding of each of those that it mends, and is the finding of those that no record of the
package speaks of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import chain
from typing import TypeVar

import msgspec

from custody.formats.bom import Location, Package
from custody.formats.epss import Epss
from custody.formats.kev import Exploited
from custody.formats.osv import cve_of
from custody.ports.advisories import AdvisoryReader
from custody.vulns import aliases
from custody.vulns.match import Hit, Matched, silent
from custody.vulns.namesakes import Namesakes, Weight, weight
from custody.vulns.risk import risk
from custody.vulns.severity import WORDS, Severity
from custody.vulns.upgrade import smallest

_Said = TypeVar("_Said", Exploited, Epss)


class Finding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One vulnerability of one package."""

    id: str
    """The record that speaks: of those that matched, the worst by rating."""
    aliases: tuple[str, ...]
    """All other names of it, and the bundles that mend it."""
    cve: str
    """The CVE's identifier where there is one, else the record's own."""
    package: str
    version: str
    purl: str
    locations: tuple[Location, ...]
    """Files, each with the digest of its layer."""
    severity: str
    score: float | None
    vector: str
    rated_by: str
    """The record that the severity is from; empty for unknown."""
    fixed: tuple[str, ...]
    matched: str
    """The event of the record that holds for this version."""
    ecosystem: str
    summary: str
    exploited: Exploited | None = None
    """What CISA's catalogue says of it; None where it does not, or was not imported."""
    epss: float | None = None
    """The probability that it is exploited within 30 days (FIRST's EPSS); None where no scores say."""
    percentile: float | None = None
    """The share of all CVEs that EPSS gives as much or less."""
    risk: float = 0.0
    """0 to 100: `vulns.risk`."""
    upgrade: str = ""
    """The oldest version that clears all findings of the package; empty where none is known to."""
    status: str = "affected"
    """`fixed` where a fixed version is known; else `affected`, or what its publisher says will become of it:
    `will_not_fix`, `fix_deferred`, `end_of_life`, `under_investigation`."""
    reason: str = ""
    """The publisher's own words on that: `no-dsa: Minor issue`."""
    published: str = ""
    """When the record that speaks, or the first of the others, was published: RFC 3339; empty where none says."""

    @property
    def malicious(self) -> bool:
        """Whether the package itself is the attack (OSV's `MAL-` records)."""
        return any(name.startswith("MAL-") for name in (self.id, *self.aliases))


class _Vulnerability:
    """The names of one vulnerability, the records of it, and the bundles that mend it among others."""

    __slots__ = ("bundles", "hits", "names")

    def __init__(self, names: frozenset[str], hits: list[Hit]) -> None:
        self.names = names
        self.hits = hits
        self.bundles: list[Hit] = []

    @property
    def cves(self) -> Set[str]:
        if len(self.hits) == 1:
            return self.hits[0].cves
        return {cve for name in self.names if (cve := cve_of(name))}


def findings(package: Package, ecosystem: str, matched: Matched, store: AdvisoryReader,
             namesakes: Namesakes | None = None) -> list[Finding]:
    """The findings of one package. A bundle does not make a finding of what a silent record speaks of.

    `namesakes` are those that were asked for before, of many packages at once.
    """
    hits = matched.hits
    bundles = [hit for hit in hits if hit.bundle]
    by_name = _gather([hit for hit in hits if not hit.bundle] if bundles else hits)
    if bundles:
        spoken = {name for advisory in silent(package, ecosystem, matched, store) for name in aliases.names(advisory)}
        for hit in bundles:
            for cve in hit.bundle:
                if cve not in by_name and cve not in spoken:
                    by_name[cve] = _Vulnerability(frozenset((cve,)), [])
                if cve in by_name:
                    by_name[cve].bundles.append(hit)
    upgrade = smallest(ecosystem, hits, matched.words) if hits else ""
    if namesakes is None:
        namesakes = Namesakes(store, unrated(hits))
    vulnerabilities = [*dict.fromkeys(by_name.values())]
    named = [sorted(vulnerability.cves) for vulnerability in vulnerabilities]
    every = list(chain.from_iterable(named))
    exploited, scores = store.exploited(every), store.scores(every)
    return [_finding(package, ecosystem, vulnerability, cves, namesakes, upgrade,
                     exploited and {cve: exploited[cve] for cve in cves if cve in exploited},
                     scores and {cve: scores[cve] for cve in cves if cve in scores})
            for vulnerability, cves in zip(vulnerabilities, named, strict=True)]


def called(hits: Iterable[Hit]) -> set[str]:
    """All names of the vulnerabilities that records are of."""
    listed = [*hits]
    return set().union(*[hit.names for hit in listed], *[hit.bundle for hit in listed if hit.bundle])


def unrated(hits: Iterable[Hit]) -> set[str]:
    """All names of the vulnerabilities of which a record does not say how bad they are."""
    return called([hit for hit in hits if hit.rating.severity <= Severity.UNKNOWN])


def _gather(hits: Sequence[Hit]) -> dict[str, _Vulnerability]:
    """By each of its names: records whose names meet, however indirectly, are one. The smaller joins the larger."""
    by_name: dict[str, _Vulnerability] = {}
    for hit in hits:
        if by_name.keys().isdisjoint(hit.names):
            by_name.update(dict.fromkeys(hit.names, _Vulnerability(hit.names, [hit])))
            continue
        names = set(hit.names)
        known = list(dict.fromkeys(by_name[name] for name in sorted(names) if name in by_name))
        merged = max(known, key=lambda vulnerability: len(vulnerability.names))
        for joining in known:
            if joining is not merged:
                names |= joining.names
                merged.hits += joining.hits
        merged.names |= names
        merged.hits.append(hit)
        by_name.update(dict.fromkeys(names, merged))
    return by_name


def _finding(package: Package, ecosystem: str, vulnerability: _Vulnerability, cves: Sequence[str],
             namesakes: Namesakes, upgrade: str, known: Mapping[str, Exploited], scored: Mapping[str, Epss]) -> Finding:
    """The record with the worst rating speaks; a bundle only where no record is of this vulnerability alone.

    Where it has no rating, other records of the vulnerability in the store may: of another ecosystem, or a CVE's own.
    """
    hits, bundles = vulnerability.hits, vulnerability.bundles
    worst = _heaviest(hits or bundles)
    advisory, rating, rated_by = worst.advisory, worst.rating, worst.advisory.id
    if rating.severity is Severity.UNKNOWN:
        best = _heaviest(bundles) if bundles else None
        other = namesakes.worst(vulnerability.names)
        if best is not None:
            rating, rated_by = best.rating, best.advisory.id
        if other is not None and (best is None or other[0] > _weight(best)):
            (_, _, rated_by), rating = other
    names = vulnerability.names.union(*((hit.advisory.id, *hit.advisory.aliases) for hit in bundles)) if bundles else (
        vulnerability.names)
    cve = cves[0] if cves else advisory.id
    if len(cves) > 1:
        cve = next((own for name in (advisory.id, *advisory.aliases, *advisory.upstream)
                    if (own := cve_of(name)) and own in cves), cve)
    exploited, epss = _first(cve, known), _first(cve, scored)
    heard = [*hits, *bundles] if bundles else hits
    if len(heard) == 1:
        fixed: tuple[str, ...] = (worst.match.fixed,) if worst.match.fixed else ()
        stated = worst.affected
    else:
        fixed = tuple(dict.fromkeys([hit.match.fixed for hit in heard if hit.match.fixed]))
        stated = next((hit.affected for hit in heard if hit.affected.status), worst.affected)
    return Finding(
        id=advisory.id, aliases=tuple(sorted(names - {advisory.id})), cve=cve, package=package.name,
        version=package.version, purl=package.purl, locations=package.locations, severity=WORDS[rating.severity],
        score=rating.score, vector=rating.vector, fixed=fixed,
        rated_by="" if rating.severity is Severity.UNKNOWN else rated_by,
        matched=worst.match.event, ecosystem=ecosystem, status="fixed" if fixed else stated.status or "affected",
        reason=stated.reason if stated.status else "", summary=advisory.summary, exploited=exploited,
        published=advisory.published or min(filter(None, [hit.advisory.published for hit in heard]), default=""),
        epss=epss.score if epss else None,
        percentile=epss.percentile if epss else None, upgrade=upgrade,
        risk=risk(rating.severity, [score for score in {hit.rating.vector: hit.rating.score for hit in heard}.values()
                                    if score], epss.score if epss else None, exploited) if epss or exploited else 0.0)


def _first(cve: str, said: Mapping[str, _Said]) -> _Said | None:
    """What is said of a CVE, or else of the first of those of which anything is."""
    return (said.get(cve) or next(iter(said.values()), None)) if said else None


def _heaviest(hits: Sequence[Hit]) -> Hit:
    return hits[0] if len(hits) == 1 else max(hits, key=_weight)


def _weight(hit: Hit) -> Weight:
    return weight(hit.rating, hit.advisory.id)
