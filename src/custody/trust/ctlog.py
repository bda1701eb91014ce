"""The certificate transparency log beside the CA: RFC 6962 entries on the same tile engine, with its own key.

An entry is a MerkleTreeLeaf (RFC 6962 section 3.4) with a precert_entry; it is served under `tile/entries/`. The SCT is
given only after the entry is durable and covered by a published checkpoint: no merge delay.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct

from asn1crypto import parser as der
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from custody.errors import VerificationError
from custody.kit.clock import Clock
from custody.trust.keys import spki
from custody.trust.log import Sequencer

_POISON = bytes.fromhex("3013060a2b06010401d6790204030101ff04020500")
"""The whole critical poison extension, 1.3.6.1.4.1.11129.2.4.3 (RFC 6962 section 3.1)."""


class CtLog:
    """Takes precertificates of one issuer.

    An SCT has the clock's time, as the certificate's validity does, also where the clock was set back: entries need no
    order of times (RFC 6962 section 3.1 asks that of tree heads, and a tiled log's checkpoints have no time).
    """

    def __init__(self, sequencer: Sequencer, key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate,
                 clock: Clock) -> None:
        self._sequencer = sequencer
        self._key = key
        self._issuer = issuer
        self._clock = clock
        self.log_id = hashlib.sha256(spki(key.public_key())).digest()
        self._issuer_key_hash = hashlib.sha256(spki(issuer.public_key())).digest()

    async def add_precertificate(self, certificate: x509.Certificate) -> bytes:
        """Log a precertificate that ends with the poison extension; returns the serialized SCT (TLS encoding)."""
        stamp = int(self._clock().timestamp() * 1000)
        covered = await asyncio.to_thread(self._covered, certificate, stamp)
        # 3. Durable first, promised second.
        await self._sequencer.add(b"\0\0" + covered)
        signature = await asyncio.to_thread(self._key.sign, b"\0\0" + covered, ec.ECDSA(hashes.SHA256()))
        return (struct.pack(">B32sQH", 0, self.log_id, stamp, 0)
                + struct.pack(">BBH", 4, 3, len(signature)) + signature)

    def _covered(self, certificate: x509.Certificate, stamp: int) -> bytes:
        # 1. Only what the issuer has signed.
        try:
            certificate.verify_directly_issued_by(self._issuer)
        except (InvalidSignature, ValueError, TypeError):
            raise VerificationError("CT log: the precertificate is not signed by the log's issuer") from None
        # 2. The entry and what the SCT signs differ in their first bytes only (sections 3.2 and 3.4).
        tbs = without_poison(certificate.tbs_certificate_bytes)
        return struct.pack(">QH", stamp, 1) + self._issuer_key_hash + len(tbs).to_bytes(3, "big") + tbs + b"\0\0"


def without_poison(tbs: bytes) -> bytes:
    """A precertificate's TBSCertificate as the final one will have it, DER in and out. Raises VerificationError."""
    body, rest = der.parse(tbs)[4], []
    while body:
        size = der.peek(body)
        field, body = body[:size], body[size:]
        if field[0] == 0xA3 and field.endswith(_POISON):  # [3] extensions, a sequence in an explicit tag
            extensions = der.parse(der.parse(field)[4])[4][:-len(_POISON)]
            field = der.emit(2, 1, 3, der.emit(0, 1, 16, extensions))
            rest.append(field)
            return der.emit(0, 1, 16, b"".join(rest) + body)  # type: ignore[no-any-return]
        rest.append(field)
    raise VerificationError("CT log: the precertificate does not end with the poison extension")


def sct_list(*scts: bytes) -> x509.UnrecognizedExtension:
    """The extension that embeds SCTs in a certificate (RFC 6962 section 3.3)."""
    body = b"".join(struct.pack(">H", len(sct)) + sct for sct in scts)
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"),
                                      der.emit(0, 0, 4, struct.pack(">H", len(body)) + body))
