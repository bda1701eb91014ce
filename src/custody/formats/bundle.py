"""Sigstore bundles: a signature with all that is needed to verify it (protobuf-specs sigstore_bundle.proto).

Versions 0.1 to 0.3 are read, 0.3 is written. What a version requires of log entries is the verifier's business; what
the message may look like is checked here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import msgspec

from custody.errors import MalformedError, UnsupportedError
from custody.formats.dsse import MAX_SIZE, Envelope, read_envelope
from custody.formats.protojson import Message, encode_base64
from custody.kit import strictjson

PREFIX = "application/vnd.dev.sigstore.bundle"
"""What the media types of all versions begin with."""
MEDIA_TYPE = f"{PREFIX}.v0.3+json"
_VERSIONS = {MEDIA_TYPE: "0.3"} | {f"{PREFIX}+json;version={version}": version for version in ("0.1", "0.2", "0.3")}
DIGESTS = {"SHA2_256": "sha256", "SHA2_384": "sha384", "SHA2_512": "sha512"}
"""Of a file's bytes: HashAlgorithm (sigstore_common.proto) → hashlib's name."""
_NAMES = {name: algorithm for algorithm, name in DIGESTS.items()}
MAX_DOCUMENT = 2 * MAX_SIZE
"""Bytes of a bundle's JSON."""
_MAX_ENTRIES = 32
_MAX_HASHES = 64


class InclusionProof(msgspec.Struct, frozen=True):
    log_index: int
    """Index in this tree; may differ from the entry's, which counts over all shards."""
    root_hash: bytes
    tree_size: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    """A signed note; empty where there is none."""


class LogEntry(msgspec.Struct, frozen=True):
    """One transparency log entry (sigstore_rekor.proto, TransparencyLogEntry)."""

    log_index: int
    log_id: bytes
    kind: str
    version: str
    integrated_time: int
    """Unix seconds; 0 in Rekor v2, which attests no time."""
    promise: bytes | None
    """Signed entry timestamp."""
    proof: InclusionProof | None
    body: bytes
    """The canonical entry, exactly as it is hashed."""

    def to_json(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "logIndex": str(self.log_index), "logId": {"keyId": encode_base64(self.log_id)},
            "kindVersion": {"kind": self.kind, "version": self.version}}
        if self.integrated_time:
            result["integratedTime"] = str(self.integrated_time)
        if self.promise is not None:
            result["inclusionPromise"] = {"signedEntryTimestamp": encode_base64(self.promise)}
        if self.proof is not None:
            result["inclusionProof"] = {
                "logIndex": str(self.proof.log_index), "rootHash": encode_base64(self.proof.root_hash),
                "treeSize": str(self.proof.tree_size), "hashes": [encode_base64(node) for node in self.proof.hashes],
                "checkpoint": {"envelope": self.proof.checkpoint}}
        result["canonicalizedBody"] = encode_base64(self.body)
        return result


class MessageSignature(msgspec.Struct, frozen=True):
    """A signature over an artifact's bytes."""

    digest: bytes
    """Of the artifact, by `algorithm`."""
    signature: bytes
    algorithm: str = "sha256"
    """`sha256`, `sha384` or `sha512`."""


class Bundle(msgspec.Struct, frozen=True):
    """Either `certificates` (DER, leaf first) or `key_hint`; either `envelope` or `message`."""

    version: str
    certificates: tuple[bytes, ...]
    key_hint: str | None
    entries: tuple[LogEntry, ...]
    timestamps: tuple[bytes, ...]
    """DER TimeStampResp."""
    envelope: Envelope | None
    message: MessageSignature | None

    media_type: str = MEDIA_TYPE
    """As it was read; 0.3 has two."""

    @property
    def signature(self) -> bytes:
        if self.envelope is not None:
            return self.envelope.signatures[0][1]
        assert self.message is not None
        return self.message.signature

    def to_bytes(self) -> bytes:
        """Version 0.3 JSON; of the certificates only the leaf is written, as that version demands."""
        material: dict[str, Any] = {}
        if self.certificates:
            material["certificate"] = {"rawBytes": encode_base64(self.certificates[0])}
        else:
            material["publicKey"] = {"hint": self.key_hint or ""}
        if self.entries:
            material["tlogEntries"] = [entry.to_json() for entry in self.entries]
        if self.timestamps:
            material["timestampVerificationData"] = {
                "rfc3161Timestamps": [{"signedTimestamp": encode_base64(stamp)} for stamp in self.timestamps]}
        document: dict[str, Any] = {"mediaType": MEDIA_TYPE, "verificationMaterial": material}
        if self.envelope is not None:
            document["dsseEnvelope"] = self.envelope.to_json()
        elif self.message is not None:
            document["messageSignature"] = {
                "messageDigest": {"algorithm": _NAMES[self.message.algorithm],
                                  "digest": encode_base64(self.message.digest)},
                "signature": encode_base64(self.message.signature)}
        return json.dumps(document, separators=(",", ":")).encode()


def parse_bundle(data: bytes, where: str = "bundle") -> Bundle:
    """Raises MalformedError or UnsupportedError, naming the field."""
    return read_bundle(strictjson.loads(data, where, max_size=MAX_DOCUMENT, max_depth=16), where)


def read_bundle(document: Any, where: str = "bundle") -> Bundle:
    """The same of JSON that was read already."""
    root = Message(document, where)
    media_type = root.text("mediaType", "")
    version = _VERSIONS.get(media_type)
    if version is None:
        raise UnsupportedError(f"{where}.mediaType", f"{media_type!r} is no Sigstore bundle of version 0.1 to 0.3")
    material = root.message("verificationMaterial")
    certificates, hint = _signer(material, version)
    entries = tuple(read_log_entry(entry) for entry in material.messages("tlogEntries", _MAX_ENTRIES))
    stamps: tuple[bytes, ...] = ()
    if (data_field := material.optional("timestampVerificationData")) is not None:
        listed = data_field.messages("rfc3161Timestamps", _MAX_ENTRIES)
        stamps = tuple(stamp.data("signedTimestamp") for stamp in listed)
        if len(set(stamps)) != len(stamps):
            raise MalformedError(f"{data_field.where}.rfc3161Timestamps", got="one twice", expected="each once")
        data_field.done()
    material.done()
    envelope = read_envelope(root.message("dsseEnvelope")) if root.has("dsseEnvelope") else None
    message = _message(root.message("messageSignature")) if root.has("messageSignature") else None
    if (envelope is None) == (message is None):
        raise MalformedError(where, got="both or neither", expected="one of dsseEnvelope and messageSignature")
    if envelope is not None and len(envelope.signatures) != 1:
        raise MalformedError(f"{where}.dsseEnvelope.signatures", got=f"{len(envelope.signatures)} signatures",
                             expected="exactly one in a bundle")
    root.done()
    return Bundle(version, certificates, hint, entries, stamps, envelope, message, media_type)


def _signer(material: Message, version: str) -> tuple[tuple[bytes, ...], str | None]:
    present = [name for name in ("certificate", "x509CertificateChain", "publicKey") if material.has(name)]
    if len(present) != 1:
        raise MalformedError(material.where, got=" and ".join(present) or "nothing",
                             expected="one of certificate, x509CertificateChain and publicKey")
    signer = material.message(present[0])
    hint = None
    certificates: tuple[bytes, ...] = ()
    if present[0] == "publicKey":
        hint = signer.text("hint", "", limit=1024)
        signer.raw("rawBytes")
    elif present[0] == "certificate":
        certificates = (signer.data("rawBytes"),)
    else:
        certificates = tuple(certificate.data("rawBytes") for certificate in signer.messages("certificates", 16))
        if not certificates:
            raise signer.missing("certificates", "at least the signing certificate")
        if version == "0.3" and len(certificates) > 1:
            raise MalformedError(signer.where, got="a chain", expected="one certificate in version 0.3")
    signer.done()
    return certificates, hint


def read_log_entry(entry: Message) -> LogEntry:
    """The TransparencyLogEntry in a bundle or a Rekor v2 answer. Raises MalformedError or UnsupportedError."""
    kind = entry.message("kindVersion")
    promise = entry.optional("inclusionPromise")
    proof = entry.optional("inclusionProof")
    result = LogEntry(
        _natural(entry, "logIndex"), entry.message("logId").data("keyId"), kind.text("kind"), kind.text("version"),
        _natural(entry, "integratedTime"), promise.data("signedEntryTimestamp") if promise else None,
        _proof(proof) if proof else None, entry.data("canonicalizedBody"))
    for part in (entry, kind, promise):
        if part is not None:
            part.done()
    return result


def _proof(proof: Message) -> InclusionProof:
    checkpoint = proof.optional("checkpoint")
    result = read_proof(proof, Message.data, checkpoint.text("envelope", "") if checkpoint else "")
    proof.done()
    return result


def read_proof(proof: Message, digest: Callable[[Message, str], bytes], checkpoint: str) -> InclusionProof:
    """A proof whose digests `digest` reads: `Message.data` here, `Message.hex` in an answer of Rekor v1."""
    hashes = proof.raw("hashes") or []
    if not isinstance(hashes, list) or len(hashes) > _MAX_HASHES:
        raise MalformedError(f"{proof.where}.hashes", got=hashes, expected=f"at most {_MAX_HASHES} hashes")
    parts = Message({str(i): value for i, value in enumerate(hashes)}, f"{proof.where}.hashes")
    return InclusionProof(_natural(proof, "logIndex"), digest(proof, "rootHash"), _natural(proof, "treeSize"),
                          tuple(digest(parts, str(i)) for i in range(len(hashes))), checkpoint)


def _natural(entry: Message, name: str) -> int:
    number = entry.integer(name, 0)
    if number < 0:
        raise MalformedError(f"{entry.where}.{name}", got=number, expected="a number that is not negative")
    return number


def _message(signature: Message) -> MessageSignature:
    digest = signature.message("messageDigest")
    algorithm = digest.text("algorithm", "")
    if algorithm not in DIGESTS:
        raise UnsupportedError(f"{digest.where}.algorithm", f"{algorithm!r}; custody reads {', '.join(DIGESTS)}")
    value = digest.data("digest")
    if len(value) != hashlib.new(DIGESTS[algorithm]).digest_size:
        raise MalformedError(f"{digest.where}.digest", got=f"{len(value)} bytes", expected=f"a digest by {algorithm}")
    result = MessageSignature(value, signature.data("signature"), DIGESTS[algorithm])
    digest.done()
    signature.done()
    return result
