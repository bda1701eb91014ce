"""`custody notation` where it verifies: what its commands refuse, and what a doctor says of chains."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from custody.cli.run import run
from custody.sign.notary.directory import Directory
from tests.sign.notary.materials import (
    authority,
    chain_of,
    directory_in,
    environment,
    issue,
    key_of,
    list_key,
    pem,
    trust,
)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Directory:
    made = directory_in(tmp_path / "notation")
    for name, value in environment(made).items():
        if name.startswith("NOTATION_"):
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return made


def write(name: str, *certificates: x509.Certificate) -> str:
    Path(name).write_bytes(pem(*certificates))
    return name


def flaws(capsys: pytest.CaptureFixture[str], *chain: x509.Certificate, kind: str = "ca") -> dict[str, bool]:
    """By rule whether verifiers refuse it."""
    capsys.readouterr()
    code = run(["notation", "cert", "doctor", "-t", kind, "-o", "json", write("chain.pem", *chain)])
    said: dict[str, bool] = {}
    for flaw in json.loads(capsys.readouterr().out)["flaws"]:
        said[flaw["rule"]] = said.get(flaw["rule"], False) or flaw["refused"]
    assert code == (3 if any(said.values()) else 0)
    return said


def test_the_doctor_names_what_is_missing(directory: Directory, capsys: pytest.CaptureFixture[str]) -> None:
    assert directory
    good = chain_of("EC-256")
    above, key = authority()
    now = datetime.now(UTC)

    def leaf(**changes: Any) -> tuple[x509.Certificate, ...]:
        said = {"purposes": [Usage.CODE_SIGNING], **changes}
        return (issue(key_of("EC-256"), "leaf", (above[0], key), **said), *above)

    assert flaws(capsys, *good) == {"revocation": False}  # nobody can be asked for it, and no verifier minds
    cases: list[tuple[tuple[x509.Certificate, ...], str]] = [
        (good[:1], "chain-root"), (good[:2], "chain-root"), ((good[0], good[2], good[1]), "chain-order"),
        ((good[0], good[2]), "chain-order"), ((*good, good[2]), "chain-order"),
        (leaf(usages=()), "key-usage"), (leaf(usages=("digital_signature", "key_encipherment")), "key-usage"),
        (leaf(usages=("key_cert_sign",)), "key-usage"), (leaf(purposes=[Usage.SERVER_AUTH]), "extended-key-usage"),
        (leaf(purposes=[Usage.CODE_SIGNING, Usage.TIME_STAMPING]), "extended-key-usage"),
        (leaf(purposes=[Usage.ANY_EXTENDED_KEY_USAGE]), "extended-key-usage"), (leaf(ca=True), "basic-constraints"),
        (leaf(start=now - timedelta(days=2), end=now - timedelta(days=1)), "validity")]
    for chain, rule in cases:
        assert flaws(capsys, *chain).get(rule) is True, rule
    weak = (issue(key_of("RSA-1024"), "leaf", (above[0], key)), *above)
    assert flaws(capsys, *weak)["key-size"] is True
    assert flaws(capsys, *leaf(usages=("digital_signature", "content_commitment")))["key-usage"] is False
    assert flaws(capsys, *good, kind="tsa")["extended-key-usage"] is True
    stamping = leaf(purposes=[Usage.TIME_STAMPING], purposes_critical=True)
    assert not any(flaws(capsys, *stamping, kind="tsa").values())
    assert flaws(capsys, *leaf(purposes=[Usage.TIME_STAMPING]), kind="tsa")["extended-key-usage"] is True
    run(["notation", "cert", "doctor", write("chain.pem", *good[:1])])
    said = capsys.readouterr()
    assert "✗ chain-root: " in said.out
    assert "1 requirement" not in said.err or "chain-root" in said.err


def test_stores_refuse_what_could_not_be_used(directory: Directory, capsys: pytest.CaptureFixture[str]) -> None:
    leaf, between, root = chain_of("EC-256")
    Path("junk.pem").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    Path("empty.pem").write_text("")
    for arguments, words in ((["-t", "ca", write("leaf.pem", leaf)], "neither a CA's certificate nor self-signed"),
                             (["-t", "tsa", write("between.pem", between)], "is no root"),
                             (["-t", "ca", "junk.pem"], "expected CERTIFICATE"),
                             (["-t", "ca", "empty.pem"], "1 to 1000"),
                             (["-t", "cb", write("root.pem", root)], "trust store type"),
                             (["-t", "ca", "missing.pem"], "No such file")):
        capsys.readouterr()
        assert run(["notation", "cert", "add", "-s", "acme", *arguments]) == 2
        assert words in capsys.readouterr().err
    assert run(["notation", "cert", "add", "-t", "ca", "-s", "../x", "root.pem"]) == 2
    assert run(["notation", "cert", "add", "-t", "ca", "-s", "acme", "root.pem", "leaf.pem"]) == 2
    said = capsys.readouterr()
    assert "root.pem" in said.out
    assert "leaf.pem" in said.err
    assert run(["notation", "cert", "add", "-t", "ca", "-s", "acme", "root.pem"]) == 2
    assert "already exists in the Trust Store" in capsys.readouterr().err
    (directory.trust_store("ca", "acme") / "broken.pem").write_text("x")
    assert run(["notation", "cert", "list"]) == 4
    said = capsys.readouterr()
    assert "root.pem" in said.out
    assert "broken.pem" in said.err
    for arguments in (["cert", "show", "-t", "ca", "-s", "acme", "../../root.pem"],
                      ["cert", "delete", "-y", "-t", "ca", "-s", "acme", ".."],
                      ["cert", "delete", "-t", "ca", "-s", "acme"],
                      ["cert", "delete", "-t", "ca", "-s", "acme", "-a", "x"]):
        assert run(["notation", *arguments]) == 2, arguments


def test_files_that_are_signed(directory: Directory, capsys: pytest.CaptureFixture[str]) -> None:
    list_key(directory, "mine", key_of("EC-384"), chain_of("EC-384"), default=True)
    trust(directory, "ca", "acme", chain_of("EC-384")[-1])
    Path("notes.txt").write_text("one")
    assert run(["notation", "blob", "sign", "-m", "env=prod", "notes.txt"]) == 0
    verify = ["notation", "blob", "verify", "--signature", "notes.txt.jws.sig", "notes.txt"]
    capsys.readouterr()
    assert run(verify) == 2
    assert "there is no trust policy" in capsys.readouterr().err
    init = ["notation", "blob", "policy", "init", "-n", "files", "--trust-store", "ca:acme", "--trusted-identity", "*"]
    assert run(init) == 0
    assert run(verify) == 4
    assert "no statement has globalPolicy" in capsys.readouterr().err
    assert run([*verify, "--policy-name", "files"]) == 0
    assert run([*init, "--global", "--force"]) == 0
    capsys.readouterr()
    assert run(verify) == 0
    said = capsys.readouterr().out
    assert said.startswith("Successfully verified signature for notes.txt\n")
    assert "env   prod" in said
    for more, words in ((["--media-type", "text/plain"], "of the media type application/octet-stream"),
                        (["-m", "env=test"], "the signature has no env=test"),
                        (["--policy-name", "x"], "is named 'x'")):
        assert run([*verify, *more]) == 4, more
        assert words in capsys.readouterr().err
    assert run(["notation", "blob", "policy", "show"]) == 0
    assert json.loads(capsys.readouterr().out)["trustPolicies"][0]["globalPolicy"] is True
    Path("notes.txt").write_text("two")
    assert run(verify) == 4
    assert "of the digest sha384:" in capsys.readouterr().err
    for name, words in (("x.sig", "does not say which envelope"), ("x.xml.sig", "does not say"),
                        ("x.jws.sig", "No such file")):
        assert run(["notation", "blob", "verify", "--signature", name, "notes.txt"]) == 2
        assert words in capsys.readouterr().err


def test_policies_are_replaced_by_whoever_says_so(directory: Directory, capsys: pytest.CaptureFixture[str],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    init = ["notation", "policy", "init", "-n", "all", "--trust-store", "ca:acme", "--trusted-identity", "*"]
    assert run(["notation", "policy", "show"]) == 4
    assert run(init) == 0
    before = (directory.config / "trustpolicy.json").read_text()
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert run([*init[:4], "other", *init[5:]]) == 0  # nobody answered, so nothing is done
    assert (directory.config / "trustpolicy.json").read_text() == before
    assert "Operation cancelled" in capsys.readouterr().out
    Path("bad.json").write_text(before.replace("strict", "strictest"))
    assert run(["notation", "policy", "import", "--force", "bad.json"]) == 2
    assert "'strictest'" in capsys.readouterr().err
    assert (directory.config / "trustpolicy.json").read_text() == before
    (directory.config / "trustpolicy.json").write_text("{}")
    capsys.readouterr()
    assert run(["notation", "policy", "show"]) == 0
    said = capsys.readouterr()
    assert said.out == "{}"
    assert "is invalid" in said.err
    (directory.config / "trustpolicy.oci.json").write_text(before)
    capsys.readouterr()
    assert run(["notation", "policy", "show"]) == 0
    assert capsys.readouterr().out == before  # the newer name counts where it is there
