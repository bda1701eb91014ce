"""Signature envelopes of the Notary Project, written: what is signed, and the envelope around the signature.

(notaryproject/specifications signature-envelope-jws and -cose.) Both ways first give the bytes to sign, since whoever
has the key may be a program of others; what is not signed (chain, timestamp, agent) is added to those afterwards.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from custody.formats import cbor
from custody.formats.notary import COSE, COSE_ALGORITHMS, JWS, PAYLOAD_TYPE, X509, Envelope, Target
from custody.kit.clock import format_rfc3339

_NAME = "io.cncf.notary."
_SCHEME, _EXPIRY, _TIME = f"{_NAME}signingScheme", f"{_NAME}expiry", f"{_NAME}signingTime"
_AGENT, _STAMP = f"{_NAME}signingAgent", f"{_NAME}timestampSignature"
_COSE_NUMBERS = {name: number for number, name in COSE_ALGORITHMS.items()}

_SIGNATURE1 = b"\x84" + cbor.text("Signature1")


@dataclass(frozen=True, slots=True)
class Draft:
    """An envelope that lacks its signature."""

    media_type: str
    protected: bytes
    """JSON or CBOR, as it is signed."""
    payload: bytes
    signed: bytes
    """What the signature is over."""


@dataclass(frozen=True, slots=True)
class Unsigned:
    """What stands in an envelope and is not signed."""

    chain: tuple[bytes, ...]
    """DER, leaf first, root last."""
    agent: str
    """Which program made it."""
    timestamp: bytes | None = None
    """DER TimeStampToken over the signature."""

    def stamped(self, token: bytes) -> Unsigned:
        return replace(self, timestamp=token)


def payload_of(target: Target) -> bytes:
    """The JSON that says which artifact is signed."""
    said: dict[str, Any] = {"mediaType": target.media_type, "digest": target.digest, "size": target.size}
    if target.annotations:
        said["annotations"] = dict(target.annotations)
    return json.dumps({"targetArtifact": said}, separators=(",", ":"), ensure_ascii=False).encode()


def draft(media_type: str, algorithm: str, payload: bytes, signing_time: datetime, expiry: datetime | None) -> Draft:
    """`algorithm` as JOSE names it. Both times are of whole seconds, with a zone."""
    critical = [_SCHEME, *([_EXPIRY] if expiry else [])]
    if media_type == COSE:
        return _cose(algorithm, payload, critical, signing_time, expiry)
    if media_type != JWS:
        raise ValueError(f"no envelope is of type {media_type}")
    header = {"alg": algorithm, "crit": critical, "cty": PAYLOAD_TYPE, _SCHEME: X509,
              _TIME: format_rfc3339(signing_time), **({_EXPIRY: format_rfc3339(expiry)} if expiry else {})}
    protected = json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
    return Draft(JWS, protected, payload, f"{_base64url(protected)}.{_base64url(payload)}".encode())


def enveloped(made: Draft, signature: bytes, unsigned: Unsigned) -> bytes:
    """The envelope. An ECDSA signature is r and s, each as long as the curve's order."""
    if made.media_type == COSE:
        header = _map({33: cbor.array(*map(cbor.byte_string, unsigned.chain)), _AGENT: cbor.text(unsigned.agent),
                       **({_STAMP: cbor.byte_string(unsigned.timestamp)} if unsigned.timestamp else {})})
        return b"\xd2" + cbor.array(cbor.byte_string(made.protected), header, cbor.byte_string(made.payload),
                                    cbor.byte_string(signature))
    said: dict[str, Any] = {_STAMP: _base64(unsigned.timestamp)} if unsigned.timestamp else {}
    said |= {"x5c": [_base64(certificate) for certificate in unsigned.chain], _AGENT: unsigned.agent}
    return json.dumps({"payload": _base64url(made.payload), "protected": _base64url(made.protected), "header": said,
                       "signature": _base64url(signature)}, separators=(",", ":")).encode()


def signed_payload(envelope: Envelope) -> bytes:
    """The payload's own bytes, out of what was signed."""
    if envelope.signed.startswith(_SIGNATURE1):
        structure = cbor.loads(envelope.signed, "Sig_structure")
        return bytes(structure[3])
    encoded = envelope.signed.partition(b".")[2]
    return base64.urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))


def _cose(algorithm: str, payload: bytes, critical: Sequence[str], signing_time: datetime,
          expiry: datetime | None) -> Draft:
    header: dict[int | str, bytes] = {
        1: cbor.integer(_COSE_NUMBERS[algorithm]), 2: cbor.array(*map(cbor.text, critical)),
        3: cbor.text(PAYLOAD_TYPE), _SCHEME: cbor.text(X509), _TIME: _moment(signing_time)}
    if expiry:
        header[_EXPIRY] = _moment(expiry)
    protected = _map(header)
    signed = cbor.array(cbor.text("Signature1"), cbor.byte_string(protected), cbor.byte_string(b""),
                        cbor.byte_string(payload))
    return Draft(COSE, protected, payload, signed)


def _map(pairs: Mapping[int | str, bytes]) -> bytes:
    """Its keys in the order of their bytes (RFC 8949, section 4.2.1)."""
    return cbor.mapping(sorted((cbor.integer(label) if isinstance(label, int) else cbor.text(label), value)
                               for label, value in pairs.items()))


def _moment(moment: datetime) -> bytes:
    return cbor.tagged(1, cbor.integer(int(moment.timestamp())))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
