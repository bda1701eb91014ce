"""VEX that is attested to an image counts in a scan of it where its signer was chosen, and is named where not."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import NetworkError
from custody.formats import oci
from custody.formats import reference as references
from custody.kit.digest import sha256
from custody.registry.client import RegistryClient
from tests.sign.site import Site

RECORD = {"id": "PYSEC-1", "modified": "2026-01-01T00:00:00Z", "aliases": ["CVE-2026-0001"], "affected": [
    {"package": {"ecosystem": "PyPI", "name": "a"}, "ranges": [
        {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2"}]}]}]}


def push(site: Site, name: str) -> str:
    """An image with one Python package."""
    data = b"Metadata-Version: 2.1\nName: a\nVersion: 1\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("usr/lib/python3/site-packages/a-1.dist-info/METADATA")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    tarred = buffer.getvalue()
    config_data = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {
        "type": "layers", "diff_ids": [sha256(tarred)]}}).encode()

    async def store() -> str:
        ref = references.parse(f"{site.registry}/{name}:1")
        async with RegistryClient(StdlibHttp()) as client:
            config = await client.push_blob(ref, config_data)
            layer = await client.push_blob(ref, gzip.compress(tarred))
            manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, config.digest, config.size),
                                    (oci.Descriptor(oci.LAYER_GZIP, layer.digest, layer.size),))
            pushed = await client.push_manifest(ref, json.dumps(manifest.to_json()).encode(), oci.MANIFEST, tag="1")
            return f"{ref.name}@{pushed.digest}"

    return asyncio.run(store())


def scanned(site: Site, image: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert site.custody("scan", image, "-o", "json", "--no-keep", "--vex", "attested", *arguments) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_attested(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTODY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "record.json").write_text(json.dumps(RECORD))
    assert site.custody("db", "import", "record.json") == 0
    image = push(site, "vex")
    digest = image.partition("@")[2]
    assert site.custody("vex", "create", "-p", f"pkg:oci/vex@{digest}?repository_url={site.registry}/vex",
                        "--subcomponent", "pkg:pypi/a@1", "--vuln", "CVE-2026-0001", "-s", "not_affected",
                        "-j", "vulnerable_code_not_present", "-o", "v.json") == 0
    assert site.custody("attest", "--identity-token", site.token(), "--predicate", "v.json", "--type", "openvex",
                        image) == 0
    mine = ("--vex-identity", "dev@example.com", "--vex-issuer", site.stack.people.url)
    report = scanned(site, image, capsys, *mine)
    assert [(entry["status"], entry["by"]) for entry in report["ignored"]] == [
        ("not_affected", f"dev@example.com ({site.stack.people.url})")]
    assert not report["findings"]
    # Somebody else's word, and a key's.
    for chosen in (("--vex-identity", "eve@example.com", "--vex-issuer", site.stack.people.url),
                   ("--vex-key", str(site.folder / "cosign.pub"))):
        report = scanned(site, image, capsys, *chosen)
        assert not report["ignored"]
        assert len(report["findings"]) == 1
        assert [use["state"] for use in report["waivers"]] == ["refused"]
        assert report["waivers"][0]["reason"].startswith("not verified: ")
    # Nobody was chosen.
    assert site.custody("scan", image, "--vex", "attested") == 2
    assert "nobody was chosen" in capsys.readouterr().err


def test_attested_in_watch(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                           monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the chosen signer only; and what was set aside stays so while the registry does not answer."""
    monkeypatch.setenv("CUSTODY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "record.json").write_text(json.dumps(RECORD))
    assert site.custody("db", "import", "record.json") == 0
    image = push(site, "watched")
    mine = ("--vex", "attested", "--vex-identity", "dev@example.com", "--vex-issuer", site.stack.people.url)

    def watch(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = site.custody("watch", "--once", *words)
        said = capsys.readouterr()
        return code, said.out, said.err

    assert watch(f"{site.registry}/watched", *mine)[:2] == (0, "")
    assert site.custody("vex", "create", "-p", image.partition("@")[2], "--vuln", "CVE-2026-0001", "-s", "not_affected",
                        "-j", "vulnerable_code_not_present", "-o", "v.json") == 0
    assert site.custody("attest", "--identity-token", site.token("eve@example.com"), "--predicate", "v.json", "--type",
                        "openvex", image) == 0
    code, out, err = watch(*mine)
    assert (code, out) == (0, ""), err
    assert "not verified: " in err
    assert "it does not count" in err
    assert site.custody("attest", "--identity-token", site.token(), "--predicate", "v.json", "--type", "openvex",
                        image) == 0
    code, out, err = watch(*mine)
    assert code == 0, err
    assert " disappeared unknown CVE-2026-0001 in pkg:pypi/a@1 (vex; 1 image, fixed in 2, not_affected by dev@" in out
    config = site.folder / "custody.toml"
    stated = config.read_text()
    monkeypatch.setattr(site, "folder", tmp_path)
    shutil.copy(config.parent / "root.json", tmp_path)
    config = tmp_path / "custody.toml"
    config.write_text(f'{stated}[counting]\nattested = true\nidentity = "dev@example.com"\n'
                      f'issuer = "{site.stack.people.url}"\n')
    assert watch()[:2] == (0, "")  # the same, as the settings say
    with monkeypatch.context() as patch:
        async def refuse(*_: Any, **__: Any) -> Any:
            raise NetworkError("registry: no answer")

        patch.setattr("custody.services.attestedvex.fetch_evidence", refuse)
        code, out, err = watch()
        assert (code, out, "was not asked for: registry: no answer" in err) == (6, "", True)
    assert watch()[:2] == (0, "")
    config.write_text("[counting]\nattested = true\n")
    code, _, err = watch()
    assert (code, "nobody was chosen whose word counts" in err) == (2, True)
    code, _, err = watch("--vex", "attested")
    assert (code, "nobody was chosen whose word counts" in err) == (2, True)
