"""The timestamp authority: RFC 3161 requests in, signed times out (with ESSCertIDv2, RFC 5816)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asn1crypto import algos, cms, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from custody.errors import MalformedError, UnsupportedError, VerificationError
from custody.kit.clock import Clock

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
        leaf = chain[0].public_bytes(Encoding.DER)
        self._leaf = asn1_x509.Certificate.load(leaf)
        self._name = asn1_x509.GeneralName("directory_name", self._leaf.subject)
        issuer = {"issuer": self._leaf.issuer, "serial_number": self._leaf.serial_number}
        self._signer = cms.SignerIdentifier("issuer_and_serial_number", cms.IssuerAndSerialNumber(issuer))
        self._signing_certificate = tsp.SigningCertificateV2({"certs": [{
            "cert_hash": hashlib.sha256(leaf).digest(),
            "issuer_serial": {"issuer": [asn1_x509.GeneralName("directory_name", self._leaf.issuer)],
                              "serial_number": self._leaf.serial_number}}]})
        self._digest_algorithm = algos.DigestAlgorithm({"algorithm": "sha256"})

    def stamp(self, request: TimestampRequest) -> bytes:
        """A granted TimeStampResp, DER."""
        now = self._clock()
        info = self._info(request, now)
        attributes = cms.CMSAttributes([
            cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
            cms.CMSAttribute({"type": "signing_time", "values": [cms.Time("utc_time", now.replace(microsecond=0))]}),
            cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(info.dump()).digest()]}),
            cms.CMSAttribute({"type": "signing_certificate_v2", "values": [self._signing_certificate]})])
        signature = self._key.sign(attributes.dump(), ec.ECDSA(hashes.SHA256()))
        content: dict[str, Any] = {
            "version": "v3", "digest_algorithms": [self._digest_algorithm],
            "encap_content_info": {"content_type": "tst_info", "content": info},
            "signer_infos": [{"version": "v1", "sid": self._signer, "digest_algorithm": self._digest_algorithm,
                              "signed_attrs": attributes, "signature": signature,
                              "signature_algorithm": {"algorithm": "sha256_ecdsa"}}]}
        if request.certificates:
            content["certificates"] = [self._leaf]
        answer = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": {
            "content_type": "signed_data", "content": cms.SignedData(content)}})
        return bytes(answer.dump())

    def _info(self, request: TimestampRequest, now: datetime) -> Any:
        info: dict[str, Any] = {
            "version": "v1", "policy": POLICY, "serial_number": x509.random_serial_number(),
            "message_imprint": {"hash_algorithm": {"algorithm": request.algorithm}, "hashed_message": request.digest},
            "gen_time": now.replace(microsecond=0), "accuracy": {"seconds": 1}, "ordering": False, "tsa": self._name}
        if request.nonce is not None:
            info["nonce"] = request.nonce
        return tsp.TSTInfo(info)
