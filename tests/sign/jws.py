"""A format that custody does not have, as one would be added: a decoder of its own, and a row of `DECODERS`.

A flattened JWS (RFC 7515 section 7.2.2) in JSON with a payload as Notation's has. The protected header has `alg`;
the unprotected one the certificates (`x5c`), the time (`stamp`) and the log entries (`log`).
"""

from __future__ import annotations

import base64
import json

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from custody.errors import UnsupportedError
from custody.evidence.model import Evidence
from custody.formats import intoto
from custody.formats.bundle import read_log_entry
from custody.formats.protojson import Message, decode_any_base64, decode_base64
from custody.kit import strictjson
from custody.sign.claim import Claim, Content, Timestamp
from custody.sign.decoders import Format
from custody.sign.keys import signed
from custody.trust.keys import AnyPublicKey, verifies

MEDIA_TYPE = "application/vnd.example.jws+json"


def decode(evidence: Evidence) -> Claim:
    document = Message(strictjson.loads(evidence.data, "JWS"), "JWS")
    protected, payload = document.text("protected"), document.text("payload")
    algorithm = strictjson.loads(decode_any_base64(protected, "JWS.protected"), "JWS.protected")["alg"]
    signature = decode_any_base64(document.raw("signature"), "JWS.signature")
    if algorithm == "ES256":
        signature = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    elif algorithm != "PS256":
        raise UnsupportedError("JWS.protected.alg", repr(algorithm))
    header = document.message("header")
    stamp = header.data("stamp") if header.has("stamp") else None
    words = decode_any_base64(payload, "JWS.payload")

    def read(subject: str) -> Content:
        artifact = Message(strictjson.loads(words, "JWS.payload"), "JWS.payload").message("targetArtifact")
        digest = artifact.text("digest")
        return Content(kind="signature", predicate_type=intoto.COSIGN_SIGN, predicate={},
                       about=None if digest == subject else f"the signature is of {digest}")

    return Claim(format="jws", signature=signature, signed=f"{protected}.{payload}".encode(),
                 scheme=_pss if algorithm == "PS256" else signed,
                 certificates=tuple(decode_base64(text, "JWS.header.x5c") for text in header.raw("x5c") or ()),
                 chain_to_root=True, timestamps=(Timestamp(stamp, signature),) if stamp else (),
                 entries=tuple(map(read_log_entry, header.messages("log", 4))), payload=words, read=read)


def _pss(key: AnyPublicKey, signature: bytes, message: bytes) -> bool:
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    return verifies(key, signature, message, hashes.SHA256(), scheme)


FORMAT = Format(decode, "signature")


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def parts(digest: str, algorithm: str) -> tuple[str, str]:
    """Protected header and payload; what is signed is both with a dot between them."""
    return (base64url(json.dumps({"alg": algorithm}).encode()),
            base64url(json.dumps({"targetArtifact": {"digest": digest}}).encode()))
