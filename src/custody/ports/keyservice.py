"""The port to a key that custody does not hold: at a key management service, on a token, behind a plugin.

Contract: `public_key` asks at most once for an object of this kind, so that what it said is what `sign` signs with.
No error names a token, a password or a PIN. Calls may be cancelled.
"""

from __future__ import annotations

from typing import Protocol


class KeyService(Protocol):
    """One key. What all methods raise: UsageError where it is not said who asks, UnsupportedError for what the service
    or the key cannot do, AuthenticationError, NetworkError, MalformedError for an answer that is none."""

    @property
    def name(self) -> str:
        """The reference by which the key was named, without anything secret."""

    async def public_key(self) -> str | None:
        """PEM; None where the service says that it has no such key."""

    async def sign(self, message: bytes, hash_name: str) -> bytes:
        """The signature over the message's digest by `sha256`, `sha384` or `sha512`: ECDSA in DER, RSA by PKCS #1
        v1.5, of an Ed25519 key as Ed25519ph. By the hash `""` an Ed25519 key signs the message itself.

        `public_key` was asked before. Nobody has checked what comes back.
        """

    async def create(self) -> str:
        """Make the key, where there is none of that name. PEM of the key that there is then."""
