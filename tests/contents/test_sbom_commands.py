"""`custody sbom convert`, `score`, `diff`, `merge` and `compare` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from custody.cli.run import run
from custody.formats import sbom
from tests.cli.commands import custody
from tests.contents.images import METADATA, OS_RELEASE, STATUS, layout, tar

DPKG = ("var/lib/dpkg/status", STATUS)
NEWER = METADATA.replace(b"0.6.2", b"0.6.3").replace(b"License: MIT", b"License: BSD")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    base = tar([("etc/os-release", OS_RELEASE), DPKG])
    layout(tmp_path / "one", [base, tar([("s/f.dist-info/METADATA", METADATA)])])
    layout(tmp_path / "two", [base, tar([("s/f.dist-info/METADATA", NEWER), (
        "n/node_modules/a/package.json", b'{"name":"a","version":"1.0.0","license":"MIT"}')])])


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert run(["sbom", *words]) == code
    out, err = capsys.readouterr()
    return out, err


def test_a_target_needs_no_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "oci:one", "-o", "purls") == said(capsys, "list", "oci:one", "-o", "purls")
    assert "pkg:pypi/flask-login@0.6.2" in said(capsys, "-o", "purls", "oci:one")[0]
    said(capsys, "oci:one", "-o", "cyclonedx=a.json")
    assert "pkg:pypi/flask-login@0.6.2" in said(capsys, "sbom:a.json", "-o", "purls")[0]
    shown = said(capsys, "--help")[0]
    assert shown.startswith("Usage: custody sbom [OPTIONS] TARGET | COMMAND …")
    assert all(word in shown for word in ("--platform OS/ARCH", "--fail-on-changed", "convert  Write", "-h, --help"))


@pytest.mark.parametrize("form", ["cyclonedx", "cyclonedx-xml@1.4", "spdx", "spdx-json", "spdx-json@3.0", "syft-json"])
def test_convert_lists_what_is_lost(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "oci:one", "-o", f"{form}=a", "--author", "Sam <sam@example.org>", "--source-supplier", "ACME",
         "--source-name", "shop", "--source-version", "7")
    _, err = said(capsys, "convert", "a", "-o", "cyclonedx-json=b")
    assert "lost in" not in err
    catalog = sbom.read(Path("b").read_bytes())
    assert catalog is not None
    assert catalog.document is not None
    assert (catalog.name, catalog.document.version, catalog.document.supplier) == ("shop", "7", "ACME")
    said(capsys, "convert", "a", "-o", f"{form}=a2")
    said(capsys, "convert", "a2", "-o", f"{form}=a3")
    assert Path("a2").read_bytes() == Path("a3").read_bytes()
    out, err = said(capsys, "convert", "a", "-o", "purls", "--strict", code=3)
    assert "pkg:deb/debian/libssl3@3.0.11-1%2Bb1?arch=amd64&distro=debian-12" in out.splitlines()
    assert "lost in purls: licences: 1" in err
    assert "kinds of facts were lost" in err


def test_scan_finds_the_same_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    forms = ("cyclonedx", "cyclonedx-xml", "spdx", "spdx-json", "spdx-json@3.0", "syft-json")
    said(capsys, "oci:one", *(word for form in forms for word in ("-o", f"{form}={form}")))
    reports = []
    for target in ("oci:one", *(f"sbom:{form}" for form in forms)):
        capsys.readouterr()
        assert run(["scan", target, "--allow-empty-db", "-o", "json"]) == 0
        coverage = json.loads(capsys.readouterr().out)["coverage"]
        reports.append([(gap["what"], gap["count"]) for gap in coverage["gaps"]])
    assert all(report == reports[0] for report in reports), reports


def test_diff_says_what_changed_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = said(capsys, "diff", "oci:one", "oci:two", "-o", "json")
    changes = {change["name"]: change for change in json.loads(out)["changes"]}
    assert changes["flask-login"]["kind"] == "changed"
    assert (changes["flask-login"]["before"], changes["flask-login"]["after"]) == (["0.6.2"], ["0.6.3"])
    assert changes["flask-login"]["cause"] == "layer 2 of 2: s/f.dist-info/METADATA"
    assert changes["a"]["kind"] == "added"
    assert "1 added, 0 removed, 1 changed, 0 altered, 3 the same" in err
    said(capsys, "oci:one", "-o", "cyclonedx=one.json")
    said(capsys, "oci:two", "-o", "cyclonedx=two.json")
    out, _ = said(capsys, "diff", "one.json", "sbom:two.json", "--exit-code", code=3)
    assert out.splitlines()[1].split() == ["+", "npm/a", "1.0.0", "layer", "2", "of", "2:",
                                           "n/node_modules/a/package.json"]
    assert said(capsys, "diff", "one.json", "one.json", "--exit-code")[0] == ""


def test_diff_of_base_images_licences_and_lock_files(capsys: pytest.CaptureFixture[str]) -> None:
    status = STATUS.replace(b"Version: 2.36-9", b"Version: 2.36-10")
    layout(Path("three"), [tar([("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", status)]),
                           tar([("s/f.dist-info/METADATA", METADATA.replace(b"License: MIT", b"License: BSD"))])])
    changes = {change["name"]: change for change in json.loads(
        said(capsys, "diff", "oci:one", "oci:three", "-o", "json")[0])["changes"]}
    assert changes["debian/libc6"]["cause"] == "base image, layer 1 of 2: var/lib/dpkg/status"
    assert changes["flask-login"]["fields"] == [["licenses", "MIT", "BSD"]]
    for name, version in (("x", "1.0.0"), ("y", "2.0.0")):
        Path(name).mkdir()
        Path(name, "package-lock.json").write_text(json.dumps({"name": "app", "version": "0.0.0", "lockfileVersion": 3,
                                                               "packages": {"node_modules/b": {"version": version}}}))
    out, _ = said(capsys, "diff", "dir:x", "dir:y", "-o", "json")
    if changes := json.loads(out)["changes"]:  # with the cataloger of that lock file
        assert changes[0]["cause"] == "lock file package-lock.json"


def test_merge_keeps_what_any_says(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "oci:one", "-o", "spdx=one.spdx")
    said(capsys, "oci:two", "-o", "cyclonedx-xml=two.xml")
    _, err = said(capsys, "merge", "one.spdx", "two.xml", "--name", "both", "-o", "cyclonedx=both.json")
    assert "both: 6 packages of 9 in 2 SBOMs" in err
    document = json.loads(Path("both.json").read_text())
    assert document["metadata"]["component"]["name"] == "both"
    libc = next(entry for entry in document["components"] if entry["name"] == "libc6")
    assert len(libc["evidence"]["occurrences"]) == 1
    assert said(capsys, "merge", "one.spdx", "--name", "both", code=2)[1].startswith("error: merge: got one SBOM")


def test_compare_says_who_lists_what(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "oci:two", "-o", "syft-json=published.json")
    out, err = said(capsys, "compare", "oci:one", "publisher=published.json")
    rows = [line.split() for line in out.splitlines()]
    assert rows == [["PACKAGE", "custody", "publisher"], ["npm/a", "-", "1.0.0"],
                    ["pypi/flask-login", "0.6.2", "0.6.3"]]
    assert "note: custody lists no package of type npm" in err
    assert "3 names agreed on by 2 sources, 2 not" in err
    said(capsys, "compare", "oci:one", "published.json", "--exit-code", "-o", "json", code=3)


def score(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    out, _ = said(capsys, "score", "oci:two", "-o", "json", *words)
    return {entry["guideline"]: {element["name"]: (element["has"], element["of"]) for element in entry["elements"]}
            for entry in json.loads(out)["scores"]}


def test_score_counts_each_element(capsys: pytest.CaptureFixture[str]) -> None:
    scores = score(capsys)
    assert set(scores) == {"ntia", "cisa", "bsi", "fsct"}
    assert scores["ntia"] == {
        "supplier name": (3, 5), "component name": (5, 5), "component version": (5, 5), "unique identifier": (5, 5),
        "dependency relationship": (1, 1), "author of the SBOM": (0, 1), "timestamp": (1, 1)}
    assert scores["bsi"]["component creator, by mail or page"] == (2, 5)
    assert scores["bsi"]["distribution licence"] == (2, 5)  # BSD alone is a LicenseRef
    out, _ = said(capsys, "score", "oci:two", "--guideline", "ntia", "--missing")
    assert out.count(" lacks supplier name\n") == 2
    assert "pkg:" in out
    assert score(capsys, "--author", "Sam <sam@example.org>")["bsi"]["creator of the SBOM, by mail or page"] == (1, 1)
    said(capsys, "oci:two", "-o", "spdx-json@3.0.1=s.json", "--author", "Sam")
    out, err = said(capsys, "score", "s.json", "--guideline", "ntia", "--fail-under", "100", code=3)
    assert out.startswith("NTIA minimum elements, 2021: 6 of 7\n")
    assert "ntia: 6 of 7 elements, less than 100 %" in err


def test_of_an_envelope_it_is_said_that_nobody_checked_the_signature(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "oci:one", "-o", "cyclonedx=a.json")
    Path("s.json").write_text(json.dumps({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://cyclonedx.org/bom", "subject": [],
        "predicate": json.loads(Path("a.json").read_text())}))
    warning = "warning: s.json: its signature was not checked"
    assert warning in said(capsys, "convert", "s.json", "-o", "purls")[1]
    assert warning in said(capsys, "sbom:s.json")[1]
    assert warning in said(capsys, "compare", "oci:one", "s.json")[1]
    assert warning in said(capsys, "merge", "s.json", "a.json", "--name", "x", "-o", "purls")[1]
    assert "warning" not in said(capsys, "convert", "a.json", "-o", "purls")[1]


def test_an_sbom_on_standard_input(tmp_path: Path) -> None:
    """As `syft … | grype` has it: scanned, listed, converted, scored."""
    written = custody("sbom", "oci:one", "-o", "syft-json", cwd=tmp_path).stdout
    for words in (["sbom", "-", "-o", "purls=-"], ["sbom", "list", "sbom:-", "-o", "purls"],
                  ["sbom", "convert", "-", "-o", "purls"]):
        done = custody(*words, cwd=tmp_path, given=written)
        assert done.returncode == 0, done.stderr
        assert "pkg:pypi/flask-login@0.6.2" in done.stdout.splitlines()
    assert custody("sbom", "score", "-", "--guideline", "ntia", cwd=tmp_path, given=written).stdout.startswith("NTIA")
    done = custody("scan", "-", "--allow-empty-db", cwd=tmp_path, given=written)
    assert (done.returncode, "SBOM of one: " in done.stderr) == (0, True)
    done = custody("scan", "-", "--allow-empty-db", cwd=tmp_path, given="flask==2.0.1\n")
    assert done.returncode == 2
    assert "error: standard input: is no SBOM that custody reads" in done.stderr
    assert not Path("-").exists()


def test_the_path_of_an_sbom_is_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    """But what is in a lock file makes it no SBOM: a change to it would take its packages out of a scan."""
    said(capsys, "oci:one", "-o", "cyclonedx=a.json", "-o", "spdx=a.spdx")
    for name in ("a.json", "a.spdx"):
        assert "pkg:pypi/flask-login@0.6.2" in said(capsys, name, "-o", "purls")[0]
    locked = {"name": "w", "lockfileVersion": 3, "packages": {"node_modules/b": {"version": "2.0.0"}},
              "bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}
    Path("package-lock.json").write_text(json.dumps(locked))
    assert said(capsys, "package-lock.json", "-o", "purls")[0] == "pkg:npm/b@2.0.0\n"
    Path("tool").write_bytes(b"\x7fELF\0\0" + b'\n"spdxVersion"\nSPDXVersion: SPDX-2.3\n')
    assert "file tool: 0 packages" in said(capsys, "tool")[1]


def test_diff_of_what_a_format_cannot_say(capsys: pytest.CaptureFixture[str]) -> None:
    """SPDX has no word for a package that is only asked for."""
    Path("src").mkdir()
    Path("src/requirements.txt").write_text("six==1.16.0\n")
    said(capsys, "src", "-o", "cyclonedx=a.json", "-o", "spdx-json=b.json")
    assert "0 altered, 1 the same" in said(capsys, "diff", "a.json", "b.json")[1]
    Path("src/six-1.16.0.dist-info").mkdir()
    Path("src/six-1.16.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n")
    Path("src/requirements.txt").write_text("six==1.16.0\nidna==3.7\n")
    assert "pypi/six declared  yes     no" in said(capsys, "diff", "a.json", "src")[0]
