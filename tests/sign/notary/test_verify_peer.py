"""The real `notation` signs and custody verifies, with one directory between them: keys, stores, policies, lists."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from custody.cli.run import run
from custody.sign.notary.directory import Directory
from tests.conftest import peer
from tests.serving import registry_on
from tests.sign.notary.materials import (
    KINDS,
    chain_of,
    directory_in,
    environment,
    key_of,
    layout,
    list_key,
    push_image,
    time_authority,
    trust,
)
from tests.sign.notary.materials import pem as pem_of


def policy(directory: Directory, **changes: Any) -> None:
    statement = {"name": "one", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
                 "trustStores": ["ca:acme"], "trustedIdentities": ["x509.subject: C=US, ST=WA, O=acme"], **changes}
    directory.config.mkdir(parents=True, exist_ok=True)
    (directory.config / "trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [statement]}))


def notation(directory: Directory, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([peer("notation"), *arguments], env=environment(directory), capture_output=True, text=True,
                          timeout=60, check=False)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Directory:
    peer("notation")
    made = directory_in(tmp_path / "notation")
    for name, value in environment(made).items():
        if name.startswith("NOTATION_"):
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with registry_on(tmp_path / "registry") as (host, _):
        yield host


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["jws", "cose"])
def test_what_notation_signs_custody_verifies(kind: str, form: str, directory: Directory, registry: str,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    list_key(directory, "mine", key_of(kind), chain_of(kind), default=True)
    trust(directory, "ca", "acme", chain_of(kind)[-1])
    policy(directory)
    image = asyncio.run(push_image(registry, "app"))
    signed = notation(directory, "sign", "--insecure-registry", "--signature-format", form, "-m", "env=prod", image)
    assert signed.returncode == 0, signed.stderr
    verdict = notation(directory, "verify", "--insecure-registry", image)
    assert verdict.returncode == 0, verdict.stderr
    capsys.readouterr()
    assert run(["notation", "verify", image]) == 0
    ours = capsys.readouterr().out
    assert ours == verdict.stdout  # the words too
    assert "Successfully verified signature for" in ours
    assert run(["notation", "verify", "-m", "env=prod", image]) == 0
    capsys.readouterr()
    assert run(["notation", "verify", "-m", "env=test", image]) == 4
    assert "the signature has no env=test" in capsys.readouterr().err
    assert notation(directory, "verify", "--insecure-registry", "-m", "env=test", image).returncode == 1
    assert run(["notation", "list", image]) == 0
    assert capsys.readouterr().out == notation(directory, "list", "--insecure-registry", image).stdout


def test_inspect_says_what_notation_says(directory: Directory, registry: str,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    list_key(directory, "mine", key_of("EC-256"), chain_of("EC-256"), default=True)
    image = asyncio.run(push_image(registry, "app"))
    with time_authority() as (url, root):
        (directory.config / "tsa.pem").write_bytes(pem_of(root))
        for form in ("jws", "cose"):
            signed = notation(directory, "sign", "--insecure-registry", "--signature-format", form, "-e", "24h",
                              "-m", "env=prod", "--timestamp-url", url, "--timestamp-root-cert",
                              str(directory.config / "tsa.pem"), image)
            assert signed.returncode == 0, signed.stderr
    theirs = json.loads(notation(directory, "inspect", "--insecure-registry", "-o", "json", image).stdout)
    capsys.readouterr()
    assert run(["notation", "inspect", "-o", "json", image]) == 0
    assert json.loads(capsys.readouterr().out) == theirs
    assert run(["notation", "inspect", image]) == 0
    shown = notation(directory, "inspect", "--insecure-registry", image).stdout
    assert _lines(capsys.readouterr().out) == _lines(shown)


def _lines(tree: str) -> list[str]:
    """notation gives attributes in another order each time."""
    return sorted(line.lstrip(" │├└─") for line in tree.splitlines())


def test_timestamps_by_notation(directory: Directory, registry: str, capsys: pytest.CaptureFixture[str]) -> None:
    list_key(directory, "mine", key_of("EC-256"), chain_of("EC-256"), default=True)
    trust(directory, "ca", "acme", chain_of("EC-256")[-1])
    image = asyncio.run(push_image(registry, "app"))
    with time_authority() as (url, root):
        (directory.config / "tsa.pem").write_bytes(pem_of(root))
        signed = notation(directory, "sign", "--insecure-registry", "--timestamp-url", url, "--timestamp-root-cert",
                          str(directory.config / "tsa.pem"), image)
        assert signed.returncode == 0, signed.stderr
        trust(directory, "tsa", "time", root)
    policy(directory, trustStores=["ca:acme", "tsa:time"])
    assert notation(directory, "verify", "--insecure-registry", image).returncode == 0
    assert run(["notation", "verify", image]) == 0
    trust(directory, "tsa", "other", chain_of("EC-256")[-1])
    policy(directory, trustStores=["ca:acme", "tsa:other"])
    assert notation(directory, "verify", "--insecure-registry", image).returncode == 1
    capsys.readouterr()
    assert run(["notation", "verify", image]) == 4
    assert "timestamp: no trusted authority issued" in capsys.readouterr().err


def test_a_layout_by_notation(directory: Directory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list_key(directory, "mine", key_of("EC-256"), chain_of("EC-256"), default=True)
    trust(directory, "ca", "acme", chain_of("EC-256")[-1])
    policy(directory, registryScopes=["local/app"])
    digest = layout(tmp_path / "stored")
    signed = notation(directory, "sign", "--oci-layout", f"{tmp_path}/stored@{digest}")
    assert signed.returncode == 0, signed.stderr
    arguments = ["verify", "--oci-layout", "--scope", "local/app", f"{tmp_path}/stored@{digest}"]
    verdict = notation(directory, *arguments)
    assert verdict.returncode == 0, verdict.stderr
    capsys.readouterr()
    assert run(["notation", *arguments]) == 0
    assert capsys.readouterr().out == verdict.stdout
    for missing in (["verify", "--oci-layout", arguments[-1]], ["verify", "--scope", "local/app", arguments[-1]]):
        assert run(["notation", *missing]) == 2
        assert "give both" in capsys.readouterr().err


def test_stores_and_policies_are_shared(directory: Directory, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    """What one program puts into the directory, the other lists, shows and deletes in the same words."""
    root: x509.Certificate = chain_of("EC-256")[-1]
    (tmp_path / "root.pem").write_bytes(pem_of(root))
    assert run(["notation", "cert", "add", "-t", "ca", "-s", "ours", str(tmp_path / "root.pem")]) == 0
    said = capsys.readouterr().out
    theirs = notation(directory, "cert", "add", "-t", "ca", "-s", "theirs", str(tmp_path / "root.pem"))
    assert said.replace("ours", "theirs") == theirs.stdout
    for arguments in (["cert", "list"], ["cert", "ls", "-s", "ours"], ["cert", "ls", "-t", "ca"],
                      ["certificate", "list", "-t", "tsa"], ["cert", "show", "-t", "ca", "-s", "theirs", "root.pem"]):
        assert run(["notation", *arguments]) == 0, arguments
        assert capsys.readouterr().out == notation(directory, *arguments).stdout, arguments
    policy(directory)
    document = (directory.config / "trustpolicy.json").read_text()
    (directory.config / "trustpolicy.json").unlink()
    (tmp_path / "policy.json").write_text(document)
    assert run(["notation", "policy", "import", str(tmp_path / "policy.json")]) == 0
    assert capsys.readouterr().out == "Trust policy configuration imported successfully.\n"
    assert notation(directory, "policy", "show").stdout == document
    assert notation(directory, "policy", "import", "--force", str(tmp_path / "policy.json")).returncode == 0
    for arguments in (["cert", "delete", "-y", "-t", "ca", "-s", "theirs", "root.pem"],
                      ["cert", "delete", "-y", "-t", "ca", "-s", "ours", "--all"]):
        assert run(["notation", *arguments]) == 0
    assert notation(directory, "cert", "list").stdout == ""
