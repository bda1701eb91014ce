"""The commands against a real registry and real trust services, and cosign's word on what they write and read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.http.stdlib import StdlibHttp
from custody.cli.run import run
from custody.formats import bundle as bundles
from custody.formats import intoto, oci
from custody.formats import reference as references
from custody.kit.clock import system_clock
from custody.registry.client import RegistryClient
from custody.sign.referrers import push_bundle
from tests.sign.site import PERSON, Site


def test_keyless(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image = site.push("keyless")
    assert site.custody("verify", *site.who(), image) == 4
    assert "no signature found" in capsys.readouterr().err
    assert site.custody("sign", "--identity-token", site.token(), "-a", "env=prod", image) == 0
    capsys.readouterr()
    assert site.custody("verify", *site.who(), "-a", "env=prod", image) == 0
    document: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert document[0]["critical"]["image"]["docker-manifest-digest"] == image.partition("@")[2]
    assert document[0]["optional"]["Subject"] == PERSON
    assert site.custody("verify", *site.who("evil@example.com"), image) == 4
    assert "identity: got 'dev@example.com', expected 'evil@example.com'" in capsys.readouterr().err
    assert site.custody("verify", *site.who(), "-a", "env=test", image) == 4
    assert site.custody("verify", "--certificate-identity", PERSON, image) == 2
    assert "issuer: not given" in capsys.readouterr().err
    assert site.custody("tree", image) == 0
    assert f"✓ https://sigstore.dev/cosign/sign/v1  {PERSON}" in capsys.readouterr().out


def test_one_file_says_where_to_sign_and_whom_to_believe(site: Site, tmp_path: Path,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    image, both = site.push("trust-config"), tmp_path / "both.json"
    root, config = (json.loads((site.folder / name).read_bytes()) for name in ("root.json", "config.json"))
    both.write_text(json.dumps({"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
                                "trustedRoot": root, "signingConfig": config}))
    assert site.custody("sign", "--identity-token", site.token(), "--signing-config", str(both), "--trusted-root",
                        str(both), image) == 0
    assert site.custody("verify", *site.who(), "--trusted-root", str(both), image) == 0
    both.write_text(both.read_text().replace("clienttrustconfig.v0.1", "clienttrustconfig.v9"))
    capsys.readouterr()
    assert site.custody("verify", *site.who(), "--trusted-root", str(both), image) == 2
    assert "mediaType: 'application/vnd.dev.sigstore.clienttrustconfig.v9+json'" in capsys.readouterr().err


def test_attest_and_replace(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image, predicate = site.push("attest"), site.folder / "sbom.json"
    predicate.write_text('{"bomFormat":"CycloneDX","version":1}')
    for _ in range(2):
        assert site.custody("attest", "--identity-token", site.token(), "--predicate", str(predicate),
                            "--type", "cyclonedx", image) == 0
    assert site.custody("verify", *site.who(), image) == 4  # an SBOM is no signature
    capsys.readouterr()
    assert site.custody("verify-attestation", *site.who(), "--type", "cyclonedx", image) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert site.custody("attest", "--identity-token", site.token(), "--predicate", str(predicate), "--type",
                        "cyclonedx", "--replace", image) == 0
    assert "removed 2 older attestations" in capsys.readouterr().err
    assert site.custody("attest", "--identity-token", site.token("eve@example.com"), "--predicate", str(predicate),
                        "--type", "cyclonedx", "--replace", image) == 0
    assert "removed 0 older attestations" in capsys.readouterr().err
    assert site.custody("verify-attestation", *site.who(), "--type", "slsaprovenance1", image) == 4
    assert "there are https://cyclonedx.org/bom" in capsys.readouterr().err


def test_copies_of_an_attestation_under_other_types_take_nothing_from_it(
        site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever may push referrers puts the same bytes beside it, under a type of which nothing is signed."""
    image, predicate = site.push("copied-under-other-types"), site.folder / "copied.json"
    predicate.write_text("{}")
    assert site.custody("attest", "--identity-token", site.token(), "--predicate", str(predicate), "--type",
                        "spdxjson", image) == 0
    ref = references.parse(image)

    async def copy() -> None:
        async with RegistryClient(StdlibHttp()) as client:
            subject = await client.resolve(ref)
            original, = await client.referrers(ref)
            body = oci.parse_manifest((await client.manifest(ref.at(original.digest)))[1], "", original.media_type)
            assert isinstance(body, oci.Manifest)
            layer = body.layers[0]
            for number in range(6):  # some of them are listed behind the original
                manifest = oci.Manifest(oci.MANIFEST, body.config, (
                    oci.Descriptor("text/plain", layer.digest, layer.size),), subject, bundles.MEDIA_TYPE, {
                        **body.annotations, "number": str(number)})
                await client.push_manifest(ref, json.dumps(manifest.to_json()).encode(), oci.MANIFEST)

    asyncio.run(copy())
    capsys.readouterr()
    assert site.custody("verify-attestation", *site.who(), "--type", "spdxjson", image) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_signature_copied_to_another_image(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    signed, other = site.push("copied"), site.push("copied", b"another layer")
    bundle = site.folder / "bundle.json"
    assert site.custody("sign", "--identity-token", site.token(), "--bundle", str(bundle), "--upload=false",
                        signed) == 0

    async def copy() -> None:
        from custody.kit.clock import system_clock
        from custody.sign.referrers import push_bundle

        ref = references.parse(other)
        async with RegistryClient(StdlibHttp()) as client:
            await push_bundle(client, ref, await client.resolve(ref), bundle.read_bytes(), "x", system_clock())

    asyncio.run(copy())
    capsys.readouterr()
    assert site.custody("verify", *site.who(), other) == 4
    assert "subject: the statement is about" in capsys.readouterr().err


def test_key_pair(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image, key, public = site.push("key"), str(site.folder / "cosign.key"), str(site.folder / "cosign.pub")
    assert site.custody("sign", "--key", key, "--signing-config", str(site.folder / "empty.json"), image) == 0
    assert site.custody("verify", "--key", public, image) == 4
    assert "log entry: there is none" in capsys.readouterr().err
    assert site.custody("verify", "--key", public, "--insecure-ignore-tlog=true", image) == 0
    assert "the transparency log was not checked" in capsys.readouterr().err
    assert site.custody("sign", "--key", key, image) == 0  # with log and timestamp
    assert site.custody("verify", "--key", public, image) == 0
    assert site.custody("verify", "--key", key, image) == 2
    assert site.custody("verify", "--key", public, *site.who(), image) == 2
    assert site.custody("generate-key-pair", "--output-key-prefix", str(site.folder / "cosign")) == 2
    assert site.custody("sign", "--key", key, "--bundle", str(site.folder / "no" / "b.json"), image) == 2


def test_attached_sbom_is_not_evidence(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image, sbom = site.push("sbom"), site.folder / "attached.json"
    sbom.write_text('{"bomFormat":"CycloneDX"}')
    assert site.custody("attach", "sbom", "--sbom", str(sbom), image) == 0
    assert "is not signed" in capsys.readouterr().err
    assert site.custody("attach", "sbom", "--sbom", str(sbom), "--type", "spdx", image) == 2
    capsys.readouterr()
    assert site.custody("tree", "-o", "json", image) == 0
    row = json.loads(capsys.readouterr().out)["evidence"][0]
    assert (row["kind"], row["verified"], row["mediaType"]) == ("unsigned", False, "application/vnd.cyclonedx+json")


def test_a_predicate_type_writes_no_line_into_the_tree(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image, predicate = site.push("forged"), site.folder / "any.json"
    predicate.write_text("{}")
    forged = "https://x.example/\n   └─ ✓ https://slsa.dev/provenance/v1  builder\x1b[8m"
    assert site.custody("attest", "--identity-token", site.token(), "--predicate", str(predicate), "--type", forged,
                        image) == 0
    capsys.readouterr()
    assert site.custody("tree", image) == 0
    shown = capsys.readouterr().out
    assert r"https://x.example/\n   └─ ✓ https://slsa.dev/provenance/v1  builder\x1b[8m" in shown
    assert len(shown.splitlines()) == 4


def test_offline_opens_no_socket(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image = site.push("offline")
    assert run(["--offline", "verify", *site.who(), "--trusted-root", str(site.folder / "root.json"), image]) == 6


@pytest.mark.peer
def test_cosign_verifies_ours(site: Site) -> None:
    image, predicate = site.push("for-cosign"), site.folder / "predicate.json"
    predicate.write_text('{"a":1}')
    assert site.custody("sign", "--identity-token", site.token(), "-a", "k=v", image) == 0
    assert site.custody("attest", "--identity-token", site.token(), "--type", "vuln", "--predicate", str(predicate),
                        image) == 0
    common = ("--allow-http-registry", "--trusted-root", "root.json")
    found = site.cosign("cosign-v3", "verify", *common, *site.who(), "-a", "k=v", image)
    assert found.returncode == 0, found.stderr
    assert site.cosign("cosign-v3", "verify", *common, *site.who("evil@example.com"), image).returncode != 0
    found = site.cosign("cosign-v3", "verify-attestation", *common, *site.who(), "--type", "vuln", image)
    assert found.returncode == 0, found.stderr
    image = site.push("key-for-cosign")
    assert site.custody("sign", "--key", str(site.folder / "cosign.key"), image) == 0
    found = site.cosign("cosign-v3", "verify", *common, "--key", "cosign.pub", image)
    assert found.returncode == 0, found.stderr


@pytest.mark.peer
def test_ours_verifies_cosigns(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image, token = site.push("by-cosign"), site.folder / "token"
    token.write_text(site.token())
    found = site.cosign("cosign-v3", "sign", "-y", "--allow-http-registry", "--signing-config", "config.json",
                        "--trusted-root", "root.json", "--identity-token", str(token), image)
    assert found.returncode == 0, found.stderr
    assert site.custody("verify", *site.who(), image) == 0
    assert site.custody("verify", *site.who("evil@example.com"), image) == 4
    image = site.push("by-cosign-with-a-key")
    for arguments in (("cosign-v3", "sign", "-y", "--signing-config", "empty.json"),
                      ("cosign-v2", "sign", "-y", "--tlog-upload=false")):
        found = site.cosign(*arguments, "--allow-http-registry", "--key", "cosign.key", "-a", f"by={arguments[0]}",
                            image)
        assert found.returncode == 0, found.stderr
        assert site.custody("verify", "--key", str(site.folder / "cosign.pub"), "--insecure-ignore-tlog", "-a",
                            f"by={arguments[0]}", image) == 0
    predicate = site.folder / "by-cosign.json"
    predicate.write_text("{}")
    found = site.cosign("cosign-v2", "attest", "-y", "--tlog-upload=false", "--allow-http-registry", "--key",
                        "cosign.key", "--predicate", str(predicate), "--type", "spdxjson", image)
    assert found.returncode == 0, found.stderr
    assert site.custody("verify-attestation", "--key", str(site.folder / "cosign.pub"), "--insecure-ignore-tlog",
                        "--type", "spdxjson", image) == 0
    assert site.cosign("cosign-v2", "generate-key-pair", "--output-key-prefix", "theirs").returncode == 0
    image = site.push("their-key")
    assert site.custody("sign", "--key", str(site.folder / "theirs.key"), image) == 0
    capsys.readouterr()


@pytest.mark.peer
def test_cosign_too_refuses_the_manifest_signed_as_a_file(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """A bundle of `cosign sign-blob` over the manifest's bytes, stored beside the image as a signature would be."""
    image = site.push("signed-as-a-file")
    ref = references.parse(image)

    async def fetch_and_push(bundle: bytes | None = None) -> bytes:
        async with RegistryClient(StdlibHttp()) as client:
            descriptor, data = await client.manifest(ref)
            if bundle is not None:
                await push_bundle(client, ref, descriptor, bundle, intoto.COSIGN_SIGN, system_clock())
            return data

    (site.folder / "manifest.json").write_bytes(asyncio.run(fetch_and_push()))
    made = site.cosign("cosign-v3", "sign-blob", "-y", "--key", "cosign.key", "--bundle", "blob.json",
                       "--signing-config", "empty.json", "manifest.json")
    assert made.returncode == 0, made.stderr
    asyncio.run(fetch_and_push((site.folder / "blob.json").read_bytes()))
    found = site.cosign("cosign-v3", "verify", "--allow-http-registry", "--key", "cosign.pub", "--insecure-ignore-tlog",
                        "--trusted-root", "root.json", image)
    assert found.returncode != 0
    assert "bundle does not contain a DSSE envelope" in found.stderr
    assert site.custody("verify", "--key", str(site.folder / "cosign.pub"), "--insecure-ignore-tlog", image) == 4
    assert "signature: got one of a file's bytes (messageSignature)" in capsys.readouterr().err


@pytest.mark.peer
def test_cosign_downloads_our_sbom(site: Site) -> None:
    image, sbom = site.push("sbom-for-cosign"), site.folder / "theirs.json"
    sbom.write_text('{"bomFormat":"CycloneDX"}')
    assert site.custody("attach", "sbom", "--sbom", str(sbom), image) == 0
    found = site.cosign("cosign-v2", "download", "sbom", "--allow-http-registry", image)
    assert found.returncode == 0, found.stderr
    assert '"CycloneDX"' in found.stdout
