"""`custody copy` over registries with and without the referrers API and OCI layouts: nothing is lost, bytes equal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.http.stdlib import StdlibHttp
from custody.formats import oci
from custody.formats import reference as references
from custody.registry.client import RegistryClient, fallback_tag
from tests.registry.odd import odd
from tests.sign import cargo
from tests.sign.site import Site


def verdicts(site: Site, image: str, capsys: pytest.CaptureFixture[str]) -> list[Any]:
    """What verify, verify-attestation and tree say of an image, without its name."""
    digest = "sha256:" + image.rpartition("sha256:")[2] if "sha256:" in image else ""
    public, said = str(site.folder / "cosign.pub"), []
    for arguments in (("verify", "--key", public), ("verify", "--key", public, "--insecure-ignore-tlog"),
                      ("verify-attestation", "--key", public, "--type", "cyclonedx"),
                      ("verify-attestation", "--key", public, "--type", "spdxjson")):
        capsys.readouterr()
        code = site.custody(*arguments, image)
        out = capsys.readouterr().out
        said.append((code, len(json.loads(out)) if out.startswith("[") else sorted(out.splitlines())))
    assert site.custody("tree", "--key", public, "-o", "json", image) == 0
    tree = json.loads(capsys.readouterr().out)
    assert not digest or tree["digest"] == digest
    return [*said, sorted((row["digest"] or "", row["mark"], row["reason"]) for row in tree["evidence"])]


@contextmanager
def without_referrers(kind: str, folder: Path) -> Iterator[str]:
    if kind == "distribution":
        with cargo.distribution(folder) as host:
            yield host
    else:
        with odd(referrers=404) as registry:
            yield registry.host


@pytest.mark.parametrize("kind", ["odd", pytest.param("distribution", marks=pytest.mark.peer)])
def test_three_hops(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    image = cargo.laden(site, f"laden-{kind}")
    digest = image.partition("@")[2]
    all_of_it, said = cargo.at(image), verdicts(site, image, capsys)
    assert [code for code, _ in said[:4]] == [0, 0, 0, 4]
    with without_referrers(kind, tmp_path) as host:
        folder = tmp_path / "layout"
        hops = [image, f"{host}/far/away:1", f"oci:{folder}:1", f"{site.registry}/back-{kind}:1",
                f"oci:{tmp_path / 'second'}"]
        for start, end in pairwise(hops):
            assert site.custody("copy", "-r", start, end) == 0
            assert capsys.readouterr().out.strip().endswith(digest)
            assert cargo.at(end) == all_of_it, end
            assert verdicts(site, end, capsys) == said, end
        for start, end in pairwise(hops):  # nothing is pushed twice
            assert site.custody("copy", "-r", start, end) == 0
            err = capsys.readouterr().err
            assert "; 0 pushed, " in err
            assert "0 blobs of 0 bytes pushed, 0 mounted" in err


def test_blobs_are_mounted_in_one_registry(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image = cargo.laden(site, "mounting")
    assert site.custody("copy", "-r", image, f"{site.registry}/mounted:1") == 0
    assert "0 blobs of 0 bytes pushed" in capsys.readouterr().err
    assert cargo.at(f"{site.registry}/mounted:1") == cargo.at(image)


def test_fallback_index_is_right_and_merged(site: Site) -> None:
    """artifactType and annotations stand in it, and what was there stays."""
    image = site.push("fallback")
    assert site.custody("sign", "--key", str(site.folder / "cosign.key"), image) == 0
    with odd(referrers=404) as registry:
        ref = references.parse(image)
        foreign = registry.referrer("mirror", str(ref.digest), "example/other", there="before")
        index = oci.Index(oci.INDEX, (oci.Descriptor(oci.MANIFEST, foreign, 1, {"there": "before"}, "example/other"),))
        registry.put("mirror", fallback_tag(str(ref.digest)), cargo.dump(index), oci.INDEX)
        assert site.custody("copy", image, f"{registry.host}/mirror:1") == 0
        entries = json.loads(registry.manifests["mirror", fallback_tag(str(ref.digest))][1])["manifests"]
        assert [entry["artifactType"] for entry in entries] == ["example/other",
                                                                "application/vnd.dev.sigstore.bundle.v0.3+json"]
        assert entries[1]["annotations"]["dev.sigstore.bundle.predicateType"] == "https://sigstore.dev/cosign/sign/v1"
        assert entries[0]["annotations"] == {"there": "before"}


def test_only_and_what_stays_behind(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image = cargo.laden(site, "parts")
    digest = image.partition("@")[2]
    assert site.custody("copy", image, f"{site.registry}/usual:1") == 0
    assert "1 referrer of other kinds stay behind, such as application/vnd.cncf.notary.signature; -r carries them" in (
        capsys.readouterr().err)
    for kinds, types in (("sig", {"https://sigstore.dev/cosign/sign/v1", None}),
                         ("att", {"https://cyclonedx.org/bom"}), ("sbom", set())):
        target = f"{site.registry}/only-{kinds}"
        assert site.custody("copy", "--only", kinds, image, f"{target}:1") == 0

        assert asyncio.run(_referrers_and_tags(f"{target}@{digest}")) == (types, {kinds})  # no tag of the image's
    capsys.readouterr()
    assert site.custody("copy", "--only", "sig,notation", image, f"{site.registry}/x:1") == 2
    assert "--only: got 'notation', expected one or more of sig, att, sbom" in capsys.readouterr().err
    assert site.custody("copy", "-r", "--only", "sig", image, f"{site.registry}/x:1") == 2


async def _referrers_and_tags(image: str) -> tuple[set[str | None], set[str]]:
    ref = references.parse(image)
    async with RegistryClient(StdlibHttp()) as client:
        return ({referrer.annotations.get("dev.sigstore.bundle.predicateType") for referrer in
                 await client.referrers(ref)}, {tag.rpartition(".")[2] for tag in await client.tags(ref)})


def test_platform(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image = cargo.laden(site, "platforms")
    assert site.custody("copy", "-r", "--platform", "linux/arm64", image, f"{site.registry}/arm:1") == 0
    assert "1 manifest of the image" in capsys.readouterr().err
    assert site.custody("verify", "--key", str(site.folder / "cosign.pub"), f"{site.registry}/arm:1") == 0
    assert site.custody("copy", "--platform", "plan9/mips", image, f"{site.registry}/arm:2") == 2
    assert "it has linux/amd64, linux/arm64" in capsys.readouterr().err


def test_tags_do_not_move_without_force(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = site.push("moved", b"1"), site.push("moved", b"2")
    assert site.custody("copy", first, f"oci:{tmp_path / 'kept'}:1") == 0
    before = (tmp_path / "kept" / "index.json").read_bytes()
    assert site.custody("copy", second, f"oci:{tmp_path / 'kept'}:1") == 1
    assert f"is {first.partition('@')[2]} already, and would become {second.partition('@')[2]}" in (
        capsys.readouterr().err)
    assert (tmp_path / "kept" / "index.json").read_bytes() == before
    assert site.custody("copy", "-f", second, f"oci:{tmp_path / 'kept'}:1") == 0
    assert second.partition("@")[2] in (tmp_path / "kept" / "index.json").read_text()
    key = str(site.folder / "cosign.key")
    for image in (f"{site.registry}/ours", f"{site.registry}/theirs"):  # a signature of theirs is not written over
        assert site.custody("copy", "--force", first, f"{image}:1") == 0
        assert site.custody("sign", "--format", "legacy", "-a", f"at={image[-4:]}", "--key", key,
                            f"{image}@{first.partition('@')[2]}") == 0
    capsys.readouterr()
    assert site.custody("copy", f"{site.registry}/ours:1", f"{site.registry}/theirs:1") == 1
    assert ".sig: is sha256:" in capsys.readouterr().err


def test_a_layout_with_changed_or_missing_bytes(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = cargo.laden(site, "changed")
    for number, (damage, reason) in enumerate((
            (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"), "its bytes are sha256:"),
            (lambda path: path.unlink(), "which is not there"),
            (lambda path: (path.unlink(), path.symlink_to("/etc/hostname")), "is no regular file"))):
        folder = tmp_path / f"layout-{number}"
        assert site.custody("copy", "-r", image, f"oci:{folder}:1") == 0
        digest = next(entry["digest"] for entry in json.loads((folder / "index.json").read_text())["manifests"]
                      if entry["annotations"].get("kind", "").endswith("/imageIndex"))
        path = folder / "blobs" / "sha256" / digest.partition(":")[2]
        capsys.readouterr()
        damage(path)
        assert site.custody("copy", "-r", f"oci:{folder}:1", f"{site.registry}/not-{number}:1") != 0
        assert reason in capsys.readouterr().err
        assert site.custody("verify", "--key", str(site.folder / "cosign.pub"), f"oci:{folder}:1") != 0


def test_what_is_no_place(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = site.push("places")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("dear")
    for arguments, reason in (
            ((image, f"oci:{tmp_path / 'full'}"), "holds files and is no OCI layout"),
            ((f"oci:{tmp_path / 'none'}", image), "is no folder"),
            ((f"oci:{tmp_path / 'full'}", image), "No such file or directory"),
            ((image, f"archive:{tmp_path / 'x.tar'}"), "has no place for evidence"),
            ((image, f"{site.registry}/elsewhere@sha256:{'0' * 64}"), "got another digest than the image's, sha256:"),
            ((image, f"oci:{tmp_path / 'x'}@sha256:{'0' * 64}"), "expected a tag after the folder")):
        capsys.readouterr()
        assert site.custody("copy", *arguments) == 2
        assert reason in capsys.readouterr().err
