"""Signatures of the Notary Project as evidence, by the trust policy of a folder that the settings name."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.sqlite.evidence import SqliteEvidence
from custody.cli.run import run
from custody.evidence.model import CertificateSigner, EvidenceSet, Rejected, Verified
from custody.formats.reference import parse
from custody.kit.clock import system_clock
from custody.services.remembered import Remembered
from custody.settings import Settings
from custody.sign.notary.directory import Directory
from custody.sign.referrers import fetch_evidence
from custody.wiring import gatherer, notary_trust, registry_client, service_http
from tests.serving import registry_on
from tests.sign.notary.materials import (
    chain_of,
    directory_in,
    environment,
    issue,
    key_of,
    list_key,
    push_image,
    trust,
)
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


def _change_policy(directory: Directory) -> None:
    policy(directory, trustedIdentities=["x509.subject: C=US, ST=WA, O=other"])


def _change_root(directory: Directory) -> None:
    """Another root of the same name in the same file, as after a key was lost."""
    above = key_of("EC-384")
    trust(directory, "ca", "acme", issue(above, "root", None, ca=True))


def _remove_root(directory: Directory) -> None:
    (directory.trust_store("ca", "acme") / "0.pem").unlink()


def _remove_policy(directory: Directory) -> None:
    (directory.config / "trustpolicy.json").unlink()


CHANGES = [(_change_policy, "no trusted identity"), (_change_root, "not produced by a trusted signer"),
           (_remove_root, "holds no certificate"), (_remove_policy, "there is no trust policy")]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_what_was_gathered_a_moment_ago_counts_by_the_same_folder_alone(
        change: Callable[[Directory], None], words: str, directory: Directory, image: str) -> None:
    policy(directory)
    settings = Settings(notation=str(directory.config), keep_evidence=600)

    async def main() -> None:
        async with registry_client(settings, service_http(settings)) as client:
            gather = gatherer(settings, client, system_clock)
            assert (await gather.gather([image]))[image].verified
            types: dict[str, Any] = {image: None}
            assert gather.known(types) is None  # the folder must be looked at
            assert (await gather.held(types))[image].verified
            change(directory)
            assert await gather.held(types) == {}
            (rejected,) = (await gather.gather([image]))[image].rejected
            assert words in rejected.reason

    asyncio.run(main())


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_what_is_remembered_counts_by_the_same_folder_alone(
        change: Callable[[Directory], None], words: str, directory: Directory, tmp_path: Path) -> None:
    policy(directory)
    settings = Settings(notation=str(directory.config), keep_evidence=0)

    async def gathering(image: str) -> EvidenceSet:
        memory = Remembered(SqliteEvidence(tmp_path / "evidence.db"), system_clock, timedelta(hours=1))
        async with registry_client(settings, service_http(settings)) as client:
            return (await gatherer(settings, client, system_clock, memory).gather([image]))[image]

    with registry_on(tmp_path / "registry") as (host, _):
        image = asyncio.run(push_image(host, "app"))
        assert run(["notation", "sign", image]) == 0
        assert asyncio.run(gathering(image)).verified
    stale = asyncio.run(gathering(image))  # the registry is away
    assert (len(stale.verified), stale.stale_since is not None) == (1, True)
    change(directory)
    about = asyncio.run(gathering(image))
    assert (about.verified, [rejected.state for rejected in about.rejected]) == ((), ["unverifiable"])
    assert words not in about.rejected[0].reason  # nothing is known of the image at all


def test_a_folder_that_changes_while_an_image_is_gathered(directory: Directory, image: str) -> None:
    """What is judged by a reading is judged by all of it, not by half of the next one."""
    policy(directory)
    settings = Settings(notation=str(directory.config))

    async def main() -> None:
        async with registry_client(settings, service_http(settings)) as client:
            folder = notary_trust(settings, client.http)
            assert folder is not None
            before = await folder.read()
            _remove_root(directory)
            _change_policy(directory)
            after = await folder.read()
            assert before != after
            ref = parse(image)
            subject = await client.resolve(ref)
            (evidence,) = (await fetch_evidence(client, ref.at(subject.digest), notation=True)).evidence
            assert isinstance(await before.judge(client, ref, subject, evidence), Verified)
            assert isinstance(await after.judge(client, ref, subject, evidence), Rejected)

    asyncio.run(main())


@pytest.mark.parametrize("command", [["notation", "policy", "show"], ["notation", "verify"],
                                     ["check", "--policy", "p.yaml"]])
def test_a_link_that_leads_nowhere_hides_the_older_document(command: list[str], directory: Directory, image: str,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    policy(directory)
    (directory.config / "trustpolicy.oci.json").symlink_to("gone.json")
    Path("p.yaml").write_text(POLICY)
    Path("custody.toml").write_text(f'notation = "{directory.config}"\n')
    capsys.readouterr()
    assert run([*command, *([image] if command[-1] != "show" else [])]) != 0
    printed = capsys.readouterr()
    assert "trustpolicy.oci.json: got 'a link', expected a regular file" in printed.out + printed.err


def test_a_link_that_leads_nowhere_is_not_written_through(directory: Directory,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    policy(directory)
    link = directory.config / "trustpolicy.oci.json"
    link.symlink_to("gone.json")
    assert run(["notation", "policy", "import", "--force", str(directory.config / "trustpolicy.json")]) == 2
    assert "is a link, expected a regular file or nothing" in capsys.readouterr().err
    assert link.is_symlink()


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
