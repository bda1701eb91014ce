"""gitsign's signatures made by hand, in which exactly one thing may be wrong (CMS as RFC 5652 writes it)."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from custody.kit.canonical import canonical
from tests.sign.authority import NOW, World, new_key

SIGNED_DATA, DATA = "1.2.840.113549.1.7.2", "1.2.840.113549.1.7.1"
CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4", "1.2.840.113549.1.9.5"
LOG_ENTRY, TIMESTAMP = "1.3.6.1.4.1.57264.3.1", "1.2.840.113549.1.9.16.2.14"
SHA256, ECDSA_SHA256 = "2.16.840.1.101.3.4.2.1", "1.2.840.10045.4.3.2"
IDENTITY, ISSUER = "ann@example.com", "https://accounts.example.com"


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8 or 1, "big")
    return bytes([tag]) + (size if len(body) < 0x80 else bytes([0x80 | len(size)]) + size) + body


def oid(text: str) -> bytes:
    first, second, *rest = map(int, text.split("."))
    content = b""
    for number in (40 * first + second, *rest):
        digits = [number & 0x7f]
        while number := number >> 7:
            digits.append(number & 0x7f | 0x80)
        content += bytes(reversed(digits))
    return der(6, content)


def attribute(name: str, *values: bytes) -> bytes:
    return der(0x30, oid(name), der(0x31, *values))


def varint(number: int) -> bytes:
    result = bytearray()
    while number >= 0x80:
        result.append(number & 0x7f | 0x80)
        number >>= 7
    return bytes([*result, number])


def message(*fields: tuple[int, int | bytes]) -> bytes:
    """A protocol buffer."""
    return b"".join(varint(number << 3) + varint(value) if isinstance(value, int)
                    else varint(number << 3 | 2) + varint(len(value)) + value for number, value in fields)


def entry_message(entry: dict[str, Any], *, body: bool = False) -> bytes:
    """A TransparencyLogEntry's JSON as bytes, as gitsign writes it: without its body."""
    proof, raw = entry.get("inclusionProof"), base64.b64decode
    fields: list[tuple[int, int | bytes]] = [
        (1, int(entry["logIndex"])), (2, message((1, raw(entry["logId"]["keyId"])))),
        (3, message((1, entry["kindVersion"]["kind"].encode()), (2, entry["kindVersion"]["version"].encode())))]
    if "integratedTime" in entry:
        fields.append((4, int(entry["integratedTime"])))
    if "inclusionPromise" in entry:
        fields.append((5, message((1, raw(entry["inclusionPromise"]["signedEntryTimestamp"])))))
    if proof is not None:
        fields.append((6, message((1, int(proof["logIndex"])), (2, raw(proof["rootHash"])), (3, int(proof["treeSize"])),
                                  *((4, raw(node)) for node in proof["hashes"]),
                                  (5, message((1, proof["checkpoint"]["envelope"].encode()))))))
    if body:
        fields.append((7, raw(entry["canonicalizedBody"])))
    return message(*fields)


def armored(data: bytes) -> str:
    text = base64.b64encode(data).decode()
    lines = "\n".join(text[at:at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN SIGNED MESSAGE-----\n{lines}\n-----END SIGNED MESSAGE-----\n"


@dataclass
class Gitsign:
    """`sign` makes a signature in which everything is right; fields and arguments make it wrong."""

    world: World
    at: datetime = NOW
    key: Any = field(default_factory=new_key)
    certificate: x509.Certificate | None = None
    leaf: dict[str, Any] = field(default_factory=dict)
    signing_time: datetime | None = None
    log_at: datetime | None = None
    kind_version: str = "0.0.1"
    entry_of: bytes | None = None
    """What the log's entry is about in place of the signed attributes."""
    with_entry: bool = True
    more_signed: tuple[bytes, ...] = ()
    more_unsigned: tuple[bytes, ...] = ()
    signers: int = 1
    content: bytes = b""
    content_type: str = DATA
    algorithm: str = ECDSA_SHA256
    """By which it says that it was made."""
    ordered: bool = True
    stamped_at: datetime | None = None
    stamp_of: bytes = b""
    """What the timestamp is of in place of the signature."""
    edit: Any = None
    """Called with the entry's JSON."""
    body: bool = False

    def der(self, payload: bytes) -> bytes:
        cert = self.certificate or self.world.leaf(self.key, at=self.at, **{
            "identity": IDENTITY, "issuer": ISSUER, **self.leaf})
        digest = hashlib.sha256(payload).digest()
        moment = (self.signing_time or self.at).strftime("%y%m%d%H%M%SZ").encode()
        listed = [attribute(CONTENT_TYPE, oid(self.content_type)), attribute(SIGNING_TIME, der(0x17, moment)),
                  attribute(MESSAGE_DIGEST, der(4, digest)), *self.more_signed]
        signed = b"".join(sorted(listed) if self.ordered else listed)
        attributes = der(0x31, signed)
        signature = self.key.sign(attributes, ec.ECDSA(hashes.SHA256()))
        unsigned = list(self.more_unsigned)
        if self.stamped_at is not None:  # the token of a TimeStampResp, which stands behind its status of five bytes
            answer = self.world.stamp(self.stamp_of or signature, self.stamped_at)
            unsigned.append(attribute(TIMESTAMP, answer[answer.index(bytes.fromhex("3003020100")) + 5:]))
        if self.with_entry:
            unsigned.append(attribute(LOG_ENTRY, der(4, self._entry(attributes, signature, cert))))
        algorithm, whole = der(0x30, oid(SHA256)), cert.public_bytes(Encoding.DER)
        serial = cert.serial_number
        signer = der(0x30, der(2, b"\1"), der(0x30, cert.issuer.public_bytes(), der(2, serial.to_bytes(
            serial.bit_length() // 8 + 1, "big"))), algorithm, der(0xa0, signed), der(0x30, oid(self.algorithm)),
            der(4, signature), *([der(0xa1, *unsigned)] if unsigned else []))
        return der(0x30, oid(SIGNED_DATA), der(0xa0, der(
            0x30, der(2, b"\1"), der(0x31, algorithm), der(0x30, oid(DATA), self.content), der(0xa0, whole),
            der(0x31, signer * self.signers))))

    def sign(self, payload: bytes) -> str:
        return armored(self.der(payload))

    def _entry(self, attributes: bytes, signature: bytes, cert: x509.Certificate) -> bytes:
        about = self.entry_of if self.entry_of is not None else attributes
        body = {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(about).hexdigest()}},
            "signature": {"content": base64.b64encode(signature).decode(), "publicKey": {
                "content": base64.b64encode(cert.public_bytes(Encoding.PEM)).decode()}}}}
        assert canonical(body)
        entry = self.world.entry(body, self.log_at or self.at, v1=True)
        entry["kindVersion"]["version"] = self.kind_version
        if self.edit is not None:
            self.edit(entry)
        return entry_message(entry, body=self.body)


def later(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)
