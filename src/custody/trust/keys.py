"""Public keys: the hash that goes with each kind, the name that a log knows it by, and one way to verify with any."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.errors import VerificationError

AnyPublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey | mldsa.MLDSA65PublicKey
"""The last is ML-DSA-65 (FIPS 204): pure, over the message itself and with an empty context."""
CURVES: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "secp256r1": ("PKIX_ECDSA_P256_SHA_256", hashes.SHA256()),
    "secp384r1": ("PKIX_ECDSA_P384_SHA_384", hashes.SHA384()),
    "secp521r1": ("PKIX_ECDSA_P521_SHA_512", hashes.SHA512())}
"""The curves that custody accepts: PublicKeyDetails name and hash."""


def hash_of(key: AnyPublicKey) -> hashes.HashAlgorithm:
    """The hash that signatures of a key are over: the curve's own size, else SHA-256 (SHA-512 for Ed25519ph).

    For ML-DSA, whose signatures are over no hash, the one of a digest that is written beside them.
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        return CURVES[key.curve.name][1]
    return hashes.SHA256() if isinstance(key, rsa.RSAPublicKey) else hashes.SHA512()


def key_details(key: object) -> str | None:
    """The PublicKeyDetails name (sigstore_common.proto) of a key that signs digests; None where it has none."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return CURVES[key.curve.name][0] if key.curve.name in CURVES else None
    if isinstance(key, rsa.RSAPublicKey):
        return f"PKIX_RSA_PKCS1V15_{key.key_size}_SHA256" if key.key_size in (2048, 3072, 4096) else None
    return "PKIX_ED25519_PH" if isinstance(key, ed25519.Ed25519PublicKey) else None


def spki(key: PublicKeyTypes) -> bytes:
    """DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7)."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def describe_key(key: object) -> str:
    """For people: `ECDSA secp256r1`, `RSA 2048`."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, mldsa.MLDSA65PublicKey):
        return "ML-DSA-65"
    return type(key).__name__.replace("PublicKey", "").lstrip("_")


def verifies(key: AnyPublicKey, signature: bytes, data: bytes, algorithm: hashes.HashAlgorithm | Prehashed,
             scheme: padding.AsymmetricPadding | None = None) -> bool:
    """Whether `signature` is the key's over `data`: a message, or with `Prehashed` its digest.

    `scheme` is for RSA, PKCS #1 v1.5 where none is given. Ed25519 takes no hash: a digest is verified as Ed25519ph.
    ML-DSA takes none either, and no signature is one over a digest.
    """
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, scheme or padding.PKCS1v15(), algorithm)
        elif isinstance(key, mldsa.MLDSA65PublicKey):
            if isinstance(algorithm, Prehashed):
                return False
            key.verify(signature, data)
        elif isinstance(algorithm, Prehashed):
            from custody.trust.ed25519ph import verify_ed25519ph

            verify_ed25519ph(key.public_bytes_raw(), signature, data)
        else:
            key.verify(signature, data)
    except (InvalidSignature, VerificationError):
        return False
    return True
