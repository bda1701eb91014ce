"""Matches a catalog with advisories: findings with their evidence, and what was not scanned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from custody import __version__
from custody.ecosystems import of_type
from custody.errors import MissingEvidenceError
from custody.formats import vulnattestation
from custody.formats.bom import Catalog, Location, Package
from custody.formats.exposed import Exposure
from custody.kit.clock import format_rfc3339
from custody.kit.visible import visible
from custody.ports.advisories import AdvisoryReader, AdvisoryStatus
from custody.vulns.coverage import Coverage, Spokesmen, measure
from custody.vulns.deferral import Deferred, divide, own_undecided
from custody.vulns.findings import Finding, findings, unrated
from custody.vulns.match import Matched, Undecided, match_package, place_of
from custody.vulns.namesakes import Namesakes
from custody.vulns.prefetch import Prefetched
from custody.vulns.severity import Severity
from custody.vulns.vex.waivers import Use, Waivers

_SHOWN = 5
_LAST = {str(level): -level for level in Severity}


class Ignored(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that was asked not to count."""

    finding: Finding
    reason: str
    by: str = ""
    """Who said so: a signer, or `the user`; empty for an option of the scan."""
    until: str = ""
    """When that stops counting, RFC 3339; empty: never."""
    source: str = ""
    """The document or the file, and the place in it."""
    status: str = ""
    """`not_affected` or `fixed` (VEX), `ignored` (an ignore file); empty for an option."""


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
    ignored: tuple[Ignored, ...] = ()
    deferred: tuple[Deferred, ...] = ()
    """Findings that the distribution answers for, whose package says that it installed what they are in."""
    waivers: tuple[Use, ...] = ()
    """What became of each VEX statement and each rule of an ignore file."""
    parameters: tuple[str, ...] = ()
    """What was asked of the scan that left findings out, as it was typed."""
    exposures: tuple[Exposure, ...] = ()
    """Secrets and risky settings, where those were asked for."""
    scanners: tuple[str, ...] = ("vuln",)
    """What was looked for, in Trivy's words: `vuln`, `secret`, `misconfig`."""
    apart: tuple[Exposure, ...] = ()
    """Secrets in files of tests, examples and documents, which stop nothing."""
    unread: tuple[str, ...] = ()
    """Files in which no secrets were looked for, each with the reason."""

    def counts(self) -> dict[str, int]:
        counts = Counter(finding.severity for finding in self.findings)
        return {str(level): counts[str(level)] for level in reversed(Severity)}

    def meets(self, threshold: Severity) -> list[Finding]:
        """Those at or above it; `low` counts unknown ones too."""
        floor = Severity.UNKNOWN if threshold is Severity.LOW else threshold
        return [finding for finding in self.findings if Severity[finding.severity.upper()] >= floor]

    def unrated(self) -> list[Finding]:
        """Those of which nobody says how bad they are."""
        return [finding for finding in self.findings if finding.severity == str(Severity.UNKNOWN)]

    def exploited(self) -> list[Finding]:
        """Those that CISA's catalogue knows to be exploited. Raises MissingEvidenceError where it was not imported."""
        if self.database.exploited is None:
            raise MissingEvidenceError("no catalogue of known exploited vulnerabilities was imported: nobody can say "
                                       "which findings are exploited",
                                       hint="custody db import known_exploited_vulnerabilities.json (of CISA)")
        return [finding for finding in self.findings if finding.exploited is not None]

    def to_json(self) -> dict[str, Any]:
        """The report without the catalog, as plain data."""
        return {"target": self.target, "digest": self.digest, "startedOn": format_rfc3339(self.started),
                "finishedOn": format_rfc3339(self.finished), "scanner": {"name": "custody", "version": __version__},
                "database": msgspec.to_builtins(self.database), "packages": len(self.catalog.packages),
                "counts": self.counts(), "findings": msgspec.to_builtins(self.findings),
                "ignored": msgspec.to_builtins(self.ignored),
                "deferred": msgspec.to_builtins(self.deferred), "waivers": msgspec.to_builtins(self.waivers),
                "undecided": msgspec.to_builtins(self.undecided), "coverage": self.coverage.to_json(self.finished),
                **({"scanners": list(self.scanners), "exposures": msgspec.to_builtins(self.exposures),
                    "apart": msgspec.to_builtins(self.apart),
                    "unread": list(self.unread)} if self.scanners != ("vuln",) else {})}

    def require_coverage(self) -> None:
        """Raises MissingEvidenceError where there are gaps: what was not scanned was not found harmless."""
        gaps = self.coverage.gaps
        if not gaps:
            return
        more = f"; and {len(gaps) - _SHOWN} more" if len(gaps) > _SHOWN else ""
        missing = any(gap.kind in ("no-advisories", "old-advisories") for gap in gaps)
        raise MissingEvidenceError(
            "not everything was scanned: " + "; ".join(visible(str(gap)) for gap in gaps[:_SHOWN]) + more,
            hint=("custody db import PATH, or " if missing else "") + "--allow-gaps, if that may pass unscanned")

    def to_cosign_vuln(self) -> dict[str, Any]:
        """The predicate of a vulnerability attestation; its subject must be `digest`."""
        return vulnattestation.predicate(
            scanner_uri=f"pkg:pypi/custody-chain@{__version__}", scanner_version=__version__, db_uri="",
            db_version=self.database.digest, result=self.to_trivy(), started=self.started, finished=self.finished,
            parameters=list(self.parameters) or None)

    def to_trivy(self) -> dict[str, Any]:
        """The findings in the shape of Trivy's JSON report, and beside its keys `coverage`."""
        system = self.catalog.distribution
        diff_ids = {layer.digest: layer.diff_id for layer in self.catalog.layers}
        results: dict[str, dict[str, Any]] = {}
        for package in self.catalog.packages:
            row = of_type(package.type)
            name = system.id if row.system and system else row.trivy or package.type
            target = f"{self.target} ({system.id} {system.version})" if row.system and system else name
            results.setdefault(package.type, {"Target": target, "Class": "os-pkgs" if row.system else "lang-pkgs",
                                              "Type": name, "Vulnerabilities": []})
        types = {package.purl: package.type for package in self.catalog.packages}
        for finding in self.findings:
            place = finding.locations[0] if finding.locations else Location("")
            vendor_ids = sorted({finding.id, *finding.aliases} - {finding.cve})
            entry = {"VulnerabilityID": finding.cve, "VendorIDs": vendor_ids,
                     "PkgName": finding.package, "PkgPath": place.path, "PkgIdentifier": {"PURL": finding.purl},
                     "InstalledVersion": finding.version, "FixedVersion": ", ".join(finding.fixed),
                     "Layer": {"Digest": place.layer, "DiffID": diff_ids.get(place.layer, "")},
                     "Status": "fixed" if finding.fixed else "affected", "Title": finding.summary,
                     "Severity": finding.severity.upper()}
            if finding.exploited is not None:  # Trivy's place for what others add
                entry["Custom"] = {"exploited": {"dateAdded": finding.exploited.added, "dueDate": finding.exploited.due,
                                                 "ransomware": finding.exploited.ransomware}}
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
                "coverage": {**self.coverage.to_json(self.finished), "ignored": [
                    {"id": ignored.finding.cve, "purl": ignored.finding.purl, "severity": ignored.finding.severity,
                     "reason": ignored.reason, **{key: value for key, value in (
                         ("status", ignored.status), ("by", ignored.by), ("until", ignored.until),
                         ("source", ignored.source)) if value}} for ignored in self.ignored],
                    **({"deferred": [
                        {"id": left.finding.cve, "purl": left.finding.purl, "severity": left.finding.severity,
                         "owner": left.owner, "advisories": list(left.advisories)} for left in self.deferred]}
                       if self.deferred else {})}}


def scan(catalog: Catalog, store: AdvisoryReader, now: datetime, *, finished: datetime | None = None,
         allow_empty: bool = False, max_age: timedelta | None = None, ignore_unfixed: bool = False,
         severities: Collection[Severity] | None = None, waivers: Waivers | None = None,
         omit: Collection[str] = ()) -> ScanReport:
    """Match every package. Raises MissingEvidenceError where the store is empty, unless that is allowed.

    What a distribution's package installed is left to that package's advisories in what those speak of, and else
    matched in its own ecosystem. `ignore_unfixed` leaves out what no fixed version is known for,
    `severities` what has another; never what is known to be exploited. `waivers` leave out what they name, `omit`
    findings of packages of these scopes: `dev`, `test`, `optional`, `build`.
    """
    status = usable(store, allow_empty=allow_empty)
    matched: list[Finding] = []
    undecided: list[Undecided] = []
    ready = Prefetched(store, catalog.packages)
    spokesmen = Spokesmen(catalog, ready)
    deferred: list[Deferred] = []
    hit: list[tuple[Package, str, Matched]] = []
    for package in ready.affectable(catalog.packages):
        ecosystem = place_of(package)
        if ecosystem is None or not spokesmen.advisories(ecosystem):
            continue
        words = match_package(package, ecosystem, ready, ready.told)
        unsure = words.undecided
        if unsure and package.owner and (spoken := spokesmen.of_owner(package.owner)):
            unsure = own_undecided(unsure, spoken)
        undecided += unsure
        if words.hits:
            hit.append((package, ecosystem, words))
    heard = [entry for _, _, words in hit for entry in words.hits]
    ready.expect(heard, status)
    namesakes = Namesakes(store, unrated(heard))
    for package, ecosystem, words in hit:
        of_package = findings(package, ecosystem, words, ready, namesakes)
        if package.owner and (spoken := spokesmen.of_owner(package.owner)):
            of_package, left = divide(of_package, package.owner, spoken)
            deferred += left
        matched += of_package
    matched.sort(key=lambda f: (_LAST[f.severity], f.exploited is None, f.package, f.version, f.cve))
    ignored, uses = set_aside(matched, catalog, finished or now, ignore_unfixed=ignore_unfixed, severities=severities,
                              waivers=waivers, omit=omit)
    left_out = {id(kept.finding) for kept in ignored}
    ended = finished or now
    parameters = ["--ignore-unfixed"] if ignore_unfixed else []
    if severities is not None:
        parameters += ["--severity", ",".join(str(level) for level in sorted(severities, reverse=True))]
    parameters += [argument for scope in sorted(omit) for argument in ("--omit", scope)]
    return ScanReport(target=catalog.name, digest=catalog.digest, started=now, finished=ended, database=status,
                      catalog=catalog, findings=tuple(finding for finding in matched if id(finding) not in left_out),
                      undecided=tuple(undecided), ignored=tuple(ignored), waivers=uses,
                      deferred=tuple(deferred), parameters=tuple(parameters),
                      coverage=measure(catalog, spokesmen, undecided, status, ended, max_age))


def set_aside(matched: Sequence[Finding], catalog: Catalog, now: datetime, *, ignore_unfixed: bool = False,
              severities: Collection[Severity] | None = None, waivers: Waivers | None = None,
              omit: Collection[str] = ()) -> tuple[list[Ignored], tuple[Use, ...]]:
    """Those that do not count, and what became of each word; by what is said of `scan`."""
    scopes = {package.purl: package.scope for package in catalog.packages if package.scope in omit}
    said, uses = (waivers or Waivers()).judge(matched, catalog, now)
    return [
        Ignored(finding=finding, reason=word.reason, by=word.by, until=word.until, source=word.source,
                status=word.status) if (word := said.get(place)) else Ignored(finding=finding, reason=reason)
        for place, finding in enumerate(matched)
        if (reason := "" if place in said else _reason(
            finding, ignore_unfixed, severities, scopes.get(finding.purl, ""))) or place in said], uses


def _reason(finding: Finding, ignore_unfixed: bool, severities: Collection[Severity] | None, omitted: str) -> str:
    """Why a finding does not count; empty where it does."""
    if finding.exploited is not None:
        return ""
    if ignore_unfixed and not finding.fixed:
        return "no fixed version is known"
    if severities is not None and Severity[finding.severity.upper()] not in severities:
        return f"severity {finding.severity} was not asked for"
    return f"its package is there for {omitted} only" if omitted else ""


def usable(store: AdvisoryReader, *, allow_empty: bool = False, place: str = "") -> AdvisoryStatus:
    """The store's status; `place` is where people are told that it is.

    Raises MissingEvidenceError where it is empty, unless that is allowed.
    """
    status = store.status()
    if not status.advisories and not allow_empty:
        raise MissingEvidenceError("the advisory database is empty: a scan would say nothing",
                                   hint="custody db update, or custody db import PATH (OSV records); or "
                                        "--allow-empty-db" + f"\nadvisories are kept in {place}" * bool(place))
    return status
