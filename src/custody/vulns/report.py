"""Matches a catalog with advisories: findings with their evidence, and what was not scanned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from custody import __version__
from custody.errors import CustodyError, MissingEvidenceError
from custody.formats import vulnattestation
from custody.formats.bom import Catalog, Location, Package
from custody.formats.osv import Advisory
from custody.kit.clock import format_rfc3339
from custody.ports.advisories import AdvisoryStatus, AdvisoryStore
from custody.vulns.coverage import Coverage, Spokesmen, Undecided, measure
from custody.vulns.match import Match, affected_by
from custody.vulns.severity import Rating, Severity, rate

_CLASSES = {"deb": ("os-pkgs", "{os}"), "apk": ("os-pkgs", "{os}"), "rpm": ("os-pkgs", "{os}"),
            "pypi": ("lang-pkgs", "python-pkg"), "npm": ("lang-pkgs", "node-pkg"), "cargo": ("lang-pkgs", "rustbinary"),
            "golang": ("lang-pkgs", "gobinary")}
_SHOWN = 5


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One vulnerability of one package; records that are aliases of each other are one finding."""

    id: str
    aliases: tuple[str, ...]
    package: str
    version: str
    purl: str
    locations: tuple[Location, ...]
    """Files, each with the digest of its layer."""
    severity: str
    score: float | None
    vector: str
    fixed: tuple[str, ...]
    matched: str
    """The event of the record that holds for this version."""
    ecosystem: str
    summary: str

    @property
    def cve(self) -> str:
        """The CVE's identifier where there is one, else the record's own."""
        return next((name for name in (self.id, *self.aliases) if name.startswith("CVE-")), self.id)


class ScanReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan says, and of what."""

    target: str
    digest: str
    started: datetime
    finished: datetime
    database: AdvisoryStatus
    catalog: Catalog
    findings: tuple[Finding, ...]
    undecided: tuple[Undecided, ...]
    coverage: Coverage
    """What the findings speak of. Where it has gaps, no findings means little."""

    def counts(self) -> dict[str, int]:
        found = Counter(finding.severity for finding in self.findings)
        return {str(level): found[str(level)] for level in reversed(Severity)}

    def meets(self, threshold: Severity) -> list[Finding]:
        """Those at or above it; `low` counts unknown ones too."""
        floor = Severity.UNKNOWN if threshold is Severity.LOW else threshold
        return [finding for finding in self.findings if Severity[finding.severity.upper()] >= floor]

    def to_json(self) -> dict[str, Any]:
        """The report without the catalog, as plain data."""
        return {"target": self.target, "digest": self.digest, "startedOn": format_rfc3339(self.started),
                "finishedOn": format_rfc3339(self.finished), "scanner": {"name": "custody", "version": __version__},
                "database": msgspec.to_builtins(self.database), "packages": len(self.catalog.packages),
                "counts": self.counts(), "findings": msgspec.to_builtins(self.findings),
                "undecided": msgspec.to_builtins(self.undecided), "coverage": self.coverage.to_json(self.finished)}

    def require_coverage(self) -> None:
        """Raises MissingEvidenceError where there are gaps: what was not scanned was not found harmless."""
        gaps = self.coverage.gaps
        if not gaps:
            return
        more = f"; and {len(gaps) - _SHOWN} more" if len(gaps) > _SHOWN else ""
        missing = any(gap.kind in ("no-advisories", "old-advisories") for gap in gaps)
        raise MissingEvidenceError(
            "not everything was scanned: " + "; ".join(map(str, gaps[:_SHOWN])) + more,
            hint=("custody db import PATH, or " if missing else "") + "--allow-gaps, if that may pass unscanned")

    def to_cosign_vuln(self) -> dict[str, Any]:
        """The predicate of a vulnerability attestation; its subject must be `digest`."""
        return vulnattestation.predicate(
            scanner_uri=f"pkg:pypi/custody-chain@{__version__}", scanner_version=__version__, db_uri="",
            db_version=self.database.digest, result=self._trivy(), started=self.started, finished=self.finished)

    def _trivy(self) -> dict[str, Any]:
        system = self.catalog.distribution
        diff_ids = {layer.digest: layer.diff_id for layer in self.catalog.layers}
        results: dict[str, dict[str, Any]] = {}
        for package in self.catalog.packages:
            kind, name = _CLASSES.get(package.type, ("lang-pkgs", package.type))
            name = name.format(os=system.id if system else package.type)
            spelled = f"{self.target} ({system.id} {system.version})" if system else name
            target = spelled if kind == "os-pkgs" else name
            results.setdefault(package.type,
                               {"Target": target, "Class": kind, "Type": name, "Vulnerabilities": []})
        types = {package.purl: package.type for package in self.catalog.packages}
        for finding in self.findings:
            place = finding.locations[0] if finding.locations else Location("")
            others = sorted({finding.id, *finding.aliases} - {finding.cve})
            entry = {"VulnerabilityID": finding.cve, "VendorIDs": others,
                     "PkgName": finding.package, "PkgPath": place.path, "PkgIdentifier": {"PURL": finding.purl},
                     "InstalledVersion": finding.version, "FixedVersion": ", ".join(finding.fixed),
                     "Layer": {"Digest": place.layer, "DiffID": diff_ids.get(place.layer, "")},
                     "Title": finding.summary, "Severity": finding.severity.upper()}
            if finding.score is not None:
                version = 4 if finding.vector.startswith("CVSS:4") else 3 if finding.vector.startswith("CVSS:3") else 2
                entry["CVSS"] = {"osv": {f"V{version}Vector": finding.vector,
                                         f"V{version}0Score" if version == 4 else f"V{version}Score": finding.score}}
            results[types[finding.purl]]["Vulnerabilities"].append(entry)
        return {"SchemaVersion": 2, "CreatedAt": format_rfc3339(self.finished), "ArtifactName": self.target,
                "ArtifactType": "cyclonedx" if self.catalog.kind == "sbom" else "container_image",
                "Metadata": {"OS": {"Family": system.id, "Name": system.version} if system else {},
                             "DiffIDs": [layer.diff_id for layer in self.catalog.layers],
                             "RepoDigests": [f"{self.target.partition('@')[0]}@{self.digest}"]},
                "Results": [results[kind] for kind in sorted(results)],
                "coverage": self.coverage.to_json(self.finished)}


def scan(catalog: Catalog, store: AdvisoryStore, now: datetime, *, finished: datetime | None = None,
         allow_empty: bool = False, max_age: timedelta | None = None) -> ScanReport:
    """Match every package. Raises MissingEvidenceError where the store is empty, unless that is allowed.

    Packages that a distribution's package installed are left to that package's advisories where there are any; else
    they are matched in their own ecosystem.
    """
    status = usable(store, allow_empty=allow_empty)
    findings: list[Finding] = []
    undecided: list[Undecided] = []
    spokesmen = Spokesmen(catalog, store)
    for package in catalog.packages:
        ecosystem = package.ecosystem
        if ecosystem is None or not spokesmen.advisories(ecosystem) or (
                package.owner and spokesmen.owner_speaks(package.owner)):
            continue
        hits: list[tuple[Advisory, Match, Rating]] = []
        for advisory in store.find(ecosystem, package.source):
            for entry in advisory.affected:
                if entry.ecosystem != ecosystem or entry.name != package.source:
                    continue
                try:
                    match = affected_by(entry, _version(package))
                except CustodyError as error:
                    undecided.append(Undecided(purl=package.purl, id=advisory.id, reason=error.message))
                    continue
                if match is not None:
                    hits.append((advisory, match, rate(advisory, entry)))
                    break
        findings += [_finding(package, ecosystem, group) for group in _groups(hits)]
    findings.sort(key=lambda f: (-Severity[f.severity.upper()], f.package, f.version, f.id))
    ended = finished or now
    return ScanReport(target=catalog.name, digest=catalog.digest, started=now, finished=ended, database=status,
                      catalog=catalog, findings=tuple(findings), undecided=tuple(undecided),
                      coverage=measure(catalog, spokesmen, undecided, status, ended, max_age))


def usable(store: AdvisoryStore, *, allow_empty: bool = False) -> AdvisoryStatus:
    """The store's status. Raises MissingEvidenceError where it is empty, unless that is allowed."""
    status = store.status()
    if not status.advisories and not allow_empty:
        raise MissingEvidenceError("the advisory database is empty: a scan would say nothing",
                                   hint="custody db import PATH (OSV records), or --allow-empty-db")
    return status


def _version(package: Package) -> str:
    return package.source_version or package.version


def _groups(hits: list[tuple[Advisory, Match, Rating]]) -> list[list[tuple[Advisory, Match, Rating]]]:
    """Records whose identifiers and aliases meet, however indirectly."""
    groups: list[tuple[set[str], list[tuple[Advisory, Match, Rating]]]] = []
    for hit in hits:
        names, members = {hit[0].id, *hit[0].aliases}, [hit]
        apart = []
        for other, theirs in groups:
            if names.isdisjoint(other):
                apart.append((other, theirs))
            else:
                names |= other
                members = theirs + members
        groups = [*apart, (names, members)]
    return [members for _, members in groups]


def _finding(package: Package, ecosystem: str, group: Sequence[tuple[Advisory, Match, Rating]]) -> Finding:
    """The record with the worst rating speaks; the names and fixed versions of all are kept."""
    advisory, match, rating = max(group, key=lambda hit: (hit[2].severity, hit[2].score or 0, hit[0].id))
    names = {name for hit in group for name in (hit[0].id, *hit[0].aliases)} - {advisory.id}
    return Finding(
        id=advisory.id, aliases=tuple(sorted(names)), package=package.name, version=package.version, purl=package.purl,
        locations=package.locations, severity=str(rating.severity), score=rating.score, vector=rating.vector,
        fixed=tuple(dict.fromkeys(hit[1].fixed for hit in group if hit[1].fixed)), matched=match.event,
        ecosystem=ecosystem, summary=advisory.summary)
