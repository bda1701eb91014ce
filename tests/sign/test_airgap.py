"""`save --airgap` and `load`: one folder that needs nothing else on the far side, and none that was changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.sign import cargo
from tests.sign.site import PERSON, Site

FAR = """\
import sys
from custody.cli.run import run
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        print("SOCKET", event, arguments, file=sys.stderr)
sys.addaudithook(hook)
sys.exit(run(sys.argv[1:]))
"""
POLICY = """\
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: signed}
spec:
  webhookTimeoutSeconds: 30
  background: false
  rules:
  - name: by-the-developer
    match: {any: [{resources: {kinds: [Pod]}}]}
    verifyImages:
    - imageReferences: ["127.0.0.1:*"]
      type: SigstoreBundle
      failureAction: Enforce
      attestors:
      - entries:
        - keyless: {subject: dev@example.com, issuer: "%s", rekor: {url: "%s"}}
"""


@pytest.fixture(scope="module")
def folder(site: Site) -> Path:
    """An image, signed and attested keyless, saved and sealed by cosign.key."""
    image = cargo.laden(site, "gap")
    assert site.custody("sign", "--identity-token", site.token(), image) == 0
    assert site.custody("attest", "--identity-token", site.token(), "--predicate", str(site.folder / "sbom.json"),
                        "--type", "cyclonedx", image) == 0
    issuer = site.stack.people.url
    (site.folder / "policy.yaml").write_text(POLICY % (issuer, issuer.removesuffix("/oidc")))
    saved = site.folder / "gap"
    assert site.custody("save", "--airgap", "--key", str(site.folder / "cosign.key"), "--dir", str(saved), "--carry",
                        str(site.folder / "policy.yaml"), image.replace("@", ":1@")) == 0
    (saved / "image").write_text(image)
    (saved / "image").replace(site.folder / "gap-image")
    return saved


def far(site: Site, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command on a machine without a network, that has the folder and a public key."""
    alone = ["unshare", "--user", "--map-root-user", "--net", "--"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True,
                                                         check=False).returncode:
        pytest.skip("unshare --net does not work here")
    shutil.copy(site.folder / "cosign.pub", tmp_path / "carrier.pub")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
           "HOME": str(tmp_path)}
    return subprocess.run([*alone, sys.executable, "-c", FAR, *arguments], cwd=tmp_path, env=env, timeout=60,
                          capture_output=True, text=True, check=False)


def test_the_far_side_needs_nothing_else(site: Site, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "carried")
    digest = (site.folder / "gap-image").read_text().partition("@")[2]
    interfaces = subprocess.run(["unshare", "--user", "--map-root-user", "--net", "cat", "/proc/net/dev"],
                                capture_output=True, text=True, check=False)
    done = far(site, tmp_path, "load", "--dir", "carried", "--key", "carrier.pub")
    assert done.returncode == 0, done.stderr
    assert "eth" not in interfaces.stdout
    assert "files, all as key sha256:" in done.stderr
    for arguments in (("verify", "--certificate-identity", PERSON, "--certificate-oidc-issuer",
                       site.stack.people.url),
                      ("verify-attestation", "--type", "cyclonedx", "--certificate-identity", PERSON,
                       "--certificate-oidc-issuer", site.stack.people.url),
                      ("check", "--policy", "carried/airgap/policy.yaml")):
        done = far(site, tmp_path, *arguments, "--airgap-key", "carrier.pub", "oci:carried")
        assert done.returncode == 0, (arguments, done.stderr)
        assert "SOCKET" not in done.stderr
        assert digest in done.stdout + done.stderr or arguments[0] == "verify-attestation"
    done = far(site, tmp_path, "check", "--policy", "carried/airgap/policy.yaml", "--airgap-key", "carrier.pub",
               "-o", "json", "oci:carried")
    decided = json.loads(done.stdout)[0]
    assert decided["allowed"]
    assert next(iter(decided["evidence"].values()))["digest"] == digest
    # Without the root that was carried nothing keyless counts.
    done = far(site, tmp_path, "verify", "--certificate-identity", PERSON, "--certificate-oidc-issuer",
               site.stack.people.url, "oci:carried")
    assert done.returncode == 4
    assert "there is no trusted root" in done.stderr
    assert "its signed manifest was not looked at" in done.stderr
    done = far(site, tmp_path, "tree", "--trusted-root", "carried/airgap/trusted_root.json", "oci:carried")
    assert f"✓ https://sigstore.dev/cosign/sign/v1  {PERSON}" in done.stdout


def test_loaded_it_is_what_it_was(site: Site, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = (site.folder / "gap-image").read_text()
    assert site.custody("load", "--dir", str(folder), "--key", str(site.folder / "cosign.pub"),
                        f"{site.registry}/landed:1") == 0
    assert cargo.at(f"{site.registry}/landed:1") == cargo.at(image)
    assert site.custody("verify", *site.who(), f"{site.registry}/landed:1") == 0


def rewritten(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def smallest(folder: Path) -> Path:
    return min((folder / "blobs" / "sha256").iterdir(), key=lambda path: (path.stat().st_size, path.name))


@pytest.mark.parametrize(("damage", "reason"), [
    (lambda folder: rewritten(smallest(folder)), "its bytes are sha256:"),
    (lambda folder: rewritten(folder / "index.json"), "index.json: its bytes are sha256:"),
    (lambda folder: rewritten(folder / "airgap" / "trusted_root.json"), "airgap/trusted_root.json: its bytes are"),
    (lambda folder: smallest(folder).unlink(), "is in the signed manifest, and not there"),
    (lambda folder: (folder / "blobs" / "sha256" / ("0" * 64)).write_text("more"), "is not in the signed manifest"),
    (lambda folder: (folder / "airgap" / "extra").write_text(""), "airgap/extra: is not in the signed manifest"),
    (lambda folder: (folder / "link").symlink_to("/etc"), "link: is no regular file"),
    (lambda folder: os.mkfifo(folder / "pipe"), "pipe: is no regular file"),
    (lambda folder: (folder / "oci-layout").unlink(), "oci-layout: is in the signed manifest, and not there"),
    (lambda folder: rewritten(folder / "airgap.sigstore.json"), "airgap.sigstore.json"),
    (lambda folder: (folder / "airgap.sigstore.json").write_text("{}"), "airgap.sigstore.json"),
], ids=["byte", "index", "root", "missing", "blob", "file", "link", "pipe", "no layout", "signature", "no signature"])
def test_a_folder_that_is_not_as_signed(site: Site, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                        damage: Callable[[Path], object], reason: str) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    damage(copied)
    target = f"{site.registry}/refused-{tmp_path.name.replace('_', '-')}".lower()
    for arguments in (("load", "--dir", str(copied), "--key", str(site.folder / "cosign.pub"), f"{target}:1"),
                      ("verify", "--airgap-key", str(site.folder / "cosign.pub"), *site.who(), f"oci:{copied}"),
                      ("check", "--airgap-key", str(site.folder / "cosign.pub"), "--policy",
                       str(site.folder / "policy.yaml"), f"oci:{copied}")):
        capsys.readouterr()
        assert site.custody(*arguments) == 4, arguments
        assert reason in capsys.readouterr().err
    assert site.custody("tree", f"{target}:1") == 6  # nothing was pushed


def test_whose_manifest_it_must_be(site: Site, folder: Path, tmp_path: Path,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    assert site.custody("generate-key-pair", "--output-key-prefix", str(tmp_path / "eve")) == 0
    for arguments, code, reason in (
            (("--key", str(tmp_path / "eve.pub")), 4, "airgap.sigstore.json: signature: the signature is not"),
            ((), 2, "nobody said whose it must be"),
            (site.who(), 4, "airgap.sigstore.json: signed with a key"),
            (("--key", str(site.folder / "cosign.pub"), *site.who()), 2, "give one")):
        capsys.readouterr()
        assert site.custody("load", "--dir", str(folder), *arguments, f"{site.registry}/nowhere:1") == code
        assert reason in capsys.readouterr().err
    # Another's statement of the right kind of shape is no manifest: a signature of the image by the right key.
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    image = (site.folder / "gap-image").read_text()
    (copied / "airgap.sigstore.json").unlink()
    assert site.custody("sign", "--key", str(site.folder / "cosign.key"), "--upload=false", "--bundle",
                        str(copied / "airgap.sigstore.json"), image) == 0
    assert site.custody("load", "--dir", str(copied), "--key", str(site.folder / "cosign.pub")) == 4
    assert "is a statement of type https://sigstore.dev/cosign/sign/v1, expected" in capsys.readouterr().err
    (copied / "airgap.sigstore.json").unlink()
    assert site.custody("load", "--dir", str(copied), "--key", str(site.folder / "cosign.pub"), f"{site.registry}/n:1"
                        ) == 2
    assert "has no signed manifest, so nothing says whose it is" in capsys.readouterr().err
    assert site.custody("verify", "--airgap-key", str(site.folder / "cosign.pub"), *site.who(), f"oci:{copied}") == 4
    assert "there is no signed manifest" in capsys.readouterr().err


def test_sealed_keyless(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, saved = site.push("keyless-gap"), tmp_path / "saved"
    assert site.custody("save", "--airgap", "--identity-token", site.token(), "--dir", str(saved), image) == 0
    assert f"files signed by {PERSON}" in capsys.readouterr().err
    assert site.custody("load", "--dir", str(saved), *site.who()) == 0
    assert site.custody("load", "--dir", str(saved), *site.who("eve@example.com")) == 4
    assert "identity: got 'dev@example.com', expected 'eve@example.com'" in capsys.readouterr().err
    # The root in the folder says nothing of the folder itself.
    (site.folder / "rootless.toml").write_text(f'data_dir = "{tmp_path / "none"}"\n')
    from custody.cli.run import run

    assert run(["--config", str(site.folder / "rootless.toml"), "load", "--dir", str(saved), *site.who()]) == 4
    assert "there is no trusted root to check it against" in capsys.readouterr().err


def test_advisories_go_along(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, saved = site.push("advised"), tmp_path / "saved"
    arguments = ("save", "--airgap", "--advisories", "--key", str(site.folder / "cosign.key"), "--dir", str(saved),
                 image)
    (tmp_path / "A-1.json").write_text(json.dumps({
        "id": "A-1", "modified": "2026-01-01T00:00:00Z", "affected": [
            {"package": {"ecosystem": "PyPI", "name": "x"}, "versions": ["1.0"]}]}))
    data = tmp_path / "data"
    (site.folder / "advised.toml").write_text(
        f'data_dir = "{data}"\ntrusted_root = "root.json"\nsigning_config = "config.json"\n')
    from custody.cli.run import run

    config = ["--config", str(site.folder / "advised.toml")]
    assert run([*config, "db", "import", str(tmp_path / "A-1.json")]) == 0
    assert run([*config, *arguments]) == 0
    assert "advisories.custody: 1 record" in capsys.readouterr().err
    assert run([*config, "load", "--dir", str(saved), "--key", str(site.folder / "cosign.pub")]) == 0
    (site.folder / "beyond.toml").write_text(f'data_dir = "{tmp_path / "beyond"}"\n')
    assert run(["--config", str(site.folder / "beyond.toml"), "db", "import", "--key", str(site.folder / "cosign.pub"),
                str(saved / "airgap" / "advisories.custody")]) == 0


def test_what_save_refuses(site: Site, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, key = site.push("refusing"), str(site.folder / "cosign.key")
    assert site.custody("save", "--dir", str(tmp_path / "plain"), image) == 0
    assert site.custody("save", "--dir", str(tmp_path / "plain"), image) == 0  # again
    other = site.push("refusing", b"other")
    for arguments, reason in (
            (("--dir", str(tmp_path / "plain"), other), "holds another image"),
            (("--airgap", "--key", key, "--dir", str(tmp_path / "plain"), image), "has something in it already"),
            (("--dir", str(folder), image), "has a signed manifest"),
            (("--key", key, "--dir", str(tmp_path / "x"), image), "--key: only --airgap signs"),
            (("--carry", key, "--dir", str(tmp_path / "x"), image), "are part of --airgap"),
            (("--airgap", "--key", key, "--carry", str(folder / "airgap" / "trusted_root.json"), "--dir",
              str(tmp_path / "x"), image), "named as what custody puts there")):
        capsys.readouterr()
        assert site.custody("save", *arguments) == 2
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("more", [("--trusted-root", "nowhere"), ("--signing-config", "nowhere"), ("--key", "nowhere"),
                                  ("--tlog-upload=false",)])
def test_save_without_a_seal_takes_nothing_that_signs(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                      more: tuple[str, ...]) -> None:
    assert site.custody("save", "--dir", str(tmp_path / "new"), *more, site.push("unsealed")) == 2
    assert f"{more[0].partition('=')[0]}: only --airgap signs something" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_carried_is_said_before_the_image_is_copied(site: Site, tmp_path: Path,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert site.custody("save", "--airgap", "--key", str(site.folder / "cosign.key"), "--dir", str(tmp_path / "new"),
                        "--carry", str(tmp_path / "pipe"), site.push("carry-pipe")) == 2
    assert "is no regular file" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("more", [("--certificate-oidc-issuer", "https://x.example"), ("--trusted-root", "nowhere"),
                                  ("--insecure-ignore-tlog",)])
def test_load_by_a_key_takes_nothing_beside_it(site: Site, folder: Path, tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str], more: tuple[str, ...]) -> None:
    assert site.custody("load", "--dir", str(folder), "--key", str(site.folder / "cosign.pub"), *more) == 2
    assert f"{more[0]}: a key's word for the folder counts by itself" in capsys.readouterr().err
    plain = tmp_path / "plain"
    assert site.custody("save", "--dir", str(plain), site.push("plain")) == 0
    assert site.custody("load", "--dir", str(plain), *more, f"{site.registry}/plain-loaded:1") == 2
    assert "has no signed manifest, so nothing says whose it is" in capsys.readouterr().err
