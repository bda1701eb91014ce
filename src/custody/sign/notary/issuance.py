"""Who issued a certificate, and which keys sign: the rules that all chains of the Notary Project share."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from custody.sign.certificate import extension, is_ca

_HASHES = ("sha256", "sha384", "sha512")
_SPECIFICATIONS: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "RSA 2048": ("PS256", hashes.SHA256()), "RSA 3072": ("PS384", hashes.SHA384()),
    "RSA 4096": ("PS512", hashes.SHA512()),
    "secp256r1": ("ES256", hashes.SHA256()), "secp384r1": ("ES384", hashes.SHA384()),
    "secp521r1": ("ES512", hashes.SHA512())}


def key_name(key: object) -> str:
    """`RSA 3072`, `secp256r1`: a key and its size."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__


def algorithm_of(key: object) -> tuple[str, hashes.HashAlgorithm] | None:
    """What a key signs with, and its hash; None for a key that does not sign (signature-specification, algorithms)."""
    return _SPECIFICATIONS.get(key_name(key))


def key_of(algorithm: str) -> str:
    """The key that goes with an algorithm of the specification, as `key_name` calls it."""
    return next(key for key, (name, _) in _SPECIFICATIONS.items() if name == algorithm)


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> str:
    """Why `issuer` did not issue the certificate, or may not have; "" where it did."""
    above = issuer.subject.rfc4514_string()
    usage = extension(issuer, x509.KeyUsage)
    if not is_ca(issuer):
        return f"{above} is no CA"
    if usage is not None and not usage.value.key_cert_sign:
        return f"{above} may not sign certificates (key usage)"
    return _signature_of(certificate, issuer)


def self_signed(certificate: x509.Certificate) -> bool:
    """Whether its own key signed it, CA or not."""
    return not _signature_of(certificate, certificate)


def _signature_of(certificate: x509.Certificate, issuer: x509.Certificate) -> str:
    below, above = certificate.subject.rfc4514_string(), issuer.subject.rfc4514_string()
    try:
        algorithm = certificate.signature_hash_algorithm
        if algorithm is not None and algorithm.name not in _HASHES:
            return f"{below} is signed with {algorithm.name}, expected one of {', '.join(_HASHES)}"
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return f"{above} did not issue {below}"
    return ""
