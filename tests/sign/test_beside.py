"""`download`, `clean` and `triangulate`: what lies beside an image, printed as it is, removed, and where it is."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.registry.odd import odd
from tests.sign import cargo
from tests.sign.site import Site


@pytest.fixture(scope="module")
def image(site: Site) -> str:
    return cargo.laden(site, "beside")


def test_download(site: Site, image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.custody("copy", "-r", image, f"oci:{tmp_path / 'layout'}:1") == 0
    for place in (image, f"oci:{tmp_path / 'layout'}"):
        capsys.readouterr()
        assert site.custody("download", "signature", place) == 0
        bundles = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [bundle["mediaType"] for bundle in bundles] == ["application/vnd.dev.sigstore.bundle.v0.3+json"] * 2
        assert site.custody("download", "attestation", "--predicate-type", "cyclonedx", place) == 0
        line, = capsys.readouterr().out.splitlines()
        statement = json.loads(base64.b64decode(json.loads(line)["dsseEnvelope"]["payload"]))
        assert statement["predicateType"] == "https://cyclonedx.org/bom"
        assert site.custody("download", "attestation", place) == 0
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["payloadType"] == "a"  # of the tag, last
        assert site.custody("download", "attestation", "--predicate-type", "openvex", place) == 4
        assert "no attestations with predicate type https://openvex.dev/ns there" in capsys.readouterr().err
        assert site.custody("download", "sbom", place) == 4
        assert "no SBOM in a tag" in capsys.readouterr().err
        assert site.custody("download", "sbom", "--platform", "linux/arm64", place) == 0
        said = capsys.readouterr()
        assert said.out == (site.folder / "sbom.json").read_text()
        assert "is signed by nobody" in said.err


def test_download_of_an_older_signature(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    bare = site.push("beside-legacy")
    assert site.custody("download", "signature", bare) == 4
    assert "no signatures there" in capsys.readouterr().err
    assert site.custody("sign", "--format", "legacy", "--key", str(site.folder / "cosign.key"), bare) == 0
    capsys.readouterr()
    assert site.custody("download", "signature", bare) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"Base64Signature", "Payload", "Cert", "Chain", "Bundle", "RFC3161Timestamp"}
    payload = json.loads(base64.b64decode(document["Payload"]))
    assert payload["critical"]["image"]["docker-manifest-digest"] == bare.partition("@")[2]
    assert document["Cert"] is None
    assert document["RFC3161Timestamp"]["SignedRFC3161Timestamp"]


def test_triangulate(site: Site, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, _, digest = image.partition("@")
    tag = digest.replace(":", "-")
    for arguments, place in (((), f"{name}:{tag}.sig"), (("--type", "attestation"), f"{name}:{tag}.att"),
                             (("--type=sbom",), f"{name}:{tag}.sbom"), (("--type=digest",), image)):
        for spelling in (image, f"{name}:1"):
            capsys.readouterr()
            assert site.custody("triangulate", *arguments, spelling) == 0
            assert capsys.readouterr().out.strip() == place


def test_clean(site: Site, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{site.registry}/cleaning"
    assert site.custody("copy", "-r", image, f"{name}:1") == 0
    whole = len(cargo.at(f"{name}:1"))
    capsys.readouterr()
    assert site.custody("clean", f"{name}:1") == 2  # nobody can be asked
    assert "would lose all signatures, attestations and SBOMs of cosign's, and there is nobody to ask" in (
        capsys.readouterr().err)
    assert len(cargo.at(f"{name}:1")) == whole
    assert site.custody("clean", "--type", "signature", "-f", f"{name}:1") == 0
    said = capsys.readouterr()
    assert said.out.strip().endswith(": 1 removed")
    assert "3 bundles or artifacts refer to it, and stay; --type referrer" in said.err
    assert site.custody("verify", "--key", str(site.folder / "cosign.pub"), f"{name}:1") == 0  # by the bundle
    assert site.custody("clean", "-f", f"{name}:1") == 0
    said = capsys.readouterr()
    assert said.out.strip().endswith(": 4 removed")  # .att, two bundles, an artifact
    assert "what others keep stays: application/vnd.cncf.notary.signature" in said.err
    assert site.custody("verify", "--key", str(site.folder / "cosign.pub"), f"{name}:1") == 4
    assert site.custody("tree", f"{name}:1") == 0
    assert site.custody("clean", "-f", f"{name}:1") == 0
    assert capsys.readouterr().out.strip().endswith(": 0 removed")
    assert site.custody("clean", "-f", "oci:layout") == 2


def test_clean_of_a_fallback_tag_and_of_a_registry_that_deletes_nothing(
        site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    signed = site.push("fallback-clean")
    assert site.custody("sign", "--format", "both", "--key", str(site.folder / "cosign.key"), signed) == 0
    with odd(referrers=404) as registry:
        assert site.custody("copy", signed, f"{registry.host}/mirror:1") == 0
        assert site.custody("clean", "-f", f"{registry.host}/mirror:1") == 0
        tag = signed.partition("@")[2].replace(":", "-")
        assert json.loads(registry.manifests["mirror", tag][1])["manifests"] == []
        assert ("mirror", f"{tag}.sig") not in registry.manifests
        assert site.custody("copy", signed, f"{registry.host}/mirror:1") == 0
        registry.habits.hook = lambda request: request.command == "DELETE" and (request.error(405, "UNSUPPORTED")
                                                                               or True)
        capsys.readouterr()
        assert site.custody("clean", "-f", f"{registry.host}/mirror:1") != 0
        assert "405" in capsys.readouterr().err
