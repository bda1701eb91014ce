"""From records that match a package to findings: one a vulnerability (`aliases`), named by its CVE where there is one.

A bundle stands beside the finding of each of those that it mends, and is the finding of those that no record of the
package speaks of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from custody.formats.bom import Location, Package
from custody.formats.kev import Exploited
from custody.formats.osv import cve_of
from custody.ports.advisories import AdvisoryReader
from custody.vulns import aliases
from custody.vulns.match import Hit, Matched
from custody.vulns.risk import risk
from custody.vulns.severity import Severity, rate
from custody.vulns.upgrade import smallest


class Finding(msgspec.Struct, frozen=True, kw_only=True):
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

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)
        self.hits: list[Hit] = []
        self.bundles: list[Hit] = []


def findings(package: Package, ecosystem: str, matched: Matched, store: AdvisoryReader) -> list[Finding]:
    """The findings of one package. A bundle does not make a finding of what a silent record speaks of."""
    hits = matched.hits
    bundled = any(hit.bundle for hit in hits)
    spoken = {name for advisory in matched.silent if not aliases.bundle(advisory)
              for name in aliases.names(advisory)} if bundled else set()
    by_name = _gather([hit for hit in hits if not hit.bundle])
    for hit in hits:
        for cve in hit.bundle:
            if cve not in by_name and cve not in spoken:
                by_name[cve] = _Vulnerability((cve,))
            if cve in by_name:
                by_name[cve].bundles.append(hit)
    upgrade = smallest(ecosystem, hits, matched.words) if hits else ""
    return [_finding(package, ecosystem, vulnerability, store, upgrade)
            for vulnerability in dict.fromkeys(by_name.values())]


def called(hits: Iterable[Hit]) -> set[str]:
    """All names of the vulnerabilities that records are of."""
    return {name for hit in hits for name in (*hit.names, *hit.bundle)}


def _gather(hits: Sequence[Hit]) -> dict[str, _Vulnerability]:
    """By each of its names: records whose names meet, however indirectly, are one. The smaller joins the larger."""
    by_name: dict[str, _Vulnerability] = {}
    for hit in hits:
        names = set(hit.names)
        known = list(dict.fromkeys(by_name[name] for name in sorted(names) if name in by_name))
        merged = max(known, key=lambda vulnerability: len(vulnerability.names), default=_Vulnerability(()))
        for joining in known:
            if joining is not merged:
                names |= joining.names
                merged.hits += joining.hits
        merged.names |= names
        merged.hits.append(hit)
        by_name.update(dict.fromkeys(names, merged))
    return by_name


def _finding(package: Package, ecosystem: str, vulnerability: _Vulnerability, store: AdvisoryReader, upgrade: str
             ) -> Finding:
    """The record with the worst rating speaks; a bundle only where no record is of this vulnerability alone.

    Where it has no rating, other records of the vulnerability in the store may: of another ecosystem, or a CVE's own.
    """
    worst = max(vulnerability.hits or vulnerability.bundles, key=_weight)
    advisory, rating, rated_by = worst.advisory, worst.rating, worst.advisory.id
    if rating.severity is Severity.UNKNOWN:
        namesakes = [Hit(record, worst.match, rate(record), worst.affected) for record in store.named(
            sorted(vulnerability.names), whole=False) if not aliases.bundle(record)]
        best = max([*vulnerability.bundles, *namesakes], key=_weight, default=None)
        if best is not None:
            rating, rated_by = best.rating, best.advisory.id
    bundles = {name for hit in vulnerability.bundles for name in (hit.advisory.id, *hit.advisory.aliases)}
    names = (vulnerability.names | bundles) - {advisory.id}
    cves = sorted(cve for name in vulnerability.names if (cve := cve_of(name)))
    cve = next((cve for name in (advisory.id, *advisory.aliases, *advisory.upstream)
                if (cve := cve_of(name)) and cve in cves), cves[0] if cves else advisory.id)
    known = store.exploited(dict.fromkeys(cves))
    exploited = known.get(cve) or next(iter(known.values()), None)
    scored = store.scores(dict.fromkeys(cves))
    epss = scored.get(cve) or next(iter(scored.values()), None)
    heard = (*vulnerability.hits, *vulnerability.bundles)
    fixed = tuple(dict.fromkeys(hit.match.fixed for hit in heard if hit.match.fixed))
    status, reason = next(((entry.status, entry.reason) for entry in (hit.affected for hit in heard) if entry.status),
                          ("", ""))
    return Finding(
        id=advisory.id, aliases=tuple(sorted(names)), cve=cve, package=package.name, version=package.version,
        purl=package.purl, locations=package.locations, severity=str(rating.severity), score=rating.score,
        vector=rating.vector, rated_by="" if rating.severity is Severity.UNKNOWN else rated_by, fixed=fixed,
        matched=worst.match.event, ecosystem=ecosystem, status="fixed" if fixed else status or "affected",
        reason=reason, summary=advisory.summary, exploited=exploited, published=advisory.published or min(
            filter(None, (hit.advisory.published for hit in heard)), default=""),
        epss=epss.score if epss else None,
        percentile=epss.percentile if epss else None, upgrade=upgrade,
        risk=risk(rating.severity, [score for score in {hit.rating.vector: hit.rating.score for hit in heard}.values()
                                    if score], epss.score if epss else None, exploited))


def _weight(hit: Hit) -> tuple[int, float, str]:
    return hit.rating.severity, hit.rating.score or 0, hit.advisory.id
