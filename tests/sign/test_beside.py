"""`download`, `clean` and `triangulate`: what lies beside an image, printed as it is, removed, and where it is."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from custody.formats import oci
from tests.registry.odd import Request, odd
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
        assert "no attestation with predicate type https://openvex.dev/ns that counts" in capsys.readouterr().err
        assert site.custody("download", "sbom", place) == 4
        assert "no SBOM in a tag" in capsys.readouterr().err
        assert site.custody("download", "sbom", "--platform", "linux/arm64", place) == 0
        said = capsys.readouterr()
        assert said.out == (site.folder / "sbom.json").read_text()
        assert "is signed by nobody" in said.err


def test_download_of_an_older_signature(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    bare = site.push("beside-legacy")
    assert site.custody("download", "signature", bare) == 4
    assert "no signature found" in capsys.readouterr().err
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


BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def test_clean_removes_nothing_that_a_lying_list_names(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    with odd(referrers=404) as registry:
        other, image = registry.image("app", "2", b"another"), registry.image("app", "1", b"mine")
        listed = {"mediaType": oci.MANIFEST, "digest": other, "size": len(registry.manifests["app", other][1]),
                  "artifactType": BUNDLE}
        registry.put("app", image.replace(":", "-"), json.dumps(
            {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [listed]}).encode(), oci.INDEX)
        assert site.custody("clean", "-f", f"{registry.host}/app:1") == 4
        assert f"is listed as about {image}, and its subject is none" in capsys.readouterr().err
        assert ("app", other) in registry.manifests


@pytest.mark.parametrize("suffix", [".sig", ".att", ".sbom"])
def test_clean_leaves_the_image_whatever_a_tag_means(site: Site, capsys: pytest.CaptureFixture[str],
                                                     suffix: str) -> None:
    def no_tags(request: Request) -> bool:
        if request.command != "DELETE" or "sha256:" in request.path:
            return False
        request.error(405, "UNSUPPORTED")
        return True

    with odd(no_tags) as registry:
        other, image = registry.image("app", "2", b"another"), registry.image("app", "1", b"mine")
        tag = image.replace(":", "-") + suffix
        for meant, reason in ((image, "means the image itself, which stays"),
                              (other, "what the tag means is none of cosign's")):
            registry.manifests["app", tag] = registry.manifests["app", meant]
            assert site.custody("clean", "-f", f"{registry.host}/app:1") == 4
            assert reason in capsys.readouterr().err
            assert {("app", image), ("app", other)} <= set(registry.manifests)


def test_clean_that_is_forbidden_tries_nothing_else(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    signed = site.push("clean-forbidden")
    assert site.custody("sign", "--format", "legacy", "--key", str(site.folder / "cosign.key"), signed) == 0
    asked: list[str] = []

    def forbids(request: Request) -> bool:
        if request.command != "DELETE":
            return False
        asked.append(request.path)
        request.error(403, "DENIED")
        return True

    with odd() as registry:
        assert site.custody("copy", signed, f"{registry.host}/app:1") == 0
        registry.habits.hook = forbids
        capsys.readouterr()
        assert site.custody("clean", "-f", f"{registry.host}/app:1") != 0
        assert len(asked) == 1


def test_download_of_what_is_listed_and_gone(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    signed = site.push("download-gone")
    assert site.custody("sign", "--key", str(site.folder / "cosign.key"), signed) == 0
    with odd() as registry:
        assert site.custody("copy", "-r", signed, f"{registry.host}/app:1") == 0
        for repository, digest in list(registry.blobs):
            if b"dsseEnvelope" in registry.blobs[repository, digest]:
                del registry.blobs[repository, digest]
        capsys.readouterr()
        assert site.custody("download", "signature", f"{registry.host}/app:1") == 4
        assert "no signature that counts" in capsys.readouterr().err
