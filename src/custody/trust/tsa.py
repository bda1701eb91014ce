"""The timestamp authority: RFC 3161 requests in, signed times out (with ESSCertIDv2, RFC 5816)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC

from asn1crypto import core, tsp
from asn1crypto import parser as der
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from custody.errors import MalformedError, UnsupportedError, VerificationError
from custody.kit.clock import Clock, ClockError

POLICY = "1.3.6.1.4.1.57264.2"
MAX_REQUEST = 16 * 1024
_SIZES = {"sha256": 32, "sha384": 48, "sha512": 64}
_MAX_NONCE = 1 << 160


@dataclass(frozen=True, slots=True)
class TimestampRequest:
    """What is to be stamped: a digest, never the artifact."""

    algorithm: str
    digest: bytes
    nonce: int | None = None
    certificates: bool = False
    """Whether the answer shall carry the authority's certificate."""


def check_request(request: TimestampRequest) -> TimestampRequest:
    """Raises VerificationError for a weak or wrong digest."""
    size = _SIZES.get(request.algorithm)
    if size is None:
        raise VerificationError(f"Weak hash algorithm in timestamp request: got {request.algorithm}, expected "
                                f"{', '.join(_SIZES)}")
    if len(request.digest) != size:
        raise MalformedError("timestamp request digest", got=f"{len(request.digest)} bytes",
                             expected=f"{size} bytes of {request.algorithm}")
    if request.nonce is not None and not 0 <= request.nonce < _MAX_NONCE:
        raise MalformedError("timestamp request nonce", got=request.nonce, expected="0 to 2^160 - 1")
    return request


def parse_request(data: bytes) -> TimestampRequest:
    """Read a DER TimeStampReq (RFC 3161 section 2.4.1). Raises MalformedError, UnsupportedError, VerificationError."""
    where = "timestamp request"
    if not 0 < len(data) <= MAX_REQUEST:
        raise MalformedError(where, got=f"{len(data)} bytes", expected=f"1 to {MAX_REQUEST} bytes of DER")
    try:
        parsed = tsp.TimeStampReq.load(data, strict=True)
        version, policy = parsed["version"].native, parsed["req_policy"].native
        imprint, extensions = parsed["message_imprint"], parsed["extensions"].native
        request = TimestampRequest(str(imprint["hash_algorithm"]["algorithm"].native),
                                   bytes(imprint["hashed_message"].native), parsed["nonce"].native,
                                   bool(parsed["cert_req"].native))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise MalformedError(where, got=str(error).partition("\n")[0], expected="a DER TimeStampReq") from None
    if version != "v1":
        raise UnsupportedError(f"{where} version", f"got {version}, expected 1")
    if policy is not None and policy != POLICY:
        raise UnsupportedError(f"{where} policy", f"unaccepted policy: {policy}, expected {POLICY}")
    if extensions:
        raise UnsupportedError(f"{where} extensions", "none is understood")
    return check_request(request)


class TimestampAuthority:
    """`chain` is the signing certificate (extended key usage timeStamping, critical, alone) and those above it."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, chain: tuple[x509.Certificate, ...], clock: Clock) -> None:
        self.chain = chain
        self._key = key
        self._clock = clock
        self._valid = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
        self._certificate = chain[0].public_bytes(Encoding.DER)
        issuer, serial = chain[0].issuer.public_bytes(), _integer(chain[0].serial_number)
        self._signer_id = _sequence(issuer, serial)  # IssuerAndSerialNumber
        self._name = der.emit(2, 1, 0, der.emit(2, 1, 4, chain[0].subject.public_bytes()))
        # ESSCertIDv2 with its default SHA-256 (RFC 5816 section 2.1): the signature names its certificate
        issuer_serial = _sequence(_sequence(der.emit(2, 1, 4, issuer)), serial)
        essential = _sequence(_octets(hashlib.sha256(self._certificate).digest()), issuer_serial)
        self._constant_attributes = [
            _attribute("1.2.840.113549.1.9.3", _TST_INFO),
            _attribute("1.2.840.113549.1.9.16.2.47", _sequence(_sequence(essential)))]

    def stamp(self, request: TimestampRequest) -> bytes:
        """A granted TimeStampResp, DER. Raises ClockError.

        Written field by field: asn1crypto's objects would take six milliseconds.
        """
        now, valid = self._clock().astimezone(UTC), self._valid
        if not valid[0] <= now <= valid[1]:
            raise ClockError("timestamp authority", now, "its certificate is valid from "
                             f"{valid[0]:%Y-%m-%dT%H:%M:%SZ} to {valid[1]:%Y-%m-%dT%H:%M:%SZ}")
        # 1. What is attested: TSTInfo (RFC 3161 section 2.4.2).
        info = _sequence(
            _integer(1), _POLICY, _sequence(_DIGESTS[request.algorithm], _octets(request.digest)),
            _integer(x509.random_serial_number()),
            der.emit(0, 0, 24, now.strftime("%Y%m%d%H%M%SZ").encode()), _ACCURACY,
            b"" if request.nonce is None else _integer(request.nonce), self._name)
        # 2. What is signed: attributes that hold its digest (RFC 5652 section 5.4), in DER's order.
        attributes = b"".join(sorted([*self._constant_attributes, _attribute(
            "1.2.840.113549.1.9.4", _octets(hashlib.sha256(info).digest()))]))
        signature = self._key.sign(der.emit(0, 1, 17, attributes), ec.ECDSA(hashes.SHA256()))
        # 3. SignedData around both (section 5.1).
        sha256 = _DIGESTS["sha256"]
        signer = _sequence(_integer(1), self._signer_id, sha256, der.emit(2, 1, 0, attributes), _ECDSA,
                           _octets(signature))
        signed = _sequence(
            _integer(3), der.emit(0, 1, 17, sha256), _sequence(_TST_INFO, der.emit(2, 1, 0, _octets(info))),
            der.emit(2, 1, 0, self._certificate) if request.certificates else b"", der.emit(0, 1, 17, signer))
        return _sequence(_sequence(_integer(0)), _sequence(_SIGNED_DATA, der.emit(2, 1, 0, signed)))


def _sequence(*parts: bytes) -> bytes:
    return bytes(der.emit(0, 1, 16, b"".join(parts)))


def _octets(data: bytes) -> bytes:
    return bytes(der.emit(0, 0, 4, data))


def _integer(value: int) -> bytes:
    return bytes(der.emit(0, 0, 2, value.to_bytes(value.bit_length() // 8 + 1, "big")))


def _oid(dotted: str) -> bytes:
    return bytes(core.ObjectIdentifier(dotted).dump())


def _attribute(dotted: str, value: bytes) -> bytes:
    return _sequence(_oid(dotted), der.emit(0, 1, 17, value))


_POLICY = _oid(POLICY)
_ACCURACY = _sequence(_integer(1))
_TST_INFO = _oid("1.2.840.113549.1.9.16.1.4")
_SIGNED_DATA = _oid("1.2.840.113549.1.7.2")
_ECDSA = _sequence(_oid("1.2.840.10045.4.3.2"))
_DIGESTS = {name: _sequence(_oid(f"2.16.840.1.101.3.4.2.{arc}"), b"\x05\x00")
            for name, arc in (("sha256", 1), ("sha384", 2), ("sha512", 3))}
