"""The online certificate status protocol: what an issuer's responder says of a certificate (RFC 6960)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, CRLEntryExtensionOID, SignatureAlgorithmOID
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from custody.errors import MalformedError, VerificationError
from custody.kit.clock import format_rfc3339
from custody.sign.certificate import extension, load_certificate
from custody.sign.keys import usable
from custody.sign.notary.issuance import issued_by
from custody.trust.keys import verifies

MEDIA_TYPE = "application/ocsp-request"
MAX_ANSWER = 20 * 1024
_AHEAD = timedelta(minutes=5)
_INVALIDITY_DATE = CRLEntryExtensionOID.INVALIDITY_DATE
_HASHES = ("sha256", "sha384", "sha512")
_BROKEN = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
           x509.UnsupportedGeneralNameType)


class UnknownError(VerificationError):
    """The responder knows nothing of the certificate."""

    code = "revocation_unknown"


def places(certificate: x509.Certificate) -> list[str]:
    """URLs of responders that a certificate names."""
    access = extension(certificate, x509.AuthorityInformationAccess)
    return [entry.access_location.value for entry in (access.value if access else ())
            if entry.access_method == AuthorityInformationAccessOID.OCSP
            and isinstance(entry.access_location, x509.UniformResourceIdentifier)]


def request(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """DER. Names are hashed with SHA-1, since many responders know no other: nothing depends on its strength."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303
    return builder.build().public_bytes(Encoding.DER)


def revoked(answer: bytes, certificate: x509.Certificate, issuer: x509.Certificate, signed_at: datetime | None,
            now: datetime) -> str:
    """Why the certificate counts no more; "" where it is good.

    Raises MalformedError; VerificationError where the answer says nothing: it is an error, not the issuer's, too old
    or of another certificate; UnknownError where it says that nothing is known.
    """
    try:
        if len(answer) > MAX_ANSWER:
            raise ValueError("too long")
        read = ocsp.load_der_ocsp_response(answer)
        if read.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise VerificationError(f"the responder answered {read.response_status.name.lower().replace('_', ' ')}")
        single = next((entry for entry in read.responses if entry.serial_number == certificate.serial_number), None)
        if single is None or not _is_of(single, issuer):
            raise VerificationError("the answer is of another certificate")
        status, made, until = single.certificate_status, single.this_update_utc, single.next_update_utc
        since, reason, invalid = single.revocation_time_utc, single.revocation_reason, _invalid_since(read)
        signers = [signer.public_bytes(Encoding.DER) for signer in read.certificates]
        unknown = [present.oid.dotted_string for present in (*read.extensions, *read.single_extensions)
                   if present.critical]
    except _BROKEN:
        raise MalformedError("OCSP response", got=f"{len(answer)} bytes", expected="one in DER, about one certificate"
                             ) from None
    _check_signer(read, [load_certificate(der, "OCSP response: certificate") for der in signers], issuer, now)
    if unknown:
        raise VerificationError(f"the answer has the critical extension {unknown[0]}")
    if until is None or now > until:
        raise VerificationError("the answer is too old: it is good until "
                                + (format_rfc3339(until) if until else "no time"))
    if made > now + _AHEAD:
        raise VerificationError(f"the answer is of the future: {format_rfc3339(made)}")
    if status is ocsp.OCSPCertStatus.UNKNOWN:
        raise UnknownError("the responder does not know the certificate")
    if status is ocsp.OCSPCertStatus.GOOD or (signed_at is not None and invalid is not None and signed_at < invalid):
        return ""
    return (f"revoked since {format_rfc3339(since)}" if since else "revoked") + (f" ({reason.value})" if reason else "")


def span(answer: bytes, certificate: x509.Certificate) -> tuple[datetime, datetime | None]:
    """When an answer that `revoked` took was made, and until when it is good."""
    read = ocsp.load_der_ocsp_response(answer)
    single = next(entry for entry in read.responses if entry.serial_number == certificate.serial_number)
    return single.this_update_utc, single.next_update_utc


def _is_of(single: ocsp.OCSPSingleResponse, issuer: x509.Certificate) -> bool:
    key = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    if not isinstance(single.hash_algorithm, hashes.SHA1):
        return False  # another hash than was asked with
    name = hashes.Hash(hashes.SHA1())  # noqa: S303
    name.update(issuer.subject.public_bytes())
    return single.issuer_name_hash == name.finalize() and single.issuer_key_hash == key.digest


def _check_signer(read: ocsp.OCSPResponse, signers: list[x509.Certificate], issuer: x509.Certificate, now: datetime
                  ) -> None:
    """The issuer itself, or a certificate that it issued for this (RFC 6960 section 4.2.2.2)."""
    signer = signers[0] if signers else issuer
    if signer != issuer:
        purposes = extension(signer, x509.ExtendedKeyUsage)
        if reason := issued_by(signer, issuer):
            raise VerificationError(f"the responder's certificate: {reason}")
        if purposes is None or Usage.OCSP_SIGNING not in purposes.value:
            raise VerificationError("the responder's certificate is not for OCSPSigning (extended key usage)")
        if not signer.not_valid_before_utc <= now <= signer.not_valid_after_utc:
            raise VerificationError("the responder's certificate is not valid now")
    try:
        algorithm = read.signature_hash_algorithm
        key = usable(signer.public_key(), "OCSP response")
    except _BROKEN:
        raise VerificationError("the answer is signed in a way that is not read") from None
    if algorithm is None or algorithm.name not in _HASHES:
        raise VerificationError(f"the answer is signed with {algorithm.name if algorithm else 'no hash'}, expected one "
                                f"of {', '.join(_HASHES)}")
    scheme = padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH) if isinstance(key, rsa.RSAPublicKey) and (
        read.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS) else None
    if not verifies(key, read.signature, read.tbs_response_bytes, algorithm, scheme):
        raise VerificationError("the answer is not signed by the issuer's responder")


def _invalid_since(read: ocsp.OCSPResponse) -> datetime | None:
    for present in read.single_extensions:
        if isinstance(present.value, x509.InvalidityDate):
            return present.value.invalidity_date.replace(tzinfo=UTC)
        if isinstance(present.value, x509.UnrecognizedExtension) and present.oid == _INVALIDITY_DATE:
            return _generalized(present.value.value)
    return None


def _generalized(der: bytes) -> datetime | None:
    """A DER GeneralizedTime; None where it is none."""
    try:
        return datetime.strptime(der[2:].decode(), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC) if der[:1] == b"\x18" else None
    except ValueError:
        return None
