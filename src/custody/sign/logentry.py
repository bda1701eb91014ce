"""Transparency log entries: that one is about this very signature, and that a trusted log keeps it.

Rekor v1 entries carry a signed entry timestamp (SET), which also attests the time; Rekor v2 entries do not, and need a
timestamp authority. Both carry an inclusion proof to a checkpoint, a signed note (C2SP tlog-checkpoint, signed-note).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from custody.errors import MalformedError, UnsupportedError, VerificationError
from custody.formats.bundle import InclusionProof, LogEntry
from custody.formats.protojson import Message, decode_base64, encode_base64
from custody.kit import merkle, strictjson
from custody.kit.amount import amount
from custody.kit.canonical import canonical
from custody.kit.clock import format_rfc3339
from custody.sign.claim import Claim
from custody.sign.keys import PublicKey, load_public_der, signed
from custody.sign.steps import SILENT, Step, Trace
from custody.trust.checkpoint import parse_checkpoint
from custody.trust.roots import TransparencyLog

_MAX_BODY = 1 << 26
_MAX_SIGNATURES = 64
_PEM = re.compile(r"-----BEGIN (CERTIFICATE|PUBLIC KEY)-----(.*)-----END \1-----\s*\Z", re.DOTALL)
_V1 = {("hashedrekord", "0.0.1"), ("dsse", "0.0.1"), ("intoto", "0.0.2")}


@dataclass(frozen=True, slots=True)
class Logged:
    """What an entry must be about."""

    claim: Claim
    key: PublicKey
    certificate: bytes | None
    """DER of the leaf, in keyless signatures."""


def check_binding(entry: LogEntry, about: Logged) -> None:
    """The entry's body names this signature, this key and these bytes (CVE-2022-36056). Raises VerificationError."""
    where = "log entry"
    root = Message(strictjson.loads(entry.body, where, max_size=_MAX_BODY, max_depth=16), where)
    kind, version = root.text("kind"), root.text("apiVersion")
    if (kind, version) != (entry.kind, entry.version):
        raise VerificationError(f"{where}: its body is {kind} {version}, the bundle says {entry.kind} {entry.version}")
    spec = root.message("spec")
    if (kind, version) == ("hashedrekord", "0.0.2"):
        _hashedrekord_v2(spec.message("hashedRekordV002"), about)
    elif (kind, version) == ("hashedrekord", "0.0.1"):
        data, signature = spec.message("data").message("hash"), spec.message("signature")
        _same("digest", data.hex("value"), about.claim.hashed(data.text("algorithm")))
        _same("signature", signature.data("content"), about.claim.signature)
        _same_pem(signature.message("publicKey").data("content"), about, f"{where}: publicKey")
    elif (kind, version) == ("dsse", "0.0.1"):
        _payload(spec, about)
        listed = spec.messages("signatures", _MAX_SIGNATURES)
        if len(listed) != 1:
            raise VerificationError(f"{where}: {len(listed)} signatures, expected one")
        _same("signature", listed[0].data("signature"), about.claim.signature)
        _same_pem(listed[0].data("verifier"), about, f"{where}: verifier")
    elif (kind, version) == ("intoto", "0.0.2"):
        content = spec.message("content")
        _payload(content, about)
        envelope = content.message("envelope")
        listed = envelope.messages("signatures", _MAX_SIGNATURES)
        if len(listed) != 1 or about.claim.envelope is None:
            raise VerificationError(f"{where}: {len(listed)} signatures, expected one")
        _same("payload type", envelope.text("payloadType").encode(), about.claim.envelope.payload_type.encode())
        inner = decode_base64(listed[0].data("sig").decode("ascii", "replace"), f"{where}: sig")
        _same("signature", inner, about.claim.signature)
        _same_pem(listed[0].data("publicKey"), about, f"{where}: publicKey")
    else:
        raise UnsupportedError(where, f"kind {kind} {version}")


def _hashedrekord_v2(record: Message, about: Logged) -> None:
    data, signature = record.message("data"), record.message("signature")
    name = {"SHA2_256": "sha256", "SHA2_384": "sha384", "SHA2_512": "sha512"}.get(data.text("algorithm"), "")
    _same("digest", data.data("digest"), about.claim.hashed(name))
    _same("signature", signature.data("content"), about.claim.signature)
    verifier = signature.message("verifier")
    if verifier.has("x509Certificate"):
        _same("certificate", verifier.message("x509Certificate").data("rawBytes"), about.certificate)
    elif about.certificate is not None:
        raise VerificationError("log entry: names a bare key, the signature was made with a certificate")
    else:
        _same("public key", verifier.message("publicKey").data("rawBytes"), about.key.der)


def _payload(spec: Message, about: Logged) -> None:
    hashed = spec.message("payloadHash")
    if hashed.text("algorithm") != "sha256" or about.claim.envelope is None:
        raise VerificationError("log entry: is about a DSSE envelope with a SHA-256 payload hash, the signature is not")
    _same("payload hash", hashed.hex("value"), hashlib.sha256(about.claim.envelope.payload).digest())


def _same(part: str, got: bytes, expected: bytes | None) -> None:
    if got != expected:
        raise VerificationError(f"log entry: its {part} is not the one of this signature, it is about something else")


def _same_pem(pem: bytes, about: Logged, where: str) -> None:
    match = _PEM.match(pem.decode("ascii", "replace").strip())
    if match is None:
        raise MalformedError(where, got=pem[:64], expected="one PEM certificate or public key")
    der = decode_base64("".join(match[2].split()), where)
    if match[1] == "CERTIFICATE":
        _same("certificate", der, about.certificate)
    elif about.certificate is not None:
        raise VerificationError("log entry: names a bare key, the signature was made with a certificate")
    else:
        _same("public key", der, about.key.der)


def find_log(entry: LogEntry, logs: Sequence[TransparencyLog]) -> TransparencyLog:
    for log in logs:
        if log.log_id == entry.log_id:
            return log
    raise VerificationError(f"log entry: log {entry.log_id.hex()[:16]}… is not in the trusted root")


def is_v1(entry: LogEntry) -> bool:
    return (entry.kind, entry.version) in _V1


def check_logged(entry: LogEntry, log: TransparencyLog, *, proof_required: bool, trace: Trace = SILENT
                 ) -> datetime | None:
    """That the log keeps the entry; returns the time that the log attests, if it attests one.

    At least one of SET and inclusion proof must be there; whichever is there must be right. Raises VerificationError.
    """
    key = load_public_der(log.key_der, f"trusted root: log {log.base_url}")
    moment = None
    if entry.promise is not None:
        trace.begin(Step.LOG_PROMISE)
        check_set(entry, key)
        moment = integrated = datetime.fromtimestamp(entry.integrated_time, UTC)
        trace.passed(lambda: f"signed entry timestamp of {format_rfc3339(integrated)}, by {log.base_url}")
    else:
        trace.skipped("the entry has none, as those of Rekor v2; its inclusion proof stands for it", Step.LOG_PROMISE)
    if entry.proof is not None and (entry.proof.checkpoint or proof_required):
        check_inclusion(entry, entry.proof, log, key, trace)
        return moment
    trace.begin(Step.LOG_PROOF)
    if proof_required:
        raise VerificationError("log entry: has no inclusion proof", absent=True)
    if entry.promise is None:
        raise VerificationError("log entry: has neither a signed entry timestamp nor an inclusion proof", absent=True)
    trace.skipped("the log's promise suffices in this format", Step.LOG_CHECKPOINT, Step.LOG_PROOF)
    return moment


def check_set(entry: LogEntry, key: PublicKey) -> None:
    """Rekor v1's promise: a signature over the entry's place and time."""
    message = canonical({"body": encode_base64(entry.body), "integratedTime": entry.integrated_time,
                         "logID": entry.log_id.hex(), "logIndex": entry.log_index})
    if not 0 < entry.integrated_time < 1 << 36:
        raise VerificationError(f"log entry: a signed entry timestamp with time {entry.integrated_time}")
    if not signed(key.key, entry.promise or b"", message):
        raise VerificationError("signed entry timestamp: not signed by the log's key")


def check_inclusion(entry: LogEntry, proof: InclusionProof, log: TransparencyLog, key: PublicKey,
                    trace: Trace = SILENT) -> None:
    """The entry's hash leads to the root of a checkpoint that the log signed."""
    if not proof.checkpoint:  # what is wrong with the proof itself is the nearer reason
        trace.begin(Step.LOG_PROOF)
        merkle.verify_inclusion(merkle.leaf_hash(entry.body), proof.log_index, proof.tree_size, proof.hashes,
                                proof.root_hash)
        trace.passed()
    trace.begin(Step.LOG_CHECKPOINT)
    if not proof.checkpoint:
        raise VerificationError("inclusion proof: has no checkpoint", absent=True)
    size, root = check_checkpoint(proof.checkpoint, log, key, note_id=not is_v1(entry))
    trace.passed(lambda: f"{amount(size, 'entry', 'entries')}, signed by {log.base_url}")
    trace.begin(Step.LOG_PROOF)
    if size != proof.tree_size or root != proof.root_hash:
        raise VerificationError(f"inclusion proof: for {proof.tree_size} entries with root {proof.root_hash.hex()}, "
                                f"and the checkpoint is of {size} with root {root.hex()}")
    if not is_v1(entry) and entry.log_index != proof.log_index:
        raise VerificationError(f"inclusion proof: of entry {proof.log_index}, and the entry is {entry.log_index}")
    merkle.verify_inclusion(merkle.leaf_hash(entry.body), proof.log_index, proof.tree_size, proof.hashes, root)
    trace.passed(lambda: f"entry {proof.log_index} of {size}")


def check_checkpoint(note: str, log: TransparencyLog, key: PublicKey, *, note_id: bool) -> tuple[int, bytes]:
    """Tree size and root hash of a checkpoint that the log signed. Signatures by others (witnesses) are ignored.

    `note_id`: the signature must stand under the checkpoint's origin (Rekor v2; v1 signs under the host's name only).
    """
    checkpoint = parse_checkpoint(note.encode())
    signatures = [blob[4:] for name, blob in checkpoint.signatures
            if blob[:4] == log.log_id[:4] and (name == checkpoint.origin or not note_id)]
    if not signatures:
        raise VerificationError(f"checkpoint: no signature of the log {log.base_url} (key ID {log.log_id[:4].hex()})")
    if not any(signed(key.key, signature, checkpoint.text) for signature in signatures):
        raise VerificationError("checkpoint: not signed by the log's key")
    return checkpoint.size, checkpoint.root


def check_log_validity(log: TransparencyLog, moment: datetime) -> None:
    """The log's key was trusted when the entry was made; sigstore-go and sigstore-python skip this for Rekor v2."""
    if not log.valid.contains(moment):
        raise VerificationError(f"log entry: the log {log.base_url} is trusted from {log.valid}, and the entry is of "
                                f"{format_rfc3339(moment)}")
