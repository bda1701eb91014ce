"""The peers' own bundles and signatures, accepted and refused as their authors say, and for the right reasons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from custody.errors import VerificationError
from custody.evidence.model import Evidence
from custody.sign.keys import load_public_key
from custody.sign.steps import Step, StepResult, Trace
from custody.sign.verify import Trust, verify_evidence
from tests.conftest import ORACLES, oracle
from tests.oracles import sigstore_bundles, sigstore_python_assets
from tests.oracles.sigstore_bundles import verdict
from tests.sign.authority import NOW

CODES = {
    "bundle-invalid-base64-signature": "format.malformed", "bundle-negative-log-index": "format.malformed",
    "bundle-unknown-version": "format.unsupported", "bundle-with-root-cert": "chain.refused",
    "checkpoint-bad-keyhint": "log-checkpoint.refused", "dsse-mismatch-envelope": "log-entry.refused",
    "incorrect-public-key": "log-entry.refused", "intoto-expired-certificate": "validity.refused",
    "intoto-missing-inclusion-proof": "log-proof.absent", "invalid-checkpoint-signature": "log-checkpoint.refused",
    "invalid-inclusion-proof": "log-proof.refused", "managed-key-no-key": "signer.absent",
    "message-digest-mismatch": "subject.refused", "rekor2-checkpoint-missing-origin": "log-checkpoint.malformed",
    "rekor2-no-inclusion-proof": "log-proof.absent", "rekor2-no-timestamp": "validity.absent",
    "rekor2-timestamp-outside-tsa-cert-validity": "timestamp.refused",
    "rekor2-timestamp-untrusted-tsa-with-embedded-cert": "timestamp.refused",
    "rekor2-timestamp-with-incorrect-time": "validity.refused", "set-invalid-signature": "log-promise.refused",
    "wrong-hashedrekord-entry": "log-entry.refused"}
KEY_IS_NONE = "managed-key-wrong-key_fail"
"""Its key cannot be read, and no document is looked at without one."""


def test_conformance_bundles() -> None:
    results = list(sigstore_bundles.run(oracle("sigstore-bundles")))
    assert results
    assert [case for case in results if case[1] is not None] == []


def test_assets_of_sigstore_python() -> None:
    """All but two: RFC 5280 section 6.1.4 (n) asks what a key usage says where there is one. Roots that openssl makes
    have none, and cosign takes them; sigstore-python refuses them.
    """
    results = dict(sigstore_python_assets.run(oracle("sigstore-python-assets")))
    assert len(results) > 20
    missed = {name for name, reason in results.items() if reason is not None}
    assert missed <= {f"x509/bogus-root-{kind}.pem" for kind in ("missing-ku", "noncritical-bc")}


def test_a_runner_holds_each_case_to_its_own_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal for another reason than the case's is a miss."""
    folder = oracle("sigstore-bundles")
    monkeypatch.setattr(sigstore_bundles, "verdict", lambda case: "out of order")
    outcomes = dict(sigstore_bundles.run(folder))
    assert [name for name, reason in outcomes.items() if reason is None] == []
    assert any("got out of order" in str(reason) for reason in outcomes.values())


CASES = sorted(path.parent for path in (ORACLES / "sigstore-bundles").rglob("bundle.sigstore.json"))


@pytest.mark.skipif(not CASES, reason="the peers' bundles are not here")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_trace_changes_no_verdict_and_has_one_step_that_failed_where_it_is_no(case: Path) -> None:
    trace = Trace()
    reason = verdict(case, trace)
    assert reason == verdict(case)
    failed = [entry for entry in trace.taken if entry.result is StepResult.FAILED]
    if not case.name.endswith("_fail"):
        assert failed == []
        assert {Step.FORMAT, Step.SIGNER, Step.SIGNATURE, Step.LOG_ENTRY, Step.SUBJECT} <= {
            entry.step for entry in trace.taken if entry.result is StepResult.PASSED}
        return
    if case.name == KEY_IS_NONE:
        assert trace.taken == []
        return
    step, = failed
    assert step is trace.taken[-1]
    assert step.detail == reason
    assert step.code == CODES.get(case.name.removesuffix("_fail"), step.code)


@pytest.mark.skipif(not CASES, reason="the peers' bundles are not here")
def test_each_kind_of_step_fails_for_its_own_reason() -> None:
    assert CODES.keys() <= {case.name.removesuffix("_fail") for case in CASES}


def test_signatures_by_cosign_2() -> None:
    folder = next(oracle("connaisseur-cosign").rglob("testimage"))
    keys = {name: load_public_key((folder.parents[1] / f"{name}.key").read_bytes(), name)
            for name in ("alice", "bob", "charlie")}
    blobs = {path.name.removesuffix(".json"): path.read_bytes() for path in (folder / "blobs").iterdir()}
    outcomes = []
    for manifest in (folder / "manifests").glob("*.sig.json"):
        subject = manifest.name.removesuffix(".sig.json").replace("-", ":", 1)
        for layer in json.loads(manifest.read_text())["layers"]:
            if layer["digest"] not in blobs:
                continue
            item = Evidence(subject=subject, media_type=layer["mediaType"], data=blobs[layer["digest"]],
                            source=manifest.name, annotations=layer["annotations"])
            for key in keys.values():
                try:
                    verify_evidence(item, Trust(keys=(key,), require_log=False), NOW)
                    outcomes.append("good")
                except VerificationError as error:
                    outcomes.append(error.message)
    assert sorted(outcomes) == ["good"] * 3 + ["signature: the signature is not this key's over these bytes"] * 6
