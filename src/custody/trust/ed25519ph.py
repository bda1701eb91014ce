"""Ed25519ph verification from a SHA-512 digest (RFC 8032 section 5.1.7), which no library offers without the message.

Signatures here are public, so nothing needs constant time.
"""

from __future__ import annotations

import hashlib

from nacl import bindings, exceptions

from custody.errors import VerificationError

_DOMAIN = b"SigEd25519 no Ed25519 collisions\x01\x00"
_ORDER = 2**252 + 27742317777372353535851937790883648493


def verify_ed25519ph(public_key: bytes, signature: bytes, digest: bytes) -> None:
    """`public_key` 32 bytes, `signature` 64, `digest` 64 (SHA-512 of the message). Raises VerificationError."""
    if (len(public_key), len(signature), len(digest)) != (32, 64, 64):
        raise VerificationError(f"Ed25519ph: got key, signature and digest of {len(public_key)}, {len(signature)} and "
                                f"{len(digest)} bytes, expected 32, 64 and 64")
    point, scalar = signature[:32], signature[32:]
    challenge = hashlib.sha512(_DOMAIN + point + public_key + digest).digest()
    try:
        if int.from_bytes(scalar, "little") >= _ORDER or not bindings.crypto_core_ed25519_is_valid_point(public_key):
            raise VerificationError("Ed25519ph: the signature's scalar or the public key is out of range")
        # R = sB - kA, compared as bytes (no cofactor)
        expected_point = bindings.crypto_core_ed25519_sub(
            bindings.crypto_scalarmult_ed25519_base_noclamp(scalar),
            bindings.crypto_scalarmult_ed25519_noclamp(bindings.crypto_core_ed25519_scalar_reduce(challenge),
                                                       public_key))
    except (exceptions.CryptoError, exceptions.TypeError, exceptions.ValueError):
        raise VerificationError("Ed25519ph: the signature does not verify") from None
    if expected_point != point:
        raise VerificationError("Ed25519ph: the signature does not verify")
