"""Matching as the OSV schema defines it, imports that may be hostile, and reports that keep quiet about nothing."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.errors import CustodyError, MalformedError, MissingEvidenceError, UnsupportedError, UsageError
from custody.formats import osv
from custody.formats.bom import Catalog, Distribution, Layer, Location, Package
from custody.vulns.match import Match, affected_by
from custody.vulns.report import ScanReport, scan
from custody.vulns.severity import Severity
from custody.vulns.store import Imported, import_advisories

NOW = datetime(2026, 1, 2, tzinfo=UTC)
CRITICAL = {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}


def record(
    name: str = "OSV-1",
    events: list[dict[str, str]] | None = None,
    *,
    ecosystem: str = "PyPI",
    package: str = "a",
    kind: str = "ECOSYSTEM",
    versions: list[str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    affected: dict[str, Any] = {"package": {"ecosystem": ecosystem, "name": package}}
    if events is not None:
        affected["ranges"] = [{"type": kind, "events": events}]
    if versions is not None:
        affected["versions"] = versions
    return {"id": name, "modified": "2026-01-01T00:00:00Z", "affected": [affected], **more}


def advisory(*arguments: Any, **more: Any) -> osv.Advisory:
    return osv.read(json.dumps(record(*arguments, **more)).encode())


def package(name: str, version: str, ecosystem: str | None = "PyPI", **more: Any) -> Package:
    return Package(**{"type": "pypi", "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}",
                      "ecosystem": ecosystem, "source": name, "locations": (Location("p", "sha256:l"),), **more})


def gaps(found: ScanReport) -> list[tuple[str, str, int]]:
    return [(gap.kind, gap.what, gap.count) for gap in found.coverage.gaps]


def owned_and_owner() -> tuple[Package, Package]:
    """A Python package, and the Debian package that installed it."""
    owner = package("python3-a", "1", "Debian:12", type="deb", source="a", purl="pkg:deb/debian/python3-a@1")
    return package("a", "1", owner=owner.purl), owner


def report(tmp_path: Path, advisories: list[dict[str, Any]], *packages: Package, **more: Any) -> ScanReport:
    store = SqliteAdvisories(tmp_path / "a.db")
    store.add([osv.read(json.dumps(entry).encode()) for entry in advisories], NOW)
    return scan(Catalog(name="x", digest="sha256:0", packages=packages), store, NOW, **more)


@pytest.mark.parametrize(("events", "inside", "outside"), [
    ([{"introduced": "0"}], ["0.1", "9"], []),
    ([{"introduced": "0"}, {"fixed": "2.0"}], ["1.9", "2.0rc1"], ["2.0", "2.1"]),
    ([{"introduced": "1.0"}, {"last_affected": "2.0"}], ["1.0", "2.0"], ["0.9", "2.0.1"]),
    ([{"introduced": "1.0"}, {"fixed": "1.5"}, {"introduced": "2.0"}, {"fixed": "2.5"}], ["1.2", "2.0"],
     ["0.5", "1.5", "1.9", "2.5", "3"]),
    ([{"fixed": "2.5"}, {"introduced": "2.0"}, {"fixed": "1.5"}, {"introduced": "1.0"}], ["1.2", "2.4"], ["1.7"]),
    ([{"introduced": "0"}, {"limit": "2.0"}], ["1.9"], ["2.0", "3"]),
    ([{"introduced": "0"}, {"limit": "*"}], ["9"], []),
    ([{"introduced": "2.0"}, {"fixed": "2.0"}], [], ["2.0"])])
def test_ranges(events: list[dict[str, str]], inside: list[str], outside: list[str]) -> None:
    entry = advisory("A", events).affected[0]
    assert [version for version in [*inside, *outside] if affected_by(entry, version)] == inside


def test_the_event_and_the_fix_are_kept() -> None:
    entry = advisory(
        "A", [{"introduced": "1.0"}, {"fixed": "1.5"}, {"introduced": "2.0"}, {"fixed": "2.5"}]
    ).affected[0]
    assert affected_by(entry, "2.1") == Match("introduced 2.0, fixed 2.5", "2.5")
    assert affected_by(entry, "1.1") == Match("introduced 1.0, fixed 1.5", "1.5")


def test_listed_versions_count_whatever_the_ranges_say() -> None:
    entry = advisory("A", [{"introduced": "5"}], versions=["1.0", "odd!"]).affected[0]
    assert affected_by(entry, "1.0") == Match("listed in versions", "")
    assert affected_by(entry, "1.0.0")  # PEP 440: the same version
    assert affected_by(entry, "odd!")
    assert affected_by(entry, "1.1") is None
    assert affected_by(advisory("A").affected[0], "1.0") is None


def test_go_versions_have_a_v_and_records_do_not() -> None:
    entry = advisory("A", [{"introduced": "0"}, {"fixed": "0.17.0"}], ecosystem="Go", kind="SEMVER").affected[0]
    assert affected_by(entry, "v0.16.0")
    assert not affected_by(entry, "v0.17.0")
    assert affected_by(entry, "v0.0.0-20200101000000-abcdefabcdef")


def test_distributions_by_release_and_source_package(tmp_path: Path) -> None:
    fix = record(
        "DSA-1", [{"introduced": "0"}, {"fixed": "3.0.11-1~deb12u2"}], ecosystem="Debian:12", package="openssl"
    )
    ssl = package("libssl3", "3.0.11-1~deb12u1", "Debian:12", source="openssl", source_version="3.0.11-1~deb12u1")
    assert [f.id for f in report(tmp_path / "1", [fix], ssl).findings] == ["DSA-1"]
    other = package("libssl3", "3.0.11-1~deb12u1", "Debian:11", source="openssl")
    found = report(tmp_path / "2", [fix], other)
    assert found.findings == ()
    assert gaps(found) == [("no-advisories", "Debian:11", 1)]


def test_python_names_are_normalised(tmp_path: Path) -> None:
    found = report(tmp_path, [record("A", [{"introduced": "0"}], package="Flask_Login")], package("flask-login", "1"))
    assert len(found.findings) == 1


def test_aliases_are_one_finding_with_the_worst_rating(tmp_path: Path) -> None:
    events = [{"introduced": "0"}, {"fixed": "2"}]
    found = report(tmp_path, [record("PYSEC-1", events, aliases=["CVE-2026-1"]),
                              record("GHSA-1", events, aliases=["CVE-2026-1"], severity=[CRITICAL]),
                              record("X-1", events, aliases=["GHSA-1"]), record("PYSEC-2", events)], package("a", "1"))
    assert [(f.id, f.severity, f.cve, f.aliases) for f in found.findings] == [
        ("GHSA-1", "critical", "CVE-2026-1", ("CVE-2026-1", "PYSEC-1", "X-1")), ("PYSEC-2", "unknown", "PYSEC-2", ())]
    assert found.counts()["critical"] == 1
    assert found.findings[0].fixed == ("2",)


def test_withdrawn_records_never_match_and_newer_ones_replace(tmp_path: Path) -> None:
    store = SqliteAdvisories(tmp_path / "a.db")
    assert store.add([advisory("A", [{"introduced": "0"}])], NOW) == 1
    assert store.add([advisory("A", [{"introduced": "9"}])], NOW) == 0
    assert store.status().advisories == 1
    newer = {**record("A", [{"introduced": "0"}], withdrawn="2026-01-03T00:00:00Z"), "modified": "2026-01-03T00:00:00Z"}
    assert store.add([osv.read(json.dumps(newer).encode())], NOW) == 1
    assert store.find("PyPI", "a") == []
    assert store.status().advisories == 0


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"severity": [CRITICAL]}, "critical"),
        ({"severity": [{"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:P/I:P/A:P"}]}, "high"),
        (
            {
                "severity": [
                    {"type": "CVSS_V4", "score": "CVSS:4.0/AV:L/AC:H/AT:P/PR:H/UI:A/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N"}
                ]
            },
            "low",
        ),
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N"}]}, "none"),
        (
            {"severity": [{"type": "CVSS_V3", "score": "nonsense"}], "database_specific": {"severity": "MODERATE"}},
            "medium",
        ),
        ({"severity": [{"type": "Ubuntu", "score": "negligible"}]}, "low"),
        ({}, "unknown"),
    ],
)
def test_severity(tmp_path: Path, more: dict[str, Any], expected: str) -> None:
    found = report(tmp_path, [record("A", [{"introduced": "0"}], **more)], package("a", "1"))
    assert found.findings[0].severity == expected


def test_malicious_packages_are_critical(tmp_path: Path) -> None:
    found = report(tmp_path, [record("MAL-2026-1", versions=["1"])], package("a", "1"))
    assert (found.findings[0].severity, found.findings[0].vector) == ("critical", "malicious")


def test_thresholds(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        [record("A", [{"introduced": "0"}], severity=[CRITICAL]), record("B", [{"introduced": "0"}])],
        package("a", "1"),
    )
    assert [f.id for f in found.meets(Severity.CRITICAL)] == ["A"]
    assert [f.id for f in found.meets(Severity.MEDIUM)] == ["A"]
    assert [f.id for f in found.meets(Severity.LOW)] == ["A", "B"]


def test_what_cannot_be_decided_is_said(tmp_path: Path) -> None:
    found = report(tmp_path, [record("A", [{"introduced": "0"}, {"fixed": "2"}], ecosystem="npm")],
                   package("a", "latest", "npm"), package("b", "1", "Nowhere"), package("c", "1", None, type="generic"))
    assert found.findings == ()
    assert [(entry.id, entry.purl) for entry in found.undecided] == [("A", "pkg:pypi/a@latest")]
    assert gaps(found) == [("no-advisories", "Nowhere", 1), ("no-advisories", "generic (no OSV ecosystem)", 1),
                           ("undecided", "A for pkg:pypi/a@latest", 1)]


def test_an_empty_database_is_an_error_unless_allowed(tmp_path: Path) -> None:
    with pytest.raises(MissingEvidenceError, match="the advisory database is empty"):
        report(tmp_path, [], package("a", "1"))
    assert gaps(report(tmp_path, [], package("a", "1"), allow_empty=True)) == [("no-advisories", "PyPI", 1)]


def test_packages_of_the_distribution_are_left_to_it(tmp_path: Path) -> None:
    speaks = record("DSA-1", [{"introduced": "0"}, {"fixed": "1"}], ecosystem="Debian:12", package="a")
    found = report(tmp_path, [record("A", [{"introduced": "0"}]), speaks], *owned_and_owner())
    assert (found.findings, found.coverage.distribution, found.coverage.adopted, found.coverage.gaps) == ((), 1, 0, ())


@pytest.mark.parametrize(("aliases", "spoken", "left"), [
    (["CVE-2026-0001"], "CVE-2026-0001", True),  # the distribution speaks of this one, and says that it is mended
    (["CVE-2026-0001"], "CVE-2026-0002", False),  # of zlib's it does; of lodash's, which zlib is said to have, not
    ([], "CVE-2026-0002", True),  # no distribution could name it
])
def test_a_list_in_the_image_silences_nothing_that_its_distribution_does_not_speak_of(
        tmp_path: Path, aliases: list[str], spoken: str, left: bool) -> None:
    """dpkg's lists are nobody's word: who makes an image up may write any vulnerable package into one."""
    speaks = record("DEBIAN-1", [{"introduced": "0"}, {"fixed": "1"}], ecosystem="Debian:12", package="a",
                    upstream=[spoken])
    found = report(tmp_path, [record("A", [{"introduced": "0"}], aliases=aliases), speaks], *owned_and_owner())
    assert [finding.id for finding in found.findings] == ([] if left else ["A"])
    assert [(entry.finding.id, entry.advisories) for entry in found.deferred] == (
        [("A", ("DEBIAN-1",) if aliases else ())] if left else [])
    stated = found.to_cosign_vuln()["scanner"]["result"]["coverage"].get("deferred", [])
    assert [(entry["id"], entry["owner"]) for entry in stated] == (
        [("CVE-2026-0001" if aliases else "A", owned_and_owner()[0].owner)] if left else [])


def test_malware_is_left_to_no_distribution(tmp_path: Path) -> None:
    speaks = record("DSA-1", [{"introduced": "0"}, {"fixed": "1"}], ecosystem="Debian:12", package="a",
                    upstream=["CVE-2026-0001"])
    found = report(tmp_path, [record("MAL-2026-1", versions=["1"], aliases=["CVE-2026-0001"]), speaks],
                   *owned_and_owner())
    assert [finding.id for finding in found.findings] == ["MAL-2026-1"]


def test_what_cannot_be_ordered_in_an_owned_package_is_said_where_the_distribution_is_silent(tmp_path: Path) -> None:
    mine = record("A", [{"introduced": "0"}, {"fixed": "2"}], ecosystem="npm", aliases=["CVE-2026-0001"])
    _, owner = owned_and_owner()
    for spoken, unsure in (("CVE-2026-0001", 0), ("CVE-2026-0002", 1)):
        speaks = record("DEBIAN-1", [{"introduced": "0"}, {"fixed": "1"}], ecosystem="Debian:12", package="a",
                        upstream=[spoken])
        found = report(tmp_path / spoken, [mine, speaks], package("a", "latest", "npm", owner=owner.purl), owner)
        assert len(found.undecided) == unsure


@pytest.mark.parametrize("other", ["Debian:11", "Debian:12"])
def test_owned_without_distro_advisories(tmp_path: Path, other: str) -> None:
    """Where the distribution's advisories do not name the owner, its files are matched in their own ecosystem."""
    silent = record("DSA-1", [{"introduced": "0"}], ecosystem=other, package="something-else")
    found = report(tmp_path, [record("A", [{"introduced": "0"}]), silent], *owned_and_owner())
    assert [finding.id for finding in found.findings] == ["A"]
    assert (found.coverage.distribution, found.coverage.adopted) == (0, 1)
    assert gaps(found) == ([("no-advisories", "Debian:12", 1)] if other == "Debian:11" else [])


def test_a_gate_does_not_pass_on_what_was_not_scanned(tmp_path: Path) -> None:
    found = report(tmp_path, [record("A", [{"introduced": "5"}])], package("a", "1"), package("b", "1", "npm"))
    with pytest.raises(MissingEvidenceError, match="npm: 1 package, for which the database has no") as caught:
        found.require_coverage()
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("custody db import PATH, or --allow-gaps")
    report(tmp_path / "2", [record("A", [{"introduced": "5"}])], package("a", "1")).require_coverage()


def test_nothing_at_all_is_a_gap(tmp_path: Path) -> None:
    store = SqliteAdvisories(tmp_path / "a.db")
    store.add([advisory("A", [{"introduced": "0"}])], NOW)
    layer = Layer(digest="sha256:1", diff_id="sha256:2", entries=1, size=10)
    empty = Catalog(name="x", digest="sha256:0", layers=(layer,))
    assert gaps(scan(empty, store, NOW)) == [("nothing-catalogued", "the image", 0)]
    assert gaps(scan(Catalog(name="x", digest="sha256:0", kind="sbom"), store, NOW)) == [
        ("nothing-catalogued", "the SBOM", 0)]
    without_files = Catalog(name="x", digest="sha256:0", layers=(msgspec.structs.replace(layer, entries=0),))
    assert gaps(scan(without_files, store, NOW)) == []
    system = Distribution(id="almalinux", version="9.3", name="AlmaLinux")
    hidden = Catalog(name="x", digest="sha256:0", layers=(layer,), packages=(package("a", "1"),), distribution=system)
    assert gaps(scan(hidden, store, NOW)) == [("distribution-not-catalogued", "almalinux 9.3", 0)]
    own = msgspec.structs.replace(hidden, distribution=Distribution(id="my-shop", version="1", name="My shop"))
    assert gaps(scan(own, store, NOW)) == []


def test_old_advisories_are_a_gap_where_an_age_is_asked_for(tmp_path: Path) -> None:
    records = [record("A", [{"introduced": "5"}])]  # of the day before NOW
    assert gaps(report(tmp_path / "1", records, package("a", "1"), max_age=timedelta(days=1))) == []
    found = report(tmp_path / "2", records, package("a", "1"), max_age=timedelta(days=1),
                   finished=NOW + timedelta(days=2))
    assert found.coverage.gaps[0].reason == "the newest is 3 days old, expected at most 1"


def test_the_predicate_says_what_was_covered(tmp_path: Path) -> None:
    found = report(tmp_path, [record("A", [{"introduced": "5"}])], package("a", "1"), package("b", "1", "npm"))
    coverage = found.to_cosign_vuln()["scanner"]["result"]["coverage"]
    assert coverage == {
        "packages": 2, "ecosystems": [{"ecosystem": "PyPI", "packages": 1, "advisories": 1}], "distribution": 0,
        "adopted": 0, "notCatalogued": [], "database": {
            "advisories": 1, "digest": found.database.digest, "newest": "2026-01-01T00:00:00Z",
            "importedAt": "2026-01-02T00:00:00Z", "ageDays": 1, "exploited": None, "exploitedVersion": ""},
            "ignored": [],
        "gaps": [{"kind": "no-advisories", "what": "npm", "count": 1,
                  "reason": "1 package, for which the database has no advisories"}]}


def test_the_predicate_is_cosigns(tmp_path: Path) -> None:
    found = report(tmp_path, [record("GHSA-1", [{"introduced": "0"}], aliases=["CVE-2026-1"], severity=[CRITICAL])],
                   package("a", "1"), finished=NOW + timedelta(seconds=1))
    predicate = found.to_cosign_vuln()
    assert set(predicate) == {"invocation", "scanner", "metadata"}
    assert set(predicate["invocation"]) == {"parameters", "uri", "event_id", "builder.id"}
    assert set(predicate["scanner"]) == {"uri", "version", "db", "result"}
    assert predicate["metadata"] == {"scanStartedOn": "2026-01-02T00:00:00Z", "scanFinishedOn": "2026-01-02T00:00:01Z"}
    (result,) = predicate["scanner"]["result"]["Results"]
    (entry,) = result["Vulnerabilities"]
    assert (entry["VulnerabilityID"], entry["Severity"], entry["CVSS"]["osv"]["V3Score"]) == (
        "CVE-2026-1",
        "CRITICAL",
        9.8,
    )
    assert (entry["Layer"]["Digest"], entry["PkgPath"]) == ("sha256:l", "p")
    json.dumps(predicate)


def test_imports(tmp_path: Path) -> None:
    store = SqliteAdvisories(tmp_path / "a.db")
    folder = tmp_path / "records/deep"
    folder.mkdir(parents=True)
    (folder / "1.json").write_text(json.dumps(record("A", [{"introduced": "0"}])))
    (folder / "2.json").write_text('{"id": "B"}')
    done = import_advisories(store, tmp_path / "records", NOW)
    assert (done.read, done.added, len(done.refused)) == (2, 1, 1)
    assert "modified" in done.refused[0]
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("B.json", json.dumps(record("B", [{"introduced": "0"}])))
    assert import_advisories(store, tmp_path / "all.zip", NOW).added == 1
    assert import_advisories(store, tmp_path / "all.zip", NOW).added == 0
    status = store.status()
    assert (status.advisories, status.ecosystems, status.imported_at) == (2, {"PyPI": 2}, NOW)
    assert status.digest.startswith("sha256:")


def test_hostile_imports_leave_nothing_behind(tmp_path: Path) -> None:
    store = SqliteAdvisories(tmp_path / "a.db")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("A.json", json.dumps(record("A", [{"introduced": "0"}])))
        archive.writestr("B.json", b" " * (20 << 20))
    with pytest.raises(MalformedError, match="decompression bomb"):
        import_advisories(store, tmp_path / "bomb.zip", NOW)
    assert store.status().advisories == 0
    (tmp_path / "not.zip").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(MalformedError, match="a readable zip"):
        import_advisories(store, tmp_path / "not.zip", NOW)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MalformedError, match="OSV records"):
        import_advisories(store, tmp_path / "empty", NOW)
    with pytest.raises(UsageError, match="no such file"):
        import_advisories(store, tmp_path / "nowhere", NOW)


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"id": ""}, MalformedError, "id"),
        ({"modified": "yesterday"}, MalformedError, "modified"),
        ({"withdrawn": True}, MalformedError, "withdrawn"),
        ({"schema_version": "2.0.0"}, UnsupportedError, "schema_version"),
        ({"aliases": "A"}, MalformedError, "aliases"),
        ({"affected": [{"package": {"ecosystem": "PyPI"}}]}, MalformedError, "name"),
        (
            {"affected": [{"package": {"ecosystem": "a", "name": "b"}, "ranges": [{"type": "X"}]}]},
            MalformedError,
            "type",
        ),
        (
            {
                "affected": [
                    {
                        "package": {"ecosystem": "a", "name": "b"},
                        "ranges": [{"type": "SEMVER", "events": [{"fixed": "1"}]}],
                    }
                ]
            },
            MalformedError,
            "no introduced",
        ),
        (
            {
                "affected": [
                    {
                        "package": {"ecosystem": "a", "name": "b"},
                        "ranges": [{"type": "SEMVER", "events": [{"since": "1"}]}],
                    }
                ]
            },
            MalformedError,
            "introduced, fixed",
        ),
        ({"severity": [{"type": "CVSS_V3"}]}, MalformedError, "score"),
    ],
)
def test_records_are_read_strictly(change: dict[str, Any], error: type[CustodyError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        osv.read(json.dumps({**record("A", [{"introduced": "0"}]), **change}).encode())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
)


@given(
    st.sampled_from([
        "id",
        "modified",
        "affected",
        "severity",
        "aliases",
        "withdrawn",
        "summary",
        "database_specific",
    ]),
    _JSON,
)
def test_hostile_records_raise_only_our_errors(key: str, value: Any) -> None:
    try:
        osv.read(json.dumps({**record("A", [{"introduced": "0"}]), key: value}).encode())
    except CustodyError:
        pass


@pytest.mark.parametrize(("method", "changed", "reason"), [
    (zipfile.ZIP_DEFLATED, range(42, 60), "got 'a member that cannot be inflated: Error -3 while decompressing data"),
    (zipfile.ZIP_BZIP2, (), "a.json: got 'compression method 12', expected stored or deflated"),
    (zipfile.ZIP_LZMA, (), "a.json: got 'compression method 14', expected stored or deflated"),
    (zipfile.ZIP_STORED, range(42, 60), "got 'a.json, which has another checksum', expected a readable zip archive"),
    (zipfile.ZIP_STORED, (-74 + 8,), "got 'a member that is encrypted, or neither stored nor deflated'"),
    (zipfile.ZIP_STORED, (-74 + 24,), "got 'a member of more bytes than its directory says'"),
    (zipfile.ZIP_STORED, (-74 + 22,), "got 'a member beyond the archive'"),
    (zipfile.ZIP_STORED, (0,), "got 'a member without a local header'"),
    (zipfile.ZIP_STORED, (-22 + 10,), "got 'a directory of "),
])
def test_broken_zip_archives(tmp_path: Path, method: int, changed: Sequence[int], reason: str) -> None:
    """`changed`: bytes of the archive; its end has 22 of them, and the directory of one member before it 52."""
    path = tmp_path / "advisories.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.json", b'{"a":1}' * 2000)
    data = bytearray(path.read_bytes())
    for at in changed:
        data[at] ^= 0xff
    path.write_bytes(data)
    with pytest.raises(MalformedError) as caught:
        import_advisories(SqliteAdvisories(tmp_path / "a.db"), path, NOW)
    assert reason in caught.value.message


def test_one_record_of_the_future_makes_no_old_database_new(tmp_path: Path) -> None:
    later = record("B", [{"introduced": "5"}])
    later["modified"] = "2099-01-01T00:00:00Z"
    found = report(tmp_path, [record("A", [{"introduced": "5"}]), later], package("a", "1"),
                   max_age=timedelta(days=7))
    assert [gap.reason for gap in found.coverage.gaps] == [
        "the newest is of 2099-01-01T00:00:00Z, which is to come: nobody can say how old they are"]


def test_a_record_of_the_future_takes_nothings_place_for_good(tmp_path: Path) -> None:
    """A mirror that lied once would be believed for ever: no later record is newer."""
    (tmp_path / "r").mkdir()
    lie = record("A", [{"introduced": "0"}, {"fixed": "0.1"}])
    lie["modified"] = "2026-01-05T00:00:00Z"
    (tmp_path / "r/a.json").write_text(json.dumps(lie))
    (tmp_path / "r/b.json").write_text(json.dumps(record("B", [{"introduced": "0"}])))
    store = SqliteAdvisories(tmp_path / "a.db")
    done = import_advisories(store, tmp_path / "r", NOW)
    assert (done.added, [text.partition(": ")[2] for text in done.refused]) == (
        1, ["got 'a time to come, 2026-01-05T00:00:00Z', expected one until 2026-01-04"])
    assert import_advisories(store, tmp_path / "r", NOW + timedelta(days=1)).added == 1


@pytest.mark.parametrize("lie", [
    b"#model_version:v1,score_date:2099-01-01T00:00:00+0000\ncve,epss,percentile\nCVE-2026-0001,0.1,0.1\n",
    json.dumps({"title": "t", "catalogVersion": "2099.01.01", "dateReleased": "2099-01-01T00:00:00Z", "count": 1,
                "vulnerabilities": [{"cveID": "CVE-2026-0001", "dateAdded": "2026-01-01", "dueDate": "2026-02-01",
                                     "knownRansomwareCampaignUse": "Known"}]}).encode()])
def test_catalogues_of_the_future_are_refused(tmp_path: Path, lie: bytes) -> None:
    (tmp_path / "x.json").write_bytes(lie)
    with pytest.raises(MalformedError, match="a time to come, 2099"):
        import_advisories(SqliteAdvisories(tmp_path / "a.db"), tmp_path / "x.json", NOW)


def test_all_that_is_refused_is_counted_and_what_is_said_of_it_bounded(tmp_path: Path) -> None:
    for number in range(120):
        (tmp_path / f"{number:03}.json").write_text(json.dumps({**record(f"A-{number}", []), "modified": "x"}))
    (tmp_path / "good.json").write_text(json.dumps(record("A-good", [{"introduced": "0"}])))
    done = import_advisories(SqliteAdvisories(tmp_path / "a.db"), tmp_path, NOW)
    assert (done.added, done.refusals, len(done.refused)) == (1, 120, 100)
    long = Imported()
    long.refuse("x" * 15_000_000)
    assert long.refused == ["x" * 500 + "…"]


def test_the_next_fix_of_ranges_in_two_orders() -> None:
    """They cannot be compared with each other: the ecosystem's own comes first."""
    semver = osv.Range("SEMVER", (("introduced", "9.0.0"), ("fixed", "9.1.0")))
    own = osv.Range("ECOSYSTEM", (("introduced", "8"), ("fixed", "8.5")))
    for ranges, fixed in (((semver, own), "8.5"), ((semver,), "9.1.0")):
        entry = osv.Affected("Debian:12", "a", ranges, ("1.0",))
        assert affected_by(entry, "1.0") == Match("listed in versions", fixed)
