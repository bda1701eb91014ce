"""One finding a vulnerability: whose names meet, who rates it, who knows it to be exploited, and what is left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.errors import CustodyError, MalformedError, MissingEvidenceError
from custody.formats import kev, osv
from custody.formats.bom import Catalog, Package
from custody.formats.purl import build
from custody.vulns.namesakes import Namesakes
from custody.vulns.report import ScanReport, scan
from custody.vulns.severity import Severity, rate
from custody.vulns.store import import_advisories
from tests.contents.test_scan import CRITICAL, NOW, package, record, report

FIX = [{"introduced": "0"}, {"fixed": "9"}]


def debian(name: str = "a", version: str = "1") -> Package:
    return package(name, version, "Debian:12", type="deb", source=name, purl=f"pkg:deb/debian/{name}@{version}")


def of_debian(name: str, events: list[dict[str, str]] = FIX, **more: Any) -> dict[str, Any]:
    return record(name, events, ecosystem="Debian:12", **more)


def names(found: ScanReport) -> list[tuple[str, str, tuple[str, ...], str]]:
    return [(f.cve, f.id, f.aliases, f.severity) for f in found.findings]


def test_upstream_grouping(tmp_path: Path) -> None:
    found = report(tmp_path, [of_debian("DEBIAN-CVE-2026-0001", upstream=["CVE-2026-0001"], severity=[CRITICAL]),
                              of_debian("DEBIAN-CVE-2026-0003", [{"introduced": "0"}, {"fixed": "1"}],
                                        upstream=["CVE-2026-0003"]),
                              of_debian("DSA-9001-1", upstream=["CVE-2026-0001", "CVE-2026-0002", "CVE-2026-0003"])],
                   debian())
    assert names(found) == [
        ("CVE-2026-0001", "DEBIAN-CVE-2026-0001", ("CVE-2026-0001", "DSA-9001-1"), "critical"),
        # The bundle is all that speaks of 0002; of 0003 its own record says that this version is not affected.
        ("CVE-2026-0002", "DSA-9001-1", ("CVE-2026-0002",), "unknown")]


@pytest.mark.parametrize(("more", "cve", "aliases"), [
    ({"upstream": ["CVE-2026-0001"]}, "CVE-2026-0001", ("CVE-2026-0001",)),
    ({"upstream": ["CVE-2026-0001", "GHSA-x"]}, "CVE-2026-0001", ("CVE-2026-0001", "GHSA-x")),
    ({"upstream": ["UBUNTU-CVE-2026-0001", "CVE-2026-0001"]}, "CVE-2026-0001",
     ("CVE-2026-0001", "UBUNTU-CVE-2026-0001")),
    ({"related": ["CVE-2026-0001", "ALSA-2026:7"]}, "CVE-2026-0001", ("CVE-2026-0001",)),
    ({"aliases": ["CVE-2026-0001"], "related": ["CVE-2026-0007"]}, "CVE-2026-0001", ("CVE-2026-0001",)),
    ({"upstream": ["GHSA-x"]}, "X-1", ("GHSA-x",)),
])
def test_a_distributions_record_of_one_vulnerability(
        tmp_path: Path, more: dict[str, Any], cve: str, aliases: tuple[str, ...]) -> None:
    assert names(report(tmp_path, [of_debian("X-1", **more)], debian())) == [(cve, "X-1", aliases, "unknown")]


def test_related_is_no_alias_outside_of_distributions(tmp_path: Path) -> None:
    found = report(tmp_path, [record("PYSEC-1", FIX, related=["CVE-2026-0001"])], package("a", "1"))
    assert names(found) == [("PYSEC-1", "PYSEC-1", (), "unknown")]


def test_two_cves_of_one_bundle_stay_two_findings(tmp_path: Path) -> None:
    both = ["CVE-2026-0001", "CVE-2026-0002"]
    found = report(tmp_path, [of_debian("DEBIAN-CVE-2026-0001"), of_debian("DEBIAN-CVE-2026-0002"),
                              of_debian("DSA-1", upstream=both)], debian())
    assert [(f.cve, f.aliases) for f in found.findings] == [
        ("CVE-2026-0001", ("CVE-2026-0001", "DSA-1")), ("CVE-2026-0002", ("CVE-2026-0002", "DSA-1"))]


def test_thousands_of_records_of_one_package(tmp_path: Path) -> None:
    """In time that grows with their number: the kernel has that many. A chain of aliases is one vulnerability."""
    many = 3000
    apart = [record(f"X-{n}", FIX, aliases=[f"CVE-2026-{n:04}"]) for n in range(many)]
    chain = [record(f"C-{n}", FIX, aliases=[f"A-{n}", f"A-{n + 1}"]) for n in range(many)]
    found = report(tmp_path, [*apart, *chain, of_debian("DSA-1")], package("a", "1"))
    assert len(found.findings) == many + 1
    assert max(len(finding.aliases) for finding in found.findings) == 2 * many


def test_errata_that_name_no_vulnerability_are_not_kept(tmp_path: Path) -> None:
    for name, more in (("ALBA-1", {}), ("ALEA-1", {}), ("ALBA-2", {"related": ["CVE-2026-0001"]}), ("ALSA-1", {})):
        (tmp_path / f"{name}.json").write_text(json.dumps(record(name, FIX, ecosystem="AlmaLinux:9", **more)))
    done = import_advisories(SqliteAdvisories(tmp_path / "a.db"), tmp_path, NOW)
    assert (done.read, done.errata, done.added) == (4, 2, 2)


@pytest.mark.parametrize(("ecosystem", "kind", "installed", "stated", "same"), [
    ("Go", "golang", "github.com/Masterminds/goutils", "github.com/Masterminds/goutils", True),
    ("Go", "golang", "github.com/masterminds/goutils", "github.com/Masterminds/goutils", True),
    ("Go", "golang", "github.com/Sirupsen/logrus", "github.com/sirupsen/logrus", True),
    ("NuGet", "nuget", "newtonsoft.json", "Newtonsoft.Json", True),
    ("npm", "npm", "JSONStream", "jsonstream", True),
    ("Packagist", "composer", "Symfony/HTTP-Kernel", "symfony/http-kernel", True),
    ("crates.io", "cargo", "Some_Crate", "some-crate", True),
    ("RubyGems", "gem", "RedCloth", "redcloth", True),
    ("SwiftURL", "swift", "github.com/Vapor/Vapor", "https://github.com/vapor/vapor.git", True),
    ("RubyGems", "gem", "a_b", "a-b", False),
    ("PyPI", "pypi", "Flask_Login", "flask.login", True),
    ("Maven", "maven", "org.A:b", "org.a:b", False),
    ("AlmaLinux:9", "rpm", "NetworkManager", "networkmanager", False),
])
def test_names_are_compared_by_their_registrys_rule(
        tmp_path: Path, ecosystem: str, kind: str, installed: str, stated: str, same: bool) -> None:
    found = report(tmp_path, [record("A", FIX, ecosystem=ecosystem, package=stated)],
                   package(installed, "1", ecosystem, type=kind, purl=f"pkg:{kind}/x@1"))
    assert bool(found.findings) is same


def test_go_module_with_capitals(tmp_path: Path) -> None:
    purl = build("golang", "goutils", namespace="github.com/Masterminds", version="v1.1.0")
    assert purl.namespace == "github.com/masterminds"  # the standard folds it, the record does not
    sbom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
        {"type": "library", "name": "goutils", "purl": str(purl)}]}
    from custody.formats import cyclonedx

    store = SqliteAdvisories(tmp_path / "a.db")
    store.add([osv.read(json.dumps(record(
        "GO-2022-0411", [{"introduced": "0"}, {"fixed": "1.1.1"}], ecosystem="Go", kind="SEMVER",
        package="github.com/Masterminds/goutils")).encode())], NOW)
    assert [f.id for f in scan(cyclonedx.read(json.dumps(sbom).encode()), store, NOW).findings] == ["GO-2022-0411"]


@pytest.mark.parametrize(("more", "expected"), [
    ({"affected_severity": [CRITICAL]}, "critical"),
    ({"database_specific": {"severity": "MODERATE"}}, "medium"),
    ({"database_specific": {"cvss": {"vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}}}, "critical"),
    ({"database_specific": {"cvss": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}}, "critical"),
    ({"database_specific": {"cvss": {"score": 7.5}}}, "high"),
    ({"database_specific": {"cvss_v3": [{"baseScore": 5.0, "baseSeverity": "CRITICAL"}]}}, "critical"),
    ({"database_specific": {"nvd": {"severity": "LOW"}}}, "low"),
    ({"ecosystem_specific": {"urgency": "not yet assigned"}}, "unknown"),
    ({"ecosystem_specific": {"urgency": "low**"}}, "low"),
    ({"ecosystem_specific": {"urgency": "unimportant"}}, "low"),
    ({"ecosystem_specific": {"ubuntu_priority": "high"}}, "high"),
    ({"severity": [{"type": "Ubuntu", "score": "medium"}]}, "medium"),
    ({"severity": [{"type": "CVSS_V3", "score": "9.8"}]}, "critical"),
    ({"summary": "Important: kernel security update"}, "high"),
    ({"summary": "Moderate: curl"}, "medium"),
    ({"summary": "An Important: thing"}, "unknown"),
    ({"database_specific": {"availabilityImpact": "HIGH", "exploitabilityScore": 3.9, "priority": 5}}, "unknown"),
    ({"database_specific": {"severity": {"severity": {"severity": {"severity": {"severity": "HIGH"}}}}}}, "unknown"),
])
def test_severity_from_wherever_it_is_stated(more: dict[str, Any], expected: str) -> None:
    entry = record("A", FIX, **{key: value for key, value in more.items() if not key.startswith(("aff", "eco"))})
    entry["affected"][0].update({key.removeprefix("affected_"): value for key, value in more.items()
                                 if key.startswith(("aff", "eco"))})
    advisory = osv.read(json.dumps(entry).encode())
    assert str(rate(advisory, advisory.affected[0]).severity) == expected


def test_another_record_of_the_vulnerability_may_rate_it(tmp_path: Path) -> None:
    found = report(tmp_path, [record("PYSEC-1", FIX, aliases=["CVE-2026-0001"]),
                              record("BIT-a", FIX, ecosystem="Bitnami", package="other", aliases=["CVE-2026-0001"],
                                     severity=[CRITICAL])], package("a", "1"))
    assert [(f.id, f.severity, f.rated_by) for f in found.findings] == [("PYSEC-1", "critical", "BIT-a")]
    # A bundle's rating is of the worst that it mends, and rates nothing in another ecosystem.
    found = report(tmp_path / "2", [record("PYSEC-1", FIX, aliases=["CVE-2026-0001"]),
                                    of_debian("DSA-1", upstream=["CVE-2026-0001", "CVE-2026-0002"],
                                              severity=[CRITICAL])],
                   package("a", "1"))
    assert [(f.severity, f.rated_by) for f in found.findings] == [("unknown", "")]


def catalogue(**changes: Any) -> bytes:
    entry = {"cveID": "CVE-2026-0001", "vendorProject": "v", "product": "p", "vulnerabilityName": "n",
             "dateAdded": "2026-01-01", "shortDescription": "s", "requiredAction": "r", "dueDate": "2026-02-01",
             "knownRansomwareCampaignUse": "Known", "notes": "", "cwes": []}
    whole = {"title": "t", "catalogVersion": "2026.01.01", "dateReleased": "2026-01-01T10:00:00.1234Z", "count": 1,
             "vulnerabilities": [{**entry, **{key: value for key, value in changes.items() if key in entry}}]}
    return json.dumps({**whole, **{key: value for key, value in changes.items() if key in whole}}).encode()


def test_who_else_rates_a_vulnerability_is_asked_once(tmp_path: Path) -> None:
    def rating(word: str, name: str, alias: str, part: str = "") -> osv.Advisory:
        read = osv.read(json.dumps(record(name, FIX, ecosystem="Bitnami", aliases=[alias],
                                          database_specific={"severity": word})).encode())
        return msgspec.structs.replace(read, part=part)

    class Counting(SqliteAdvisories):
        asked: ClassVar[list[set[str]]] = []

        def raters(self, names: Iterable[str]) -> Sequence[osv.Advisory]:
            self.asked.append(set(names))
            return super().raters(self.asked[-1])

    store = Counting(tmp_path / "db")
    store.add([rating("low", "BIT-z", "CVE-2026-0001"), rating("high", "BIT-a", "CVE-2026-0001"),
               rating("HIGH", "BIT-a", "CVE-2026-0001", "later"), rating("none", "BIT-n", "CVE-2026-0002"),
               rating("critical", "BIT-c", "CVE-2026-0003")], NOW)
    namesakes = Namesakes(store, {"CVE-2026-0001", "CVE-2026-0002"})
    # The worst, not the last by name; of two equals the first by publisher and part.
    assert namesakes.worst({"CVE-2026-0001"}) == ((Severity.HIGH, 0, "BIT-a"), (Severity.HIGH, None, "high"))
    assert namesakes.worst({"CVE-2026-0002"}) is None  # rated as nothing, which no more than unknown outweighs
    assert store.asked == [{"CVE-2026-0001", "CVE-2026-0002"}]
    beyond = namesakes.worst({"CVE-2026-0002", "CVE-2026-0003"})
    assert beyond is not None
    assert beyond[1].severity is Severity.CRITICAL
    assert store.asked[1:] == [{"CVE-2026-0003"}]


def test_known_exploited(tmp_path: Path) -> None:
    store = SqliteAdvisories(tmp_path / "a.db")
    (tmp_path / "kev.json").write_bytes(catalogue())
    store.add([osv.read(json.dumps(entry).encode()) for entry in (
        record("PYSEC-1", [{"introduced": "0"}], aliases=["CVE-2026-0001"]), record("PYSEC-2", [{"introduced": "0"}]))],
        NOW)
    contents = Catalog(name="x", digest="sha256:0", packages=(package("a", "1"),))
    with pytest.raises(MissingEvidenceError, match="no catalogue of known exploited vulnerabilities was imported"):
        scan(contents, store, NOW).exploited()
    assert import_advisories(store, tmp_path / "kev.json", NOW).catalogues == [
        "1 known exploited vulnerabilities, version 2026.01.01"]
    found = scan(contents, store, NOW, ignore_unfixed=True, severities=[Severity.CRITICAL])
    assert [(f.id, f.exploited and f.exploited.ransomware) for f in found.exploited()] == [("PYSEC-1", True)]
    assert [(entry.finding.id, entry.reason) for entry in found.ignored] == [("PYSEC-2", "no fixed version is known")]
    result = found.to_cosign_vuln()
    assert result["invocation"]["parameters"] == ["--ignore-unfixed", "--severity", "critical"]
    scanned = result["scanner"]["result"]
    assert scanned["Results"][0]["Vulnerabilities"][0]["Custom"] == {
        "exploited": {"dateAdded": "2026-01-01", "dueDate": "2026-02-01", "ransomware": True}}
    assert scanned["coverage"]["ignored"] == [{"id": "PYSEC-2", "purl": "pkg:pypi/a@1", "severity": "unknown",
                                               "reason": "no fixed version is known"}]
    assert scanned["coverage"]["database"]["exploitedVersion"] == "2026.01.01"
    (tmp_path / "kev.json").write_bytes(catalogue(dateReleased="2025-01-01T00:00:00Z", cveID="CVE-2025-0009"))
    assert "older" in import_advisories(store, tmp_path / "kev.json", NOW).catalogues[0]
    assert list(store.exploited(["CVE-2026-0001", "CVE-2025-0009"])) == ["CVE-2026-0001"]


@pytest.mark.parametrize(("changes", "reason"), [
    ({"count": 2}, "count: got 2, expected 1, as many as are listed"),
    ({"count": True}, "count"),
    ({"vulnerabilities": []}, "a list of 1 to"),
    ({"vulnerabilities": [1]}, r"vulnerabilities\[0\]: got 1, expected a JSON object"),
    ({"cveID": "GHSA-1"}, r"vulnerabilities\[0\].cveID: got 'GHSA-1', expected CVE-YYYY-NNNN"),
    ({"dateAdded": "yesterday"}, "dateAdded: got 'yesterday', expected a date"),
    ({"dueDate": None}, "dueDate"),
    ({"knownRansomwareCampaignUse": ["Known"]}, "expected Known or Unknown"),
    ({"catalogVersion": ""}, "catalogVersion"),
    ({"dateReleased": "1.1.2026"}, "dateReleased"),
])
def test_a_catalogue_that_is_none_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    (tmp_path / "kev.json").write_bytes(catalogue(**changes))
    store = SqliteAdvisories(tmp_path / "a.db")
    with pytest.raises(MalformedError, match=reason):
        import_advisories(store, tmp_path / "kev.json", NOW)
    assert store.status().exploited is None


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(
    inner, max_size=3) | st.dictionaries(
        st.sampled_from(["catalogVersion", "vulnerabilities", "cveID", "count"]), inner, max_size=4), max_leaves=8))
def test_hostile_catalogues_raise_only_our_errors(value: Any) -> None:
    with pytest.raises(CustodyError):
        kev.read(json.dumps(value).encode())


def test_unknown_severity_has_a_gate_of_its_own(tmp_path: Path) -> None:
    found = report(tmp_path, [record("A", FIX, severity=[CRITICAL]), record("B", FIX)], package("a", "1"))
    assert [f.id for f in found.unrated()] == ["B"]


def test_databases_of_before_ask_for_a_new_import(tmp_path: Path) -> None:
    import sqlite3

    from custody.adapters.sqlite import advisories

    with sqlite3.connect(tmp_path / "a.db") as old:
        old.executescript(advisories._MIGRATIONS[0] + "; PRAGMA user_version=1; INSERT INTO advisory VALUES "
                          "('A', '2026-01-01T00:00:00Z', 0, x'00')")
    assert SqliteAdvisories(tmp_path / "a.db").status().advisories == 0
    with pytest.raises(MissingEvidenceError, match="the advisory database is empty"):
        scan(Catalog(name="x", digest="sha256:0"), SqliteAdvisories(tmp_path / "a.db"), NOW)


FIVE = [{"introduced": "0"}, {"fixed": "5"}]


@pytest.mark.parametrize(("records", "upgrade"), [
    ([FIVE], "5"), ([FIVE, [{"introduced": "0"}, {"fixed": "7"}]], "7"),
    # The next version without the one has the other, which begins after it.
    ([FIVE, [{"introduced": "4"}, {"fixed": "6"}, {"introduced": "8"}]], "6"),
    ([FIVE, [{"introduced": "5"}, {"fixed": "8"}]], "8"),
    ([FIVE, [{"introduced": "5"}]], ""), ([FIVE, [{"introduced": "0"}]], ""),
    ([[{"introduced": "0"}, {"last_affected": "5"}]], ""),
])
def test_the_smallest_upgrade_clears_all(tmp_path: Path, records: list[Any], upgrade: str) -> None:
    report_of = report(tmp_path, [record(f"X-{place}", events) for place, events in enumerate(records)],
                       package("a", "1"))
    assert {finding.upgrade for finding in report_of.findings} == {upgrade}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 12)), min_size=1, max_size=6), st.integers(0, 9))
def test_no_smaller_upgrade_clears_all(spans: list[tuple[int, int]], version: int) -> None:
    from custody.vulns.match import Hit, Word, affected_by
    from custody.vulns.severity import rate
    from custody.vulns.upgrade import smallest

    entries = [osv.read(json.dumps(record("X", [{"introduced": str(start)}, {"fixed": str(start + length)}])).encode())
               for start, length in spans]
    spoken = [Word(entry, entry.affected[0], str(version)) for entry in entries]
    clear = [number for number in range(version, 30) if not any(
        affected_by(word.affected, str(number)) for word in spoken)]
    hits = [Hit(word.advisory, match, rate(word.advisory), word.affected, frozenset((word.advisory.id,)), frozenset(),
                ()) for word in spoken
            if (match := affected_by(word.affected, word.version))]
    if hits:
        assert smallest("PyPI", hits, spoken) == str(clear[0])


@pytest.mark.parametrize(("severity", "scores", "epss", "ransomware", "expected"), [
    # By hand from grype's formula: min(threat x mean(word, mean of scores) / 10 x boost, 1) x 100.
    ("critical", [], 0.5, None, 45.0), ("critical", [9.8], 0.5, None, 47.0), ("high", [7.5, 8.5], 0.1, None, 7.75),
    ("unknown", [], 0.2, None, 10.0), ("low", [0.0], 0.1, None, 3.0), ("medium", [], None, None, 0.0),
    ("high", [], 0.01, False, 78.75), ("high", [], None, True, 82.5), ("critical", [9.8], None, True, 100.0),
])
def test_risk(severity: str, scores: list[float], epss: float | None, ransomware: bool | None, expected: float) -> None:
    from custody.vulns.risk import risk

    exploited = None if ransomware is None else kev.Exploited(
        cve="CVE-2026-0001", added="2026-01-01", due="2026-02-01", ransomware=ransomware)
    assert risk(Severity[severity.upper()], scores, epss, exploited) == pytest.approx(expected)


def entry_of(**more: Any) -> osv.Affected:
    return osv.Affected("Red Hat:9", more.pop("name", "a"), (osv.Range("ECOSYSTEM", (("introduced", "0"), *more.pop(
        "events", (("fixed", "2"),)))),), **more)


def rpm(name: str, version: str, **more: Any) -> Package:
    ecosystem = more.pop("ecosystem", "Red Hat:9")
    return package(name, version, ecosystem, type="rpm", purl=f"pkg:rpm/redhat/{name}@{version}{more.pop('query', '')}",
                   **more)


@pytest.mark.parametrize(("part", "entry", "affected"), [
    # A built package's name, and its source's.
    (rpm("a-libs", "1", source="a"), entry_of(name="a-libs"), True),
    (rpm("a-libs", "1", source="a"), entry_of(), False),
    (rpm("a-libs", "1", source="a"), entry_of(by="source"), True),
    (rpm("a-libs", "1", source="a"), entry_of(name="a-libs", by="source"), False),
    # A missing epoch is 0 where the names are one; where it is the source's it is unknown, and left aside.
    (rpm("a", "5"), entry_of(events=(("fixed", "1:2"),)), True),
    (rpm("a", "1:1"), entry_of(events=(("fixed", "1:2"),)), True),
    (rpm("perl-Errno", "1.28", source="perl", source_version="5.26"),
     entry_of(name="perl", by="source", events=(("fixed", "4:5.20"),)), False),
    (rpm("perl-Errno", "1.28", source="perl", source_version="5.18"),
     entry_of(name="perl", by="source", events=(("fixed", "4:5.20"),)), True),
    # Modules.
    (rpm("a", "1", query="?rpmmod=nodejs:18:1:2"), entry_of(module="nodejs:18"), True),
    (rpm("a", "1", query="?rpmmod=nodejs:16:1:2"), entry_of(module="nodejs:18"), False),
    (rpm("a", "1"), entry_of(module="nodejs:18"), False),
    (rpm("a", "1-1.module+el9"), entry_of(module="nodejs:18"), True),
])
def test_whose_name_an_entry_has(part: Package, entry: osv.Affected, affected: bool) -> None:
    from custody.vulns.match import match_package

    hits, undecided, *_ = match_package(part, "Red Hat:9", Said(entry))  # type: ignore[arg-type]
    assert (len(hits), undecided) == (affected, [])


class Said:
    """A store in which one advisory has one entry."""

    def __init__(self, entry: osv.Affected) -> None:
        self._advisory = osv.Advisory("X", "2026-01-01T00:00:00Z", False, (), "", (), (), (entry,))

    def find(self, ecosystem: str, name: str) -> list[osv.Advisory]:
        entry = self._advisory.affected[0]
        return [self._advisory] if (ecosystem, name) == (entry.ecosystem, entry.name) else []


def test_what_a_publisher_says_will_become_of_it(tmp_path: Path) -> None:
    from custody.vulns.findings import findings
    from custody.vulns.match import match_package

    store = SqliteAdvisories(tmp_path / "a.db")
    for status, events, expected in (
            ("will_not_fix", (), "will_not_fix"), ("end_of_life", (), "end_of_life"), ("", (), "affected"),
            ("fix_deferred", (("fixed", "2"),), "fixed")):
        entry = entry_of(status=status, reason="no-dsa: Minor issue", events=events)
        matched = match_package(rpm("a", "1"), "Red Hat:9", Said(entry))  # type: ignore[arg-type]
        finding = findings(rpm("a", "1"), "Red Hat:9", matched, store)[0]
        assert (finding.status, finding.reason) == (expected, "no-dsa: Minor issue" if status else "")


def test_the_slow_matcher_agrees() -> None:
    """`python -m tests.fuzz.matching` compares 100,000 pairs."""
    from tests.fuzz.matching import disagreements

    assert not list(disagreements(5000, 3))


def test_what_is_there_for_development_only(tmp_path: Path) -> None:
    parts = package("a", "1", scope="dev"), package("b", "1"), package("c", "1", scope="test")
    records = [record(f"X-{name}", FIX, package=name) for name in "abc"]
    report_of = report(tmp_path, records, *parts, omit=("dev",))
    assert [finding.package for finding in report_of.findings] == ["b", "c"]
    assert [(entry.finding.package, entry.reason) for entry in report_of.ignored] == [
        ("a", "its package is there for dev only")]
    assert report_of.parameters == ("--omit", "dev")
