"""What a scan is written as for dashboards and pipelines: SARIF, GitLab, JUnit, CycloneDX, Trivy's JSON, in-toto."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from custody import __version__
from custody.formats import cyclonedxvulnerabilities, cyclonedxwriter, gitlab, intotovulns, junit, sarif
from custody.formats.issue import Issue, page
from custody.formats.vex import csafwriter, openvex
from custody.kit.amount import amount
from custody.services.documents import Format, encode, json_bytes
from custody.vulns.vex import stated

if TYPE_CHECKING:
    from custody.vulns.report import ScanReport

_ADDRESS = "https://pypi.org/project/custody-chain/"
_SCANNER = f"pkg:pypi/custody-chain@{__version__}"


def issues(report: ScanReport) -> list[Issue]:
    """Findings that count, then secrets and settings, each in the order of the report."""
    listed = [Issue(
        kind="vulnerability", id=finding.cve, title=finding.summary or finding.cve, severity=finding.severity,
        score=finding.score, package=finding.package, version=finding.version, purl=finding.purl,
        message=f"{finding.cve} in {finding.package} {finding.version}, "
                + (f"fixed in {', '.join(finding.fixed)}" if finding.fixed else "no fixed version is known"),
        remedy=f"upgrade {finding.package} to {' or '.join(finding.fixed)}" if finding.fixed else "",
        path=finding.locations[0].path if finding.locations else "",
        layer=finding.locations[0].layer if finding.locations else "",
        names=tuple(dict.fromkeys((finding.cve, finding.id, *finding.aliases))),
        exploited=finding.exploited is not None, help=page(finding.cve)) for finding in report.findings]
    for exposure in report.exposures:
        gone = (f"; layer {exposure.removed_in} takes the file away, this layer still has it"
                if exposure.removed_in else "")
        listed.append(Issue(
            kind=exposure.kind, id=exposure.id, title=exposure.title, severity=exposure.severity, path=exposure.path,
            message=f"{exposure.title}: {exposure.message}{gone}", remedy=exposure.remedy, line=exposure.line,
            layer=exposure.layer))
    return listed


def _sarif(report: ScanReport, _now: datetime) -> bytes:
    return json_bytes(sarif.issues(issues(report), "custody", __version__, _ADDRESS, _artifact(report)))


def _artifact(report: ScanReport) -> str:
    return report.target if report.digest in report.target or report.catalog.kind != "container" else (
        f"{report.target}@{report.digest}")


def _gitlab(report: ScanReport, *, container: bool) -> bytes:
    system = report.catalog.distribution
    return json_bytes(gitlab.document(
        issues(report), container=container, image=_artifact(report),
        system=f"{system.id} {system.version}".strip() if system else "", started=report.started, ended=report.finished,
        version=__version__, address=_ADDRESS))


def _gitlab_of_kind(report: ScanReport, _now: datetime) -> bytes:
    return _gitlab(report, container=report.catalog.kind in ("container", "rootfs", "sbom"))


def _junit(report: ScanReport, _now: datetime) -> bytes:
    """A suite for each ecosystem and for secrets and settings; a package without findings is a case that passed."""
    by_purl: dict[str, list[str]] = {}
    for issue in issues(report):
        if issue.kind == "vulnerability":
            by_purl.setdefault(issue.purl, []).append(f"{issue.severity}: {issue.message}")
    suites: dict[str, list[junit.Case]] = {}
    for package in report.catalog.packages:
        said = by_purl.get(package.purl)
        suites.setdefault(package.type, []).append(junit.Case(
            package.type, f"{package.name} {package.version}",
            None if said is None else f"{len(said)} vulnerabilit{'y' if len(said) == 1 else 'ies'}",
            "\n".join(said or ())))
    for issue in issues(report):
        if issue.kind != "vulnerability":
            where = f"{issue.path}:{issue.line}" if issue.line else issue.path
            suites.setdefault(issue.kind, []).append(junit.Case(issue.kind, f"{issue.id} {where}", issue.severity,
                                                                issue.message))
    gaps = [junit.Case("coverage", gap.what, gap.kind, str(gap)) for gap in report.coverage.gaps]
    if gaps:
        suites["coverage"] = gaps
    return encode(junit.document([(name, suites[name]) for name in sorted(suites)]) + "\n")


def _cyclonedx(report: ScanReport, now: datetime) -> bytes:
    document = cyclonedxwriter.write(report.catalog, now, __version__)
    listed = [issue for issue in issues(report) if issue.kind == "vulnerability"]
    return json_bytes(cyclonedxvulnerabilities.added(document, listed, {
        finding.cve: finding.vector for finding in report.findings if finding.vector.startswith(("CVSS:", "AV:"))}))


def _in_toto(report: ScanReport, _now: datetime) -> bytes:
    listed = [issue for issue in issues(report) if issue.kind == "vulnerability"]
    updated = report.database.imported_at or report.started
    return json_bytes(intotovulns.predicate(
        listed, scanner_uri=_SCANNER, scanner_version=__version__, db_version=report.database.digest,
        db_updated=updated, started=report.started, finished=report.finished))


def csaf(publisher: csafwriter.Publisher) -> Format[ScanReport]:
    """CSAF 2.0 in the name of a publisher: VEX, or, where nothing was found, what was scanned for it."""
    def write(report: ScanReport, now: datetime) -> bytes:
        said = list(stated.statements(report))
        findings = [*report.findings, *(ignored.finding for ignored in report.ignored)]
        named = [(csafwriter.principal(statement), finding) for statement, finding in zip(said, findings, strict=True)]
        scanned = (f"{amount(len(report.catalog.packages), 'package')}, matched with "
                   f"{amount(report.database.advisories, 'advisory', 'advisories')}. A package that no vulnerability "
                   "here names has none that these advisories know of, unless it is among what was not scanned.")
        document = csafwriter.write(said, publisher=publisher, now=now, tool_version=__version__,
                                    report=csafwriter.Report(
            title=f"Known vulnerabilities of {report.target}", subject=stated.product(report.catalog),
            notes=(("What was scanned", scanned), ("What was not scanned", "\n".join(map(str, report.coverage.gaps))
                                                   or "Nothing that custody knows of.")),
            summaries={name: finding.summary for name, finding in named if finding.summary},
            ratings={(name, finding.purl): csafwriter.Rating(finding.score, finding.severity, finding.vector)
                     for name, finding in named if finding.score is not None}))
        return json_bytes(document)

    return Format(write)


def _trivy(report: ScanReport, _now: datetime) -> bytes:
    document = report.to_trivy()
    by_path: dict[str, list[dict[str, Any]]] = {}
    for exposure in report.exposures:
        if exposure.kind == "secret":
            by_path.setdefault(exposure.path, []).append({
                "RuleID": exposure.id, "Category": "", "Severity": exposure.severity.upper(), "Title": exposure.title,
                "StartLine": exposure.line, "EndLine": exposure.line, "Code": {"Lines": None},
                "Match": exposure.message, "Layer": {"Digest": exposure.layer}})
    document["Results"] += [{"Target": path, "Class": "secret", "Secrets": secrets}
                            for path, secrets in by_path.items()]
    settings = [{"Type": "Dockerfile Security Check", "ID": exposure.id, "AVDID": exposure.id, "Title": exposure.title,
                 "Message": exposure.message, "Resolution": exposure.remedy, "Status": "FAIL",
                 "Severity": "LOW" if exposure.severity == "none" else exposure.severity.upper()}
                for exposure in report.exposures if exposure.kind == "setting"]
    if settings:
        document["Results"].append({"Target": report.target, "Class": "config", "Type": "image",
                                    "Misconfigurations": settings})
    return json_bytes(document)


SCANS: Mapping[str, Format[ScanReport]] = {
    "sarif": Format(_sarif), "junit": Format(_junit), "gitlab": Format(_gitlab_of_kind),
    "cyclonedx-json": Format(_cyclonedx), "trivy-json": Format(_trivy), "in-toto-vulns": Format(_in_toto),
    "json": Format(lambda report, _: json_bytes(report.to_json())),
    "cosign-vuln": Format(lambda report, _: json_bytes(report.to_cosign_vuln())),
    "openvex": Format(lambda report, now: json_bytes(openvex.write(
        stated.statements(report), author=f"custody {__version__}", now=now, tooling=f"custody {__version__}")))}
