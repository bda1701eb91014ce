"""The peers' own bundles and signatures, accepted and refused as their authors say, and for the right reasons."""

from __future__ import annotations

import json

import pytest

from custody.errors import VerificationError
from custody.evidence.model import Evidence
from custody.sign.keys import load_public_key
from custody.sign.verify import Trust, verify_evidence
from tests.conftest import oracle
from tests.oracles.sigstore_bundles import run, verdict
from tests.sign.authority import NOW

REASONS = {
    "bundle-invalid-base64-signature_fail": "base64", "bundle-negative-log-index_fail": "not negative",
    "bundle-unknown-version_fail": "no Sigstore bundle", "bundle-with-root-cert_fail": "root certificate",
    "checkpoint-bad-keyhint_fail": "checkpoint: no signature of the log", "dsse-mismatch-envelope_fail": "payload hash",
    "dsse-mismatch-sig_fail": "its signature is not the one", "incorrect-public-key_fail": "certificate is not the one",
    "intoto-expired-certificate_fail": "certificate: not valid", "intoto-missing-inclusion-proof_fail": "no inclusion",
    "invalid-checkpoint-signature_fail": "checkpoint: not signed", "invalid-inclusion-proof_fail": "inclusion proof",
    "message-digest-mismatch_fail": "subject:", "rekor2-no-timestamp_fail": "time: nothing attests",
    "rekor2-timestamp-with-incorrect-time_fail": "certificate: not valid at",
    "set-invalid-signature_fail": "signed entry timestamp", "wrong-hashedrekord-entry_fail": "its digest is not",
    "rekor2-no-inclusion-proof_fail": "no inclusion proof", "managed-key-no-key_fail": "no key is trusted",
}


def test_conformance_bundles() -> None:
    results = list(run(oracle("sigstore-bundles")))
    assert results
    assert [case for case in results if case[1] is not None] == []


@pytest.mark.parametrize("name", REASONS)
def test_reasons(name: str) -> None:
    found = next(iter(oracle("sigstore-bundles").rglob(name)), None)
    if found is None:
        pytest.skip(f"case {name} is not here")
    assert REASONS[name] in str(verdict(found))


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
