"""`--explain` of signatures of the Notary Project: its validations one by one, where they count and where not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.cli.run import run
from custody.sign.notary.directory import Directory
from custody.sign.steps import NOTARY
from tests.serving import registry_on
from tests.sign.notary.materials import chain_of, directory_in, environment, issue, key_of, list_key, push_image, trust


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Directory:
    made = directory_in(tmp_path / "notation")
    for name, value in environment(made).items():
        if name.startswith("NOTATION_"):
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    list_key(made, "mine", key_of("EC-256"), chain_of("EC-256"), default=True)
    trust(made, "ca", "acme", chain_of("EC-256")[-1])
    return made


@pytest.fixture
def image(tmp_path: Path, directory: Directory) -> Iterator[str]:
    assert directory.config.is_dir()
    with registry_on(tmp_path / "registry") as (host, _):
        name = asyncio.run(push_image(host, "app"))
        assert run(["notation", "sign", "-m", "env=prod", name]) == 0
        yield name


def policy(directory: Directory, level: str = "strict", identity: str = "C=US, ST=WA, O=acme", **changes: Any) -> None:
    said = {"name": "one", "registryScopes": ["*"], "signatureVerification": {"level": level},
            "trustStores": ["ca:acme"], "trustedIdentities": [f"x509.subject: {identity}"], **changes}
    (directory.config / "trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [said]}))


def results(document: dict[str, Any]) -> dict[str, str]:
    return {entry["step"]: entry["result"] for entry in document["steps"]}


def explained(capsys: pytest.CaptureFixture[str], *line: str) -> tuple[int, dict[str, Any]]:
    """The exit code, which is that without --explain, and what it says; standard error is the same."""
    capsys.readouterr()
    plain, said = run([*line]), capsys.readouterr().err
    code = run([*line, "--explain", "-o", "json"])
    told = capsys.readouterr()
    assert (code, told.err) == (plain, said)
    return code, json.loads(told.out)


def test_what_counts(directory: Directory, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    policy(directory)
    code, told = explained(capsys, "notation", "verify", "-m", "env=prod", image)
    document, = told["documents"]
    assert (code, told["verdict"], document["counts"]) == (0, "verified", True)
    assert "O=acme" in document["signer"]
    assert results(document) == {"document": "passed", **dict.fromkeys(NOTARY, "passed"), "plugin": "not-asked"}
    assert run(["notation", "verify", "--explain", image]) == 0
    assert "verified: 1 of 1 found counts" in capsys.readouterr().out


@pytest.mark.parametrize(("changes", "arguments", "code"), [
    ({"identity": "C=US, ST=WA, O=evil"}, (), "identity.refused"),
    ({"trustStores": ["ca:other"]}, (), "authenticity.refused"),
    ({"trustStores": ["ca:acme", "tsa:stamps"]}, (), "timestamp.absent"),
    ({}, ("-m", "env=test"), "annotations.refused")])
def test_what_does_not(changes: dict[str, Any], arguments: tuple[str, ...], code: str, directory: Directory, image: str,
                       capsys: pytest.CaptureFixture[str]) -> None:
    other = issue(key_of("EC-384", 1), "Another", None, ca=True)
    trust(directory, "tsa", "stamps", other)
    trust(directory, "ca", "other", other)
    policy(directory, **changes)
    exit_code, told = explained(capsys, "notation", "verify", *arguments, image)
    document, = told["documents"]
    assert (exit_code, told["verdict"], document["counts"]) == (4, "refused", False)
    assert [entry.get("code") for entry in document["steps"] if entry["result"] == "failed"] == [code]
    assert document["failure"]["code"] == code
    assert document["failure"]["detail"] in told["reason"]
    names = [entry["step"] for entry in document["steps"]]
    assert set(NOTARY) <= set(names)  # those that it did not reach, too


def test_what_is_logged_is_no_failure(directory: Directory, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    policy(directory, "audit", "C=US, ST=WA, O=evil")
    code, told = explained(capsys, "notation", "verify", image)
    document, = told["documents"]
    assert (code, document["counts"], document["failure"]) == (0, True, None)
    assert results(document)["identity"] == "logged"


def test_level_skip_looks_at_nothing(directory: Directory, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    policy(directory)
    document = json.loads((directory.config / "trustpolicy.json").read_text())
    document["trustPolicies"][0] |= {"signatureVerification": {"level": "skip"}}
    document["trustPolicies"][0] = {key: value for key, value in document["trustPolicies"][0].items()
                                    if not key.startswith("trust")}
    (directory.config / "trustpolicy.json").write_text(json.dumps(document))
    code, told = explained(capsys, "notation", "verify", image)
    assert (code, told["verdict"]) == (0, "verified")
    assert [entry["result"] for entry in told["documents"][0]["steps"]] == ["not-asked"]


def test_beside_signatures_of_sigstore(directory: Directory, image: str, tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify` asks for a key: what Notation signed is shown, and counts for nobody there."""
    policy(directory)
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    assert run(["generate-key-pair"]) == 0
    line = ("verify", "--key", "cosign.pub", "--insecure-ignore-tlog", image)
    code, told = explained(capsys, *line)
    document, = told["documents"]
    assert (code, document["counts"], results(document)) == (4, False, {"document": "not-asked"})
    assert "Notary Project" in document["steps"][0]["detail"]
    monkeypatch.setenv("CUSTODY_NOTATION", str(directory.config))
    code, told = explained(capsys, *line)
    document, = told["documents"]
    assert (code, document["counts"], document["failure"]) == (4, False, None)
    assert results(document)["identity"] == "passed"
    assert "trust policy of the setting" in document["aside"]
    monkeypatch.setenv("CUSTODY_NOTATION", str(tmp_path / "gone"))
    code, told = explained(capsys, *line)
    assert code == 4  # as without it: nobody who verifies with a key needs that folder
    assert any("no such folder" in entry["detail"] for document in told["documents"] for entry in document["steps"])


def test_enough_is_enough(directory: Directory, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["notation", "sign", image]) == 0
    policy(directory)
    code, told = explained(capsys, "notation", "verify", image)
    assert (code, [document["counts"] for document in told["documents"]]) == (0, [True, False])
    assert told["documents"][1]["steps"][0]["detail"] == "enough signatures count without it"


def test_how_it_prints_is_not_said_in_vain(directory: Directory, image: str,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    policy(directory)
    assert run(["notation", "verify", "-o", "json", image]) == 2
    assert "--explain is not given" in capsys.readouterr().err
