"""`custody sbom`, `scan` and `db` as they are typed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from custody.cli.run import run
from custody.formats.reference import parse
from custody.kit.clock import system_clock
from custody.registry.image import open_layout
from custody.services.targets import push
from custody.settings import Settings
from custody.wiring import registry_client
from tests.contents.images import METADATA, OS_RELEASE, STATUS, layout, tar
from tests.contents.test_scan import CRITICAL, record
from tests.serving import registry_on


@pytest.fixture(name="target")
def _target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    layout(tmp_path / "image", [tar([("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", STATUS),
                                     ("s/f.dist-info/METADATA", METADATA), ("x.jar", b"PK")])])
    (tmp_path / "text").write_text("text")
    (tmp_path / "records").mkdir()
    (tmp_path / "records/a.json").write_text(json.dumps(
        record("GHSA-1", [{"introduced": "0"}, {"fixed": "0.6.3"}], package="flask-login", severity=[CRITICAL])))
    return "oci:image"


def test_sbom_in_several_formats(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sbom", target, "-o", "cyclonedx-json=a.json", "-o", "spdx-json=b.json", "-o", "purls"]) == 0
    out, err = capsys.readouterr()
    assert "pkg:pypi/flask-login@0.6.2" in out.splitlines()
    assert "not catalogued: unreadable Java archive file: 1" in err
    assert json.loads(Path("a.json").read_text())["metadata"]["timestamp"] == "2026-01-01T00:00:00Z"
    assert json.loads(Path("b.json").read_text())["spdxVersion"] == "SPDX-2.3"
    before = Path("a.json").read_bytes()
    assert run(["sbom", target, "-o", "cyclonedx-json=a.json"]) == 0
    assert Path("a.json").read_bytes() == before
    assert run(["sbom", target]) == 0
    assert "libssl3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["sbom", "oci:image", "-o", "cyclonedx-jsn"], "-o cyclonedx-jsn: this format is not written"),
        (["sbom", "oci:image", "-o", "template"], "Go templates are not rendered"),
        (["sbom", "oci:image", "--template", "x"], "Go templates are not rendered"),
        (["sbom", "oci:image", "-o", "purls", "-o", "table"], "two formats for standard output"),
        (["sbom", "oci:image", "-o", "purls="], "no file after"),
        (["sbom", "oci:image", "-o", "purls=none/such"], "none/such"),
        (["sbom", "dir:"], "target: got 'dir:', expected dir:PATH"),
        (["sbom", "dir:nowhere"], "nowhere: no such folder"),
        (["sbom", "rootfs:text"], "text: expected a folder"),
        (["sbom", "git:records"], "records: not a git repository"),
        (["sbom", "file:nowhere"], "nowhere: No such file or directory"),
        (["sbom", "docker:shop"], "targets beginning with docker:"),
        (["sbom", "oci:image", "--exclude", "./a"], "--exclude: this is for folders"),
        (["sbom", "file:text", "--all-file-systems"], "--all-file-systems: this is for folders"),
        (["sbom", "dir:records", "--exclude", "a"], "--exclude: got 'a', expected a glob that begins with './'"),
        (["sbom", "dir:records", "--platform", "linux/amd64"], "--platform: a directory is of one platform already"),
        (["scan", "oci:image", "-o", "asff"], "-o asff: this format is not written"),
        (["scan", "oci:image", "--fail-on", "terrible"], "terrible"),
        (["scan", "sbom:records/a.json", "--allow-empty-db"], "is no SBOM that custody reads: CycloneDX (JSON, XML)"),
        (
            ["scan", "sbom:a.json", "--platform", "linux/arm64", "--allow-empty-db"],
            "--platform: an SBOM is of one platform",
        ),
        (["db", "import", "nowhere"], "nowhere: no such file"),
        (["db", "import", "text"], "text: none of 1 documents is an OSV record: text: got 'Expecting value"),
    ],
)
def test_refusals_are_named(target: str, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str) -> None:
    assert run(arguments) == 2
    assert reason in capsys.readouterr().err


def test_output_dot_traceback(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder").mkdir()
    for place in (".", "..", "/", "folder", "folder/", "new/"):
        assert run(["sbom", target, "-o", f"cyclonedx-json={place}"]) == 2
        assert f"error: -o cyclonedx-json={place}: {place}: Is a directory" in capsys.readouterr().err
    assert list(Path("folder").iterdir()) == []


def test_scan_end_to_end(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scan", target]) == 4
    assert "the advisory database is empty" in capsys.readouterr().err
    assert run(["scan", target, "--allow-empty-db"]) == 0
    assert "warning: the advisory database is empty" in capsys.readouterr().err
    assert run(["db", "import", "records"]) == 0
    assert run(["db", "status", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["advisories"] == 1
    assert run(["scan", target, "--fail-on", "critical"]) == 3
    out, err = capsys.readouterr()
    assert "critical  GHSA-1  Flask_Login  0.6.2    0.6.3" in out
    assert "warning: not scanned: Debian:12: 3 packages" in err
    assert "error: 1 finding at or above critical" in err
    assert run(["scan", target, "-o", "json", "-o", "cosign-vuln=v.json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["findings"][0]["locations"][0]["layer"].startswith("sha256:")
    assert json.loads(Path("v.json").read_text())["scanner"]["db"]["version"] == found["database"]["digest"]


def test_images_of_a_registry(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "registry").mkdir()
    with registry_on(tmp_path / "registry", system_clock) as (host, _):
        ref = parse(f"{host}/team/app:1")
        stored = open_layout(tmp_path / "image")
        data = (tmp_path / "image/blobs/sha256" / stored.descriptor.digest[7:]).read_bytes()

        async def upload() -> None:
            async with registry_client(Settings()) as client:
                await push(stored, ref, client, "1", data)

        asyncio.run(upload())
        assert run(["sbom", str(ref), "-o", "purls"]) == 0
        assert "pkg:pypi/flask-login@0.6.2" in capsys.readouterr().out
    assert run(["sbom", str(ref)]) == 6  # the manifest is always asked for


@pytest.mark.parametrize("form", ["cyclonedx-json", "spdx-json"])
def test_an_sbom_scans_like_its_image(target: str, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(["db", "import", "records"])
    run(["sbom", target, "-o", f"{form}=s.json"])
    results = []
    for place in (target, "sbom:s.json"):
        capsys.readouterr()
        assert run(["scan", place, "-o", "json"]) == 0
        found = json.loads(capsys.readouterr().out)
        results.append(([entry["id"] for entry in found["findings"]], found["coverage"], found["counts"]))
    for _, coverage, _ in results:
        for entry in (*coverage["notCatalogued"], *coverage["gaps"]):  # an SBOM gives no examples
            entry.pop("examples", None)
            entry["reason"] = entry.get("reason", "").partition(", such as")[0]
    assert results[0] == results[1]
    assert [gap["kind"] for gap in results[0][1]["gaps"]] == ["not-catalogued", "no-advisories"]
