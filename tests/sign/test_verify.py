"""The verifier: one good bundle of each kind, and for every check one where exactly that is wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from msgspec.structs import replace

from custody.errors import Check, UsageError, VerificationError
from custody.evidence.model import KeylessSigner, KeySigner
from custody.formats import cosign, der, dsse, intoto
from custody.kit.pae import pae
from custody.sign.certificate import build_chain, read_signing_certificate
from custody.sign.identity import Identity
from custody.sign.keys import PrivateKey, generate_key
from custody.sign.steps import StepResult, Trace
from custody.sign.verify import Trust, verify_evidence
from custody.trust.roots import TrustedRoot, Validity
from tests.sign.authority import (
    ALWAYS,
    DAY,
    IDENTITY,
    IMAGE,
    ISSUER,
    NOW,
    OTHER,
    World,
    b64,
    certificate,
    entry_body,
    evidence,
    fulcio,
    new_key,
    utf8,
)

WORLD = World()
ROOT = WORLD.trusted_root()
MINUTE = timedelta(minutes=1)
PAST = Validity(NOW - 30 * DAY, NOW - DAY)


def refused(document: Any, check: Check, reason: str, root: TrustedRoot | None = ROOT, **trust: Any) -> None:
    item = document if hasattr(document, "media_type") else evidence(document)
    with pytest.raises(VerificationError) as caught:
        verify_evidence(item, Trust(root, **trust), NOW)
    assert reason in caught.value.message
    assert caught.value.check is check
    trace = Trace()
    with pytest.raises(VerificationError, match=re.escape(caught.value.message)):
        verify_evidence(item, Trust(root, **trust), NOW, trace=trace)
    failed = trace.taken[-1]  # nothing is done after it
    assert [entry for entry in trace.taken if entry.result is not StepResult.PASSED
            and entry.result is not StepResult.NOT_ASKED] == [failed]
    assert (failed.detail, failed.check) == (caught.value.message, check)


def entry(document: dict[str, Any]) -> dict[str, Any]:
    return document["verificationMaterial"]["tlogEntries"][0]  # type: ignore[no-any-return]


def flip(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[-1] ^= 1
    return b64(bytes(data))


@pytest.mark.parametrize("kind", ["v2", "dsse", "intoto"])
def test_good(kind: str) -> None:
    verified = verify_evidence(evidence(WORLD.keyless(kind=kind)), Trust(ROOT), NOW)
    assert isinstance(verified.signer, KeylessSigner)
    assert (verified.kind, verified.signer.subject, verified.signer.issuer) == ("signature", IDENTITY, ISSUER)
    assert verified.signer.claims["githubWorkflowRepository"] == "acme/app"
    assert verified.signed_at == NOW
    assert verified.log is not None
    assert verified.log.index == 1


def test_attestation_is_no_signature() -> None:
    verified = verify_evidence(evidence(WORLD.keyless(predicate_type="https://spdx.dev/Document")), Trust(ROOT), NOW)
    assert (verified.kind, verified.predicate_type) == ("attestation", "https://spdx.dev/Document")


LEAF_INDEX = b"\x00\x00\x05\x00\x00\x00\x00\x07"
"""As logs with the static CT API write where the certificate is: type 0, five bytes, the index (C2SP static-ct-api)."""


@pytest.mark.parametrize(("made", "shown"), [
    (LEAF_INDEX, LEAF_INDEX[:-1] + b"\x08"), (LEAF_INDEX, b""), (b"", LEAF_INDEX), (LEAF_INDEX, LEAF_INDEX[:-1]),
    (LEAF_INDEX, b"\x01" + LEAF_INDEX[1:]), (LEAF_INDEX, LEAF_INDEX * 2)])
def test_sct_with_extensions_that_were_not_signed(made: bytes, shown: bytes) -> None:
    verify_evidence(evidence(WORLD.keyless(sct_extensions=made)), Trust(ROOT), NOW)
    verify_evidence(evidence(WORLD.keyless(sct_extensions=shown)), Trust(ROOT), NOW)
    refused(WORLD.keyless(sct_extensions=made, sct_shown=shown), Check.SCT, "SCT: the signature is not this key's")


def test_sct_with_extensions_and_email() -> None:
    document = WORLD.keyless(identity="dev@example.com", sct_extensions=LEAF_INDEX)
    verified = verify_evidence(evidence(document), Trust(ROOT), NOW)
    assert isinstance(verified.signer, KeylessSigner)
    assert verified.signer.subject == "dev@example.com"


Change = Callable[[dict[str, Any]], object]

CHANGES: dict[str, tuple[str, Change, Check, str]] = {
    "media type": ("v2", lambda d: d.update(mediaType="application/vnd.dev.sigstore.bundle.v0.9+json"),
                   Check.FORMAT, "is no Sigstore bundle"),
    "unknown field": ("v2", lambda d: d.update(extra=1),
                      Check.FORMAT, "bundle.extra: a field that custody does not know"),
    "two signatures": ("v2", lambda d: d["dsseEnvelope"]["signatures"].append({"sig": "AA=="}),
                       Check.FORMAT, "2 signatures"),
    "no signature": ("v2", lambda d: d["dsseEnvelope"].update(signatures=[]), Check.FORMAT, "at least one signature"),
    "signature byte": ("v2", lambda d: d["dsseEnvelope"]["signatures"][0].update(
        sig=flip(d["dsseEnvelope"]["signatures"][0]["sig"])),
        Check.SIGNATURE, "signature: the signature is not this key's"),
    "payload": ("v2", lambda d: d["dsseEnvelope"].update(payload=b64(
        intoto.statement(IMAGE, intoto.COSIGN_SIGN, {"a": 1}).to_bytes())),
        Check.SIGNATURE, "the signature is not this key's"),
    "payload type": ("v2", lambda d: d["dsseEnvelope"].update(payloadType="text/plain"),
                     Check.SIGNATURE, "signature: the signature is not this key's"),
    "no log entry": ("v2", lambda d: d["verificationMaterial"].update(tlogEntries=[]),
                     Check.LOGGED, "log entry: there is none"),
    "no proof": ("v2", lambda d: entry(d).pop("inclusionProof"), Check.LOG, "log entry: has no inclusion proof"),
    "no proof, only a promise": ("dsse", lambda d: entry(d).pop("inclusionProof"), Check.LOG, "has no inclusion proof"),
    "proof hash": ("v2", lambda d: entry(d)["inclusionProof"]["hashes"].__setitem__(
        0, flip(entry(d)["inclusionProof"]["hashes"][0])), Check.LOG, "inclusion proof: got root"),
    "proof too short": ("v2", lambda d: entry(d)["inclusionProof"]["hashes"].pop(),
                        Check.LOG, "inclusion proof: got 1 hashes"),
    "proof of another entry": ("v2", lambda d: entry(d)["inclusionProof"].update(logIndex="0"),
                               Check.LOG, "inclusion proof: of entry 0, and the entry is 1"),
    "proof root": ("v2", lambda d: entry(d)["inclusionProof"].update(
        rootHash=flip(entry(d)["inclusionProof"]["rootHash"])), Check.LOG, "and the checkpoint is of 3 with root"),
    "tree size": ("v2", lambda d: entry(d)["inclusionProof"].update(treeSize="4"),
                  Check.LOG, "and the checkpoint is of 3"),
    "no checkpoint": ("v2", lambda d: entry(d)["inclusionProof"].pop("checkpoint"), Check.LOG, "has no checkpoint"),
    "no checkpoint, and a proof of something else": ("v2", lambda d: (
        entry(d)["inclusionProof"].pop("checkpoint"), entry(d)["inclusionProof"]["hashes"].__setitem__(
            0, flip(entry(d)["inclusionProof"]["hashes"][0]))), Check.LOG, "inclusion proof: got root"),
    "checkpoint text": ("v2", lambda d: entry(d)["inclusionProof"]["checkpoint"].update(
        envelope=entry(d)["inclusionProof"]["checkpoint"]["envelope"].replace("\n3\n", "\n4\n")),
        Check.LOG, "checkpoint: not signed by the log's key"),
    "checkpoint of another log": ("v2", lambda d: entry(d)["inclusionProof"]["checkpoint"].update(
        envelope=WORLD.log1.sign(3, base64.b64decode(entry(d)["inclusionProof"]["rootHash"])).decode()),
        Check.LOG, "checkpoint: no signature of the log https://log2.example"),
    "unknown log": ("v2", lambda d: entry(d)["logId"].update(keyId=b64(b"x" * 32)),
                    Check.LOG, "is not in the trusted root"),
    "SET": ("dsse", lambda d: entry(d)["inclusionPromise"].update(
        signedEntryTimestamp=flip(entry(d)["inclusionPromise"]["signedEntryTimestamp"])),
        Check.LOG, "signed entry timestamp: not signed by the log's key"),
    "SET of another time": ("dsse", lambda d: entry(d).update(integratedTime="1780315201"),
                            Check.LOG, "signed entry timestamp: not signed by the log's key"),
    "integrated time without SET": ("dsse", lambda d: entry(d).pop("inclusionPromise"),
                                    Check.TIME, "time: nothing attests"),
    "negative index": ("v2", lambda d: entry(d).update(logIndex="-1"),
                       Check.FORMAT, "expected a number that is not negative"),
    "kind": ("v2", lambda d: entry(d)["kindVersion"].update(version="0.0.1"),
             Check.LOG, "the bundle says hashedrekord 0.0.1"),
    "no timestamp": ("v2", lambda d: d["verificationMaterial"].pop("timestampVerificationData"),
                     Check.TIME, "time: nothing attests when the signature was made"),
    "timestamp of other bytes": ("v2", lambda d: d["verificationMaterial"].update(timestampVerificationData={
        "rfc3161Timestamps": [{"signedTimestamp": b64(WORLD.stamp(b"other"))}]}),
        Check.TIME, "Mismatch between messages"),
    "timestamp twice": ("v2", lambda d: d["verificationMaterial"]["timestampVerificationData"].update(
        rfc3161Timestamps=d["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"] * 2),
        Check.FORMAT, "twice"),
    "timestamp garbage": ("v2", lambda d: d["verificationMaterial"].update(timestampVerificationData={
        "rfc3161Timestamps": [{"signedTimestamp": b64(b"0")}]}), Check.TIME, "expected a DER TimeStampResp"),
    "certificate of somebody else": ("v2", lambda d: d["verificationMaterial"]["certificate"].update(
        rawBytes=b64(WORLD.leaf(new_key()).public_bytes(Encoding.DER))),
        Check.SIGNATURE, "signature: the signature is not this key's"),
    "certificate garbage": ("v2", lambda d: d["verificationMaterial"]["certificate"].update(rawBytes=b64(b"0")),
                            Check.CERTIFICATE, "expected a DER X.509 certificate"),
    "root in the chain": ("v2", lambda d: (d.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2"),
                                           d["verificationMaterial"].update(x509CertificateChain={"certificates": [
                                               d["verificationMaterial"].pop("certificate"),
                                               {"rawBytes": b64(WORLD.root.public_bytes(Encoding.DER))}]})),
                          Check.CERTIFICATE, "holds a root certificate"),
    "certificate and key": ("v2", lambda d: d["verificationMaterial"].update(publicKey={"hint": "x"}),
                            Check.FORMAT, "got 'certificate and publicKey'"),
    "a key nobody gave": ("v2", lambda d: (d["verificationMaterial"].pop("certificate"),
                                           d["verificationMaterial"].update(publicKey={"hint": "me"})),
                          Check.KEY, "signed with a key (me), and no key is trusted"),
    "a key by its fingerprint": ("v2", lambda d: (d["verificationMaterial"].pop("certificate"),
                                                  d["verificationMaterial"].update(publicKey={"hint": b64(b"0" * 32)})),
                                 Check.KEY, f"signed with a key (sha256:{'30' * 32}), and no key is trusted"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_thing_wrong(name: str) -> None:
    kind, change, check, reason = CHANGES[name]
    document = WORLD.keyless(kind=kind)
    change(document)
    refused(document, check, reason)


@pytest.mark.parametrize("kind", ["v2", "dsse", "intoto"])
def test_entry_of_another_signature(kind: str) -> None:
    """CVE-2022-36056: a genuine entry of the same log, but for something else."""
    mine, other = WORLD.keyless(kind=kind), WORLD.keyless(kind=kind, subject=OTHER)
    mine["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]
    refused(mine, Check.LOG, "it is about something else")


@pytest.mark.parametrize(("part", "reason"), [
    ("data", "its digest is not the one"), ("signature", "its signature is not the one"),
    ("certificate", "its certificate is not the one"), ("key", "names a bare key")])
def test_entry_differs_in_one_part(part: str, reason: str) -> None:
    document = WORLD.keyless()
    body = json.loads(base64.b64decode(entry(document)["canonicalizedBody"]))
    record = body["spec"]["hashedRekordV002"]
    if part == "data":
        record["data"]["digest"] = flip(record["data"]["digest"])
    elif part == "signature":
        record["signature"]["content"] = flip(record["signature"]["content"])
    elif part == "certificate":
        record["signature"]["verifier"]["x509Certificate"]["rawBytes"] = b64(
            WORLD.leaf(new_key()).public_bytes(Encoding.DER))
    else:
        record["signature"]["verifier"] = {"publicKey": {"rawBytes": b64(b"key")}}
    document["verificationMaterial"]["tlogEntries"] = [WORLD.entry(body, v1=False)]
    refused(document, Check.LOG, reason)


@pytest.mark.parametrize(("arguments", "check", "reason"), [
    ({"sct": "none"}, Check.SCT, "SCT: the certificate has none"),
    ({"sct": "foreign"}, Check.SCT, "SCT: by no CT log of the trusted root"),
    ({"sct": "broken"}, Check.SCT, "SCT: the signature is not this key's"),
    ({"sct_at": NOW - 40 * DAY}, Check.SCT, "SCT: made at 2026-04-22T12:00:00Z, and the CT log https://ct.example is"),
    ({"usages": [Usage.CLIENT_AUTH]}, Check.CERTIFICATE, "extended key usage is not codeSigning"),
    ({"stamped_at": NOW + 15 * MINUTE}, Check.CERTIFICATE, "certificate: not valid at 2026-06-01T12:15:00Z"),
    ({"stamped_at": NOW - 15 * MINUTE}, Check.CERTIFICATE, "certificate: not valid at 2026-06-01T11:45:00Z"),
    ({"more": [fulcio(9, b"no DER")]}, Check.CERTIFICATE, "expected a DER UTF8String"),
    ({"more": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"x"), True)]},
     Check.CERTIFICATE, "critical extension 1.2.3"),
    ({"more": [(x509.KeyUsage(False, *[True] * 6, False, False), True)]},
     Check.CERTIFICATE, "may not sign (key usage)"),
    ({"more": [fulcio(9, utf8("https://a.example"))], "issuer": ""}, None, ""),
    ({"predicate_type": intoto.COSIGN_SIGN, "subject": OTHER}, Check.SUBJECT, "subject: the statement is about"),
    ({"payload_type": "application/json"}, Check.STATEMENT, "payload type: got 'application/json'"),
    ({"statement": b'{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"a"}'},
     Check.STATEMENT, "in-toto statement.subject"),
    ({"statement": b'{"_type":"https://in-toto.io/Statement/v1","predicateType":"a"}'},
     Check.STATEMENT, "in-toto statement.subject"),
    ({"statement": b'{"_type":"https://in-toto.io/Statement/v1","subject":null,"predicateType":"a"}'},
     Check.STATEMENT, "in-toto statement.subject"),
    ({"statement": b'{"_type":"x","_type":"y"}'}, Check.STATEMENT, "key '_type' twice"),
    ({"statement": b'{"_type":"https://example.com/Other"}'}, Check.STATEMENT, "in-toto statement._type"),
    ({"statement": b"not JSON"}, Check.STATEMENT, "expected one JSON document"),
])
def test_made_wrong(arguments: dict[str, Any], check: Check, reason: str) -> None:
    if not reason:
        verify_evidence(evidence(WORLD.keyless(**arguments)), Trust(ROOT), NOW)
        return
    refused(WORLD.keyless(**arguments), check, reason)


@pytest.mark.parametrize(("kind", "part", "check", "reason"), [
    ("v2", "ca", Check.CERTIFICATE, "https://ca.example is trusted from"),
    ("v2", "ct", Check.SCT, "the CT log https://ct.example is trusted from"),
    ("v2", "tsa", Check.TIME, "the authority is trusted from"),
    ("v2", "log2", Check.LOG, "the log https://log2.example is trusted from"),
    ("dsse", "log1", Check.LOG, "the log https://log1.example is trusted from"),
    ("dsse", "ca", Check.CERTIFICATE, "https://ca.example is trusted from"),
])
def test_validity_of_what_is_trusted(kind: str, part: str, check: Check, reason: str) -> None:
    """The peers' gap: sigstore-python ignores the CA's and the logs' windows, sigstore-go the Rekor v2 log's."""
    document = WORLD.keyless(kind=kind)
    refused(document, check, reason, WORLD.trusted_root(**{part: PAST}))
    exact = WORLD.trusted_root(**{part: Validity(NOW, NOW)})  # closed at both ends
    assert verify_evidence(evidence(document), Trust(exact), NOW).signed_at == NOW


def test_authorities() -> None:
    document = WORLD.keyless()
    refused(document, Check.TIME, "the trusted root has no timestamp authority",
            replace(ROOT, timestamp_authorities=()))
    refused(document, Check.CERTIFICATE, "no trusted authority issued it", replace(ROOT, certificate_authorities=()))
    refused(document, Check.CERTIFICATE, "no trusted authority issued it", replace(
        ROOT, certificate_authorities=World().trusted_root().certificate_authorities))
    refused(document, Check.CERTIFICATE, "its chain does not end in a root", WORLD.trusted_root(ca_chain=(WORLD.ca,)))
    refused(document, Check.LOG, "is not in the trusted root", replace(ROOT, tlogs=()))
    refused(document, Check.SCT, "SCT: by no CT log", replace(ROOT, ctlogs=()))
    refused(document, Check.ROOT, "signed with a certificate, and there is no trusted root", None)


@pytest.mark.parametrize(("arguments", "check", "reason"), [
    ({"ca": False}, Check.CERTIFICATE, "is no CA"),
    ({"usages": [Usage.SERVER_AUTH]}, Check.CERTIFICATE, "is not for codeSigning"),
    ({"end": NOW - DAY}, Check.CERTIFICATE, "is not valid at"),
    ({"extensions": [(x509.KeyUsage(True, *[False] * 8), True)]}, Check.CERTIFICATE, "may not sign certificates"),
    ({"extensions": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b""), True)]},
     Check.CERTIFICATE, "critical extension"),
])
def test_unfit_intermediate(arguments: dict[str, Any], check: Check, reason: str) -> None:
    key = new_key()
    given = {"name": "intermediate", "ca": True, "start": NOW - 20 * DAY, "end": NOW + DAY} | arguments
    middle = certificate(key, (WORLD.root, WORLD.root_key), **given)
    refused(WORLD.keyless(signed_by=(middle, key)), check, reason, WORLD.trusted_root(ca_chain=(middle, WORLD.root)))


def test_arcs_below_fulcio_s_extensions_say_nothing() -> None:
    below = [(x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{arc}"), utf8("other")), False)
             for arc in ("8.1", "9.1", "12.1")]
    verified = verify_evidence(evidence(WORLD.keyless(more=below)), Trust(ROOT), NOW)
    assert isinstance(verified.signer, KeylessSigner)
    assert verified.signer.issuer == ISSUER
    assert verified.signer.claims == {"githubWorkflowTrigger": "push", "githubWorkflowRepository": "acme/app",
                                   "sourceRepositoryURI": "https://github.com/acme/app"}


def test_intermediates_that_certify_each_other_end() -> None:
    """Eight certificates of two names, each of which may stand on a path once."""
    keys = {"a": new_key(), "b": new_key()}
    span = {"ca": True, "start": NOW - DAY, "end": NOW + DAY}
    roots = {name: certificate(key, None, name=name, **span) for name, key in keys.items()}
    pool = [certificate(keys[name], (roots[other], keys[other]), name=name, **span)
            for name, other in [("a", "b"), ("b", "a")] * 4]
    leaf = read_signing_certificate(WORLD.leaf(new_key(), signed_by=(pool[0], keys["a"])).public_bytes(Encoding.DER))
    with pytest.raises(VerificationError, match="more than 64 signatures to check"):
        build_chain(leaf, [item.public_bytes(Encoding.DER) for item in pool], ROOT.certificate_authorities, NOW)


def test_path_length() -> None:
    low_key = new_key()
    low = certificate(low_key, (WORLD.ca, WORLD.ca_key), name="low", ca=True, start=NOW - DAY, end=NOW + DAY)
    refused(WORLD.keyless(signed_by=(low, low_key)), Check.CERTIFICATE, "allows 0 CAs below it",
            WORLD.trusted_root(ca_chain=(low, WORLD.ca, WORLD.root)))


@pytest.mark.parametrize(("usages", "critical"), [
    ([Usage.CODE_SIGNING], True), ([Usage.TIME_STAMPING], False), ([Usage.TIME_STAMPING, Usage.CODE_SIGNING], True)])
def test_tsa_usage(usages: list[Any], critical: bool) -> None:
    bad = WORLD.tsa_certificate(usages, critical=critical)
    document = WORLD.keyless()
    signature = base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"])
    document["verificationMaterial"]["timestampVerificationData"] = {
        "rfc3161Timestamps": [{"signedTimestamp": b64(WORLD.stamp(signature, certificate=bad))}]}
    root = WORLD.trusted_root(tsa_chain=(bad, WORLD.tsa_root))
    refused(document, Check.TIME, "extended key usage is not timeStamping, critical and alone", root)


def test_timestamp_without_its_certificate() -> None:
    document = WORLD.keyless()
    signature = base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"])
    document["verificationMaterial"]["timestampVerificationData"] = {
        "rfc3161Timestamps": [{"signedTimestamp": b64(WORLD.stamp(signature, embed=False))}]}
    assert verify_evidence(evidence(document), Trust(ROOT), NOW).signed_at == NOW


def test_certificates_of_a_timestamp_stand_in_any_order() -> None:
    """FreeTSA writes its own first; DER orders a set. Who is believed stays the same."""
    document = WORLD.keyless()
    signature = base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"])
    answer = der.Reader(WORLD.stamp(signature), "").enter(der.SEQUENCE)
    status, token = answer.element(), answer.enter(der.SEQUENCE)
    kind, signed = token.element(), token.enter(0xa0).enter(der.SEQUENCE)
    head = [signed.element() for _ in range(3)]
    listed = sorted((signed.content(0xa0), WORLD.tsa_root.public_bytes(Encoding.DER)), reverse=True)
    tail = signed.element()

    def stamped(*certificates: bytes) -> dict[str, Any]:
        body = der.element(der.SEQUENCE, *head, der.element(0xa0, *certificates), tail)
        whole = der.element(der.SEQUENCE, status, der.element(der.SEQUENCE, kind, der.element(0xa0, body)))
        document["verificationMaterial"]["timestampVerificationData"] = {
            "rfc3161Timestamps": [{"signedTimestamp": b64(whole)}]}
        return document

    for certificates in (listed, listed[::-1]):
        assert verify_evidence(evidence(stamped(*certificates)), Trust(ROOT), NOW).signed_at == NOW
    refused(stamped(*listed), Check.TIME, "certificate verify error",
            WORLD.trusted_root(tsa_chain=(World().tsa, World().tsa_root)))
    refused(stamped(b"0"), Check.TIME, "expected a DER TimeStampResp")


def test_an_authority_of_time_that_ran_out_is_named_as_that() -> None:
    old = certificate(WORLD.tsa_root_key, None, name="tsa root", ca=True, start=NOW - 20 * DAY, end=NOW - DAY)
    refused(WORLD.keyless(), Check.TIME, "a certificate of its chain is not valid at 2026-06-01T12:00:00Z",
            WORLD.trusted_root(tsa_chain=(WORLD.tsa, old)))


def test_freshness_is_the_earliest_time() -> None:
    """A newer timestamp must not make an old signature look new."""
    document = WORLD.keyless(kind="dsse")
    signature = base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"])
    document["verificationMaterial"]["timestampVerificationData"] = {
        "rfc3161Timestamps": [{"signedTimestamp": b64(WORLD.stamp(signature, NOW + 5 * MINUTE))}]}
    assert verify_evidence(evidence(document), Trust(ROOT), NOW).signed_at == NOW


def test_checks_that_are_switched_off() -> None:
    document = WORLD.keyless(sct="none")
    document["verificationMaterial"]["tlogEntries"] = []
    refused(document, Check.LOGGED, "log entry: there is none", require_sct=False)
    refused(document, Check.SCT, "SCT: the certificate has none", require_log=False)
    verified = verify_evidence(evidence(document), Trust(ROOT, require_log=False, require_sct=False), NOW)
    assert verified.log is None
    with_v1 = WORLD.keyless(kind="dsse")  # an unchecked entry attests no time
    refused(with_v1, Check.TIME, "time: nothing attests", require_log=False)


def test_unsigned_documents() -> None:
    refused(evidence(b"{}", media_type="application/vnd.cyclonedx+json"), Check.FORMAT,
            "nothing of this type is signed")


def test_memory() -> None:
    document = WORLD.keyless()
    refused(document, Check.WEIGHT, "document: ", max_weight=1000)
    lists = intoto.statement(IMAGE, "https://example.com/lists", [[] for _ in range(10_000)]).to_bytes()
    refused(WORLD.keyless(statement=lists), Check.WEIGHT, "statement: ", max_weight=200_000)


# Keys

def key_bundle(key: PrivateKey, payload: bytes | None = None) -> dict[str, Any]:
    payload = payload or intoto.statement(IMAGE, intoto.COSIGN_SIGN, {}, annotations={"env": "prod"}).to_bytes()
    return {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": key.public.hint}},
            "dsseEnvelope": {"payload": b64(payload), "payloadType": intoto.PAYLOAD_TYPE,
                             "signatures": [{"sig": b64(key.sign(pae(intoto.PAYLOAD_TYPE, payload)))}]}}


def test_key() -> None:
    key, other = generate_key(), generate_key()
    document = key_bundle(key)
    trust = Trust(keys=(other.public, key.public), require_log=False)
    verified = verify_evidence(evidence(document), trust, NOW)
    assert isinstance(verified.signer, KeySigner)
    assert (verified.annotations, verified.signed_at) == ({"env": "prod"}, None)
    refused(document, Check.SIGNATURE, "the signature is not this key's", keys=(other.public,), require_log=False)
    refused(document, Check.LOGGED, "log entry: there is none", keys=(key.public,))


def test_key_in_a_log() -> None:
    key = generate_key()
    document = key_bundle(key)
    payload = base64.b64decode(document["dsseEnvelope"]["payload"])
    signature = base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"])
    body = entry_body("v2", pae(intoto.PAYLOAD_TYPE, payload), payload, signature, b"", b"")
    verifier = body["spec"]["hashedRekordV002"]["signature"]["verifier"]
    del verifier["x509Certificate"]
    verifier["publicKey"] = {"rawBytes": b64(key.public.der)}
    document["verificationMaterial"]["tlogEntries"] = [WORLD.entry(body, v1=False)]
    assert verify_evidence(evidence(document), Trust(ROOT, (key.public,)), NOW).log is not None
    refused(document, Check.LOG, "is trusted from", WORLD.trusted_root(log2=PAST), keys=(key.public,))
    verifier["publicKey"] = {"rawBytes": b64(generate_key().public.der)}
    document["verificationMaterial"]["tlogEntries"] = [WORLD.entry(body, v1=False)]
    refused(document, Check.LOG, "its public key is not the one", keys=(key.public,))


# cosign's formats before bundles

SIG = "dev.cosignproject.cosign/signature"


def payload_of(digest: str, kind: str = cosign.SIGNATURE_TYPE) -> bytes:
    return json.dumps(cosign.simple_signing(cosign.SimpleSigning(digest, "r.example/app", {"a": "b"}), kind)).encode()


def test_simple_signing() -> None:
    key = generate_key()
    trust = {"keys": (key.public,), "require_log": False}

    def layer(payload: bytes) -> Any:
        return evidence(payload, media_type=cosign.SIMPLE_SIGNING, annotations={SIG: b64(key.sign(payload))})

    good = layer(payload_of(IMAGE))
    verified = verify_evidence(good, Trust(None, (key.public,), require_log=False), NOW)
    assert (verified.kind, verified.format, verified.annotations) == ("signature", "simplesigning", {"a": "b"})
    refused(layer(payload_of(OTHER)), Check.SUBJECT, "subject: the signature is of", **trust)
    refused(layer(payload_of(IMAGE, "something else")), Check.STATEMENT, "critical.type", **trust)
    refused(evidence(payload_of(IMAGE), media_type=cosign.SIMPLE_SIGNING), Check.FORMAT, SIG, **trust)
    changed = evidence(good.data + b" ", media_type=cosign.SIMPLE_SIGNING, annotations=good.annotations)
    refused(changed, Check.SIGNATURE, "the signature is not this key's", **trust)
    refused(layer(payload_of(IMAGE).replace(b'"critical"', b'"critical":{},"critical"')), Check.STATEMENT,
            "twice", **trust)


def legacy(subject: str = IMAGE, entry_subject: str | None = None) -> Any:
    """A keyless .sig layer with certificate, chain and Rekor v1 bundle."""
    key = new_key()
    leaf = WORLD.leaf(key)
    payload = payload_of(subject)
    signature = key.sign(payload, ec.ECDSA(hashes.SHA256()))
    body = entry_body("hashedrekord", payload_of(entry_subject or subject), b"", signature,
                      b"", leaf.public_bytes(Encoding.PEM))
    made = WORLD.entry(body, v1=True)
    rekor = {"SignedEntryTimestamp": made["inclusionPromise"]["signedEntryTimestamp"], "Payload": {
        "body": made["canonicalizedBody"], "integratedTime": int(NOW.timestamp()), "logIndex": 1,
        "logID": WORLD.log1.verifier.log_id.hex()}}
    return evidence(payload, media_type=cosign.SIMPLE_SIGNING, annotations={
        SIG: b64(signature), "dev.sigstore.cosign/certificate": leaf.public_bytes(Encoding.PEM).decode(),
        "dev.sigstore.cosign/chain": "".join(cert.public_bytes(Encoding.PEM).decode()
                                             for cert in (WORLD.ca, WORLD.root)),
        "dev.sigstore.cosign/bundle": json.dumps(rekor)})


def replace_annotations(item: Any, changes: dict[str, str]) -> Any:
    return evidence(item.data, item.subject, item.media_type, {**item.annotations, **changes})


def test_legacy_keyless() -> None:
    verified = verify_evidence(legacy(), Trust(ROOT), NOW)
    assert (verified.signed_at, verified.log and verified.log.index) == (NOW, 1)
    refused(legacy(entry_subject=OTHER), Check.LOG, "it is about something else")
    item = legacy()
    item.annotations["dev.sigstore.cosign/bundle"] = item.annotations["dev.sigstore.cosign/bundle"].replace(
        f'"integratedTime": {int(NOW.timestamp())}', f'"integratedTime": {int(NOW.timestamp()) + 1}')
    refused(item, Check.LOG, "signed entry timestamp: not signed by the log's key")
    item = legacy()
    del item.annotations["dev.sigstore.cosign/bundle"]
    refused(item, Check.LOGGED, "log entry: there is none")
    for part in ("certificate", "chain"):
        name = f"dev.sigstore.cosign/{part}"
        refused(replace_annotations(legacy(), {name: "-----BEGIN CERTIFICATE-----\n\u00e9\n"}), Check.FORMAT, name)


def test_legacy_attestation() -> None:
    key = generate_key()
    payload = intoto.statement(IMAGE, "https://spdx.dev/Document", {"x": 1}).to_bytes()
    envelope = dsse.Envelope(intoto.PAYLOAD_TYPE, payload, (("", key.sign(pae(intoto.PAYLOAD_TYPE, payload))),))
    item = evidence(envelope.to_bytes(), media_type=dsse.MEDIA_TYPE, annotations={SIG: ""})
    verified = verify_evidence(item, Trust(keys=(key.public,), require_log=False), NOW)
    assert (verified.kind, verified.predicate, verified.format) == ("attestation", {"x": 1}, "dsse")
    stamped = WORLD.stamp(item.data)
    item.annotations["dev.sigstore.cosign/rfc3161timestamp"] = json.dumps({"SignedRFC3161Timestamp": b64(stamped)})
    assert verify_evidence(item, Trust(ROOT, (key.public,), require_log=False), NOW).signed_at == NOW
    refused(evidence(item.data, OTHER, dsse.MEDIA_TYPE), Check.SUBJECT, "subject: the statement is about", None,
            keys=(key.public,), require_log=False)


# Advisories of 2026 about cosign; CVE-2022-36056 is above

_DSSE = "is about a DSSE envelope with a SHA-256 payload hash, the signature is not"
REASONS_22703 = {"hashedrekord": "its digest is not the one", "dsse": _DSSE, "intoto": _DSSE}


@pytest.mark.parametrize("kind", ["hashedrekord", "dsse", "intoto"])
def test_cve_2026_22703(kind: str) -> None:
    """Old cosign bundles passed with a log entry that named neither the digest nor the signature nor the key."""
    mine = legacy()
    rekor = json.loads(mine.annotations["dev.sigstore.cosign/bundle"])
    if kind == "hashedrekord":
        rekor = json.loads(legacy(subject=OTHER).annotations["dev.sigstore.cosign/bundle"])
    else:  # a genuine entry of another kind, with the log's own promise
        foreign = entry(WORLD.keyless(kind=kind, subject=OTHER))
        rekor["SignedEntryTimestamp"] = foreign["inclusionPromise"]["signedEntryTimestamp"]
        rekor["Payload"]["body"] = foreign["canonicalizedBody"]
    refused(replace_annotations(mine, {"dev.sigstore.cosign/bundle": json.dumps(rekor)}), Check.LOG,
            REASONS_22703[kind])


@pytest.mark.parametrize("part", ["digest", "signature", "key"])
def test_cve_2026_22703_in_one_part(part: str) -> None:
    """The entry fits but for one of the three that have to be compared."""
    mine = legacy()
    rekor = json.loads(mine.annotations["dev.sigstore.cosign/bundle"])
    body = json.loads(base64.b64decode(rekor["Payload"]["body"]))
    spec = body["spec"]
    if part == "digest":
        spec["data"]["hash"]["value"] = "0" * 64
    elif part == "signature":
        spec["signature"]["content"] = flip(spec["signature"]["content"])
    else:
        spec["signature"]["publicKey"]["content"] = b64(WORLD.leaf(new_key()).public_bytes(Encoding.PEM))
    made = WORLD.entry(body, v1=True)
    rekor["SignedEntryTimestamp"] = made["inclusionPromise"]["signedEntryTimestamp"]
    rekor["Payload"]["body"] = made["canonicalizedBody"]
    refused(replace_annotations(mine, {"dev.sigstore.cosign/bundle": json.dumps(rekor)}), Check.LOG,
            f"its {'certificate' if part == 'key' else part} is not the one")


@pytest.mark.parametrize("expired", ["intermediate", "root"])
@pytest.mark.parametrize("require_log", [True, False])
def test_cve_2026_24122(expired: str, require_log: bool) -> None:
    """An issuer that was valid when the leaf was made, and not any more when the leaf signed, issued nothing."""
    short, long = {"start": NOW - DAY, "end": NOW - MINUTE / 2}, {"start": NOW - DAY, "end": NOW + DAY}
    root_key, key = new_key(), new_key()
    root = certificate(root_key, None, name="root", ca=True, **(short if expired == "root" else long))
    middle = certificate(key, (root, root_key), name="intermediate", ca=True, path_length=0,
                         **(short if expired == "intermediate" else long))
    trusted = WORLD.trusted_root(ca_chain=(middle, root))
    # The leaf is valid from a minute before NOW; the signature is of NOW.
    refused(WORLD.keyless(signed_by=(middle, key)), Check.CERTIFICATE,
            f"CN={expired} is not valid at 2026-06-01T12:00:00Z", trusted, require_log=require_log)


def test_ghsa_fx35_mq7g_6g98() -> None:
    """A bare public key where a certificate belongs is no certificate, and no key that anybody trusts."""
    mallory = generate_key()
    payload = payload_of(IMAGE)
    pem = mallory.public.pem.decode()
    layer = evidence(payload, media_type=cosign.SIMPLE_SIGNING, annotations={
        SIG: b64(mallory.sign(payload)), "dev.sigstore.cosign/certificate": pem})
    for trust in ({}, {"require_log": False}, {"keys": (generate_key().public,), "require_log": False}):
        refused(layer, Check.FORMAT,
                "dev.sigstore.cosign/certificate: got '0 certificates', expected 1 to 16 in PEM", **trust)
    document = key_bundle(mallory)
    document["verificationMaterial"]["publicKey"]["rawBytes"] = b64(mallory.public.der)
    refused(document, Check.KEY, "and no key is trusted", require_log=False)
    refused(document, Check.SIGNATURE, "the signature is not this key's", keys=(generate_key().public,),
            require_log=False)
    document["verificationMaterial"] = {"certificate": {"rawBytes": b64(mallory.public.der)}}
    refused(document, Check.CERTIFICATE, "expected a DER X.509 certificate", require_log=False)


def test_a_signature_of_the_manifest_as_a_file_is_none_of_the_image() -> None:
    """`cosign sign-blob manifest.json` made it; `cosign verify` refuses it too, as tests/sign/test_cli.py shows."""
    key, manifest = generate_key(), b'{"schemaVersion":2}'
    digest = hashlib.sha256(manifest)
    document = {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": {"publicKey": {"hint": key.public.hint}},
                "messageSignature": {"messageDigest": {"algorithm": "SHA2_256", "digest": b64(digest.digest())},
                                     "signature": b64(key.sign(manifest))}}
    item = evidence(document, subject=f"sha256:{digest.hexdigest()}")
    refused(item, Check.STATEMENT, "signature: got one of a file's bytes (messageSignature)", keys=(key.public,),
            require_log=False)
    verified = verify_evidence(item, Trust(ROOT, (key.public,), require_log=False, blobs=True), NOW)
    assert isinstance(verified.signer, KeySigner)


# Who

def test_identity() -> None:
    signer = verify_evidence(evidence(WORLD.keyless()), Trust(ROOT), NOW).signer
    assert Identity(IDENTITY, issuer=ISSUER).mismatch(signer) is None
    assert Identity(subject_regexp="^https://github.com/acme/", issuer_regexp="actions").mismatch(signer) is None
    assert "identity: got" in str(Identity("https://evil.example", issuer=ISSUER).mismatch(signer))
    assert "issuer: got" in str(Identity(IDENTITY, issuer="https://evil.example").mismatch(signer))
    assert "expected a match" in str(Identity(subject_regexp="^evil", issuer=ISSUER).mismatch(signer))
    claims = {"githubWorkflowRepository": "acme/other"}
    assert "githubWorkflowRepository: got 'acme/app'" in str(Identity(IDENTITY, issuer=ISSUER, claims=claims)
                                                             .mismatch(signer))
    assert "expected a certificate" in str(Identity(IDENTITY, issuer=ISSUER).mismatch(generate_key().public.signer))


@pytest.mark.parametrize(("fields", "reason"), [
    ({}, "identity: not given"), ({"subject": "a"}, "issuer: not given"), ({"issuer": "a"}, "identity: not given"),
    ({"subject": "a", "subject_regexp": "a", "issuer": "b"}, "given exactly and as a pattern"),
    ({"subject_regexp": "(", "issuer": "b"}, "--certificate-identity-regexp")])
def test_identity_is_needed_whole(fields: dict[str, str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason.replace("(", "\\(")):
        Identity(**fields)


def test_windows_are_open_where_nothing_is_said() -> None:
    assert Validity().contains(NOW)
    assert not Validity(NOW + MINUTE).contains(NOW)
    assert ALWAYS.contains(NOW)
