"""Signatures of files: what counts, and for every check one where exactly that is wrong."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from custody.errors import Check, CustodyError, VerificationError
from custody.evidence.model import KeylessSigner, Verified
from custody.formats.bundle import Bundle, MessageSignature
from custody.sign.blob import Artifact, artifact_of, check_attested, check_signed, parse_digest, read_file_bundle
from custody.sign.keys import PrivateKey
from custody.sign.verify import Trust
from tests.sign.authority import IDENTITY, NOW, World, b64, new_key
from tests.sign.blobs import BLOB, DIGEST, as_older, attested, older, signed

WORLD = World()
ROOT = WORLD.trusted_root()
FILE = artifact_of(BLOB)
OTHER = artifact_of(b"another file")
SHA512 = hashlib.sha512(BLOB).hexdigest()
Document = dict[str, Any]


def verify(document: Document | bytes, artifact: Artifact = FILE, *, attestation: bool = False, **trust: Any
           ) -> Verified:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    bundle, form = read_file_bundle(data, artifact)
    check = check_attested if attestation else check_signed
    return check(bundle, form, artifact, Trust(**{"root": ROOT, **trust}), NOW)


def refused(document: Document | bytes, reason: str, check: Check | None = None, **given: Any) -> None:
    with pytest.raises(CustodyError) as caught:
        verify(document, **given)
    assert reason in caught.value.message
    if check is not None:
        assert isinstance(caught.value, VerificationError)
        assert caught.value.check is check


@pytest.mark.parametrize("document", [signed(WORLD), signed(WORLD, kind="hashedrekord"), older(WORLD)],
                         ids=["v2", "v1", "older"])
@pytest.mark.parametrize("artifact", [FILE, Artifact(DIGEST)], ids=["bytes", "digest"])
def test_good(document: Document, artifact: Artifact) -> None:
    verified = verify(document, artifact)
    assert isinstance(verified.signer, KeylessSigner)
    assert (verified.signer.subject, verified.signed_at, verified.subject) == (IDENTITY, NOW, DIGEST)
    assert verified.log is not None


@pytest.mark.parametrize("document", [signed(WORLD), older(WORLD)], ids=["bundle", "older"])
@pytest.mark.parametrize("artifact", [OTHER, Artifact(OTHER.digest)], ids=["bytes", "digest"])
def test_another_file(document: Document, artifact: Artifact) -> None:
    if artifact.data is not None:
        refused(document, "signature: the signature is not this key's over these bytes", Check.SIGNATURE,
                artifact=artifact)
    elif "base64Signature" in document:  # it names no file, so the signature itself must be of that digest
        refused(document, "the signature is not this key's over the artifact's digest", Check.SIGNATURE,
                artifact=artifact)
    else:
        refused(document, f"the signature is of {DIGEST}, expected {OTHER.digest}", Check.SUBJECT, artifact=artifact)


def test_a_digest_beside_the_signature_that_is_not_the_files() -> None:
    document = signed(WORLD)
    document["messageSignature"]["messageDigest"]["digest"] = b64(hashlib.sha256(b"x").digest())
    refused(document, "subject: the signature is of sha256:2d7116", Check.SUBJECT)
    document["messageSignature"]["messageDigest"] = {"algorithm": "SHA2_512", "digest": b64(b"1" * 32)}
    refused(document, "messageDigest.digest: got '32 bytes', expected a digest by SHA2_512")
    document["messageSignature"]["messageDigest"] = {"algorithm": "SHA1", "digest": b64(b"1" * 20)}
    refused(document, "'SHA1'; custody reads SHA2_256, SHA2_384, SHA2_512")


def _material(change: Callable[[Document], None]) -> Document:
    document = signed(WORLD)
    change(document["verificationMaterial"])
    return document


OF_ANOTHER = signed(WORLD)["verificationMaterial"]


@pytest.mark.parametrize(("document", "reason", "check"), [
    (_material(lambda made: made.update(certificate=OF_ANOTHER["certificate"])),
     "the signature is not this key's", Check.SIGNATURE),
    (_material(lambda made: made.update(tlogEntries=OF_ANOTHER["tlogEntries"])),
     "log entry: its signature is not the one of this signature", Check.LOG),
    (_material(lambda made: made["tlogEntries"].extend(OF_ANOTHER["tlogEntries"])),
     "log entry: its signature is not the one of this signature", Check.LOG),
    (_material(lambda made: made.update(timestampVerificationData=OF_ANOTHER["timestampVerificationData"])),
     "timestamp: https://tsa.example", Check.TIME),
    (_material(lambda made: made.update(tlogEntries=[])), "log entry: there is none", Check.LOGGED),
    (_material(lambda made: made.pop("timestampVerificationData")), "time: nothing attests", Check.TIME),
    (signed(WORLD, sct="none"), "SCT: the certificate has none", Check.SCT),
    (signed(World()), "timestamp: https://tsa.example: certificate verify error", Check.TIME),
], ids=["certificate", "entry", "second-entry", "timestamp", "no-entry", "no-time", "no-sct", "another-world"])
def test_what_belongs_to_another_signature(document: Document, reason: str, check: Check | None) -> None:
    refused(document, reason, check)


def test_empty_signatures() -> None:
    document = signed(WORLD)
    document["messageSignature"]["signature"] = ""
    refused(document, "signature: it is empty", Check.SIGNATURE)
    document = attested(WORLD)
    document["dsseEnvelope"]["signatures"][0]["sig"] = ""
    refused(document, "signature: it is empty", Check.SIGNATURE, attestation=True)
    refused({"base64Signature": ""}, "bundle.base64Signature: got 'nothing', expected a signature")


@pytest.mark.parametrize(("text", "key"), [
    (json.dumps(signed(WORLD)).replace('"signature": ', '"signature": "AAAA", "signature": ', 1), "signature"),
    (json.dumps(older(WORLD)).replace('"cert"', '"base64Signature": "AAAA", "cert"', 1), "base64Signature"),
    (json.dumps(older(WORLD)).replace('"logIndex"', '"logIndex": 1, "logIndex"', 1), "logIndex"),
])
def test_duplicate_keys(text: str, key: str) -> None:
    refused(text.encode(), f"key '{key}' twice in one object")


def test_both_forms_in_one() -> None:
    refused(signed(WORLD) | older(WORLD), "a field that custody does not know")


def test_an_older_bundle_says_nothing_of_whom_to_trust() -> None:
    """cosign 2 wrote the public key into `cert`: it is not taken for one to believe."""
    key = PrivateKey(new_key())
    document = {"base64Signature": b64(key.sign(BLOB)), "cert": b64(key.public.pem)}
    refused(document, "no key is trusted", require_log=False)
    assert verify(document, require_log=False, keys=(key.public,)).log is None
    refused(document, "the signature is not this key's", require_log=False, keys=(PrivateKey(new_key()).public,))


def test_an_older_bundle_whose_entry_is_anothers() -> None:
    document, another = older(WORLD), older(WORLD)
    refused(document | {"rekorBundle": another["rekorBundle"]},
            "log entry: its signature is not the one of this signature", Check.LOG)
    refused(document | {"cert": another["cert"]}, "the signature is not this key's", Check.SIGNATURE)
    changed = copy.deepcopy(document)
    changed["rekorBundle"]["Payload"]["integratedTime"] += 1
    refused(changed, "signed entry timestamp: not signed by the log's key", Check.LOG)
    changed["rekorBundle"]["SignedEntryTimestamp"] = None
    refused(changed, "SignedEntryTimestamp")


def test_an_attestation_is_no_signature_and_the_other_way_round() -> None:
    refused(attested(WORLD), "bundle: got a statement about files (dsseEnvelope)", Check.STATEMENT)
    refused(signed(WORLD), "bundle: got a signature of a file's bytes", Check.STATEMENT, attestation=True)


def test_attested() -> None:
    for artifact in (FILE, Artifact(DIGEST)):
        verified = verify(attested(WORLD), artifact, attestation=True)
        assert (verified.predicate_type, verified.subject) == ("https://spdx.dev/Document", DIGEST)
    refused(attested(WORLD), f"the statement is about {DIGEST}", Check.SUBJECT, attestation=True, artifact=OTHER)


@pytest.mark.parametrize(("subjects", "reason"), [
    ([{"digest": {"sha512": SHA512}}], None),
    ([{"digest": {"sha256": "0" * 64}}, {"digest": {"sha256": DIGEST[7:]}}], None),
    ([{"digest": {"sha256": DIGEST[7:], "sha512": SHA512}}], None),
    ([{"digest": {"sha256": DIGEST[7:], "gitCommit": "1"}}], None),
    ([{"digest": {"sha256": DIGEST[7:].upper()}}], None),
    ([{"digest": {"sha256": DIGEST[7:], "sha512": "0" * 128}}], "one of its digests is of another file"),
    ([{"digest": {"sha256": "0" * 64, "sha512": SHA512}}], "the statement is about sha256:0000"),
    ([{"digest": {"gitCommit": DIGEST[7:]}}], "the statement is about gitCommit:"),
])
def test_of_which_files_a_statement_is(subjects: list[Document], reason: str | None) -> None:
    if reason is None:
        assert verify(attested(WORLD, subjects), attestation=True).subject == DIGEST
    else:
        refused(attested(WORLD, subjects), reason, Check.SUBJECT, attestation=True)


def test_a_statement_about_a_digest_of_another_kind() -> None:
    known = parse_digest(f"sha512:{SHA512}", "file")
    assert known is not None
    assert verify(attested(WORLD, [{"digest": {"sha512": SHA512}}]), known, attestation=True).subject == known.digest
    refused(attested(WORLD), "the statement is about sha256:", Check.SUBJECT, artifact=known, attestation=True)


@pytest.mark.parametrize(("key", "hash_name"), [
    (ec.generate_private_key(ec.SECP256R1()), "sha256"), (ec.generate_private_key(ec.SECP384R1()), "sha384"),
    (ec.generate_private_key(ec.SECP521R1()), "sha512"), (rsa.generate_private_key(65537, 2048), "sha256"),
    (ed25519.Ed25519PrivateKey.generate(), "sha512")], ids=["P-256", "P-384", "P-521", "RSA", "Ed25519"])
def test_keys(key: Any, hash_name: str) -> None:
    signer = PrivateKey(key)
    digest = hashlib.new(hash_name, BLOB).digest()
    for prehash in (False, True):
        bundle = Bundle("0.3", (), "", (), (), None,
                        MessageSignature(digest, signer.sign(BLOB, prehash=prehash), hash_name))
        data = bundle.to_bytes()
        trust: dict[str, Any] = {"keys": (signer.public,), "require_log": False, "root": None}
        assert verify(data, **trust).subject == DIGEST
        refused(data, "the signature is not this key's", Check.SIGNATURE, artifact=OTHER, **trust)
        alone = Artifact(f"{hash_name}:{digest.hex()}")
        if isinstance(key, ed25519.Ed25519PrivateKey) and not prehash:  # of a digest only Ed25519ph can be
            refused(data, "the signature is not this key's over the artifact's digest", artifact=alone, **trust)
        else:
            assert verify(data, alone, **trust).subject == alone.digest


def test_a_certificate_without_an_attested_time_must_be_valid_now() -> None:
    """As cosign has it for what came before bundles, and for nothing else."""
    for start, accepted in ((timedelta(0), True), (timedelta(days=1), False)):
        document = older(WORLD, at=NOW - start)
        del document["rekorBundle"]
        if accepted:
            assert verify(document, require_log=False, expiring=True).signed_at is None
        else:
            refused(document, "certificate: not valid at", Check.CERTIFICATE, require_log=False, expiring=True)


@pytest.mark.parametrize(("text", "reason"), [
    ("sha256:00", "expected sha256: and 64 hexadecimal digits"), ("sha512:" + "0" * 64, "expected sha512: and 128")])
def test_digests_that_are_none(text: str, reason: str) -> None:
    with pytest.raises(CustodyError) as caught:
        parse_digest(text, "file")
    assert reason in caught.value.message
    assert parse_digest("md5:00", "file") is None
    assert parse_digest("sha256:" + "A" * 64, "file") is None


def test_older_form_of_a_bundle() -> None:
    document = signed(WORLD, kind="hashedrekord")
    bundle, form = read_file_bundle(json.dumps(as_older(document)).encode(), FILE)
    assert (form, bundle.version, len(bundle.entries)) == ("blob", "0.1", 1)
    plain = as_older(document) | {"cert": base64.b64decode(as_older(document)["cert"]).decode()}  # not in base64
    assert verify(plain).subject == DIGEST
    refused(as_older(document) | {"more": 1}, "bundle.more: a field that custody does not know")
    refused(as_older(document) | {"cert": b64(b"-----BEGIN CERTIFICATE-----\n??\n")},
            "expected a DER X.509 certificate")


def test_changed_at_random() -> None:
    from tests.fuzz.blobs import forms, run

    answers = run(60, 7)
    assert sum(times for answer, times in answers.items() if not answer.endswith("for another file")) == 60 * len(
        forms(WORLD))
