"""What grype and Trivy do with distributions' packages, case by case, and what custody does with the same.

Rules of grype 0.121 (grype/matcher/{dpkg,rpm,apk}) and of trivy-db's drivers, in made-up cases of each.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.formats import osv
from custody.formats.bom import Catalog, Package
from custody.vulns.report import scan
from tests.contents.test_scan import NOW, package


class Case(NamedTuple):
    rule: str
    part: Package
    entry: osv.Affected
    found: bool
    status: str = ""


def deb(name: str, version: str, ecosystem: str = "Debian:12", **more: str) -> Package:
    return package(name, version, ecosystem, type="deb", purl=f"pkg:deb/debian/{name}@{version}", **more)


def rpm(name: str, version: str, ecosystem: str, query: str = "", **more: str) -> Package:
    return package(name, version, ecosystem, type="rpm", purl=f"pkg:rpm/x/{name}@{version}{query}", **more)


def apk(name: str, version: str, **more: str) -> Package:
    return package(name, version, "Alpine:v3.19", type="apk", purl=f"pkg:apk/alpine/{name}@{version}", **more)


def entry(ecosystem: str, name: str, fixed: str = "", introduced: str = "0", **more: object) -> osv.Affected:
    events = (("introduced", introduced), *((("fixed", fixed),) if fixed else ()))
    return osv.Affected(ecosystem, name, (osv.Range("ECOSYSTEM", events),), **more)  # type: ignore[arg-type]


CASES = (
    Case("Debian: by the source package", deb("libssl3", "3.0.9-1", source="openssl", source_version="3.0.9-1"),
         entry("Debian:12", "openssl", "3.0.11-1"), True),
    Case("Debian: the source's version, not the built one's (a binNMU)",
         deb("a", "1.0-2+b1", source="a", source_version="1.0-2"), entry("Debian:12", "a", "1.0-2"), False),
    Case("Debian: a release is a stream", deb("a", "1", "Debian:11", source="a"), entry("Debian:12", "a", "2"), False),
    Case("Debian: an epoch counts", deb("a", "2.0-1", source="a"), entry("Debian:12", "a", "1:1.0-1"), True),
    Case("Debian: a backport is before what it was made of", deb("a", "2.0-1~bpo12+1", source="a"),
         entry("Debian:12", "a", "2.0-1"), True),
    Case("Debian: a security update of the release", deb("a", "2.0-1+deb12u2", source="a"),
         entry("Debian:12", "a", "2.0-1+deb12u2"), False),
    Case("Debian: no-dsa stays a finding, with its state", deb("a", "1", source="a"),
         entry("Debian:12", "a", status="fix_deferred", reason="no-dsa"), True, "fix_deferred"),
    Case("Debian: ignored", deb("a", "1", source="a"), entry("Debian:12", "a", status="will_not_fix"), True,
         "will_not_fix"),
    Case("Debian: end of life", deb("a", "1", source="a"), entry("Debian:12", "a", status="end_of_life"), True,
         "end_of_life"),
    Case("not affected, as the publisher says", deb("a", "1", source="a"),
         osv.Affected("Debian:12", "a", status="not_affected"), False),
    Case("Ubuntu: 22.04 is not 22.10", deb("a", "1", "Ubuntu:22.10", source="a"),
         entry("Ubuntu:22.04:LTS", "a", "2"), False),
    Case("Ubuntu: Pro's fixes are another stream", deb("a", "1", "Ubuntu:22.04:LTS", source="a"),
         entry("Ubuntu:Pro:22.04:LTS", "a", "2"), False),
    Case("Ubuntu: a notice names built packages", deb("liba1", "1", "Ubuntu:22.04:LTS", source="a"),
         entry("Ubuntu:22.04:LTS", "liba1", "2", by="binary"), True),
    Case("Alpine: by the origin", apk("libcrypto3", "3.1.0-r0", source="openssl", source_version="3.1.0-r0"),
         entry("Alpine:v3.19", "openssl", "3.1.4-r1"), True),
    Case("Alpine: fix-only data, mended", apk("a", "1.2.3-r4", source="a"), entry("Alpine:v3.19", "a", "1.2.3-r4"),
         False),
    Case("Alpine: a fix in 0 never affected it", apk("a", "1-r0", source="a"),
         osv.Affected("Alpine:v3.19", "a", status="not_affected"), False),
    Case("Alpine: _p is after and _rc before", apk("a", "1.0_rc1-r0", source="a"), entry("Alpine:v3.19", "a", "1.0-r0"),
         True),
    Case("rpm: a missing epoch is 0", rpm("a", "1.0-1", "AlmaLinux:9"), entry("AlmaLinux:9", "a", "0:1.0-1"), False),
    Case("rpm: by the built package", rpm("a-libs", "1.0-1", "AlmaLinux:9", source="a"),
         entry("AlmaLinux:9", "a", "2.0-1"), False),
    Case("rpm: by the source, epochs aside", rpm("a-libs", "1:1.0-1", "SUSE:Linux Enterprise Server 15 SP5", source="a",
                                                source_version="1:1.0-1"),
         entry("SUSE:Linux Enterprise Server 15 SP5", "a", "1.5-1"), True),
    Case("rpm: a module's stream", rpm("nodejs", "16.1-1.module+el8+1", "AlmaLinux:8", "?rpmmod=nodejs:16:1:2"),
         entry("AlmaLinux:8", "nodejs", "18.1-1.module+el8+9", module="nodejs:18"), False),
    Case("rpm: outside of modules", rpm("nodejs", "16.1-1.el8", "AlmaLinux:8"),
         entry("AlmaLinux:8", "nodejs", "18.1-1.module+el8+9"), False),
    Case("rpm: another major release", rpm("a", "1-1.el8", "AlmaLinux:8"), entry("AlmaLinux:9", "a", "2-1.el9"), False),
    Case("rpm: a tilde is before", rpm("a", "2.0~rc1-1", "AlmaLinux:9"), entry("AlmaLinux:9", "a", "2.0-1"), True),
    Case("rpm: a caret is after", rpm("a", "2.0^git1-1", "AlmaLinux:9"), entry("AlmaLinux:9", "a", "2.0-1"), False),
    Case("npm: a prerelease is before its release", package("a", "2.0.0-rc.1", "npm", type="npm"),
         entry("npm", "a", "2.0.0"), True),
    Case("Maven: group and artifact", package("b", "1.0", "Maven", type="maven", source="org.x:b"),
         entry("Maven", "org.y:b", "2.0"), False),
    Case("the same name elsewhere", package("a", "1", "npm", type="npm"), entry("PyPI", "a", "2"), False),
)


@pytest.mark.parametrize("case", CASES, ids=[case.rule for case in CASES])
def test_rule(tmp_path: Path, case: Case) -> None:
    store = SqliteAdvisories(tmp_path / "a.db")
    advisory = osv.Advisory("CVE-2026-0001", "2026-01-01T00:00:00Z", False, (), "", (), (), (case.entry,))
    store.add([advisory], NOW)
    report = scan(Catalog(name="x", digest="sha256:0", packages=(case.part,)), store, NOW)
    assert [finding.cve for finding in report.findings] == ["CVE-2026-0001"] * case.found
    assert not report.undecided
    if case.status:
        assert report.findings[0].status == case.status
