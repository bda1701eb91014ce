"""DSSE envelopes: a typed payload, and signatures over its pre-authentication encoding (DSSE envelope.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from custody.formats.protojson import Message, encode_base64
from custody.kit import strictjson
from custody.kit.pae import pae

MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"
MAX_SIZE = 64 * 1024 * 1024
_MAX_SIGNATURES = 64


@dataclass(frozen=True, slots=True)
class Envelope:
    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]
    """Pairs of key ID (a hint, never trusted) and signature."""

    @property
    def signed_bytes(self) -> bytes:
        return pae(self.payload_type, self.payload)

    def to_json(self) -> dict[str, Any]:
        return {"payload": encode_base64(self.payload), "payloadType": self.payload_type,
                "signatures": [{"keyid": keyid, "sig": encode_base64(sig)} if keyid else {"sig": encode_base64(sig)}
                               for keyid, sig in self.signatures]}

    def to_bytes(self) -> bytes:
        return json.dumps(self.to_json(), separators=(",", ":")).encode()


def read_envelope(message: Message) -> Envelope:
    """The envelope in a JSON object that has been decoded. Raises MalformedError or UnsupportedError."""
    signatures = []
    for signature in message.messages("signatures", _MAX_SIGNATURES):
        signatures.append((signature.text("keyid", ""), signature.data("sig")))
        signature.raw("cert")  # an extension that cosign's older tools wrote; nothing is concluded from it
        signature.done()
    if not signatures:
        raise message.missing("signatures", "at least one signature")
    result = Envelope(message.text("payloadType", limit=1024), message.data("payload"), tuple(signatures))
    message.done()
    return result


def parse_envelope(data: bytes, where: str = "DSSE envelope") -> Envelope:
    """Raises MalformedError or UnsupportedError, naming the field."""
    return read_envelope(Message(strictjson.loads(data, where, max_size=2 * MAX_SIZE, max_depth=8), where))
