"""A whole trust ecosystem in memory that can be told to misbehave: CA, CT log, two logs (Rekor v1, v2), TSA.

`World.keyless` makes a bundle as JSON data in which everything is right; arguments and later changes to the data make
exactly one thing wrong.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from custody.evidence.model import Evidence
from custody.formats import bundle as bundles
from custody.formats import intoto
from custody.kit import merkle
from custody.kit.canonical import canonical
from custody.kit.pae import pae
from custody.trust.checkpoint import LogSigner
from custody.trust.ctlog import sct_list
from custody.trust.roots import CertificateAuthority, TransparencyLog, TrustedRoot, Validity
from custody.trust.tsa import TimestampAuthority, TimestampRequest

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
ALWAYS = Validity(NOW - 30 * DAY, NOW + 30 * DAY)
IDENTITY = "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"
ISSUER = "https://token.actions.githubusercontent.com"
IMAGE = "sha256:" + hashlib.sha256(b"image").hexdigest()
OTHER = "sha256:" + hashlib.sha256(b"another image").hexdigest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def spki(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate(key: Any, issuer: tuple[x509.Certificate, Any] | None, *, name: str = "", start: datetime,
                end: datetime, ca: bool = False, path_length: int | None = None, usages: list[Any] | None = None,
                eku_critical: bool = False, extensions: list[tuple[Any, bool]] | None = None) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)] if name else [])
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[0].subject if issuer else subject)
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(start).not_valid_after(end))
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(True, path_length), True)
    if usages is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), eku_critical)
    for extension, critical in extensions or []:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256())


def _usage(*, issues: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(not issues, False, False, False, False, issues, False, False, False)


def fulcio(number: int, value: bytes) -> tuple[Any, bool]:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{number}"), value), False


def utf8(text: str) -> bytes:
    data = text.encode()
    return (b"\x0c" + bytes([len(data)]) if len(data) < 128 else b"\x0c\x81" + bytes([len(data)])) + data


@dataclass
class World:
    root_key: Any = field(default_factory=new_key)
    ca_key: Any = field(default_factory=new_key)
    ct_key: Any = field(default_factory=new_key)
    log1_key: Any = field(default_factory=new_key)
    log2_key: Any = field(default_factory=ed25519.Ed25519PrivateKey.generate)
    tsa_root_key: Any = field(default_factory=new_key)
    tsa_key: Any = field(default_factory=new_key)

    def __post_init__(self) -> None:
        span = {"start": NOW - 20 * DAY, "end": NOW + 20 * DAY}
        self.root = certificate(self.root_key, None, name="root", ca=True, **span)
        self.ca = certificate(self.ca_key, (self.root, self.root_key), name="intermediate", ca=True, path_length=0,
                              usages=[Usage.CODE_SIGNING], **span)
        self.tsa_root = certificate(self.tsa_root_key, None, name="tsa root", ca=True,
                                    extensions=[(_usage(issues=True), True)], **span)
        self.tsa = self.tsa_certificate()
        self.log1 = LogSigner("log1.example", self.log1_key)
        self.log2 = LogSigner("log2.example", self.log2_key)

    def tsa_certificate(self, usages: list[Any] | None = None, *, critical: bool = True) -> x509.Certificate:
        return certificate(self.tsa_key, (self.tsa_root, self.tsa_root_key), name="tsa", start=NOW - 20 * DAY,
                           end=NOW + 20 * DAY, usages=[Usage.TIME_STAMPING] if usages is None else usages,
                           eku_critical=critical, extensions=[(_usage(), True)])

    def trusted_root(self, *, ca: Validity = ALWAYS, ct: Validity = ALWAYS, log1: Validity = ALWAYS,
                     log2: Validity = ALWAYS, tsa: Validity = ALWAYS, tsa_chain: tuple[Any, ...] | None = None,
                     ca_chain: tuple[Any, ...] | None = None) -> TrustedRoot:
        def log(signer: LogSigner, valid: Validity, details: str) -> TransparencyLog:
            return TransparencyLog(f"https://{signer.name}", spki(signer.key), details,
                                   signer.verifier.log_id, valid)

        def authority(uri: str, chain: tuple[Any, ...], valid: Validity) -> CertificateAuthority:
            return CertificateAuthority("acme", uri, f"https://{uri}.example",
                                        tuple(cert.public_bytes(Encoding.DER) for cert in chain), valid)

        return TrustedRoot(
            (log(self.log1, log1, "PKIX_ECDSA_P256_SHA_256"), log(self.log2, log2, "PKIX_ED25519")),
            (authority("ca", ca_chain or (self.ca, self.root), ca),),
            (log(LogSigner("ct.example", self.ct_key), ct, "PKIX_ECDSA_P256_SHA_256"),),
            (authority("tsa", tsa_chain or (self.tsa, self.tsa_root), tsa),))

    def leaf(self, key: Any, *, at: datetime = NOW, identity: str = IDENTITY, issuer: str = ISSUER,
             usages: list[Any] | None = None, sct: str = "good", sct_at: datetime | None = None,
             signed_by: tuple[x509.Certificate, Any] | None = None, sct_extensions: bytes = b"",
             sct_shown: bytes | None = None,
             more: list[tuple[Any, bool]] | None = None) -> x509.Certificate:
        """`sct`: good, none, foreign (a log that nobody knows), broken (another certificate's). `sct_shown`: extensions
        of the SCT where they are not those that were signed."""
        names = [x509.RFC822Name(identity) if "://" not in identity else x509.UniformResourceIdentifier(identity)]
        extensions = [(x509.SubjectAlternativeName(names), True), fulcio(1, issuer.encode()), fulcio(8, utf8(issuer)),
                      fulcio(2, b"push"), fulcio(5, b"acme/app"), fulcio(12, utf8("https://github.com/acme/app")),
                      *(more or [])]
        arguments: dict[str, Any] = {"start": at - timedelta(minutes=1), "end": at + timedelta(minutes=9),
                                     "usages": [Usage.CODE_SIGNING] if usages is None else usages}
        signer = signed_by or (self.ca, self.ca_key)
        if sct == "none":
            return certificate(key, signer, extensions=extensions, **arguments)
        draft = certificate(key, signer, extensions=extensions, **arguments)
        tbs = draft.tbs_certificate_bytes if sct != "broken" else b"another certificate"
        log_key = self.ct_key if sct != "foreign" else new_key()
        moment = int((sct_at or at).timestamp() * 1000)
        signed = (b"\0\0" + moment.to_bytes(8, "big") + b"\0\1" + hashlib.sha256(spki(signer[1])).digest()
                  + len(tbs).to_bytes(3, "big") + tbs + len(sct_extensions).to_bytes(2, "big") + sct_extensions)
        shown = sct_extensions if sct_shown is None else sct_shown
        proof = log_key.sign(signed, ec.ECDSA(hashes.SHA256()))
        blob = (b"\0" + hashlib.sha256(spki(log_key)).digest() + moment.to_bytes(8, "big")
                + struct.pack(">H", len(shown)) + shown + b"\x04\x03"
                + struct.pack(">H", len(proof)) + proof)
        # The final certificate is the draft with the SCT list behind its extensions, so serial and all else are kept.
        builder = (x509.CertificateBuilder().subject_name(draft.subject).issuer_name(draft.issuer)
                   .public_key(key.public_key()).serial_number(draft.serial_number)
                   .not_valid_before(draft.not_valid_before_utc).not_valid_after(draft.not_valid_after_utc))
        for extension in draft.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        return builder.add_extension(sct_list(blob), False).sign(signer[1], hashes.SHA256())

    def stamp(self, message: bytes, at: datetime = NOW, *, certificate: x509.Certificate | None = None,
              embed: bool = True) -> bytes:
        authority = TimestampAuthority(self.tsa_key, (certificate or self.tsa, self.tsa_root), lambda: at)
        return authority.stamp(TimestampRequest("sha256", hashlib.sha256(message).digest(), None, embed))

    def entry(self, body: dict[str, Any], at: datetime = NOW, *, v1: bool) -> dict[str, Any]:
        """A TransparencyLogEntry: leaf 1 of 3."""
        data = canonical(body)
        signer = self.log1 if v1 else self.log2
        leaves = [merkle.leaf_hash(b"first"), merkle.leaf_hash(data), merkle.leaf_hash(b"last")]
        root = merkle.root_hash(leaves)
        entry: dict[str, Any] = {
            "logIndex": "1", "logId": {"keyId": b64(signer.verifier.log_id)},
            "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
            "inclusionProof": {"logIndex": "1", "rootHash": b64(root), "treeSize": "3",
                               "hashes": [b64(item) for item in merkle.inclusion_proof(leaves, 1)],
                               "checkpoint": {"envelope": signer.sign(3, root).decode()}},
            "canonicalizedBody": b64(data)}
        if v1:
            entry["integratedTime"] = str(int(at.timestamp()))
            entry["inclusionPromise"] = {"signedEntryTimestamp": b64(self.promise(data, at))}
        return entry

    def promise(self, data: bytes, at: datetime, index: int = 1) -> bytes:
        signed = canonical({"body": b64(data), "integratedTime": int(at.timestamp()),
                            "logID": self.log1.verifier.log_id.hex(), "logIndex": index})
        return self.log1_key.sign(signed, ec.ECDSA(hashes.SHA256()))

    def keyless(self, *, kind: str = "v2", subject: str = IMAGE, statement: bytes | None = None,
                predicate_type: str = intoto.COSIGN_SIGN, at: datetime = NOW, stamped_at: datetime | None = None,
                stamps: int = 1, payload_type: str = intoto.PAYLOAD_TYPE, key: Any = None, cert: Any = None,
                **leaf: Any) -> dict[str, Any]:
        """Bundle v0.3 over a statement. `kind`: v2, or dsse and intoto of Rekor v1."""
        key = key or new_key()
        cert = cert or self.leaf(key, at=at, **leaf)
        der, pem = cert.public_bytes(Encoding.DER), cert.public_bytes(Encoding.PEM)
        payload = statement if statement is not None else intoto.statement(subject, predicate_type, {}).to_bytes()
        message = pae(payload_type, payload)
        signature = key.sign(message, ec.ECDSA(hashes.SHA256()))
        material: dict[str, Any] = {"certificate": {"rawBytes": b64(der)},
                                    "tlogEntries": [self.entry(entry_body(kind, message, payload, signature, der, pem,
                                                                          payload_type), at, v1=kind != "v2")]}
        if kind == "v2" and stamps:
            material["timestampVerificationData"] = {"rfc3161Timestamps": [
                {"signedTimestamp": b64(self.stamp(signature, stamped_at or at))} for _ in range(stamps)]}
        return {"mediaType": bundles.MEDIA_TYPE, "verificationMaterial": material,
                "dsseEnvelope": {"payload": b64(payload), "payloadType": payload_type,
                                 "signatures": [{"sig": b64(signature)}]}}


def entry_body(kind: str, message: bytes, payload: bytes, signature: bytes, der: bytes, pem: bytes,
               payload_type: str = intoto.PAYLOAD_TYPE) -> dict[str, Any]:
    if kind == "v2":
        return {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": {
            "data": {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(message).digest())},
            "signature": {"content": b64(signature), "verifier": {
                "keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": {"rawBytes": b64(der)}}}}}}
    if kind == "hashedrekord":
        return {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(message).hexdigest()}},
            "signature": {"content": b64(signature), "publicKey": {"content": b64(pem)}}}}
    hashed = {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}
    if kind == "dsse":
        return {"apiVersion": "0.0.1", "kind": "dsse", "spec": {
            "envelopeHash": hashed, "payloadHash": hashed,
            "signatures": [{"signature": b64(signature), "verifier": b64(pem)}]}}
    return {"apiVersion": "0.0.2", "kind": "intoto", "spec": {"content": {
        "envelope": {"payloadType": payload_type,
                     "signatures": [{"publicKey": b64(pem), "sig": b64(b64(signature).encode())}]},
        "hash": hashed, "payloadHash": hashed}}}


def evidence(document: dict[str, Any] | bytes, subject: str = IMAGE, media_type: str = bundles.MEDIA_TYPE,
             annotations: dict[str, str] | None = None) -> Evidence:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Evidence(subject=subject, media_type=media_type, data=data, source="test", annotations=annotations or {})
