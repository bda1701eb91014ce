"""Signatures of the Notary Project, verified: who signed, by a chain of certificates, and that it is about this image.

(notaryproject/specifications trust-store-trust-policy and signing-scheme, level strict.) A certificate of the chain
must be one of those that are trusted; every one of it is valid now, or at the time that a trusted authority stamped.
Whether a certificate was revoked is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from custody.errors import Check, VerificationError
from custody.evidence.model import CertificateSigner, Evidence, Verified, seal
from custody.formats import intoto, notary, oci
from custody.kit import strictjson
from custody.kit.clock import format_rfc3339
from custody.kit.digest import sha256
from custody.sign.certificate import extension, is_ca, load_certificate
from custody.sign.keys import identity_of, public_key
from custody.sign.timestamp import check_timestamp
from custody.trust.keys import verifies
from custody.trust.roots import CertificateAuthority, Validity

_ALGORITHMS: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "PS256": ("RSA 2048", hashes.SHA256()), "PS384": ("RSA 3072", hashes.SHA384()),
    "PS512": ("RSA 4096", hashes.SHA512()), "ES256": ("secp256r1", hashes.SHA256()),
    "ES384": ("secp384r1", hashes.SHA384()), "ES512": ("secp521r1", hashes.SHA512())}
_FORBIDDEN = {Usage.ANY_EXTENDED_KEY_USAGE, Usage.SERVER_AUTH, Usage.EMAIL_PROTECTION, Usage.TIME_STAMPING,
              Usage.OCSP_SIGNING}
_MAX_DOCUMENT = 10 * 1000 * 1000  # bytes, as Kyverno reads
_UNDERSTOOD = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName)


@dataclass(frozen=True, slots=True)
class Notaries:
    """Who is believed: a trust store of certificates, and one of timestamp authorities."""

    certificates: tuple[bytes, ...]
    """DER."""
    authorities: tuple[bytes, ...] = ()
    """DER of timestamp authorities' roots. Where there are any, a signature needs a timestamp."""


def verify_notation(evidence: Evidence, trusted: Notaries, now: datetime) -> Verified:
    """Raises MalformedError, UnsupportedError or VerificationError, whose `check` says which check failed."""
    envelope = notary.parse_envelope(evidence.data, evidence.media_type)
    chain = [load_certificate(der, f"certificate chain [{at}]") for at, der in enumerate(envelope.chain)]
    _check_signature(envelope, chain[0])
    if envelope.scheme != notary.X509:
        raise VerificationError(f"signing scheme: got {envelope.scheme}, expected {notary.X509}: certificates are "
                                "trusted for that alone", check=Check.CERTIFICATE)
    _check_chain(chain)
    if not {*envelope.chain} & {*trusted.certificates}:
        raise VerificationError("certificate: no trusted authority issued it (signature is not produced by a trusted "
                                f"signer: {chain[0].subject.rfc4514_string()})", check=Check.CERTIFICATE)
    moment = _moment(envelope, trusted)
    for certificate in chain:
        if not certificate.not_valid_before_utc <= (moment or now) <= certificate.not_valid_after_utc:
            raise VerificationError(
                f"certificate {certificate.subject.rfc4514_string()}: not valid at {format_rfc3339(moment or now)}; it "
                f"is valid from {format_rfc3339(certificate.not_valid_before_utc)} to "
                f"{format_rfc3339(certificate.not_valid_after_utc)}", check=Check.CERTIFICATE)
    if envelope.expiry is not None and now > envelope.expiry:
        raise VerificationError(f"signature: expired at {format_rfc3339(envelope.expiry)}", check=Check.TIME)
    if envelope.target.digest != evidence.subject:
        raise VerificationError(f"subject: the signature is of {envelope.target.digest}, expected {evidence.subject}",
                                check=Check.SUBJECT)
    key = public_key(chain[0].public_key(), "certificate")
    signer = CertificateSigner(subject=chain[0].subject.rfc4514_string(), fingerprint=sha256(envelope.chain[0]))
    return seal(evidence, kind="signature", predicate_type=intoto.COSIGN_SIGN, predicate={},
                signer=signer, signed_at=moment, log=None, annotations=dict(envelope.target.annotations),
                format="notary",
                signature=identity_of(key, _der(envelope.signature) if isinstance(key.key, ec.EllipticCurvePublicKey)
                                      else envelope.signature, envelope.signed))


def attested(manifest: bytes, document: Evidence, signature: Verified, kind: str) -> Verified:
    """What an artifact of type `kind` beside an image says, where `signature` is one of that artifact.

    `manifest` is the artifact's, and `document` its one layer. Raises MalformedError, UnsupportedError or
    VerificationError.
    """
    if sha256(manifest) != signature.subject:
        raise VerificationError(f"subject: the signature is of {signature.subject}", check=Check.SUBJECT)
    body = oci.parse_manifest(manifest, "artifact")
    if not isinstance(body, oci.Manifest) or body.subject is None or body.subject.digest != document.subject:
        raise VerificationError(f"subject: the artifact is not about {document.subject}", check=Check.SUBJECT)
    if [layer.digest for layer in body.layers] != [document.digest]:
        raise VerificationError(f"artifact: {len(body.layers)} layers, expected the document alone",
                                check=Check.STATEMENT)
    predicate = strictjson.loads(document.data, "artifact", max_size=_MAX_DOCUMENT)
    return seal(document, kind="attestation", predicate_type=kind, predicate=predicate, signer=signature.signer,
                signed_at=signature.signed_at, log=None, annotations=signature.annotations, format="notary",
                signature=signature.signature)


def _check_signature(envelope: notary.Envelope, leaf: x509.Certificate) -> None:
    key = public_key(leaf.public_key(), "certificate").key
    expected, algorithm = _ALGORITHMS[envelope.algorithm]
    got = f"RSA {key.key_size}" if isinstance(key, rsa.RSAPublicKey) else (
        key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__)
    if got != expected:
        raise VerificationError(f"signature: {envelope.algorithm} is made with {expected}, and the certificate is of "
                                f"{got}", check=Check.SIGNATURE)
    scheme, signature = None, envelope.signature
    if isinstance(key, rsa.RSAPublicKey):
        scheme = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if len(signature) != 2 * ((key.curve.key_size + 7) // 8):
            raise VerificationError(f"signature: {len(signature)} bytes, expected r and s of {got}",
                                    check=Check.SIGNATURE)
        signature = _der(signature)
    if not verifies(key, signature, envelope.signed, algorithm, scheme):
        raise VerificationError("signature: the signature is not this certificate's over these bytes",
                                check=Check.SIGNATURE)


def _der(signature: bytes) -> bytes:
    half = len(signature) // 2
    return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))


def _check_chain(chain: Sequence[x509.Certificate]) -> None:
    """Each certificate is issued by the next, the last by itself, and each may do what it does."""
    reason = _unfit_leaf(chain[0])
    for at, certificate in enumerate(chain):
        issuer = chain[min(at + 1, len(chain) - 1)]
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
            reason = reason or f"{issuer.subject.rfc4514_string()} did not issue {certificate.subject.rfc4514_string()}"
        if at:
            reason = reason or _unfit_authority(certificate, at - 1)
    if reason:
        raise VerificationError(f"certificate chain: {reason}", check=Check.CERTIFICATE)


def _unfit_leaf(leaf: x509.Certificate) -> str:
    usage, purposes = extension(leaf, x509.KeyUsage), extension(leaf, x509.ExtendedKeyUsage)
    if is_ca(leaf):
        return "the signer's certificate is a CA certificate"
    if usage is None or not usage.critical or not usage.value.digital_signature:
        return "the signer's certificate has no critical key usage digitalSignature"
    if usage.value.key_cert_sign or usage.value.crl_sign or usage.value.key_encipherment:
        return "the signer's certificate is for more than digitalSignature (key usage)"
    if purposes is not None and (Usage.CODE_SIGNING not in purposes.value or _FORBIDDEN & {*purposes.value}):
        return "the signer's certificate is not for codeSigning alone (extended key usage)"
    return _unknown(leaf)


def _unfit_authority(certificate: x509.Certificate, below: int) -> str:
    name = certificate.subject.rfc4514_string()
    constraints, usage = extension(certificate, x509.BasicConstraints), extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.value.ca or not constraints.critical:
        return f"{name} is no CA"
    if constraints.value.path_length is not None and below > constraints.value.path_length:
        return f"{name} allows {constraints.value.path_length} CAs below it"
    if usage is None or not usage.critical or not usage.value.key_cert_sign:
        return f"{name} may not sign certificates (key usage)"
    return _unknown(certificate)


def _unknown(certificate: x509.Certificate) -> str:
    for present in certificate.extensions:
        if present.critical and not isinstance(present.value, _UNDERSTOOD):
            return f"{certificate.subject.rfc4514_string()} has the critical extension {present.oid.dotted_string}"
    return ""


def _moment(envelope: notary.Envelope, trusted: Notaries) -> datetime | None:
    """When a trusted authority saw the signature; None where nobody is trusted to say that."""
    if not trusted.authorities:
        return None
    if envelope.timestamp is None:
        raise VerificationError("timestamp: there is none, and signatures must have one", check=Check.TIME)
    status = b"\x30\x03\x02\x01\x00"  # a bare token, as the answer that it came in: granted
    body = status + envelope.timestamp
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    response = b"\x30" + (bytes([len(body)]) if len(body) < 128 else bytes([0x80 | len(size)]) + size) + body
    authorities = [CertificateAuthority("", "", "", (der,), Validity()) for der in trusted.authorities]
    try:
        return check_timestamp(response, envelope.signature, authorities)
    except VerificationError as error:
        error.check = error.check or Check.TIME
        raise
