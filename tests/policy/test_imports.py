"""`policy import`: image policies of other controllers as ImageValidatingPolicies, only where both say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from custody.cli.main import main
from custody.errors import CustodyError
from custody.formats import yaml
from custody.policy.imports import kyvernoimages, translation
from custody.policy.imports.translation import translate
from custody.policy.load import PolicySet
from tests.policy.signing import World, asked, evidence, layer, pem
from tests.sign.authority import ISSUER, new_key

WORLD = World()
ROOT = WORLD.trusted_root()
KEY, OTHER = new_key(), new_key()
BY_KEY = {"key": {"data": pem(KEY)}}
KEYLESS = {"keyless": {"url": "https://fulcio.sigstore.dev", "identities": [{"issuer": ISSUER,
                                                                          "subjectRegExp": "^.*acme.*$"}]}}


def sigstore(*authorities: dict[str, Any], globs: tuple[str, ...] = ("ghcr.io/myorg/*",), **spec: Any
             ) -> dict[str, Any]:
    return {"apiVersion": "policy.sigstore.dev/v1beta1", "kind": "ClusterImagePolicy", "metadata": {"name": "p"},
            "spec": {"images": [{"glob": glob} for glob in globs], "authorities": [*authorities], **spec}}


def values(*rules: dict[str, Any], **features: Any) -> dict[str, Any]:
    roots = [{"name": "default", "key": pem(KEY)}, {"name": "other", "key": pem(OTHER)}]
    return {"application": {"validators": [
        {"name": "default", "type": "cosign", "trustRoots": roots}, {"name": "deny", "type": "static"},
        {"name": "allow", "type": "static", "approve": True}], "policy": [*rules],
        "features": {"automaticChildApproval": False, **features}}}


@pytest.mark.parametrize("document", [
    sigstore(BY_KEY), sigstore(KEYLESS), sigstore(BY_KEY, {"static": {"action": "fail"}}, globs=("**",)),
    sigstore({"key": {"data": pem(KEY)}, "ctlog": {"url": "https://rekor.sigstore.dev"}},
             globs=("*", "index.docker.io/myuser/*")),
    sigstore({**BY_KEY, "source": [{"oci": "ghcr.io/x/y"}], "attestations": [
        {"name": "a", "predicateType": "slsaprovenance"}]}),
    values({"pattern": "*:*", "validator": "deny"}, {"pattern": "docker.io/library/*:*", "validator": "allow"},
           {"pattern": "ghcr.io/myorg/*:*", "with": {"trustRoot": "*", "required": ["other"]}},
           {"pattern": "ghcr.io/myorg/app:*"}), values({"pattern": "*:*", "with": {"verifyInTransparencyLog": False}})])
def test_what_is_said_the_same(document: dict[str, Any]) -> None:
    made = translate(document)
    assert made.refused is None, made.refused
    assert made.trial is not None
    assert made.trial.asked > 50
    assert made.trial.denied
    PolicySet(made.documents)


def test_the_translation_judges_real_signatures() -> None:
    (made,) = translate(sigstore(BY_KEY, KEYLESS)).documents
    policies = PolicySet([made])
    for documents, allowed in (((layer(KEY),), True), ((evidence(WORLD.keyless(kind="dsse")),), True),
                               ((layer(OTHER),), False), ((), False)):
        decision, _ = asked(policies, *documents, root=ROOT)
        assert decision.allowed is allowed, decision.results


@pytest.mark.parametrize(("document", "words"), [
    (sigstore(BY_KEY, policy={"type": "rego", "data": "package sigstore\nisCompliant { true }\n"}), "spec.policy"),
    (sigstore(BY_KEY, match=[{"resource": "pods", "version": "v1"}]), "spec.match"),
    (sigstore({"key": {"secretRef": {"name": "s"}}}), "spec.authorities[0].key.secretRef"),
    (sigstore({**KEYLESS, "signatureFormat": "bundle"}), "spec.authorities[0].signatureFormat"),
    (sigstore({**BY_KEY, "source": [{"oci": "a.example/b", "signaturePullSecrets": [{"name": "s"}]}]}),
     "signaturePullSecrets"),
    (sigstore({**BY_KEY, "attestations": [{"name": "a", "predicateType": "https://a.example/b", "policy": {
        "type": "rego", "data": "package sigstore\nisCompliant { true }\n"}}]}), "attestations[0].policy"),
    (sigstore(BY_KEY, mode="warn"), "says something else"),
    (sigstore({"static": {"action": "fail"}}), "must have an attestor"),
    (values({"pattern": "*:*", "validator": "deny"}), "must have an attestor"),
    (values({"pattern": "*:*"}, automaticChildApproval=True), "application.features.automaticChildApproval"),
    (values({"pattern": "*:*"}, automaticUnchangedApproval=True), "automaticUnchangedApproval"),
    (values({"pattern": "*:*"}, resourceValidationMode="podsOnly"), "resourceValidationMode"),
    (values({"pattern": "*:*"}, {"pattern": "a/*", "with": {"mode": "insecureValidateOnly"}}), "with.mode"),
    (values({"pattern": "a{b,c}:*"}), "policy[].pattern")])
def test_what_stays_behind(document: dict[str, Any], words: str) -> None:
    made = translate(document)
    assert made.refused is not None
    assert words in made.refused.message
    assert not made.trial or made.trial.difference


def test_a_translation_that_is_wrong_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = kyvernoimages.translated
    monkeypatch.setattr(translation, "kyvernoimages", type("Lax", (), {"translated": staticmethod(
        lambda document: _unlogged(genuine(document)))}))
    made = translate(sigstore(KEYLESS))
    assert made.refused is not None
    assert "denied, pins [] before and allowed" in made.refused.message


def _unlogged(made: dict[str, Any]) -> dict[str, Any]:
    made["spec"]["attestors"][0]["cosign"]["ctlog"]["insecureIgnoreTlog"] = True
    return made


def test_what_is_none() -> None:
    with pytest.raises(CustodyError, match="is not imported"):
        translate({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}})
    with pytest.raises(CustodyError, match="authorities"):
        translate(sigstore())


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(yaml.dumped(sigstore(BY_KEY)))
    bad.write_text(yaml.dumped(values({"pattern": "*:*"}, automaticChildApproval=True)))
    assert main(["policy", "import", str(good), "-o", str(tmp_path / "out")]) == 0
    assert "✓ p: both say the same of" in capsys.readouterr().err
    PolicySet.load([tmp_path / "out" / "p.yaml"])
    assert main(["policy", "import", str(bad)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "application.features.automaticChildApproval" in said.err
    assert "1 document stays behind" in said.err
