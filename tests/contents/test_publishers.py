"""Each publisher's own format says in the store what the publisher said: versions, states, reasons."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.errors import CustodyError, MalformedError, UsageError
from custody.formats.advisories import nvd
from custody.formats.osv import Affected, read
from custody.vulns import sources
from custody.vulns.match import affected_by
from custody.vulns.severity import rate
from custody.vulns.store import import_advisories
from tests.contents import feeds
from tests.contents.test_scan import record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
_FEEDS = {
    "tracker.json": feeds.debian(), "main.json": feeds.alpine(), "errata.full.json": feeds.alma(),
    "page.json": feeds.rocky(), "updateinfo.xml": feeds.UPDATEINFO, "oracle.xml": feeds.ORACLE,
    "azurelinux-3.0-oval.xml": feeds.AZURE, "CVE-2023-0286": feeds.TRACKED, "database.json": feeds.notices(),
    "cve_data_photon1.0.json": feeds.photon(), "nvd.json": feeds.nvd(), "cve-2023-20593.json": feeds.csaf(),
    "suse-su-2023_4518-1.json": feeds.suse()}


@pytest.fixture(name="store", scope="module")
def _store(tmp_path_factory: pytest.TempPathFactory) -> SqliteAdvisories:
    folder = tmp_path_factory.mktemp("feeds")
    for name, data in _FEEDS.items():
        (folder / name).write_bytes(data)
    store = SqliteAdvisories(tmp_path_factory.mktemp("store") / "a.db")
    done = import_advisories(store, folder, NOW)
    assert (done.read, done.refused) == (len(_FEEDS), [])
    return store


def _said(store: SqliteAdvisories, ecosystem: str, name: str) -> list[tuple[str, str, str, str]]:
    """Of each entry: the record, the fixed versions, the state and why."""
    return [(advisory.id, " ".join(version for span in entry.ranges for kind, version in span.events if kind == "fixed")
             or ("all" if entry.ranges else ""), entry.status, entry.reason)
            for advisory in store.find(ecosystem, name) for entry in advisory.affected]


@pytest.mark.parametrize(("ecosystem", "name", "said"), [
    ("Debian:12", "openssl", [("DEBIAN-CVE-2023-0286", "3.0.8-1", "", ""),
                              ("DEBIAN-CVE-2024-5535", "all", "fix_deferred", "postponed: Minor issue")]),
    ("Debian:11", "openssl", [("DEBIAN-CVE-2024-5535", "all", "", "no-dsa: Minor issue")]),
    ("Debian:10", "openssl", [("DEBIAN-CVE-2023-0286", "", "not_affected", "never affected")]),
    ("Debian:8", "glibc", [("DEBIAN-CVE-2010-4756", "all", "end_of_life", "end-of-life")]),
    ("Debian:12", "glibc", [("DEBIAN-CVE-2010-4756", "all", "", ""),
                            ("DEBIAN-CVE-2023-0286", "all", "under_investigation", "undetermined"),
                            ("DEBIAN-TEMP-0000000-F7A20F", "all", "", "")]),
    ("Debian:13", "glibc", [("DEBIAN-CVE-2023-0286", "all", "will_not_fix", "ignored")]),
    ("Alpine:v3.19", "openssl", [("ALPINE-CVE-2022-3996", "", "not_affected", "never affected"),
                                 ("ALPINE-CVE-2023-2650", "3.1.1-r0", "", ""),
                                 ("ALPINE-CVE-2023-5363", "3.1.4-r1", "", "")]),
    ("Alpine:v3.19", "xen", [("ALPINE-CVE-2017-12135", "4.9.0-r0", "", ""),
                             ("ALPINE-CVE-2017-5715", "4.10.0-r0", "", ""),
                             ("ALPINE-CVE-2017-5753", "4.10.0-r0", "", ""), ("ALPINE-XSA-235", "4.9.0-r0", "", "")]),
    ("AlmaLinux:8", "nodejs", [("ALSA-2023:1583", "1:18.14.2-2.module_el8.7.0+3541+cf81b7ba", "", "")]),
    ("Rocky Linux:9", "tomcat-el-3.0-api", [("RLSA-2025:23049", "1:9.0.87-2.el9_9.1", "", "")]),
    ("Amazon Linux:2", "openssl", [("ALAS2-2021-1722", "1:1.0.2k-19.amzn2.0.8", "", "")]),
    ("Amazon Linux:2:docker", "docker", [("ALASDOCKER-2022-001", "0:20.10.7-5.amzn2", "", "")]),
    ("Amazon Linux:2", "docker", []),
    ("Oracle Linux:8", "nodejs", [("ELSA-2023-1583", "1:18.14.2-2.module+el8.7.0+21032+c5b75adb", "", "")]),
    ("Oracle Linux:9", "glibc", []),
    ("Oracle Linux:9:ksplice", "glibc", [("ELSA-2023-9999", "2:2.34-60.0.3.ksplice1.el9_2.7", "", "")]),
    ("Azure Linux:3", "openssl", [("AZURELINUX-CVE-2023-0286", "0:1.1.1k-21.azl3", "", "")]),
    ("Azure Linux:3", "vim", [("AZURELINUX-CVE-2023-9999", "", "not_affected", "Not Applicable")]),
    ("Ubuntu:22.04:LTS", "openssl", [("UBUNTU-CVE-2023-0286", "3.0.2-0ubuntu1.8", "", ""),
                                     ("USN-5844-1", "3.0.2-0ubuntu1.8", "", "")]),
    ("Ubuntu:24.04:LTS", "openssl", [("UBUNTU-CVE-2023-0286", "", "not_affected", "3.0.8-1ubuntu1")]),
    ("Ubuntu:22.10", "openssl", [
        ("UBUNTU-CVE-2023-0286", "all", "end_of_life", "ignored: end of life, was needed")]),
    ("Ubuntu:16.04:LTS", "openssl", []),
    ("Ubuntu:Pro:16.04:LTS", "openssl", [("UBUNTU-CVE-2023-0286", "1.0.2g-1ubuntu4.20+esm6", "", ""),
                                         ("USN-5844-1", "1.0.2g-1ubuntu4.20+esm6", "", "")]),
    ("Ubuntu:Pro:14.04:LTS", "openssl", [
        ("UBUNTU-CVE-2023-0286", "all", "will_not_fix", "ignored: changes too intrusive")]),
    ("Ubuntu:22.04:LTS", "nodejs", [("UBUNTU-CVE-2023-0286", "all", "under_investigation", "needs-triage")]),
    ("Ubuntu:20.04:LTS", "nodejs", [("UBUNTU-CVE-2023-0286", "all", "fix_deferred", "deferred: 2023-03-01")]),
    ("Photon OS:1.0", "apache-ant", [("PHOTON-CVE-2020-11979", "1.10.8-2.ph1", "", ""),
                                     ("PHOTON-CVE-2020-1945", "all", "", "")]),
    ("Photon OS:1.0", "spamassassin", [("PHOTON-CVE-2020-1946", "", "not_affected", "aff_ver: NA")]),
    ("CPE", "a:nodejs:node.js", [("CVE-2023-44487", "18.18.2", "", "")]),
    ("CPE", "o:linux:linux_kernel", []),
    ("Red Hat:9", "kernel-core", [("REDHAT-CVE-2023-20593", "0:5.14.0-284.25.1.el9_2", "", "")]),
    ("Red Hat:rhel_eus:9.0::baseos", "kernel-core", [("REDHAT-CVE-2023-20593", "0:5.14.0-70.64.1.el9_0", "", "")]),
    ("Red Hat:9", "kernel", []),
    ("Red Hat:8", "kernel", [("REDHAT-CVE-2023-20593", "all", "will_not_fix", "Will not fix")]),
    ("Red Hat:8", "microcode_ctl", [("REDHAT-CVE-2023-20593", "", "not_affected", "vulnerable_code_not_present")]),
    ("Red Hat:8", "linux-firmware", [
        ("REDHAT-CVE-2023-20593", "all", "under_investigation", "under investigation")]),
    ("Red Hat:8", "nodejs", [("REDHAT-CVE-2023-20593", "1:18.17.1-1.module+el8.8.0", "", "")]),
    ("SUSE:Linux Enterprise Server 15 SP5", "libopenssl1_1", [
        ("SUSE-SU-2023:4518-1", "0:1.1.1l-150500.17.22.1", "", "")]),
    ("openSUSE:Leap 15.5", "libopenssl1_1", [("SUSE-SU-2023:4518-1", "0:1.1.1l-150500.17.22.1", "", "")]),
])
def test_what_is_said_of_packages(store: SqliteAdvisories, ecosystem: str, name: str,
                                  said: list[tuple[str, str, str, str]]) -> None:
    assert _said(store, ecosystem, name) == said


@pytest.mark.parametrize(("ecosystem", "name", "id_", "aside"), [
    ("Red Hat:8", "nodejs", "REDHAT-CVE-2023-20593", ("nodejs:18", "")),
    ("Red Hat:8", "kernel", "REDHAT-CVE-2023-20593", ("", "source")),
    ("AlmaLinux:8", "nodejs", "ALSA-2023:1583", ("nodejs:18", "")), ("AlmaLinux:8", "npm", "ALSA-2023:1583", ("", "")),
    ("Oracle Linux:8", "nodejs", "ELSA-2023-1583", ("nodejs:18", "")),
    ("Rocky Linux:9", "tomcat", "RLSA-2025:23049", ("", "binary")),
    ("openSUSE:Leap 15.5", "libopenssl1_1", "SUSE-SU-2023:4518-1", ("", "binary"))])
def test_streams_and_whose_names_they_are(store: SqliteAdvisories, ecosystem: str, name: str, id_: str,
                                          aside: tuple[str, str]) -> None:
    (entry,) = [entry for advisory in store.find(ecosystem, name) if advisory.id == id_ for entry in advisory.affected]
    assert (entry.module, entry.by) == aside


@pytest.mark.parametrize(("id_", "severity", "cves"), [
    ("DEBIAN-CVE-2010-4756", "low", {"CVE-2010-4756"}), ("ALSA-2023:1583", "high", set()),
    ("RLSA-2025:23049", "high", set()), ("ALAS2-2021-1722", "high", set()), ("ELSA-2023-1583", "high", set()),
    ("AZURELINUX-CVE-2023-0286", "high", {"CVE-2023-0286"}), ("UBUNTU-CVE-2023-0286", "high", {"CVE-2023-0286"}),
    ("PHOTON-CVE-2020-11979", "high", {"CVE-2020-11979"}), ("CVE-2023-44487", "high", {"CVE-2023-44487"}),
    ("REDHAT-CVE-2023-20593", "medium", {"CVE-2023-20593"})])
def test_how_bad_and_of_what(store: SqliteAdvisories, id_: str, severity: str, cves: set[str]) -> None:
    (advisory,) = store.named([id_])
    assert str(rate(advisory, advisory.affected[0]).severity) == severity
    assert advisory.cves == cves
    assert cves or advisory.upstream


def test_a_rejected_cve_is_withdrawn(store: SqliteAdvisories) -> None:
    assert not store.named(["CVE-2023-0001"])


def test_versions_of_products_have_an_order() -> None:
    (first, _) = nvd.read(feeds.nvd(), "nvd.json")
    node = next(entry for entry in first.affected if entry.name == "a:nodejs:node.js")
    assert [affected_by(node, version) is not None for version in ("17.9.9", "18.0.0", "18.18.1", "18.18.2", "20.0.0")
            ] == [False, True, True, False, False]
    assert affected_by(Affected("CPE", "a:openssl:openssl", versions=("1.0.2k",)), "1.0.2k") is not None


def test_a_feed_that_says_it_no_more_takes_it_back(tmp_path: Path) -> None:
    store = SqliteAdvisories(tmp_path / "a.db")
    (tmp_path / "main.json").write_bytes(feeds.alpine())
    (tmp_path / "community.json").write_bytes(feeds.alpine(reponame="community"))
    import_advisories(store, tmp_path / "main.json", NOW)
    import_advisories(store, tmp_path / "community.json", NOW)
    assert len(store.find("Alpine:v3.19", "openssl")) == 6
    cursor = store.changes("").cursor
    (tmp_path / "main.json").write_bytes(feeds.alpine(packages=[]))
    assert import_advisories(store, tmp_path / "main.json", NOW).added == 7
    assert {advisory.part for advisory in store.find("Alpine:v3.19", "openssl")} == {"v3.19/community"}
    assert store.changes(cursor).names == (("Alpine:v3.19", "openssl"), ("Alpine:v3.19", "xen"))


@pytest.mark.parametrize(("prefix", "ecosystem"), [
    ("https://packages.wolfi.dev/os", "Wolfi"), ("https://packages.cgr.dev/chainguard", "Chainguard")])
def test_distributions_without_releases(tmp_path: Path, prefix: str, ecosystem: str) -> None:
    store = SqliteAdvisories(tmp_path / "a.db")
    (tmp_path / "security.json").write_bytes(feeds.alpine(
        distroversion=None, urlprefix=prefix, reponame="os", packages=[
            {"pkg": {"name": "openssl", "secfixes": {"3.1.4-r1": ["CVE-2023-5363", "GHSA-xw78-pcr6-wrg8"]}}}]))
    import_advisories(store, tmp_path / "security.json", NOW)
    assert [(advisory.id, advisory.aliases) for advisory in store.find(ecosystem, "openssl")] == [
        (f"{ecosystem.upper()}-CVE-2023-5363", ("CVE-2023-5363",)),
        (f"{ecosystem.upper()}-GHSA-xw78-pcr6-wrg8", ("GHSA-xw78-pcr6-wrg8",))]


def test_files_that_are_malicious_are_found_by_their_hashes(tmp_path: Path) -> None:
    archive, file, report = "a" * 64, "b" * 64, "c" * 64
    raw = {**record("MAL-2026-1", [{"introduced": "0"}], ecosystem="npm", package="evil"),
           "database_specific": {"malicious-packages-origins": [{"source": "x", "sha256": report}]}}
    raw["affected"][0]["database_specific"] = {"indicators": {
        "package_integrity": [{"filename": "evil-1.0.0.tgz", "hashes": {"sha256": archive, "tlsh": "T1AB"}}],
        "evidence_files": [{"filename": "evil.js", "hashes": {"sha256": file, "md5": "d" * 32}}]}}
    store = SqliteAdvisories(tmp_path / "a.db")
    advisory = read(json.dumps(raw).encode())
    assert advisory.hashes == (f"sha256:{archive}", f"sha256:{file}", f"md5:{'d' * 32}")
    store.add([advisory], NOW)
    assert [advisory.id for advisory in store.named([f"sha256:{archive}"])] == ["MAL-2026-1"]
    assert not store.named([f"sha256:{report}"])


def test_scores(tmp_path: Path) -> None:
    lines = ("#model_version:v2025.03.14,score_date:2026-01-01T12:55:00Z\ncve,epss,percentile\n"
             "CVE-2023-44487,0.94434,0.99985\nCVE-2023-0001,0.00042,0.05\n")
    (tmp_path / "epss_scores-current.csv.gz").write_bytes(gzip.compress(lines.encode()))
    store = SqliteAdvisories(tmp_path / "a.db")
    done = import_advisories(store, tmp_path / "epss_scores-current.csv.gz", NOW)
    assert done.catalogues == ["2 EPSS scores of 2026-01-01"]
    assert store.scores(["CVE-2023-44487"])["CVE-2023-44487"].percentile == 0.99985
    for broken in (lines.replace("0.94434", "1.94434"), lines.replace("#model", "# mod"),
                   lines.replace("CVE-2023-0", "X")):
        (tmp_path / "scores.csv").write_text(broken)
        with pytest.raises(CustodyError):
            import_advisories(store, tmp_path / "scores.csv", NOW)
    assert store.status().scored == 2


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zst"])
def test_compressed_and_in_archives(tmp_path: Path, ending: str) -> None:
    compress = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress}[ending]
    (tmp_path / f"updateinfo.xml.{ending}").write_bytes(compress(feeds.UPDATEINFO))
    assert import_advisories(SqliteAdvisories(tmp_path / "a.db"), tmp_path / f"updateinfo.xml.{ending}", NOW).added == 2
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in (("vex/2023/cve-2023-20593.json", feeds.csaf()), ("vex/changes.txt", b"x"),
                           ("active/CVE-2023-0286", feeds.TRACKED), ("u/updateinfo.xml.gz",
                                                                    gzip.compress(feeds.UPDATEINFO))):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    (tmp_path / f"all.tar.{ending}").write_bytes(compress(content.getvalue()))
    done = import_advisories(SqliteAdvisories(tmp_path / "b.db"), tmp_path / f"all.tar.{ending}", NOW)
    assert (done.read, done.added, done.refused) == (3, 4, [])


def test_bombs_and_what_is_cut_off(tmp_path: Path) -> None:
    store = SqliteAdvisories(tmp_path / "a.db")
    head = b'{"NVD_CVE": "'
    for name, data in (("bomb.json.gz", gzip.compress(head + b" " * (64 << 20))),
                       ("bomb.json.xz", lzma.compress(head + b" " * (64 << 20)))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(MalformedError, match="decompression bomb"):
            import_advisories(store, tmp_path / name, NOW)
    for ending, compress in (("gz", gzip.compress), ("xz", lzma.compress), ("zst", zstandard.compress),
                             ("bz2", bz2.compress)):
        path = tmp_path / f"cut.json.{ending}"
        path.write_bytes(compress(feeds.csaf())[:-9])
        with pytest.raises(MalformedError):
            import_advisories(store, path, NOW)
    (tmp_path / "dtd.xml").write_bytes(b'<!DOCTYPE updates [<!ENTITY a "b">]><updates><update type="security"/>'
                                       b"</updates>")
    with pytest.raises(MalformedError, match="document type"):
        import_advisories(store, tmp_path / "dtd.xml", NOW)
    assert not store.status().sources


@pytest.mark.parametrize(("data", "message"), [
    (feeds.csaf(publisher="https://example.org"), "neither Red Hat nor SUSE"),
    (feeds.AZURE.replace(b"Azure Linux", b"Ubuntu 22.04"), "is not read: Oracle Linux and Azure Linux are"),
    (feeds.alpine(distroversion=None), "the address of Wolfi's"),
    (feeds.nvd().replace(b'"resultsPerPage": 2', b'"resultsPerPage": 3'), "cut off or edited"),
    (feeds.UPDATEINFO.replace(b"ALAS2-2021-1722", b"XSA-2021-1"), "an update of Amazon")])
def test_what_is_refused_by_name(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "feed.json").write_bytes(data)
    with pytest.raises((MalformedError, UsageError, CustodyError)) as raised:
        import_advisories(SqliteAdvisories(tmp_path / "a.db"), tmp_path / "feed.json", NOW)
    assert message in f"{raised.value.message} {raised.value.hint}"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(_FEEDS)), st.data())
def test_a_broken_document_is_a_named_error(name: str, data: st.DataObject) -> None:
    """Bytes changed, cut or doubled anywhere: advisories, or an error that custody names."""
    stated = bytearray(_FEEDS[name])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(stated) - 1))
        change = data.draw(st.sampled_from(("cut", "byte", "double", "null")))
        if change == "cut":
            del stated[place:place + data.draw(st.integers(1, 40))]
        elif change == "byte":
            stated[place] = data.draw(st.integers(0, 255))
        elif change == "double":
            stated[place:place] = stated[place:place + 30]
        else:
            stated[place:place + 1] = b"null"
        if not stated:
            break
    document = bytes(stated)
    try:
        for said in sources.of(document).read(document, name):
            list(getattr(said, "advisories", ()))
    except CustodyError:
        pass
