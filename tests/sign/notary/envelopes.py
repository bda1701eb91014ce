"""Envelopes made by hand, right or wrong in any part, at `NOW` and with the certificates of a chain for each key."""

from __future__ import annotations

import base64
import json
import struct
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from custody.formats import cbor, notary
from custody.kit.clock import format_rfc3339
from tests.sign.authority import IMAGE, NOW, World
from tests.sign.notary.materials import issue, key_of

NAME = "io.cncf.notary."
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
KEYS = {"RSA-2048": "PS256", "EC-256": "ES256", "EC-384": "ES384"}
HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
COSE_ALGORITHMS = {"PS256": -37, "PS384": -38, "PS512": -39, "ES256": -7, "ES384": -35, "ES512": -36}
SPAN = {"start": NOW - timedelta(days=30), "end": NOW + timedelta(days=30)}
ROOT_KEY = key_of("EC-256", 11)
ROOT = issue(ROOT_KEY, "root", None, ca=True, usages=("key_cert_sign", "crl_sign"), **SPAN)
CHAINS = {kind: (issue(key_of(kind), kind, (ROOT, ROOT_KEY), purposes=[Usage.CODE_SIGNING], **SPAN), ROOT)
          for kind in KEYS}
WORLD = World()
TSA_ROOT = WORLD.tsa_root


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


_OTHER_KEY = key_of("EC-256", 12)
STRANGERS = [der(issue(_OTHER_KEY, "strange root", None, ca=True, **SPAN))]


def target(**changes: Any) -> notary.Target:
    return notary.Target(**{"media_type": MANIFEST, "digest": IMAGE, "size": 7, "annotations": {}, **changes})


def token(signature: bytes, at: datetime = NOW, world: World = WORLD) -> bytes:
    """The TimeStampToken of a TimeStampResp."""
    inner = world.stamp(signature, at)[4:]  # behind the SEQUENCE of two length bytes: the status, then the token
    return inner[2 + inner[1]:]


def made(form: str, kind: str = "EC-256", *, chain: tuple[x509.Certificate, ...] | None = None, key: Any = None,
         expiry: datetime | None = None, annotations: dict[str, str] | None = None, stamped: bool = False,
         stamp: bytes | None = None, scheme: str = notary.X509, at: datetime = NOW,
         extended: dict[str, Any] | None = None, payload: bytes | None = None) -> bytes:
    """A signature that is right where nothing else is said. `extended` are critical attributes."""
    own = "signingTime" if scheme == notary.X509 else "authenticSigningTime"
    attributes: dict[str, Any] = {"signingScheme": scheme, own: at} | ({"expiry": expiry} if expiry else {})
    critical = [f"{NAME}{name}" for name in attributes if name != "signingTime"] + list(extended or {})
    algorithm = KEYS[kind]
    said = {"alg": algorithm, "cty": notary.PAYLOAD_TYPE, "crit": critical,
            **{f"{NAME}{name}": value for name, value in attributes.items()}, **(extended or {})}
    body = payload if payload is not None else json.dumps({"targetArtifact": {
        "mediaType": MANIFEST, "digest": IMAGE, "size": 7,
        **({"annotations": annotations} if annotations else {})}}).encode()
    if form == "cose":
        numbers = {"alg": 1, "crit": 2, "cty": 3}
        protected: Any = {numbers.get(name, name): cbor.Tagged(1, int(value.timestamp())) if isinstance(value, datetime)
                          else COSE_ALGORITHMS[value] if name == "alg" else value for name, value in said.items()}
        message = encoded(["Signature1", encoded(protected), b"", body])
    else:
        protected = {name: format_rfc3339(value) if isinstance(value, datetime) else value
                     for name, value in said.items()}
        message = f"{_base64url(json.dumps(protected).encode())}.{_base64url(body)}".encode()
    signature = signed(key or key_of(kind), message, HASHES[algorithm[2:]])
    parts = {"protected": protected, "payload": body, "signature": signature,
             "chain": [der(certificate) for certificate in chain or CHAINS[kind]],
             "stamp": token(signature, at) if stamped else stamp}
    return (encoded_cose if form == "cose" else encoded_jws)(**parts)


def signed(key: Any, message: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), algorithm)
    size = (key.curve.key_size + 7) // 8
    return b"".join(part.to_bytes(size, "big") for part in decode_dss_signature(key.sign(message, ec.ECDSA(algorithm))))


def encoded_jws(protected: Any, payload: bytes, signature: bytes, chain: list[bytes], stamp: bytes | None) -> bytes:
    header: dict[str, Any] = {"x5c": [base64.b64encode(certificate).decode() for certificate in chain]}
    if stamp is not None:
        header[f"{NAME}timestampSignature"] = base64.b64encode(stamp).decode()
    return json.dumps({"payload": _base64url(payload), "protected": _base64url(json.dumps(protected).encode()),
                       "header": header, "signature": _base64url(signature)}).encode()


def encoded_cose(protected: Any, payload: bytes, signature: bytes, chain: list[bytes], stamp: bytes | None) -> bytes:
    header: dict[Any, Any] = {33: chain} | ({f"{NAME}timestampSignature": stamp} if stamp is not None else {})
    return encoded(cbor.Tagged(18, [encoded(protected), header, payload, signature]))


def encoded(value: Any) -> bytes:
    if isinstance(value, cbor.Tagged):
        return bytes([0xC0 | value.tag]) + encoded(value.value)
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return struct.pack(">BI", 0x1A, value) if value >= 0 else struct.pack(">BI", 0x3A, -1 - value)
    if isinstance(value, str):
        return cbor.text(value)
    if isinstance(value, bytes):
        return cbor.byte_string(value)
    if isinstance(value, list):
        return cbor.array(*map(encoded, value))
    return bytes([0xA0 | len(value)]) + b"".join(encoded(key) + encoded(inner) for key, inner in value.items())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
