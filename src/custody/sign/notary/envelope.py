"""The signature of an envelope, checked with the leaf certificate's key."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from custody.errors import Check, VerificationError
from custody.formats import notary
from custody.kit.clock import format_rfc3339
from custody.sign.keys import public_key
from custody.sign.notary.issuance import algorithm_of, key_name, key_of
from custody.trust.keys import AnyPublicKey, verifies


def check_signature(envelope: notary.Envelope, leaf: x509.Certificate) -> None:
    """The algorithm is the one of the key, and the key signed. Raises VerificationError."""
    key = public_key(leaf.public_key(), "certificate").key
    fitting = algorithm_of(key)
    if fitting is None or fitting[0] != envelope.algorithm:
        raise VerificationError(f"signature: {envelope.algorithm} is made with {key_of(envelope.algorithm)}, and the "
                                f"certificate is of {key_name(key)}", check=Check.SIGNATURE)
    algorithm = fitting[1]
    scheme = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size) if isinstance(key, rsa.RSAPublicKey) else None
    if not verifies(key, primitive(envelope, key), envelope.signed, algorithm, scheme):
        raise VerificationError("signature: the signature is not this certificate's over these bytes",
                                check=Check.SIGNATURE)


def check_unexpired(envelope: notary.Envelope, now: datetime) -> None:
    """At its expiry a signature does not count any more, as `notation` has it. Raises VerificationError."""
    if envelope.expiry is not None and now >= envelope.expiry:
        raise VerificationError(f"signature: expired at {format_rfc3339(envelope.expiry)}", check=Check.TIME)


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
