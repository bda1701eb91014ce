"""What a scan did not cover is said, and a gate does not pass on it: the commands on whole images."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from custody.cli.run import run
from custody.sbom.catalog import catalog
from custody.sbom.catalogers import read
from tests.contents.images import METADATA, OS_RELEASE, STATUS, Member, elf, image, layout, tar
from tests.contents.test_scan import CRITICAL, record

VENDOR = b"Package: searchd\nStatus: install ok installed\nArchitecture: amd64\nVersion: 7.1-1\n"
JAR = "usr/share/searchd/lib/log4j-core-2.14.1.jar"
GEM = "usr/share/searchd/gems/specifications/rack-2.2.2.gemspec"
DEBIAN = record("DSA-1", [{"introduced": "0"}, {"fixed": "1"}], ecosystem="Debian:12", package="openssl")
DEPENDENCY = record("GHSA-1", [{"introduced": "0"}, {"fixed": "6"}], package="pyyaml", severity=[CRITICAL])


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(members: list[Member], *records: dict[str, Any]) -> str:
    layout(Path("image"), [tar(members)])
    Path("records").mkdir()
    for entry in records:
        Path("records", f"{entry['id']}.json").write_text(json.dumps(entry))
    assert run(["db", "import", "records"]) == 0
    return "oci:image"


def test_zero_coverage_gate(capsys: pytest.CaptureFixture[str]) -> None:
    alma = record("ALSA-1", [{"introduced": "0"}], ecosystem="AlmaLinux:9", package="openssl")
    target = made([("etc/os-release", b'ID=almalinux\nVERSION_ID="9.3"\n'), ("var/lib/rpm/rpmdb.sqlite", b"SQLite")],
                  alma)
    capsys.readouterr()
    assert run(["scan", target, "--fail-on", "low", "-o", "table", "-o", "cosign-vuln=vuln.json"]) == 4
    out, err = capsys.readouterr()
    assert out == "nothing was scanned\n"
    assert "warning: not catalogued: unreadable rpm file: 1\n" in err
    assert "error: not everything was scanned: the image: no package was found in it; unreadable rpm file: 1 " in err
    coverage = json.loads(Path("vuln.json").read_text())["scanner"]["result"]["coverage"]
    assert [gap["kind"] for gap in coverage["gaps"]] == ["nothing-catalogued", "not-catalogued"]
    assert coverage["notCatalogued"] == [
        {"kind": "unreadable rpm file", "count": 1, "examples": ["var/lib/rpm/rpmdb.sqlite"], "owner": ""}]
    assert run(["scan", target, "--fail-on", "low", "--allow-gaps"]) == 0
    assert run(["scan", target]) == 0


def test_vendor_jar_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """A package that the distribution's advisories do not name vouches for nothing inside it."""
    target = made([("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", VENDOR), (JAR, b"PK\3\4"), (GEM, b"x"),
                   ("var/lib/dpkg/info/searchd.list", f"/.\n/{JAR}\n/{GEM}\n".encode())], DEBIAN)
    assert run(["scan", target, "--fail-on", "low"]) == 4
    err = capsys.readouterr().err
    assert "warning: not catalogued: Ruby gem without a name and a version: 1, unreadable Java archive file: 1\n" in err
    assert f"unreadable Java archive file: 1 not catalogued, such as {JAR}" in err


def test_what_the_distribution_speaks_of_is_no_gap(capsys: pytest.CaptureFixture[str]) -> None:
    names = record("DSA-2", [{"introduced": "0"}, {"fixed": "1"}], ecosystem="Debian:12", package="searchd")
    target = made([("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", VENDOR), (JAR, b"PK\3\4"),
                   ("var/lib/dpkg/info/searchd.list", f"/{JAR}\n".encode())], names)
    assert run(["scan", target, "--fail-on", "low", "-o", "json=scan.json"]) == 0
    coverage = json.loads(Path("scan.json").read_text())["coverage"]
    assert (coverage["gaps"], coverage["notCatalogued"][0]["owner"]) == (
        [], "pkg:deb/debian/searchd@7.1-1?arch=amd64&distro=debian-12")
    for form in ("cyclonedx-json", "spdx-json"):  # an SBOM carries who installed it
        assert run(["sbom", target, "-o", f"{form}=sbom.json"]) == 0
        assert run(["scan", "sbom:sbom.json", "--fail-on", "low"]) == 0
    assert "not catalogued" in capsys.readouterr().err


def test_owned_without_distro_advisories(capsys: pytest.CaptureFixture[str]) -> None:
    place = "usr/lib/python3/dist-packages/PyYAML-5.3.1.egg-info/PKG-INFO"
    status = (b"Package: python3-yaml\nStatus: install ok installed\nSource: pyyaml\nVersion: 5.3.1-5\n"
              b"Architecture: all\n")
    target = made([("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", status),
                   ("var/lib/dpkg/info/python3-yaml.list", f"/{place}\n".encode()),
                   (place, b"Metadata-Version: 2.1\nName: PyYAML\nVersion: 5.3.1\n")], DEPENDENCY)
    assert run(["scan", target, "--fail-on", "low"]) == 3
    out, err = capsys.readouterr()
    assert "critical  GHSA-1  PyYAML   5.3.1    6" in out
    assert "matched in their own ecosystem: 1 package that came with packages that no advisory" in err
    assert "warning: not scanned: Debian:12: 1 package, for which the database has no advisories" in err


def test_findings_at_the_threshold_win_over_gaps(capsys: pytest.CaptureFixture[str]) -> None:
    target = made([("a.dist-info/METADATA", b"Name: PyYAML\nVersion: 5.3.1\n"), ("x.jar", b"PK")], DEPENDENCY)
    assert run(["scan", target, "--fail-on", "critical"]) == 3
    assert "1 finding at or above critical" in capsys.readouterr().err


def test_an_sbom_does_not_hide_what_it_does_not_list(capsys: pytest.CaptureFixture[str]) -> None:
    target = made([("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", STATUS),
                   ("s/f.dist-info/METADATA", METADATA), ("x.jar", b"PK")], DEBIAN, DEPENDENCY)
    for form in ("cyclonedx-json", "spdx-json"):
        assert run(["sbom", target, "-o", f"{form}=sbom.json"]) == 0
        capsys.readouterr()
        assert run(["scan", "sbom:sbom.json", "--fail-on", "critical"]) == 4
        assert "not everything was scanned: unreadable Java archive file: 1 not catalogued\n" in capsys.readouterr().err
    Path("theirs.json").write_text(json.dumps({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "compositions": [{"aggregate": "incomplete_first_party_only"}],
        "components": [{"type": "library", "name": "pyyaml", "purl": "pkg:pypi/pyyaml@6.1"}]}))
    assert run(["scan", "sbom:theirs.json", "--fail-on", "low"]) == 4
    assert "composition that the SBOM calls incomplete" in capsys.readouterr().err
    Path("empty.json").write_text(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": []}))
    assert run(["scan", "sbom:empty.json", "--fail-on", "low"]) == 4
    assert "the SBOM: no package was found in it" in capsys.readouterr().err


SILENT = {
    "unreadable Java archive file": ["app/a.jar", "APP/LOG4J.JAR", "b.war", "c.ear", "d.par", "e.hpi", "e.jpi",
                                     "f.nar"],
    ".NET assembly": ["app/Newtonsoft.Json.dll", "app/web.exe", "app/OLD.DLL"],
    "unreadable rpm file": ["var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/Packages.db", "var/lib/rpm/Packages",
                            "rootfs/usr/share/rpm/rpmdb.sqlite", "mnt/rpm/Packages"],
    "rpm package without a name, a version or a release": ["opt/x/container-manifest-2"],
    "pacman package without a name or a version": ["var/lib/pacman/local/x-1/desc"],
    "Portage package without a name or a version": ["var/db/pkg/a/b/CONTENTS"],
    "Nix store path": ["nix/store/0a1b-source/bin/openssl", "nix/store/9z-glibc/lib/libc.so"],
    "WordPress": ["app/wp-includes/version.php"],
    "snap without a name or a version": ["snap/core/meta/snap.yaml"],
    "unreadable Bitnami file": ["opt/bitnami/redis/.spdx-redis.spdx"],
    "unreadable Chisel file": ["var/lib/chisel/manifest.wall"],
    "unreadable Python egg file": ["opt/a-1.egg"], "Python package in development": ["s/a.egg-link"],
    "Python package without metadata": ["s/a-1.dist-info/RECORD", "s/b-1.dist-info/WHEEL"],
    "npm package without package.json": ["app/node_modules/left-pad/index.js", "app/node_modules/@s/x/index.mjs"],
    "apk packages without a database": ["etc/apk/world"],
    "unreadable Linux kernel module file": ["lib/modules/6/x.ko", "m/y.ko.xz"],
    "Linux kernel whose version it does not say": ["boot/vmlinuz-x"],
    "unreadable machine learning model file": ["models/x.gguf"],
}


def test_silent_ecosystems(tmp_path: Path) -> None:
    found = catalog(image(tmp_path / "i", [(path, b"x") for paths in SILENT.values() for path in paths]))
    assert {unknown.kind: unknown.count for unknown in found.unknowns} == {
        kind: len(paths) for kind, paths in SILENT.items()}


def test_files_that_only_look_alike_are_not_counted(tmp_path: Path) -> None:
    found = catalog(image(tmp_path / "i", [(path, b"x") for path in (
        "etc/release", "app/manifest", "app/status", "opt/conda/conda-meta/history", "wp-content/plugins/a/b.php",
        "app/my.app", "nix/var/log", "usr/bin/python3-config", "x/DESCRIPTION", "app/lib.rb", "usr/share/node")]))
    assert found.unknowns == ()


def test_what_another_file_says_is_not_counted(tmp_path: Path) -> None:
    found = catalog(image(tmp_path / "i", [
        ("s/a-1.dist-info/METADATA", METADATA), ("s/a-1.dist-info/RECORD", b""), ("s/a-1.dist-info/WHEEL", b""),
        ("m/node_modules/b/package.json", b'{"name": "b", "version": "1.0.0"}'), ("m/node_modules/b/index.js", b""),
        ("lib/apk/db/installed", b"P:c\nV:1-r0\n\n"), ("etc/apk/world", b"c\n")]))
    assert (len(found.packages), found.unknowns) == (3, ())
    found = catalog(image(tmp_path / "j", [("s/a-1.dist-info/RECORD", b""), ("s/a-1.dist-info/WHEEL", b"")]))
    assert [(unknown.kind, unknown.count) for unknown in found.unknowns] == [("Python package without metadata", 1)]


def test_a_nix_store_path_is_counted_once(tmp_path: Path) -> None:
    found = catalog(image(tmp_path / "i", [(f"nix/store/aa-x/{name}", b"x") for name in "abc"],
                          [("nix/store/bb-y/a", b"x")]))
    assert [(unknown.kind, unknown.count) for unknown in found.unknowns] == [("Nix store path", 2)]


def test_distroless_images_say_who_installed_what(tmp_path: Path) -> None:
    found = catalog(image(tmp_path / "i", [
        ("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status.d/python3", b"Package: python3.11\nVersion: 3.11.2-6\n"),
        ("var/lib/dpkg/status.d/python3.11.md5sums", b"0123456789abcdef0123456789abcdef  usr/bin/python3.11\n"),
        ("usr/bin/python3.11", elf({".rodata": b"\0" + b"3.11.2\0"}))]))
    assert ([package.name for package in found.packages], found.unknowns) == (["python3.11"], ())
    assert found.coverage is not None
    assert (found.coverage.programs, found.coverage.identified) == (1, 1)


def pe(address: int, magic: int = 0x20B, count: int = 16) -> bytes:
    """A PE file with nothing in it but data directories."""
    head = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(20)
    optional = struct.pack("<H", magic) + bytes((112 if magic == 0x20B else 96) - 6) + struct.pack("<I", count)
    return head + optional + bytes(8 * 14) + struct.pack("<II", address, 72) + bytes(8)


@pytest.mark.parametrize(("content", "counted"), [
    (pe(0x2000), True), (pe(0x2000, 0x10B), True), (pe(0), False), (pe(0x2000, count=10), False), (b"MZ", True),
    (b"MZ" + bytes(100), True), (b"", True)])
def test_assemblies_are_told_from_other_programs_for_windows(content: bytes, counted: bool) -> None:
    assert bool(read(".NET assembly", "a.exe", io.BytesIO(content))) == counted


UNRATED = record("PYSEC-1", [{"introduced": "0"}], package="pyyaml", aliases=["CVE-2026-0001"])
KNOWN = {"title": "t", "catalogVersion": "2026.01.01", "dateReleased": "2026-01-01T00:00:00Z", "count": 1,
         "vulnerabilities": [{"cveID": "CVE-2026-0001", "dateAdded": "2026-01-01", "dueDate": "2026-02-01",
                              "knownRansomwareCampaignUse": "Known"}]}
ONE: list[Member] = [("a.dist-info/METADATA", b"Name: PyYAML\nVersion: 5.3.1\n")]


@pytest.mark.parametrize(("options", "code", "words"), [
    ([], 0, "pyyaml"),
    (["--fail-on", "medium"], 0, "unknown"),
    (["--fail-on", "low"], 3, "1 finding at or above low, such as CVE-2026-0001"),
    (["--fail-on-unknown"], 3, "1 finding of unknown severity, such as CVE-2026-0001 in PyYAML 5.3.1"),
    (["--fail-on-unknown", "--ignore-unfixed"], 0, "left out: 1 finding: no fixed version is known"),
    (["--fail-on-unknown", "--only-fixed"], 0, "left out: 1 finding: no fixed version is known"),
    (["--fail-on-unknown", "--severity", "HIGH,critical"], 0, "severity unknown was not asked for"),
    (["--fail-on-exploited"], 4, "no catalogue of known exploited vulnerabilities was imported"),
    (["--severity", "awful"], 2, "--severity: got 'awful', expected none, unknown, low"),
])
def test_gates_on_unrated_findings(
        options: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = made(ONE, UNRATED)
    assert run(["scan", target, *options]) == code
    out, err = capsys.readouterr()
    assert words.lower() in (out + err).lower()


def test_gate_on_known_exploited(capsys: pytest.CaptureFixture[str]) -> None:
    target = made(ONE, UNRATED)
    Path("kev.json").write_text(json.dumps(KNOWN))
    assert run(["db", "import", "kev.json"]) == 0
    assert run(["db", "status"]) == 0
    assert "exploited   1 known, version 2026.01.01" in capsys.readouterr().out
    # What is known to be exploited is never left out.
    assert run(["scan", target, "--fail-on-exploited", "--ignore-unfixed", "--severity", "critical"]) == 3
    out, err = capsys.readouterr()
    assert "unknown exploited  CVE-2026-0001  PyYAML" in out
    assert "known exploited vulnerabilities: 1, version 2026.01.01; 1 findings are among them" in err
    Path("kev.json").write_text(json.dumps({**KNOWN, "count": 2}))
    assert run(["db", "import", "kev.json"]) == 2
    assert "count: got 2, expected 1, as many as are listed" in capsys.readouterr().err
