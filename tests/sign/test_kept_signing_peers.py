"""cosign 3 and 2 over the same key management services and the same plugin as custody, both ways."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import peer
from tests.sign.kms import TOKEN, AwsKms, Transit
from tests.sign.site import Site
from tests.sign.test_kept_signing import aws, blob, vault
from tests.sign.test_kmsplugin import plugin

pytestmark = pytest.mark.peer
PEERS = ("cosign-v3", "cosign-v2")
__all__ = ["aws", "blob", "plugin", "vault"]
Cosign = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=PEERS)
def cosign(request: pytest.FixtureRequest, tmp_path: Path) -> Cosign:
    """The program, with all that the environment says of services."""
    program = peer(request.param)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        if request.param == "cosign-v2" and arguments[0] in ("sign-blob", "verify-blob"):
            arguments = (arguments[0], "--new-bundle-format", *arguments[1:])
        if request.param == "cosign-v2" and arguments[0] == "sign-blob":
            arguments = tuple("--tlog-upload=false" if argument.startswith("--signing-config=") else argument
                              for argument in arguments)
        own = {name: value for name, value in os.environ.items()
               if (name.startswith(("VAULT_", "AWS_", "KMS_")) and name != "AWS_CA_BUNDLE") or name in (
                   "PATH", "SSL_CERT_FILE")}
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, cwd=tmp_path,
                              env={**own, "HOME": str(tmp_path), "COSIGN_PASSWORD": "", "SIGSTORE_NO_CACHE": "1"})

    return run


def both_ways(site: Site, cosign: Cosign, name: str, blob: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
              ) -> None:
    """By one key: the same public key, custody's bundle is good for cosign, and cosign's for custody."""
    config = str(site.folder / "empty.json")
    assert site.custody("public-key", "--key", name) == 0
    printed = cosign("public-key", "--key", name)
    assert printed.stdout == capsys.readouterr().out, printed.stderr
    ours = str(tmp_path / "ours.json")
    assert site.custody("sign-blob", "--key", name, "--signing-config", config, "--bundle", ours, blob) == 0
    theirs = ("verify-blob", "--key", name, "--bundle", ours, "--insecure-ignore-tlog", "--trusted-root",
              str(site.folder / "root.json"))
    done = cosign(*theirs, blob)
    assert "Verified OK" in done.stderr, done.stderr
    (tmp_path / "changed").write_bytes(b"another file")
    assert cosign(*theirs, "changed").returncode != 0
    done = cosign("sign-blob", "--key", name, f"--signing-config={config}", "--yes", "--bundle", "theirs.json", blob)
    assert done.returncode == 0, done.stderr
    line = ("verify-blob", "--key", name, "--bundle", str(tmp_path / "theirs.json"), "--insecure-ignore-tlog")
    assert site.custody(*line, blob) == 0
    assert site.custody(*line, str(tmp_path / "changed")) == 4


@pytest.mark.parametrize("kind", ["ecdsa-p256", "rsa-2048"])
@pytest.mark.parametrize("scheme", ["hashivault", "openbao"])
def test_vault(site: Site, cosign: Cosign, vault: Transit, scheme: str, kind: str, blob: str, tmp_path: Path,
               capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> None:
    if scheme == "openbao" and request.node.callspec.params["cosign"] == "cosign-v2":
        pytest.skip("cosign 2 knows no openbao://")
    vault.add("release", kind)
    both_ways(site, cosign, f"{scheme}://release", blob, tmp_path, capsys)


@pytest.mark.parametrize("spec", ["ECC_NIST_P256", "ECC_NIST_P384", "RSA_2048"])
def test_aws(site: Site, cosign: Cosign, aws: tuple[AwsKms, str], spec: str, blob: str, tmp_path: Path,
             capsys: pytest.CaptureFixture[str]) -> None:
    service, host = aws
    service.add("alias/release", spec)
    both_ways(site, cosign, f"{host}alias/release", blob, tmp_path, capsys)


@pytest.mark.parametrize("service", ["vault", "aws"])
def test_images(site: Site, cosign: Cosign, vault: Transit, aws: tuple[AwsKms, str], service: str) -> None:
    vault.add("release")
    aws[0].add("alias/release")
    name = "hashivault://release" if service == "vault" else f"{aws[1]}alias/release"
    image = site.push("peers-kept")
    config = ("--signing-config", str(site.folder / "empty.json"))
    verify = ("verify", "--key", name, "--insecure-ignore-tlog")
    assert site.custody("sign", "--key", name, *config, "--format", "both", image) == 0
    theirs = (*verify, "--allow-http-registry", "--trusted-root", str(site.folder / "root.json"))
    done = cosign(*theirs, image)
    assert done.returncode == 0, done.stderr
    another = site.push("peers-kept-2", b"another layer")
    assert cosign(*theirs, another).returncode != 0
    assert site.custody(*verify, another) == 4
    done = cosign("sign", "--key", name, "--tlog-upload=false", "--yes", "--allow-http-registry", another)
    if "--signing-config" in done.stderr or "use-signing-config" in done.stderr:
        done = cosign("sign", "--key", name, *config, "--yes", "--allow-http-registry", another)
    assert done.returncode == 0, done.stderr
    assert site.custody(*verify, another) == 0


def test_a_key_that_cosign_makes_is_custodys_too(site: Site, cosign: Cosign, vault: Transit,
                                                 aws: tuple[AwsKms, str], tmp_path: Path) -> None:
    for name in ("hashivault://made", f"{aws[1]}alias/made"):
        done = cosign("generate-key-pair", "--kms", name, "--output-key-prefix", "theirs")
        assert done.returncode == 0, done.stderr
        (tmp_path / "ours.pub").unlink(missing_ok=True)
        assert site.custody("generate-key-pair", "--kms", name, "--output-key-prefix", str(tmp_path / "ours")) == 0
        assert (tmp_path / "ours.pub").read_bytes() == (tmp_path / "theirs.pub").read_bytes()
    assert TOKEN  # what cosign was heard by


def test_a_plugin(site: Site, cosign: Cosign, plugin: Path, blob: str, tmp_path: Path,
                  capsys: pytest.CaptureFixture[str]) -> None:
    done = cosign("generate-key-pair", "--kms", f"files://{plugin}/release.pem", "--output-key-prefix", "theirs")
    assert done.returncode == 0, done.stderr
    both_ways(site, cosign, f"files://{plugin}/release.pem", blob, tmp_path, capsys)


def test_a_larger_key_of_vault(site: Site, cosign: Cosign, vault: Transit, blob: str, tmp_path: Path) -> None:
    """cosign 2 signs and verifies by SHA-256 there, whatever the curve, and cosign 3 does not sign.

    custody signs by the curve's hash, and takes both.
    """
    vault.add("release", "ecdsa-p384")
    name, config = "hashivault://release", str(site.folder / "empty.json")
    done = cosign("sign-blob", "--key", name, f"--signing-config={config}", "--yes", "--bundle", "theirs.json", blob)
    if done.returncode != 0:
        assert "unexpected length of digest for hash function specified" in done.stderr
    else:
        assert site.custody("verify-blob", "--key", name, "--bundle", str(tmp_path / "theirs.json"),
                            "--insecure-ignore-tlog", blob) == 0
    ours = str(tmp_path / "ours.json")
    assert site.custody("sign-blob", "--key", name, "--signing-config", config, "--bundle", ours, blob) == 0
    done = cosign("verify-blob", "--key", name, "--bundle", ours, "--insecure-ignore-tlog", "--trusted-root",
                  str(site.folder / "root.json"), blob)
    assert done.returncode != 0
    assert site.custody("public-key", "--key", name, "--outfile", str(tmp_path / "k.pub")) == 0
    done = cosign("verify-blob", "--key", "k.pub", "--bundle", ours, "--insecure-ignore-tlog", "--trusted-root",
                  str(site.folder / "root.json"), "--signature-digest-algorithm", "sha384", blob)
    assert done.returncode == 0, done.stderr
