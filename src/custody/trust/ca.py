"""The certificate authority: an identity token and a proof of possession in, a ten-minute certificate out.

    1. the token: issuer, signature, audience, times, identity
    2. the new key: a strong one, and its holder has it (a signature over the identity, or a signing request)
    3. the precertificate, signed, durable in the CT log
    4. the certificate: the same with the log's SCT in it
(fulcio docs/certificate-specification.md, docs/oid-info.md; RFC 6962 for 3 and 4.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from asn1crypto.core import UTF8String
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key, load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from custody.errors import CustodyError, MalformedError, UsageError, VerificationError
from custody.kit.clock import Clock, ClockError
from custody.trust.ctlog import CtLog, sct_list
from custody.trust.identity import Identity, IdentityVerifier
from custody.trust.keys import CURVES, AnyPublicKey, describe_key, hash_of, verifies

LIFETIME = timedelta(minutes=10)
_ARC = "1.3.6.1.4.1.57264.1"
_RAW = range(1, 7)
"""The older extensions hold bare text; from .8 on they hold a DER UTF8String."""
_MAX_KEY = 16 * 1024


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """Either `public_key` (PEM or DER) with `proof`, or `csr` (PEM or DER)."""

    token: str
    public_key: bytes | None = None
    proof: bytes | None = None
    csr: bytes | None = None


class SigningAuthority:
    """A Fulcio-like CA. `chain` is issuer first, root last; `key` is the issuer's."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, chain: tuple[x509.Certificate, ...], ctlog: CtLog,
                 identities: IdentityVerifier, clock: Clock) -> None:
        self.chain = chain
        self.identities = identities
        self._key = key
        self._ctlog = ctlog
        self._clock = clock
        issuer_ski = chain[0].extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        self._authority_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_ski)

    async def sign(self, request: SigningRequest) -> tuple[x509.Certificate, ...]:
        """The new certificate and the chain above it, root last.

        Raises AuthenticationError, MalformedError, VerificationError, UsageError; NetworkError where the issuer's keys
        cannot be had; LogStoppedError where the CT log is out of order, ClockError (no certificate then).
        """
        # 1.
        identity = await self.identities.verify(request.token, self._clock())
        # 2. and 3. Keys are parsed and signatures made in a thread: an RSA key's or a P-521 one's takes a millisecond.
        draft, precertificate = await asyncio.to_thread(self._prepare, request, identity)
        sct = await self._ctlog.add_precertificate(precertificate)
        # 4.
        final = draft.add_extension(sct_list(sct), critical=False)
        return await asyncio.to_thread(final.sign, self._key, hashes.SHA256()), *self.chain

    def _prepare(self, request: SigningRequest, identity: Identity) -> tuple[x509.CertificateBuilder, x509.Certificate]:
        if request.csr is not None:
            key = _key_of_csr(request.csr)
        elif request.public_key is not None:
            key = _public_key(request.public_key)
            _check_proof(key, request.proof or b"", identity.challenge)
        else:
            raise UsageError("signing request: got no key, expected publicKeyRequest or certificateSigningRequest")
        draft = self._draft(key, identity)
        return draft, draft.add_extension(x509.PrecertPoison(), critical=True).sign(self._key, hashes.SHA256())

    def _draft(self, key: AnyPublicKey, identity: Identity) -> x509.CertificateBuilder:
        start = self._clock().replace(microsecond=0)
        if start < self.chain[0].not_valid_before_utc:
            raise ClockError("CA", start, "its certificate begins at "
                             f"{self.chain[0].not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}")
        if start + LIFETIME > self.chain[0].not_valid_after_utc:
            raise CustodyError(f"CA: its certificate ends at {self.chain[0].not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
                               hint="make a new CA and add it to the trusted root")
        builder = (x509.CertificateBuilder(issuer_name=self.chain[0].subject, subject_name=x509.Name([]),
                                           public_key=key, serial_number=x509.random_serial_number(),
                                           not_valid_before=start, not_valid_after=start + LIFETIME)
                   .add_extension(key_usage(digital_signature=True), critical=True)
                   .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
                   .add_extension(self._authority_id, critical=False)
                   .add_extension(x509.SubjectAlternativeName([identity.name]), critical=True))
        for number, text in identity.extensions:
            value = text.encode() if number in _RAW else UTF8String(text).dump()
            builder = builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier(f"{_ARC}.{number}"), value), critical=False)
        return builder


def key_usage(*, digital_signature: bool = False, certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(digital_signature=digital_signature, key_cert_sign=certificates, crl_sign=certificates,
                         content_commitment=False, key_encipherment=False, data_encipherment=False,
                         key_agreement=False, encipher_only=False, decipher_only=False)


def pems(chain: Iterable[x509.Certificate]) -> list[str]:
    """Each without its last newline, as Fulcio answers."""
    return [certificate.public_bytes(Encoding.PEM).decode().strip() for certificate in chain]


def _public_key(data: bytes) -> AnyPublicKey:
    if len(data) > _MAX_KEY:
        raise MalformedError("publicKey.content", got=f"{len(data)} bytes", expected=f"at most {_MAX_KEY}")
    try:
        key = load_pem_public_key(data) if data.lstrip().startswith(b"-----") else load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedError("publicKey.content", got=data[:60], expected="a public key in PEM") from None
    return _strong(key)


def _key_of_csr(data: bytes) -> AnyPublicKey:
    """Only the key of a signing request counts; that its signature verifies is the proof of possession."""
    where = "certificateSigningRequest"
    if len(data) > _MAX_KEY:
        raise MalformedError(where, got=f"{len(data)} bytes", expected=f"at most {_MAX_KEY}")
    try:
        loader = x509.load_pem_x509_csr if data.lstrip().startswith(b"-----") else x509.load_der_x509_csr
        csr = loader(data)
        key, valid = _strong(csr.public_key()), csr.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise MalformedError(where, got=str(error) or data[:60], expected="a PKCS #10 request in PEM") from None
    if not valid:
        raise VerificationError(f"{where}: its signature does not verify with its key")
    return key


def _strong(key: object) -> AnyPublicKey:
    """Raises VerificationError for a key that is too weak to vouch for."""
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return key
    if isinstance(key, rsa.RSAPublicKey) and 2048 <= key.key_size <= 4096 and key.public_numbers().e == 65537:
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise VerificationError(f"public key: {describe_key(key)} is not accepted, expected ECDSA P-256, P-384 or P-521, "
                            "RSA of 2048 to 4096 bits with exponent 65537, or Ed25519")


def _check_proof(key: AnyPublicKey, proof: bytes, challenge: str) -> None:
    """A signature of the new key over the identity, with the hash that the key's type has."""
    if not verifies(key, proof, challenge.encode(), hash_of(key)):
        raise VerificationError(f"proofOfPossession: the signature over {challenge!r} does not verify with the given "
                                f"{describe_key(key)} key")
