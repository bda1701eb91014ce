"""The signature of an envelope, checked with the leaf certificate's key."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from custody.errors import Check, VerificationError
from custody.formats import notary
from custody.sign.keys import public_key
from custody.sign.notary.issuance import algorithm_of, key_name
from custody.trust.keys import AnyPublicKey, verifies

_KEYS = {"PS256": "RSA 2048", "PS384": "RSA 3072", "PS512": "RSA 4096", "ES256": "secp256r1", "ES384": "secp384r1",
         "ES512": "secp521r1"}


def check_signature(envelope: notary.Envelope, leaf: x509.Certificate) -> None:
    """The algorithm is the one of the key, and the key signed. Raises VerificationError."""
    key = public_key(leaf.public_key(), "certificate").key
    fitting = algorithm_of(key)
    if fitting is None or fitting[0] != envelope.algorithm:
        raise VerificationError(f"signature: {envelope.algorithm} is made with {_KEYS[envelope.algorithm]}, and the "
                                f"certificate is of {key_name(key)}", check=Check.SIGNATURE)
    algorithm = fitting[1]
    scheme = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size) if isinstance(key, rsa.RSAPublicKey) else None
    if not verifies(key, primitive(envelope, key), envelope.signed, algorithm, scheme):
        raise VerificationError("signature: the signature is not this certificate's over these bytes",
                                check=Check.SIGNATURE)


def primitive(envelope: notary.Envelope, key: AnyPublicKey) -> bytes:
    """The signature as keys make it: of ECDSA, r and s in DER. Raises VerificationError for another length."""
    signature = envelope.signature
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return signature
    half = (key.curve.key_size + 7) // 8
    if len(signature) != 2 * half:
        raise VerificationError(f"signature: {len(signature)} bytes, expected r and s of {key.curve.name}",
                                check=Check.SIGNATURE)
    return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
