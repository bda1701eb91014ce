"""`sign --formats v2,v3,notation`: what every verifier reads, in one go."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import peer
from tests.sign.notary.materials import (
    authority,
    chain_of,
    directory_in,
    environment,
    key_of,
    list_key,
    trust,
)
from tests.sign.site import Site


@pytest.fixture(name="notation")
def _notation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A directory with two keys, the authority above them, and a policy; the environment that names it."""
    directory = directory_in(tmp_path / "notation")
    for kind, default in (("EC-256", True), ("RSA-2048", False)):
        list_key(directory, kind, key_of(kind), chain_of(kind), default=default)
    trust(directory, "ca", "acme", authority()[0][-1])
    (directory.config / "trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [{
        "name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:acme"], "trustedIdentities": ["x509.subject: C=US, ST=WA, O=acme"]}]}))
    variables = environment(directory)
    for name, value in variables.items():
        if name.startswith("NOTATION_"):
            monkeypatch.setenv(name, value)
    return variables


def test_all_three(site: Site, notation: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    image, key, public = site.push("three"), str(site.folder / "cosign.key"), str(site.folder / "cosign.pub")
    assert site.custody("sign", "--key", key, "--formats", "v2, v3,notation", "-a", "env=prod", image) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 3
    assert "signed for notation by" in said.err
    assert site.custody("verify", "--key", public, "-a", "env=prod", image) == 0
    assert site.custody("notation", "verify", "-m", "env=prod", image) == 0
    assert "Successfully verified signature for" in capsys.readouterr().out
    assert site.custody("notation", "verify", "-m", "env=test", image) != 0
    for program in ("cosign-v3", "cosign-v2"):
        if (binary := _built(program)) is not None:
            more = ("--trusted-root", str(site.folder / "root.json"))
            done = site.cosign(binary, "verify", "--key", public, "-a", "env=prod", *more, image)
            assert done.returncode == 0, done.stderr
    if (binary := _built("notation")) is not None:
        done = subprocess.run([binary, "verify", "--insecure-registry", image], env=notation, text=True, timeout=60,
                              capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def _built(program: str) -> str | None:
    try:
        return peer(program)
    except pytest.skip.Exception:
        return None


def test_notation_alone_asks_for_no_identity(site: Site, notation: dict[str, str],
                                             capsys: pytest.CaptureFixture[str]) -> None:
    assert notation
    image = site.push("alone")
    assert site.custody("sign", "--formats", "notation", "--notation-key", "RSA-2048", image) == 0
    assert site.custody("notation", "verify", image) == 0
    capsys.readouterr()
    assert site.custody("notation", "inspect", "-o", "json", image) == 0
    assert "RSASSA-PSS-SHA-256" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "reason"), [
    (("--formats", "v4"), "--formats: got 'v4', expected v2, v3 and notation"),
    (("--formats", "v3,"), "--formats: got '', expected v2, v3 and notation"),
    (("--formats", "v3", "--format", "both"), "--format and --formats: give one"),
    (("--formats", "v3", "--notation-key", "x"), "--notation-key: nothing is signed for notation"),
    (("--formats", "v3,notation", "--notation-key", "nobody"), "nobody"),
    (("--formats", "v2,notation", "--bundle", "b.json"), "--bundle: --formats v2,notation makes none"),
    (("--formats", "v3,notation", "--upload=false", "--bundle", "b.json"), "--upload=false: a signature of --formats"),
    (("--format", "both", "--upload=false", "--bundle", "b.json"), "--upload=false: a signature of --format both")])
def test_what_is_refused(site: Site, notation: dict[str, str], capsys: pytest.CaptureFixture[str],
                         arguments: tuple[str, ...], reason: str) -> None:
    assert notation
    assert site.custody("sign", "--key", str(site.folder / "cosign.key"), *arguments, site.push("refused")) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("more", [("--key", "nowhere"), ("--identity-token", "x.y.z"), ("--tlog-upload=true",),
                                  ("--signing-config", "nowhere"), ("--trusted-root", "nowhere"),
                                  ("--oidc-client-id", "x"), ("--oidc-disable-ambient-providers",)])
def test_notation_alone_takes_nothing_that_signs_the_others(site: Site, notation: dict[str, str],
                                                            capsys: pytest.CaptureFixture[str],
                                                            more: tuple[str, ...]) -> None:
    assert notation
    assert site.custody("sign", "--formats", "notation", *more, site.push("alone-refused")) == 2
    assert f"{more[0].partition('=')[0]}: --formats notation signs by a key of" in capsys.readouterr().err
