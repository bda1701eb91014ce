"""Why a finding is one: layer, path, advisory, event, both versions, and who rated it; and why something is none."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.cli.scan import _SHOWN
from custody.errors import MissingEvidenceError
from custody.formats import osv
from custody.formats.bom import Catalog, Layer, Location, Package
from custody.vulns.explanation import explain, text
from custody.vulns.match import place_of
from custody.vulns.report import ScanReport, scan
from tests.contents.test_db_update import Run, _run  # noqa: F401 - the fixture `run`
from tests.contents.test_scan import CRITICAL, NOW, package, record

FIX = [{"introduced": "0"}, {"fixed": "2.0"}]


def explained(tmp_path: Path, records: list[osv.Advisory], *packages: Package, question: str) -> tuple[
        ScanReport, list[str]]:
    store = SqliteAdvisories(tmp_path / "a.db")
    store.add(records, NOW)
    layers = tuple(Layer(digest=f"sha256:{n}", diff_id=f"sha256:d{n}", entries=1, size=1) for n in range(3))
    report = scan(Catalog(name="x", digest="sha256:0", packages=packages, layers=layers), store, NOW)
    answer = explain(report, store, question)
    return report, [f"{entry.package}: {entry.verdict}" for entry in answer] + text(
        answer, report.catalog).splitlines()


def read(name: str, package_name: str, events: list[dict[str, str]], **more: object) -> osv.Advisory:
    return osv.read(json.dumps(record(name, events, package=package_name, **more)).encode())  # type: ignore[arg-type]


def test_a_finding(tmp_path: Path) -> None:
    part = msgspec.structs.replace(package("a", "1.5"), locations=(
        Location("srv/a.jar", "sha256:1", "BOOT-INF/b.jar", "version string at 0x1f00"),))
    records = [read("PYSEC-1", "a", FIX, aliases=["CVE-2026-0001"], severity=[CRITICAL]),
               read("GHSA-1", "a", [{"introduced": "1.6"}], aliases=["CVE-2026-0001"])]
    _, lines = explained(tmp_path, records, part, package("b", "1"), question="CVE-2026-0001")
    told = "\n".join(lines)
    assert lines[0] == "a: finding"
    for fact in ("srv/a.jar!BOOT-INF/b.jar, layer 2 of 3 (sha256:1)", "version string at 0x1f00", "PYSEC-1 of osv",
                 "introduced 0, fixed 2.0", "1.5: affected: introduced 0, fixed 2.0", "1.5: not affected",
                 "severity  critical, by PYSEC-1"):
        assert fact in told, fact


@pytest.mark.parametrize(("version", "question", "verdict"), [
    ("2.0", "PYSEC-1", "not affected"), ("2.1", "CVE-2026-0001:a", "not affected"), ("1", "CVE-2026-0001", "finding"),
    ("1", "PYSEC-1:pkg:pypi/a@1", "finding"), ("", "PYSEC-1", "finding")])
def test_verdicts(tmp_path: Path, version: str, question: str, verdict: str) -> None:
    records = [read("PYSEC-1", "a", FIX, aliases=["CVE-2026-0001"])]
    assert explained(tmp_path, records, package("a", version), question=question)[1][0] == f"a: {verdict}"


def test_undecided_and_nobody(tmp_path: Path) -> None:
    records = [read("GHSA-1", "a", FIX, ecosystem="npm")]
    odd = package("a", "latest", "npm", type="npm", purl="pkg:npm/a@latest")
    assert explained(tmp_path, records, odd, question="GHSA-1")[1][0] == "a: undecided"
    with pytest.raises(MissingEvidenceError, match="no advisory of that name"):
        explained(tmp_path / "2", records, odd, question="CVE-1999-0001")
    with pytest.raises(MissingEvidenceError, match="nobody"):
        explained(tmp_path / "3", records, odd, question="GHSA-1:nobody")


@pytest.mark.parametrize(("version", "affected"), [("1.1.1k", True), ("1.1.1l", False), ("3.0.0", False)])
def test_programs_are_matched_by_their_cpe_names(tmp_path: Path, version: str, affected: bool) -> None:
    part = package("openssl", version, None, type="generic", purl=f"pkg:generic/openssl@{version}",
                   cpes=(f"cpe:2.3:a:openssl:openssl:{version}:*:*:*:*:*:*:*",))
    assert place_of(part) == "CPE"
    entry = osv.Affected("CPE", "a:openssl:openssl", (osv.Range("ECOSYSTEM", (
        ("introduced", "1.1.1"), ("fixed", "1.1.1l"))),))
    advisory = osv.Advisory("CVE-2021-3711", "2026-01-01T00:00:00Z", False, (), "", (), (), (entry,), source="nvd")
    store = SqliteAdvisories(tmp_path / "a.db")
    store.add([advisory], NOW)
    report = scan(Catalog(name="x", digest="sha256:0", packages=(part,)), store, NOW)
    assert [finding.cve for finding in report.findings] == ["CVE-2021-3711"] * affected
    assert not report.coverage.gaps
    # An order that does not know the version says so.
    odd = msgspec.structs.replace(part, version="mainline")
    assert scan(Catalog(name="x", digest="sha256:0", packages=(odd,)), store, NOW).undecided


@pytest.fixture(name="target")
def _target(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> str:
    """An SBOM with a package that has a finding."""
    monkeypatch.setenv("CUSTODY_DATA_DIR", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text(json.dumps(record("PYSEC-1", FIX, package="flask", aliases=["CVE-2026-0001"])))
    Path("shop.json").write_text(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
        {"type": "library", "name": "flask", "version": "1.0", "purl": "pkg:pypi/flask@1.0"}]}))
    assert run("db", "import", "a.json").code == 0
    return "sbom:shop.json"


_WHO = {"csaf": ("--author", "shop", "--publisher-namespace", "https://shop.example")}
_QUESTION = ("--explain", "CVE-2026-0001")


@pytest.mark.parametrize("chosen", [name for name in _SHOWN if name not in ("table", "gitlab")])
def test_a_format_beside_the_answer_needs_a_file(target: str, run: Run, chosen: str) -> None:
    """Standard output has the answer: a document that would go there too is refused by name, not left out."""
    words = ("scan", target, *_QUESTION, *_WHO.get(chosen, ()))
    done = run(*words, "-o", chosen)
    assert (done.code, done.out) == (2, "")
    assert f"--explain: its answer goes to standard output, as -o {chosen} would" in done.err
    assert f"hint: -o {chosen}=FILE" in done.err
    done = run(*words, "-o", f"{chosen}=out")
    assert (done.code, done.out.startswith("CVE-2026-0001 in flask 1.0: finding")) == (0, True), done.err
    assert Path("out").stat().st_size > 0


def test_the_answer_is_in_place_of_the_table(target: str, run: Run) -> None:
    for words in ((), ("-o", "table")):
        done = run("scan", target, *_QUESTION, *words)
        assert (done.code, "SEVERITY" in done.out, "in flask 1.0: finding" in done.out) == (0, False, True), done.err
    done = run("scan", target, *_QUESTION, "-o", "table=out")
    assert "SEVERITY" in Path("out").read_text()
