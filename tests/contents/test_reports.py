"""What a scan is written as for dashboards, and what stops an image: every condition, alone and together."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.errors import CustodyError, DeniedError, MissingEvidenceError
from custody.formats import osv
from custody.formats.bom import Catalog, Coverage, Distribution
from custody.formats.exposed import Exposure
from custody.services.reports import SCANS, issues
from custody.vulns.gate import Gate
from custody.vulns.report import ScanReport, scan
from custody.vulns.severity import Severity
from tests.contents.test_formats import _validator as validator
from tests.contents.test_scan import CRITICAL, NOW, package, record

KEY = Exposure(kind="secret", id="private-key", title="Private key", severity="critical", message="masked",
               remedy="revoke it", path="root/key", line=3, layer="sha256:1", removed_in="sha256:2")
ROOT = Exposure(kind="setting", id="root-user", title="The image runs as root", severity="medium",
                message="config.User is not set", remedy="USER 1", path="config: User")
QUIET = Exposure(kind="setting", id="no-healthcheck", title="No HEALTHCHECK", severity="none", message="none",
                 remedy="add one", path="config: Healthcheck")


@pytest.fixture(name="report")
def _report(tmp_path: Path) -> ScanReport:
    store = SqliteAdvisories(tmp_path / "a.db")
    store.add([osv.read(json.dumps(entry).encode()) for entry in (
        record("CVE-2026-0001", [{"introduced": "0"}, {"fixed": "2"}], severity=[CRITICAL], summary="<bad> & worse",
               aliases=["GHSA-aaaa-bbbb-cccc"], published="2025-12-30T00:00:00Z"),
        record("CVE-2026-0002", [{"introduced": "0"}], package="b"),
        record("MAL-2026-3", [{"introduced": "0"}], package="c"))], NOW)
    catalog = Catalog(name="shop", digest="sha256:" + "0" * 64, packages=(
        package("a", "1"), package("b", "1"), package("c", "1"), package("fine", "1")),
        distribution=Distribution(id="debian", version="12", name="Debian"),
        coverage=Coverage(programs=10, identified=9, size=1000, identified_size=800))
    report = scan(catalog, store, NOW)
    return msgspec.structs.replace(report, exposures=(KEY, ROOT, QUIET), scanners=("vuln", "secret", "misconfig"))


def written(report: ScanReport, form: str) -> Any:
    body = SCANS[form].write(report, NOW)
    assert body == SCANS[form].write(report, NOW)
    return json.loads(body)


def test_sarif(report: ScanReport) -> None:
    [run] = written(report, "sarif")["runs"]
    rules, results = run["tool"]["driver"]["rules"], run["results"]
    assert len(results) == len(report.findings) + 3
    for result in results:
        rule = rules[result["ruleIndex"]]
        assert rule["id"] == result["ruleId"]
        assert 0 <= float(rule["properties"]["security-severity"]) <= 10
        assert len(result["partialFingerprints"]["custody/v1"]) == 64
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert result["locations"][0]["physicalLocation"]["region"]["startLine"] >= 1
    assert next(result for result in results if result["ruleId"] == "private-key")["locations"][0]["physicalLocation"][
        "region"]["startLine"] == 3


def test_fingerprints_outlive_a_rebuild(report: ScanReport) -> None:
    rebuilt = msgspec.structs.replace(report, exposures=(msgspec.structs.replace(KEY, layer="sha256:9", line=7),))
    before = {issue.id: issue.fingerprint for issue in issues(report)}
    assert {issue.id: issue.fingerprint for issue in issues(rebuilt)}.items() <= before.items()
    assert len(set(before.values())) == len(before)


def test_gitlab(report: ScanReport) -> None:
    document = written(report, "gitlab")
    assert document["scan"]["type"] == "container_scanning"
    assert document["scan"]["end_time"] == "2026-01-02T00:00:00"
    assert [entry["identifiers"][0]["value"] for entry in document["vulnerabilities"]] == [
        finding.cve for finding in report.findings]
    assert document["vulnerabilities"][0]["location"]["operating_system"] == "debian 12"
    assert len({entry["id"] for entry in document["vulnerabilities"]}) == len(report.findings)
    folder = msgspec.structs.replace(report, catalog=msgspec.structs.replace(report.catalog, kind="directory"))
    document = written(folder, "gitlab")
    assert document["scan"]["type"] == "dependency_scanning"
    assert document["vulnerabilities"][0]["location"]["file"] == "p"
    assert document["dependency_files"] == []


def test_junit(report: ScanReport) -> None:
    tree = ET.fromstring(SCANS["junit"].write(report, NOW))
    cases = {case.get("name"): case.find("failure") is not None for case in tree.iter("testcase")}
    assert cases == {"a 1": True, "b 1": True, "c 1": True, "fine 1": False, "private-key root/key:3": True,
                     "root-user config: User": True, "no-healthcheck config: Healthcheck": True} | {
                         gap.what: True for gap in report.coverage.gaps}


def test_cyclonedx(report: ScanReport) -> None:
    document = written(report, "cyclonedx-json")
    assert [str(error) for error in validator("1.6").iter_errors(document)] == []
    refs = {component["bom-ref"] for component in document["components"]}
    assert [entry["id"] for entry in document["vulnerabilities"]] == ["CVE-2026-0001", "CVE-2026-0002", "MAL-2026-3"]
    for entry in document["vulnerabilities"]:
        assert {affected["ref"] for affected in entry["affects"]} <= refs
    assert document["vulnerabilities"][0]["ratings"] == [
        {"severity": "critical", "score": 9.8, "method": "CVSSv31", "vector": CRITICAL["score"]}]


def test_trivy(report: ScanReport) -> None:
    results = written(report, "trivy-json")["Results"]
    assert [entry["Class"] for entry in results] == ["lang-pkgs", "secret", "config"]
    assert results[1]["Secrets"][0]["RuleID"] == "private-key"
    assert [entry["ID"] for entry in results[2]["Misconfigurations"]] == ["root-user", "no-healthcheck"]


def test_in_toto(report: ScanReport) -> None:
    predicate = written(report, "in-toto-vulns")
    assert predicate["scanner"]["db"]["lastUpdate"]
    assert {entry["id"] for entry in predicate["scanner"]["result"]} == {finding.cve for finding in report.findings}
    assert {"method": "cvss_score", "score": "9.8"} in next(
        entry for entry in predicate["scanner"]["result"] if entry["id"] == "CVE-2026-0001")["severity"]


@pytest.mark.parametrize(("gate", "reason"), [
    (Gate(severity=Severity.CRITICAL), "3 findings at or above critical, such as "),
    (Gate(severity=Severity.MEDIUM), "4 findings at or above medium, such as "),
    (Gate(anything=True), "5 findings listed, such as "),
    (Gate(unknown=True), "1 finding of unknown severity, such as CVE-2026-0002 in b 1"),
    (Gate(fixable=True), "1 finding with a fixed version, such as CVE-2026-0001 in a 1"),
    (Gate(malicious=True), "1 finding of packages that are malicious, such as MAL-2026-3 in c 1"),
    (Gate(coverage=90), "packages answer for 80.0% of the bytes of programs, fewer than 90%"),
    (Gate(fixable=True, malicious=True),
     "1 finding with a fixed version, such as CVE-2026-0001 in a 1; "
     "1 finding of packages that are malicious, such as MAL-2026-3 in c 1"),
    (Gate(severity=Severity.CRITICAL, exploited=True), "at or above critical"),
    (Gate(severity=Severity.CRITICAL, grace=30), "2 findings at or above critical, such as MAL-2026-3 in c 1")])
def test_what_stops(report: ScanReport, gate: Gate, reason: str) -> None:
    with pytest.raises(DeniedError) as denied:
        gate.judge(report)
    assert reason in denied.value.message


@pytest.mark.parametrize(("gate", "error"), [
    (Gate(), None), (Gate(coverage=80, allow_gaps=True), None), (Gate(fixable=True, grace=30, allow_gaps=True), None),
    (Gate(exploited=True), "no catalogue of known exploited vulnerabilities was imported"),
    (Gate(epss=0.5), "no EPSS scores were imported")])
def test_what_does_not(report: ScanReport, gate: Gate, error: str | None) -> None:
    if error is None:
        gate.judge(report)
        return
    with pytest.raises(MissingEvidenceError, match=error):
        gate.judge(report)


def test_grace_is_over_some_day(report: ScanReport) -> None:
    later = msgspec.structs.replace(report, finished=NOW + timedelta(days=40))
    with pytest.raises(DeniedError, match="1 finding with a fixed version"):
        Gate(fixable=True, grace=30).judge(later)


def test_a_likely_one_stops(report: ScanReport) -> None:
    findings = tuple(msgspec.structs.replace(finding, epss=0.1 * number)
                     for number, finding in enumerate(report.findings, 1))
    scored = msgspec.structs.replace(report, findings=findings,
                                     database=msgspec.structs.replace(report.database, scored=3))
    with pytest.raises(DeniedError, match=r"2 findings with an EPSS of 0\.2 or more"):
        Gate(epss=0.2).judge(scored)
    Gate(epss=0.9, allow_gaps=True).judge(scored)


def test_what_was_not_read_is_a_gap(report: ScanReport) -> None:
    unread = msgspec.structs.replace(report, unread=("big: a file of more than 256 MiB",), findings=(), exposures=())
    with pytest.raises(CustodyError, match="not looked into for secrets: 1 file, such as big"):
        Gate(severity=Severity.LOW).judge(msgspec.structs.replace(
            unread, coverage=msgspec.structs.replace(unread.coverage, gaps=())))


def test_coverage_that_nobody_knows(report: ScanReport) -> None:
    unknown = msgspec.structs.replace(report, catalog=msgspec.structs.replace(report.catalog, coverage=None))
    with pytest.raises(MissingEvidenceError, match="nobody says how many of the programs"):
        Gate(coverage=50).judge(unknown)
