"""`custody notation verify --required-signatures`: as many signers, and nobody counts twice."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from custody.cli.run import run
from tests.conftest import peer
from tests.sign.notary.materials import authority, directory_in, environment, issue, key_of, layout, list_key, trust

Verify = Callable[..., int]
SCOPE = "registry.example/app"


@pytest.fixture
def signed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Verify]:
    """Signs an image with keys, each a kind and a name, and says what verifying it by a policy ends with."""
    directory = directory_in(tmp_path / "notation")
    for name, value in environment(directory).items():
        if name.startswith("NOTATION_"):
            monkeypatch.setenv(name, value)
    image = f"{tmp_path / 'image'}@{layout(tmp_path / 'image')}"
    above, key = authority()
    trust(directory, "ca", "acme", above[1])

    def made(*signers: tuple[str, str], level: str = "strict", identities: str = "*") -> Verify:
        for at, (kind, name) in enumerate(signers):
            leaf = issue(key_of(kind), name, (above[0], key), purposes=[Usage.CODE_SIGNING])
            list_key(directory, f"key-{at}", key_of(kind), (leaf, *above))
            assert run(["notation", "sign", "--key", f"key-{at}", "--oci-layout", image]) == 0
        statement = {"name": "acme", "registryScopes": ["*"], "signatureVerification": {"level": level}}
        if level != "skip":
            statement |= {"trustStores": ["ca:acme"], "trustedIdentities": [identities]}
        directory.oci_policy.write_text(json.dumps({"version": "1.0", "trustPolicies": [statement]}))
        return lambda *more: run(["notation", "verify", "--oci-layout", image, "--scope", SCOPE, *more])

    return made


def test_as_many_signers_as_are_required(signed_by: Callable[..., Verify], capsys: pytest.CaptureFixture[str]) -> None:
    verify = signed_by(("EC-256", "ann"), ("EC-384", "ben"))
    assert verify() == 0
    assert "signed by" not in capsys.readouterr().out  # notation's own words, where nobody asks for more
    assert verify("--required-signatures", "2") == 0
    said = capsys.readouterr().out
    assert "signed by CN=ann," in said
    assert "signed by CN=ben," in said
    assert verify("--required-signatures", "3") == 4
    assert "2 of 3 required signatures count" in capsys.readouterr().err


@pytest.mark.parametrize(("signers", "reason"), [
    ([("EC-256", "ann"), ("EC-256", "ann")], "its signer counts already, by the same name: CN=ann"),
    ([("EC-256", "ann"), ("EC-384", "ANN")], "by the same name"),  # a second key of hers
    ([("EC-256", "ann"), ("EC-256", "ben")], "by the same key")])  # a second name of hers
def test_nobody_counts_twice(signed_by: Callable[..., Verify], capsys: pytest.CaptureFixture[str],
                             signers: list[tuple[str, str]], reason: str) -> None:
    verify = signed_by(*signers)
    assert verify() == 0
    capsys.readouterr()
    assert verify("--required-signatures", "2") == 4
    said = capsys.readouterr().err
    assert "1 of 2 required signatures count" in said
    assert reason in said


def test_whom_the_policy_does_not_name_does_not_count(signed_by: Callable[..., Verify],
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    verify = signed_by(("EC-256", "ann"), ("EC-384", "ben"), identities="x509.subject: C=US, ST=WA, O=acme, CN=ann")
    assert verify() == 0
    assert verify("--required-signatures", "2") == 4
    assert "1 of 2 required signatures count" in capsys.readouterr().err


@pytest.mark.parametrize(("level", "reason"), [
    ("audit", "nobody knows who signed"),
    ("skip", "trust policy acme skips verification, and 2 signatures are required")])
def test_a_level_that_insists_on_nobody(signed_by: Callable[..., Verify], capsys: pytest.CaptureFixture[str],
                                        level: str, reason: str) -> None:
    verify = signed_by(("EC-256", "ann"), ("EC-384", "ben"), level=level,
                       identities="x509.subject: C=US, ST=WA, O=other, CN=x")
    assert verify() == 0
    capsys.readouterr()
    assert verify("--required-signatures", "2") == 4
    assert reason in capsys.readouterr().err


def test_more_than_are_looked_at(signed_by: Callable[..., Verify], capsys: pytest.CaptureFixture[str]) -> None:
    verify = signed_by(("EC-256", "ann"), ("EC-256", "ann"), ("EC-384", "ben"))
    capsys.readouterr()
    assert verify("--required-signatures", "3", "--max-signatures", "2") == 2
    assert "of at most 2 signatures that are looked at" in capsys.readouterr().err
    assert verify("--required-signatures", "0") == 2


@pytest.mark.peer
def test_notation_reads_the_same_policy(signed_by: Callable[..., Verify], tmp_path: Path) -> None:
    program = peer("notation")
    assert signed_by(("EC-256", "ann"), ("EC-384", "ben"))("--required-signatures", "2") == 0
    digest = json.loads((tmp_path / "image" / "index.json").read_text())["manifests"][0]["digest"]
    done = subprocess.run([program, "verify", "--oci-layout", f"{tmp_path / 'image'}@{digest}", "--scope", SCOPE],
                          capture_output=True, text=True, check=False, timeout=60, env={**os.environ})
    assert done.returncode == 0, done.stderr
