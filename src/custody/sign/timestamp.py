"""RFC 3161 timestamps over a signature, by an authority of the trusted root."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID
from rfc3161_client import TimeStampResponse, VerifierBuilder, decode_timestamp_response
from rfc3161_client.errors import VerificationError as _Refused

from custody.errors import MalformedError, VerificationError
from custody.formats.der import OID, SEQUENCE, Reader, element, set_of
from custody.kit.clock import format_rfc3339
from custody.sign.certificate import extension, is_ca, load_certificate
from custody.sign.claim import Attested
from custody.trust.roots import CertificateAuthority

_MAX_SIZE = 64 * 1024
_REASON = re.compile(r'reason: "([^"]+)"')


def check_timestamp(response: bytes, message: bytes, authorities: Sequence[CertificateAuthority]) -> Attested:
    """The time at which an authority saw `message`. Raises MalformedError or VerificationError.

    Checked: status, the CMS signature and its chain at that time, extended key usage, imprint, and that the authority
    was trusted then (both ends of the trusted root's interval count).
    """
    try:
        if len(response) > _MAX_SIZE:
            raise ValueError("too long")
        decoded = _decoded(response)
        moment = decoded.tst_info.gen_time
    except ValueError:
        raise MalformedError("timestamp", got=f"{len(response)} bytes", expected="a DER TimeStampResp") from None
    reasons = []
    for authority in authorities:
        name = authority.uri or authority.common_name or "timestamp authority"
        chain = [load_certificate(der, f"trusted root: {name}") for der in authority.chain]
        leaf = None if is_ca(chain[0]) else chain[0]
        above = chain if leaf is None else chain[1:]
        if not above:
            reasons.append(f"{name}: its chain does not end in a root")
            continue
        if leaf is not None and not _stamps(leaf):
            reasons.append(f"{name}: its certificate's extended key usage is not timeStamping, critical and alone")
            continue
        builder = VerifierBuilder(tsa_certificate=leaf, intermediates=above[:-1], roots=above[-1:])
        try:
            builder.build().verify_message(decoded, message)
        except (_Refused, ValueError, x509.InvalidVersion, UnsupportedAlgorithm,
                CryptographyDeprecationWarning) as error:
            openssl = _REASON.findall(str(error))
            reasons.append(f"{name}: {_expired(chain, moment) or (openssl[-1] if openssl else error)}")
            continue
        if not authority.valid.contains(moment):
            reasons.append(f"{name}: timestamp of {format_rfc3339(moment)}, and the authority is trusted from "
                           f"{authority.valid}")
            continue
        if expired := _expired(chain, moment):
            reasons.append(f"{name}: {expired}")
            continue
        return Attested(moment, name)
    raise VerificationError("timestamp: " + ("; ".join(reasons[:3]) or "the trusted root has no timestamp authority"))


def _decoded(response: bytes) -> TimeStampResponse:
    """Raises ValueError."""
    try:
        return decode_timestamp_response(response)
    except ValueError:
        try:
            return decode_timestamp_response(_ordered(response))
        except MalformedError:
            raise ValueError("no DER") from None


def _ordered(response: bytes) -> bytes:
    """The response with its certificates as DER orders a set (X.690 section 11.6): some authorities write leaves first.

    Nothing that is signed is written again (RFC 5652 section 5.4). Raises MalformedError.
    """
    answer = Reader(response, "timestamp").enter(SEQUENCE)
    status, token = answer.element(SEQUENCE), answer.enter(SEQUENCE)
    kind, signed = token.element(OID), token.enter(0xa0).enter(SEQUENCE)
    head, tail = [signed.element() for _ in range(3)], b""  # version, digest algorithms, content
    listed, certificates = signed.enter(0xa0), []
    while listed.peek() is not None:
        certificates.append(listed.element())
    while signed.peek() is not None:
        tail += signed.element()
    return element(SEQUENCE, status, element(SEQUENCE, kind, element(0xa0, element(
        SEQUENCE, *head, set_of(*certificates, tag=0xa0), tail))))


def _expired(chain: Sequence[x509.Certificate], moment: datetime) -> str:
    """"" where each certificate was valid at `moment`."""
    if all(certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc for certificate in chain):
        return ""
    return f"a certificate of its chain is not valid at {format_rfc3339(moment)}"


def _stamps(certificate: x509.Certificate) -> bool:
    """RFC 3161 section 2.3."""
    usage = extension(certificate, x509.ExtendedKeyUsage)
    return usage is not None and usage.critical and list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]
