"""Keyless signatures of git objects: CMS in `gpgsig`, with the log's entry in it, as gitsign makes them.

(sigstore/gitsign docs/verification.md; RFC 5652; sigstore_rekor.proto TransparencyLogEntry.) What the log keeps is a
`hashedrekord` of the signed attributes, whose message digest is the object's. gitsign leaves its body out of the
signature, since it follows from the rest. All is verified without asking anybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from custody.errors import Check, VerificationError
from custody.evidence.model import Evidence, Verified
from custody.formats import cms
from custody.formats.bundle import InclusionProof, LogEntry
from custody.formats.cosign import certificate_pem
from custody.formats.der import OCTETS, SEQUENCE, Reader, element
from custody.formats.protojson import encode_base64
from custody.formats.protowire import Field, Fields, message
from custody.kit.canonical import canonical
from custody.kit.clock import format_rfc3339
from custody.kit.digest import sha256
from custody.sign.certificate import load_certificate
from custody.sign.claim import Claim, Content, Timestamp
from custody.sign.trusting import HASHES
from custody.sign.verify import Trust, verify_evidence
from custody.trust.keys import AnyPublicKey, describe_key, verifies

FORMAT = "gitsign"
_MEDIA_TYPE = "application/pkcs7-signature"
_LOG_ENTRY = "1.3.6.1.4.1.57264.3.1"
_TIMESTAMP = "1.2.840.113549.1.9.16.2.14"
_KNOWN = (_LOG_ENTRY, _TIMESTAMP)
_HASHEDREKORD = ("hashedrekord", "0.0.1")
_GRANTED = bytes.fromhex("3003020100")
"""PKIStatusInfo of an answer: gitsign keeps the token, and a verifier takes the whole TimeStampResp."""
_SKEW = timedelta(minutes=5)
"""By how much a signer's clock may be wrong. When it was signed is the log's word, not this clock's."""
_MAX_HASHES = 64
_ENTRY: dict[int, Field] = {1: ("logIndex", int), 2: ("logId", bytes), 3: ("kindVersion", bytes),
                            4: ("integratedTime", int), 5: ("inclusionPromise", bytes), 6: ("inclusionProof", bytes),
                            7: ("canonicalizedBody", bytes)}
_PROOF: dict[int, Field] = {1: ("logIndex", int), 2: ("rootHash", bytes), 3: ("treeSize", int), 4: ("hashes", bytes),
                            5: ("checkpoint", bytes)}


def verify_object(payload: bytes, armor: str, trust: Trust, now: datetime) -> Verified:
    """`payload`: the commit or tag without its signature, which is `armor`. Raises VerificationError.

    What the caller must still do: compare the signer with the one it expects.
    """
    evidence = Evidence(subject=sha256(payload), media_type=_MEDIA_TYPE, data=armor.encode(), source="gpgsig")
    try:
        return verify_evidence(evidence, trust, now, decoder=partial(_decode, payload))
    except VerificationError as error:
        if error.check is Check.LOGGED:
            raise VerificationError("log entry: there is none in the signature; with rekorMode online it is in the log "
                                    "alone", hint="git config gitsign.rekorMode offline", check=Check.LOGGED) from None
        raise


def _decode(payload: bytes, evidence: Evidence) -> Claim:
    where = "signature"
    signed = cms.parse_armor(evidence.data.decode("utf-8", "replace"), where)
    for name in signed.unsigned:
        if name not in _KNOWN:
            raise VerificationError(f"{where}: the attribute {name} is not evaluated")
    digest = hashlib.new(signed.digest_algorithm, payload).digest()
    if signed.message_digest != digest:
        raise VerificationError(f"{where}: it is of an object with {signed.digest_algorithm} "
                                f"{signed.message_digest.hex()[:16]}…, and this one has {digest.hex()[:16]}…",
                                check=Check.SUBJECT)
    _check_signing_time(signed)
    entries = (_entry(signed, signed.unsigned[_LOG_ENTRY]),) if _LOG_ENTRY in signed.unsigned else ()
    stamps = ((Timestamp(_answer(signed.unsigned[_TIMESTAMP]), signed.signature),)
              if _TIMESTAMP in signed.unsigned else ())
    return Claim(format=FORMAT, signature=signed.signature, scheme=partial(_signed_as, signed),
                 signed=signed.attributes, certificates=signed.certificates, chain_to_root=True, timestamps=stamps,
                 entries=entries, read=partial(_read, sha256(payload)))


def _read(digest: str, subject: str) -> Content:
    return Content(kind="signature", predicate_type="", predicate={},
                   about=None if digest == subject else f"the signature is of {digest}")


def _check_signing_time(signed: cms.SignedData) -> None:
    if signed.signing_time is None:
        return
    leaf = load_certificate(signed.certificates[0], "certificate")
    if not leaf.not_valid_before_utc - _SKEW <= signed.signing_time <= leaf.not_valid_after_utc + _SKEW:
        raise VerificationError(
            f"time: the signer says {format_rfc3339(signed.signing_time)}, and the certificate is valid from "
            f"{format_rfc3339(leaf.not_valid_before_utc)} to {format_rfc3339(leaf.not_valid_after_utc)}",
            check=Check.TIME)


def _signed_as(said: cms.SignedData, key: AnyPublicKey, signature: bytes, attributes: bytes) -> bool:
    """As the signature says that it was made, with a key of the kind that it says."""
    if not describe_key(key).lower().startswith(said.key_type):
        raise VerificationError(f"signature: it says {said.key_type}, and the certificate's key is {describe_key(key)}")
    return verifies(key, signature, attributes, HASHES[said.digest_algorithm])


def _answer(token: bytes) -> bytes:
    """A TimeStampResp around a token (RFC 3161 section 2.4.2)."""
    return element(SEQUENCE, _GRANTED, token)


def unsigned_attributes(entries: Sequence[LogEntry], stamps: Sequence[bytes]) -> dict[str, bytes]:
    """What a signature carries beside what is signed: the log's entry, a timestamp (DER TimeStampResp).

    The body of an entry is left out where readers make it of the signature, as gitsign does; newer logs' stays in.
    """
    result = {}
    for entry in entries:
        body = b"" if (entry.kind, entry.version) == _HASHEDREKORD else entry.body
        result[_LOG_ENTRY] = element(OCTETS, _entry_message(entry, body))
    for stamp in stamps:
        answer = Reader(stamp, "timestamp").enter(SEQUENCE)
        answer.element(SEQUENCE)
        result[_TIMESTAMP] = answer.element(SEQUENCE)
    return result


def _entry_message(entry: LogEntry, body: bytes) -> bytes:
    fields: list[tuple[int, int | bytes]] = [
        (1, entry.log_index), (2, message((1, entry.log_id))),
        (3, message((1, entry.kind.encode()), (2, entry.version.encode())))]
    if entry.integrated_time:
        fields.append((4, entry.integrated_time))
    if entry.promise is not None:
        fields.append((5, message((1, entry.promise))))
    if entry.proof is not None:
        proof = entry.proof
        fields.append((6, message((1, proof.log_index), (2, proof.root_hash), (3, proof.tree_size),
                                  *((4, node) for node in proof.hashes),
                                  (5, message((1, proof.checkpoint.encode()))))))
    return message(*fields, *([(7, body)] if body else []))


def _entry(signed: cms.SignedData, attribute: bytes) -> LogEntry:
    where = "log entry"
    octets = Reader(attribute, where)
    entry = Fields(octets.content(OCTETS), _ENTRY, where)
    octets.done()
    kind = Fields(entry.data("kindVersion"), {1: ("kind", bytes), 2: ("version", bytes)}, f"{where}.kindVersion")
    named = (kind.text("kind"), kind.text("version"))
    body = entry.data("canonicalizedBody")
    if not body:
        if named != _HASHEDREKORD:
            raise VerificationError(f"{where}: {' '.join(named)} without a body, which follows from the signature for "
                                    f"{' '.join(_HASHEDREKORD)} alone")
        body = _body(signed)
    promise = None
    if entry.has("inclusionPromise"):
        promise = Fields(entry.data("inclusionPromise"), {1: ("signedEntryTimestamp", bytes)},
                         f"{where}.inclusionPromise").data("signedEntryTimestamp")
    log_id = Fields(entry.data("logId"), {1: ("keyId", bytes)}, f"{where}.logId").data("keyId")
    return LogEntry(entry.natural("logIndex"), log_id, *named, entry.natural("integratedTime"), promise or None,
                    _proof(entry, where), body)


def _proof(entry: Fields, where: str) -> InclusionProof | None:
    if not entry.has("inclusionProof"):
        return None
    proof = Fields(entry.data("inclusionProof"), _PROOF, f"{where}.inclusionProof")
    hashes = proof.all("hashes")
    if len(hashes) > _MAX_HASHES:
        raise VerificationError(f"{where}: a proof of {len(hashes)} hashes, expected at most {_MAX_HASHES}")
    checkpoint = Fields(proof.data("checkpoint"), {1: ("envelope", bytes)}, f"{where}.checkpoint").text("envelope")
    return InclusionProof(proof.natural("logIndex"), proof.data("rootHash"), proof.natural("treeSize"), hashes,
                          checkpoint)


def _body(signed: cms.SignedData) -> bytes:
    """What Rekor v1 keeps of a signature over the signed attributes."""
    return canonical({"apiVersion": _HASHEDREKORD[1], "kind": _HASHEDREKORD[0], "spec": {
        "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(signed.attributes).hexdigest()}},
        "signature": {"content": encode_base64(signed.signature),
                      "publicKey": {"content": encode_base64(certificate_pem(signed.certificates[0]))}}}})
