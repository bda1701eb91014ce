"""cosign beside custody: what one copies, saves and loads, the other reads; what both print of an image is the same."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.registry.odd import odd
from tests.serving import registry_on
from tests.sign import cargo
from tests.sign.site import Site

pytestmark = pytest.mark.peer
V2, V3 = "cosign-v2", "cosign-v3"
HTTP = "--allow-http-registry"


@pytest.fixture(scope="module")
def image(site: Site) -> str:
    """By key: in a bundle with a log entry, in the older tag with none, attested."""
    pushed = site.push("folders")
    key = str(site.folder / "cosign.key")
    assert site.custody("sign", "--format", "both", "--key", key, pushed) == 0
    (site.folder / "sbom.json").write_text('{"bomFormat":"CycloneDX","version":1}')
    assert site.custody("attest", "--key", key, "--predicate", str(site.folder / "sbom.json"), "--type", "cyclonedx",
                        pushed) == 0
    return pushed


@pytest.fixture
def lenient(tmp_path: Path) -> Iterator[str]:
    """A registry that takes manifests before their blobs: `cosign load` pushes bundles so, its own too."""
    with registry_on(tmp_path / "lenient", sparse_indexes=True) as (host, _):
        yield host


def cosign(site: Site, program: str, *arguments: str) -> str:
    done = site.cosign(program, *arguments)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


def verify(site: Site, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    trust = ("--trusted-root", "root.json") if program == V3 else ("--insecure-ignore-tlog",)
    return site.cosign(program, "verify", "--key", "cosign.pub", *trust, *arguments)


def test_cosign_3_saves_and_custody_loads(site: Site, image: str, tmp_path: Path,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    cosign(site, V3, "save", HTTP, "--dir", str(tmp_path / "saved"), image)
    public = str(site.folder / "cosign.pub")
    for place in (f"oci:{tmp_path / 'saved'}", f"{site.registry}/from-cosign-3:1"):
        if not place.startswith("oci:"):
            assert site.custody("load", "--dir", str(tmp_path / "saved"), place) == 0
        assert site.custody("verify", "--key", public, place) == 0
        assert site.custody("verify-attestation", "--key", public, "--type", "cyclonedx", place) == 0
        assert site.custody("verify", "--key", public, "--local-image", str(tmp_path / "saved")) == 0
        held, origin = cargo.at(place), cargo.at(image)
        # cosign writes the manifest of the tag anew; its layer, the signature, is the same.
        assert all((key[1] or "").endswith(".sig") for key in origin if key not in held)
    assert verify(site, V3, HTTP, f"{site.registry}/from-cosign-3:1").returncode == 0


def test_custody_saves_and_cosign_3_loads(site: Site, image: str, tmp_path: Path, lenient: str) -> None:
    assert site.custody("save", "--dir", str(tmp_path / "saved"), image) == 0
    assert verify(site, V3, "--local-image", str(tmp_path / "saved")).returncode == 0
    cosign(site, V3, "load", HTTP, "--dir", str(tmp_path / "saved"), f"{lenient}/loaded:1")
    assert verify(site, V3, HTTP, f"{lenient}/loaded:1").returncode == 0
    public = str(site.folder / "cosign.pub")
    assert site.custody("verify", "--key", public, f"{lenient}/loaded:1") == 0
    assert site.custody("verify-attestation", "--key", public, "--type", "cyclonedx", f"{lenient}/loaded:1") == 0


def test_cosign_3_loads_its_own_no_better(site: Site, image: str, tmp_path: Path) -> None:
    """That a registry which wants blobs first refuses `cosign load` is cosign's: it refuses what cosign saved, too."""
    cosign(site, V3, "save", HTTP, "--dir", str(tmp_path / "cosigns"), image)
    assert site.custody("save", "--dir", str(tmp_path / "ours"), image) == 0
    for folder in ("cosigns", "ours"):
        done = site.cosign(V3, "load", HTTP, "--dir", str(tmp_path / folder), f"{site.registry}/strict-{folder}:1")
        assert done.returncode != 0
        assert "MANIFEST_BLOB_UNKNOWN" in done.stderr


@pytest.mark.parametrize("program", [V2, V3])
def test_older_signatures_both_ways(site: Site, tmp_path: Path, program: str) -> None:
    image = site.push(f"older-{program}")
    assert site.custody("sign", "--format", "legacy", "--key", str(site.folder / "cosign.key"), image) == 0
    cosign(site, program, "save", HTTP, "--dir", str(tmp_path / "theirs"), image)
    assert site.custody("save", "--dir", str(tmp_path / "ours"), image) == 0
    assert site.custody("load", "--dir", str(tmp_path / "theirs"), f"{site.registry}/older-a-{program}:1") == 0
    cosign(site, program, "load", HTTP, "--dir", str(tmp_path / "ours"), f"{site.registry}/older-b-{program}:1")
    for name in ("a", "b"):
        place = f"{site.registry}/older-{name}-{program}:1"
        done = site.cosign(program, "verify", "--key", "cosign.pub", "--insecure-ignore-tlog", HTTP, place)
        assert done.returncode == 0, done.stderr
        assert site.custody("verify", "--key", str(site.folder / "cosign.pub"), "--insecure-ignore-tlog", place) == 0


@pytest.mark.parametrize("program", [V2, V3])
def test_an_index_both_ways(site: Site, tmp_path: Path, program: str) -> None:
    image = cargo.laden(site, f"index-{program}")
    assert site.custody("save", "--dir", str(tmp_path / "ours"), image) == 0
    with registry_on(tmp_path / "lenient", sparse_indexes=True) as (host, _):
        cosign(site, program, "load", HTTP, "--dir", str(tmp_path / "ours"), f"{host}/index:1")
        assert site.custody("verify", "--key", str(site.folder / "cosign.pub"), "--insecure-ignore-tlog",
                            f"{host}/index:1") == 0
        assert site.custody("copy", f"{host}/index:1", f"{host}/again:1") == 0
    cosign(site, program, "save", HTTP, "--dir", str(tmp_path / "theirs"), image)
    assert site.custody("load", "--dir", str(tmp_path / "theirs"), f"{site.registry}/index-of-{program}:1") == 0
    assert site.custody("verify", "--key", str(site.folder / "cosign.pub"), "--insecure-ignore-tlog",
                        f"{site.registry}/index-of-{program}:1") == 0


@pytest.mark.parametrize("program", [V2, V3])
def test_cosign_copies_where_there_is_no_referrers_api(site: Site, image: str, program: str,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    """It tags the image itself with what is the fallback tag; that is no list, and a bundle still finds its place."""
    with odd(referrers=404) as registry:
        target = f"{registry.host}/copied:1"
        cosign(site, program, "copy", HTTP, image, target)
        public = str(site.folder / "cosign.pub")
        assert site.custody("verify", "--key", public, "--insecure-ignore-tlog", target) == 0
        assert site.custody("verify", "--key", public, target) == 4  # cosign leaves bundles behind
        assert site.custody("copy", image, target) == 0
        assert site.custody("verify", "--key", public, target) == 0


def test_cosign_verifies_what_custody_copied(site: Site, image: str) -> None:
    with odd(referrers=404) as registry:
        target = f"{registry.host}/carried:1"
        assert site.custody("copy", image, target) == 0
        done = verify(site, V3, HTTP, target)
        assert done.returncode == 0, done.stderr
        done = site.cosign(V3, "verify-attestation", "--key", "cosign.pub", "--trusted-root", "root.json", "--type",
                           "cyclonedx", HTTP, target)
        assert done.returncode == 0, done.stderr


def lines(text: str) -> list[str]:
    """Documents without fields of default values: custody prints what is stored, cosign what it makes of that."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items() if inner not in ("0", [], "")}
        return [plain(inner) for inner in value] if isinstance(value, list) else value

    return sorted(json.dumps(plain(json.loads(line)), sort_keys=True) for line in text.splitlines())


def test_both_print_the_same(site: Site, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    bare = site.push("folders-bare")
    assert site.custody("sign", "--format", "legacy", "--key", str(site.folder / "cosign.key"), bare) == 0
    for arguments in (("download", "signature", image), ("download", "signature", bare),
                      ("download", "attestation", image), ("triangulate", image),
                      ("triangulate", "--type=digest", image),
                      ("download", "attestation", "--predicate-type=cyclonedx", image),
                      ("triangulate", "--type=attestation", image), ("triangulate", "--type=sbom", image)):
        capsys.readouterr()
        assert site.custody(*arguments) == 0
        ours = capsys.readouterr().out
        theirs = cosign(site, V3, *arguments[:-1], HTTP, arguments[-1])
        if arguments[0] == "triangulate":
            assert ours == theirs
        else:
            assert lines(ours) == lines(theirs), arguments


def test_both_clean_alike(site: Site, image: str) -> None:
    left = {}
    for program in (V3, "custody"):
        name = f"{site.registry}/cleaned-by-{program}"
        assert site.custody("copy", "-r", image, f"{name}:1") == 0
        if program == "custody":
            assert site.custody("clean", "-f", f"{name}:1") == 0
        else:
            cosign(site, program, "clean", HTTP, "-f", f"{name}:1")
        left[program] = cargo.at(f"{name}:1")
    assert set(left["custody"]) <= set(left[V3])
