"""Keys that somebody else holds, as signers use them: a public key, and signatures that were checked by it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from custody.errors import NotFoundError, VerificationError
from custody.ports.keyservice import KeyService
from custody.sign.keys import PublicKey, load_public_key
from custody.trust.keys import hash_of, verifies

_HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}


class SigningKey(Protocol):
    """What a signer needs of a key, wherever it is: `keys.PrivateKey` here, `KeptKey` elsewhere."""

    @property
    def public(self) -> PublicKey: ...

    async def signature(self, message: bytes, *, prehash: bool = False, hash_name: str | None = None) -> bytes:
        """`prehash` makes Ed25519 keys sign as Ed25519ph, which logs that see only a digest require.

        `hash_name` is for ECDSA, whose signatures are over the curve's own hash otherwise.
        """


@dataclass(frozen=True, slots=True, eq=False)
class KeptKey:
    """A key of a service. `public` is what it said at first, and what every signature is checked by."""

    public: PublicKey
    service: KeyService

    async def signature(self, message: bytes, *, prehash: bool = False, hash_name: str | None = None) -> bytes:
        """Raises VerificationError for a signature that is not this key's, and what the service does."""
        key = self.public.key
        if isinstance(key, ed25519.Ed25519PublicKey):
            name = "sha512" if prehash else ""
        elif isinstance(key, ec.EllipticCurvePublicKey):
            name = "sha256" if hash_name == "sha256" else hash_of(key).name
        else:
            name = "sha256"
        signature = await self.service.sign(message, name)
        if not self._own(signature, message, name):
            raise VerificationError(f"{self.service.name}: what came back is no signature of this key over what was to "
                                    "be signed; nothing was stored")
        return signature

    def _own(self, signature: bytes, message: bytes, name: str) -> bool:
        key = self.public.key
        if isinstance(key, ed25519.Ed25519PublicKey) and name:
            return verifies(key, signature, hashlib.sha512(message).digest(), Prehashed(_HASHES[name]))
        return verifies(key, signature, message, _HASHES[name or "sha512"])


async def open_kept_key(service: KeyService) -> KeptKey:
    """Raises NotFoundError where the service has no such key, UnsupportedError for a kind that custody does not trust,
    and what the service does."""
    pem = await service.public_key()
    if pem is None:
        raise NotFoundError(f"{service.name}: there is no such key")
    return KeptKey(load_public_key(pem.encode(), service.name), service)
