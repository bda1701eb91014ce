"""No flag is accepted and not obeyed; passwords come from where a script has them; local paths are not a network's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from custody.cli.run import run
from tests.cli.commands import custody
from tests.conftest import peer
from tests.contents.images import layout, tar

IMAGE = "127.0.0.1:1/shop@sha256:" + "0" * 64


@pytest.fixture(name="folder", autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COSIGN_PASSWORD", "pw")
    return tmp_path


def test_tlog_upload_true_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate-key-pair"]) == 0
    for command in (["sign"], ["attest", "--predicate", "p.json"]):
        Path("p.json").write_text("{}")
        assert run([*command, "--tlog-upload=true", "--key", "cosign.key", IMAGE]) == 2
        assert "--tlog-upload=true: no signing config names a log" in capsys.readouterr().err
    Path("config.json").write_text('{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}')
    assert run(["sign", "--tlog-upload=true", "--signing-config", "config.json", "--key", "cosign.key", IMAGE]) == 2
    assert "no signing config names a log" in capsys.readouterr().err
    # Without the flag there is no log to ask for: it goes on, to a registry that is not there.
    assert run(["sign", "--key", "cosign.key", IMAGE]) == 6


@pytest.mark.parametrize(("arguments", "reason"), [
    (["sign", "--key", "cosign.key", "--identity-token", "a.b.c", IMAGE], "--key and --identity-token: give one"),
    (["sign", "--key", "cosign.key", "--upload=false", IMAGE], "--upload=false: the signature would be kept nowhere"),
    (["build", ".", "--repository", "x", "-o", "oci:x", "--tlog-upload=false"], "--tlog-upload: is about signing"),
    (["build", ".", "--repository", "x", "-o", "oci:x", "--signing-config", "c"], "--signing-config: is about signing"),
    (["build", ".", "--repository", "x", "-o", "oci:x", "--trusted-root", "c"], "--trusted-root: is about signing"),
    (["trust", "token", "--email", "a@b.example", "--subject", "https://x"], "--subject: is a workload's"),
    (["serve", "--roles", "log", "--policy", "p.yaml"], "--policy: is for the admission role, and --roles names log"),
    (["sign", "--yes=perhaps", IMAGE], "--yes=perhaps: expected true or false"),
])
def test_flags_that_could_not_be_obeyed_are_refused(arguments: list[str], reason: str,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    layout(Path("image"), [tar([("a", b"")])])
    assert run(arguments) == 2
    assert reason in capsys.readouterr().err


def test_a_platform_that_is_the_images_own(capsys: pytest.CaptureFixture[str]) -> None:
    layout(Path("image"), [tar([("a", b"")])])
    for platform in ("linux", "linux/amd64", "linux/amd64/v2"):  # the image names no variant
        assert run(["sbom", "oci:image", "--platform", platform]) == 0, capsys.readouterr().err
    capsys.readouterr()
    for command, platform in ((["sbom"], "linux/arm64"), (["scan", "--allow-empty-db"], "windows")):
        assert run([*command, "oci:image", "--platform", platform]) == 4
        said = capsys.readouterr()
        assert f"is an image of linux/amd64 by its own configuration, asked for {platform}" in said.err
        assert said.out == ""


def test_the_last_of_two_flags_counts(capsys: pytest.CaptureFixture[str]) -> None:
    run(["generate-key-pair"])
    for flags, warned in ((["--insecure-ignore-tlog"], True), (["--insecure-ignore-tlog=false"], False),
                          (["--insecure-ignore-tlog", "--insecure-ignore-tlog=false"], False),
                          (["--insecure-ignore-tlog=false", "--insecure-ignore-tlog=true"], True)):
        capsys.readouterr()
        run(["verify", "--key", "cosign.pub", *flags, IMAGE])
        assert ("the transparency log was not checked" in capsys.readouterr().err) == warned, flags


def typed(given: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """A command without a terminal and without COSIGN_PASSWORD."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CUSTODY_", "COSIGN_"))}
    return subprocess.run([sys.executable, "-m", "custody.cli.main", *arguments], input=given, capture_output=True,
                          timeout=120, check=False, env=environment)


def test_keygen_no_tty() -> None:
    nobody = typed(b"", "generate-key-pair")
    assert nobody.returncode == 2
    assert nobody.stderr.decode() == (
        "error: Password for the private key: standard input is no terminal and has nothing more to read\n\n"
        "hint: set COSIGN_PASSWORD (to nothing for a key without a password), or pipe the password\n")
    assert not Path("cosign.key").exists()
    made = typed(b"pw", "generate-key-pair")
    assert (made.returncode, made.stderr) == (0, b"")
    wrong = typed(b"", "sign", "--key", "cosign.key", IMAGE)
    assert wrong.returncode == 2
    assert b"COSIGN_PASSWORD" in wrong.stderr
    wrong = typed(b"other", "sign", "--key", "cosign.key", IMAGE)
    assert (wrong.returncode, b"wrong password" in wrong.stderr) == (2, True), wrong.stderr
    assert typed(b"pw", "sign", "--key", "cosign.key", IMAGE).returncode == 6  # the key opens; no registry is there
    assert custody("sign", "--key", "cosign.key", IMAGE, cwd=Path.cwd(), COSIGN_PASSWORD="pw").returncode == 6


@pytest.mark.peer
def test_a_piped_password_is_the_one_that_cosign_reads() -> None:
    """cosign takes all of standard input, the line end too."""
    cosign = peer("cosign-v3")
    made = typed(b"pw\n", "generate-key-pair")
    assert made.returncode == 0
    assert b"warning: the piped password ends with a line end" in made.stderr
    environment = {"PATH": os.environ["PATH"], "HOME": str(Path.cwd())}
    for given, accepted in ((b"pw\n", True), (b"pw", False)):
        done = subprocess.run([cosign, "public-key", "--key", "cosign.key"], input=given, capture_output=True,
                              timeout=60, check=False, env=environment)
        assert (done.returncode == 0) == accepted, done.stderr
    subprocess.run([cosign, "generate-key-pair", "--output-key-prefix", "theirs"], input=b"pw\n", capture_output=True,
                   timeout=60, check=True, env=environment)
    assert typed(b"pw\n", "sign", "--key", "theirs.key", IMAGE).returncode == 6


@pytest.mark.parametrize("arguments", [
    ["sbom", "oci:nosuch"], ["sbom", "archive:nosuch.tar"], ["scan", "oci:nosuch", "--allow-empty-db"],
    ["scan", "sbom:nosuch", "--allow-empty-db"], ["demo", "--image", "oci:nosuch"], ["sbom", "oci:hollow"]])
def test_oci_missing_exit_6(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("hollow").mkdir()
    Path("hollow/oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    assert run(arguments) == 2
    assert "No such file or directory" in capsys.readouterr().err


def test_a_layout_without_one_of_its_blobs(capsys: pytest.CaptureFixture[str]) -> None:
    layout(Path("image"), [tar([("a", b"x")])])
    manifest = json.loads(Path("image/index.json").read_text())["manifests"][0]["digest"]
    layer = json.loads(Path("image/blobs/sha256", manifest[7:]).read_text())["layers"][0]["digest"]
    Path("image/blobs/sha256", layer[7:]).unlink()
    assert run(["sbom", "oci:image"]) == 2
    assert layer[7:] in capsys.readouterr().err


def test_a_branch_that_this_machine_does_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["git", "init", "-q", "repo"], check=True)
    Path("allowed").write_text("")
    assert run(["source", "check", "repo", "--branch", "nope", "--allowed-signers", "allowed"]) == 2
    assert "no branch, tag or commit 'nope'" in capsys.readouterr().err
    assert run(["build", "repo", "--commit", "nope", "--repository", "https://x.example", "-o", "oci:x"]) == 2
