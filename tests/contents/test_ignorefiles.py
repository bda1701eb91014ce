"""Ignore files of custody, Trivy and grype: what a rule holds of, until when, and what it did not hold of."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.cli.run import run
from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats import ignorefile, osv
from custody.formats.bom import Location, Package
from custody.vulns.report import ScanReport, scan
from custody.vulns.vex.rules import glob
from custody.vulns.vex.waivers import Rules, Waivers
from tests.contents.test_scan import package, record
from tests.contents.test_vex import FIX, catalog

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LIB = package("liba", "1", "npm", type="npm", purl="pkg:npm/%40x/liba@1", source="srca",
              locations=(Location("srv/web/node_modules/liba/package.json"),))


def ignored(tmp_path: Path, text: str, name: str = ".custodyignore", part: Package = LIB, **more: Any) -> ScanReport:
    store = SqliteAdvisories(tmp_path / "a.db")
    store.add([osv.read(json.dumps(record(
        "GHSA-a", more.get("events", FIX), ecosystem="npm", package="srca", aliases=["CVE-2026-0001"])).encode())], NOW)
    rules = ignorefile.read(text.encode(), name)
    return scan(catalog(part), store, NOW, waivers=Waivers((), [Rules(rules=rules, source=name)]))


@pytest.mark.parametrize(("name", "text", "state"), [
    (".custodyignore", "ignore:\n- {id: CVE-2026-0001, reason: r}", "used"),
    (".custodyignore", "ignore:\n- {id: GHSA-a, reason: r}", "used"),
    (".custodyignore", "ignore:\n- {id: CVE-2026-0001, reason: r, until: 2026-06-01}", "used"),
    (".custodyignore", "ignore:\n- {id: CVE-2026-0001, reason: r, until: 2026-05-31}", "expired"),
    (".custodyignore", "ignore:\n- {id: CVE-2026-0001, reason: r, packages: ['pkg:npm/%40x/liba']}", "used"),
    (".custodyignore", "ignore:\n- {id: CVE-2026-0001, reason: r, packages: ['pkg:npm/liba']}", "unused"),
    (".custodyignore", "ignore:\n- {id: CVE-2026-0001, reason: r, paths: [srv/**]}", "used"),
    (".custodyignore", "ignore:\n- {id: CVE-2026-0001, reason: r, paths: ['opt/**', '**/liba/*.json']}", "used"),
    (".custodyignore", "ignore:\n- {id: CVE-2026-0001, reason: r, paths: [srv/*]}", "unused"),
    (".custodyignore", "ignore:\n- {id: CVE-2026-0002, reason: r}", "unused"),
    (".trivyignore", "# because\nCVE-2026-0001", "used"), (".trivyignore", "CVE-2026-0001 exp:2026-06-02", "used"),
    (".trivyignore", "CVE-2026-0001 exp:2026-06-01", "expired"), (".trivyignore", "CVE-2026-000", "unused"),
    (".trivyignore.yaml", "vulnerabilities:\n- {id: CVE-2026-0001, statement: s, expired_at: 2026-07-01}", "used"),
    (".trivyignore.yaml", "vulnerabilities:\n- {id: CVE-2026-0001, purls: ['pkg:npm/%40x/liba@1']}", "used"),
    (".trivyignore.yaml", "vulnerabilities:\n- {id: CVE-2026-0001, expired_at: 2026-05-01}", "expired"),
    (".trivyignore.yaml", "secrets:\n- {id: CVE-2026-0001}", "refused"),
    (".grype.yaml", "fail-on-severity: high\nignore:\n- vulnerability: CVE-2026-0001", "used"),
    (".grype.yaml", "ignore:\n- {package: {name: liba}}", "used"),
    (".grype.yaml", "ignore:\n- {package: {name: 'lib.*', type: npm, language: javascript}}", "used"),
    (".grype.yaml", "ignore:\n- {package: {name: lib}}", "unused"),
    (".grype.yaml", "ignore:\n- {package: {name: 'li'}}", "unused"),
    (".grype.yaml", "ignore:\n- {package: {upstream-name: 'src.+'}, fix-state: fixed}", "used"),
    (".grype.yaml", "ignore:\n- {fix-state: not-fixed}", "unused"),
    (".grype.yaml", "ignore:\n- {vulnerability: CVE-2026-0001, package: {version: '2'}}", "unused"),
    (".grype.yaml", "ignore:\n- {package: {location: '/srv/**'}}", "used"),
    (".grype.yaml", "ignore:\n- {vulnerability: CVE-2026-0001, namespace: 'debian:12'}", "refused"),
    (".grype.yaml", "ignore:\n- {reason: r}", "refused"),
])
def test_rules(tmp_path: Path, name: str, text: str, state: str) -> None:
    report = ignored(tmp_path, text, name)
    assert [use.state for use in report.waivers] == [state]
    assert len(report.ignored) == (state == "used")
    assert len(report.findings) == (state != "used")


def test_a_rule_says_who_why_and_until_when(tmp_path: Path) -> None:
    report = ignored(tmp_path, "ignore:\n- id: CVE-2026-0001\n  reason: not reachable\n  by: alice@example.org\n"
                               "  until: 2026-12-31\n")
    entry = report.ignored[0]
    assert (entry.reason, entry.by, entry.until, entry.source, entry.status) == (
        "not reachable", "alice@example.org", "2027-01-01T00:00:00Z", ".custodyignore", "ignored")
    kept = ignored(tmp_path / "2", "# not reachable\nCVE-2026-0001\n", ".trivyignore").ignored[0]
    assert (kept.reason, kept.by, kept.until) == ("not reachable", "the user", "")


@pytest.mark.parametrize(("name", "text", "reason"), [
    (".custodyignore", "ignore:\n- {id: CVE-1}", "why this does not count"),
    (".custodyignore", "ignore:\n- {id: CVE-1, reason: r, severity: low}", "severity"),
    (".custodyignore", "ignore:\n- {reason: r}", "a vulnerability"),
    (".custodyignore", "ignore: CVE-1", "a list"), (".custodyignore", "rules: []\nignore: []", "no field"),
    (".custodyignore", "ignore:\n- {id: CVE-1, reason: r, until: soon}", "until"),
    (".custodyignore", "ignore:\n- {id: CVE-1, reason: r, until: 2026-02-30}", "a date"),
    (".trivyignore", "CVE-1 exp:tomorrow", "exp"), (".trivyignore.yaml", "vulnerabilities:\n- {paths: [a]}", "id"),
    (".trivyignore.yaml", "vulnerabilities: []\nfindings: []", "findings"),
    (".grype.yaml", "ignore:\n- {vulnerability: CVE-1, cve: x}", "cve"),
    (".grype.yaml", "ignore:\n- {vulnerability: CVE-1, fix-state: maybe}", "fix-state"),
])
def test_what_is_not_understood_is_refused_by_name(name: str, text: str, reason: str) -> None:
    with pytest.raises((MalformedError, UnsupportedError)) as error:
        ignorefile.read(text.encode(), name)
    assert reason in str(error.value)


@pytest.mark.parametrize("pattern", ["a(", "[z-a]", "(?<x"])
def test_patterns_that_are_none(pattern: str) -> None:
    rule = ignorefile.Rule(place="ignore[0]", name=pattern)
    with pytest.raises(MalformedError, match="a pattern"):
        Waivers((), [Rules(rules=(rule,), source="x")])


@pytest.mark.parametrize(("pattern", "path", "holds"), [
    ("a/*", "a/b", True), ("a/*", "a/b/c", False), ("a/**", "a/b/c", True), ("**/c", "a/b/c", True),
    ("**/c", "c", True),
    ("a?c", "abc", True), ("a?c", "a/c", False), ("[ab].js", "a.js", True), ("[!ab].js", "a.js", False),
    ("*.{js,ts}", "x.ts", True), ("*.{js,ts}", "x.py", False), ("a+b", "a+b", True), ("a.b", "axb", False),
])
def test_globs(pattern: str, path: str, holds: bool) -> None:
    assert glob(pattern)(path) is holds


@given(st.text("*?[]{}!^a/,.\\-", max_size=12), st.text("a/.b", max_size=8))
def test_any_text_is_a_glob_or_refused(pattern: str, path: str) -> None:
    rule = ignorefile.Rule(place="x", paths=(pattern,))
    try:
        Waivers((), [Rules(rules=(rule,), source="x")]).judge([], catalog(LIB), NOW)
    except CustodyError:
        pass


@given(st.binary(max_size=60), st.sampled_from([".custodyignore", ".trivyignore", ".trivyignore.yaml", ".grype.yaml"]))
def test_any_bytes_are_rules_or_refused(data: bytes, name: str) -> None:
    try:
        ignorefile.read(data, name)
    except CustodyError:
        pass


@pytest.mark.parametrize("name", [".custodyignore", ".trivyignore", ".trivyignore.yaml", ".grype.yaml"])
@pytest.mark.parametrize("folder", ["", "checkout"])
def test_an_ignore_file_that_came_with_what_is_scanned_does_not_count(
        name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    """A pull request may bring one beside the vulnerable package: only who runs the scan names what is left out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUSTODY_DATA_DIR", str(tmp_path / "d"))
    Path("osv.json").write_text(json.dumps(record("GHSA-a", FIX, ecosystem="npm", package="liba")))
    Path("checkout/node_modules/liba").mkdir(parents=True)
    Path("checkout/node_modules/liba/package.json").write_text('{"name":"liba","version":"1.0.0"}')
    file = Path(folder) / name
    file.write_text("GHSA-a\n" if name == ".trivyignore" else {
        ".custodyignore": "ignore: [{id: GHSA-a, reason: r}]", ".grype.yaml": "ignore: [{vulnerability: GHSA-a}]",
        ".trivyignore.yaml": "vulnerabilities: [{id: GHSA-a}]"}[name])
    assert run(["db", "import", "osv.json"]) == 0
    capsys.readouterr()
    assert run(["scan", "dir:checkout", "-o", "json", "--fail-on", "low", "--allow-gaps"]) == 3
    out, err = capsys.readouterr()
    assert [finding["id"] for finding in json.loads(out)["findings"]] == ["GHSA-a"]
    assert [use["reason"] for use in json.loads(out)["waivers"]] == [f"nobody named it: --ignorefile {file}"]
    assert f"warning: does not count: {file}: nobody named it" in err
    assert run(["scan", "dir:checkout", "-o", "json", "--fail-on", "low", "--allow-gaps", "--ignorefile", str(file)]
               ) == 0
    assert json.loads(capsys.readouterr()[0])["findings"] == []
