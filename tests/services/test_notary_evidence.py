"""Signatures of the Notary Project as evidence, by the trust policy of a folder that the settings name."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.cli.run import run
from custody.evidence.model import CertificateSigner, EvidenceSet
from custody.kit.clock import system_clock
from custody.settings import Settings
from custody.sign.notary.directory import Directory
from custody.wiring import gatherer, registry_client, service_http
from tests.serving import registry_on
from tests.sign.notary.materials import chain_of, directory_in, environment, key_of, list_key, push_image, trust
from tests.sign.notary.revoking import REASONS, authority

POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: notarized}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  validations:
    - expression: >-
        object.spec.containers.all(c, evidence(c.image).signatures.exists(s, has(s.signer.certificate) &&
        s.signer.subject.contains('O=acme')))
      message: acme must have signed every image.
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: notarized}
spec: {policyName: notarized, validationActions: [Deny]}
"""


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


def policy(directory: Directory, level: str = "strict", **changes: Any) -> None:
    said = {"name": "one", "registryScopes": ["*"], "signatureVerification": {"level": level},
            "trustStores": ["ca:acme"], "trustedIdentities": ["x509.subject: C=US, ST=WA, O=acme"], **changes}
    (directory.config / "trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [said]}))


def gathered(image: str, directory: Directory | None) -> EvidenceSet:
    settings = Settings(notation=str(directory.config) if directory else None, keep_evidence=0)

    async def gather() -> EvidenceSet:
        async with registry_client(settings, service_http(settings)) as client:
            return (await gatherer(settings, client, system_clock).gather([image]))[image]

    return asyncio.run(gather())


def test_what_counts(directory: Directory, image: str) -> None:
    policy(directory)
    (signed,) = gathered(image, directory).verified
    assert isinstance(signed.signer, CertificateSigner)
    assert (signed.kind, signed.format, signed.log) == ("signature", "notary", None)
    assert signed.annotations == {"env": "prod"}
    assert signed.signer.subject == "CN=EC-256,O=acme,ST=WA,C=US"
    without = gathered(image, None)
    assert without.verified == ()
    assert "the setting `notation` names" in without.rejected[0].reason


@pytest.mark.parametrize(("changes", "words", "state"), [
    ({"trustedIdentities": ["x509.subject: C=US, ST=WA, O=other"]}, "no trusted identity", "failed"),
    ({"trustStores": ["ca:gone"]}, "there is no folder", "failed"),
    ({"registryScopes": ["other.example/app"]}, "no trust policy has it among its registryScopes", "failed"),
    ({"level": "skip", "trustStores": [], "trustedIdentities": []}, "nobody vouches for the image then",
     "unverifiable"),
    ({"level": "audit", "trustedIdentities": ["x509.subject: C=US, ST=WA, O=other"]}, "no trusted identity", "failed"),
    ({"level": "strictest"}, "are known", "unverifiable"),
    ({"registryScopes": []}, "expected repositories", "unverifiable")])
def test_what_does_not_count(changes: dict[str, Any], words: str, state: str, directory: Directory, image: str) -> None:
    policy(directory, **changes)
    about = gathered(image, directory)
    assert about.verified == ()
    (rejected,) = about.rejected
    assert (words in rejected.reason, rejected.state) == (True, state)


def test_a_folder_without_a_policy(directory: Directory, image: str) -> None:
    assert "there is no trust policy" in gathered(image, directory).rejected[0].reason
    policy(directory)
    assert gathered(image, directory).verified


def test_revoked_signers_are_nobody(directory: Directory, image: str) -> None:
    policy(directory, trustStores=["ca:acme", "ca:revoking"], trustedIdentities=["*"])
    with authority() as ca:
        chain = ca.issued(lists=("a",))
        list_key(directory, "revocable", key_of("EC-256"), chain)
        trust(directory, "ca", "revoking", chain[-1])
        ca.lists["a"] = ca.revoked()
        assert run(["notation", "sign", "-k", "revocable", image]) == 0
        assert len(gathered(image, directory).verified) == 2
        assert Path(".custody/.gitignore").read_text()
        ca.lists["a"] = ca.revoked((REASONS.key_compromise, None))
        for kept in (Path(".custody/cache/notation/crl")).glob("*"):
            kept.unlink()
        about = gathered(image, directory)
        assert len(about.verified) == 1
        assert "is revoked" in about.rejected[0].reason
    for kept in (Path(".custody/cache/notation/crl")).glob("*"):
        kept.unlink()
    assert "revocation unavailable" in gathered(image, directory).rejected[0].reason


@pytest.mark.parametrize(("who", "code"), [
    ("x509Subject': 'C=US, ST=WA, O=acme", 0), ("x509Subject': 'CN=EC-256, C=US, ST=WA, O=acme", 0),
    ("x509Subject': 'C=US, ST=WA, O=other", 3), ("key': 'sha256:" + 64 * "0", 3), ("x509Subject': 'O=acme", 3)])
def test_who_counts(who: str, code: int, directory: Directory, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy says whose signature it means, beside the trust policy that lets it count at all."""
    policy(directory)
    expression = f"size(evidence(c.image, {{'signatures': [{{'{who}'}}]}}).signatures) > 0"
    begin, _, rest = POLICY.partition("evidence(c.image)")
    Path("policy.yaml").write_text(begin + expression + rest.partition("'O=acme')")[2].replace("))\n", ")\n", 1))
    Path("custody.toml").write_text(f'notation = "{directory.config}"\n')
    capsys.readouterr()
    assert run(["check", "--policy", "policy.yaml", image]) == code
    said = capsys.readouterr().out
    assert code == 0 or any(words in said for words in ("does not count", "C is missing", "who")), said


def test_check_and_tree(directory: Directory, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    policy(directory)
    Path("policy.yaml").write_text(POLICY)
    Path("custody.toml").write_text(f'notation = "{directory.config}"\n')
    assert run(["check", "--policy", "policy.yaml", image]) == 0
    capsys.readouterr()
    assert run(["tree", image]) == 0
    assert "✓ https://sigstore.dev/cosign/sign/v1  certificate CN=EC-256,O=acme,ST=WA,C=US" in capsys.readouterr().out
    policy(directory, trustedIdentities=["x509.subject: C=US, ST=WA, O=other"])
    assert run(["check", "--policy", "policy.yaml", image]) == 3
    assert "no trusted identity" in capsys.readouterr().out
    assert run(["tree", image]) == 0
    assert "✗ https://sigstore.dev/cosign/sign/v1" in capsys.readouterr().out
    Path("custody.toml").write_text('notation = "nowhere"\n')
    assert run(["check", "--policy", "policy.yaml", image]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert os.listdir("registry")
