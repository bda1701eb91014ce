"""Signing as the Notary Project does: an envelope around a payload, by a key of this machine or of a plugin.

(notaryproject/specifications signing-scheme, notary.x509; signature-specification.) Nothing that is wrong leaves here:
what the key, a plugin or a timestamp authority gave is checked before it is handed out.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from custody import __version__
from custody.errors import Check, UnsupportedError, UsageError, VerificationError
from custody.formats import notary, notarywriter
from custody.kit import strictjson
from custody.kit.clock import format_rfc3339
from custody.kit.digest import sha256
from custody.sign.certificate import load_certificate
from custody.sign.notary.chain import check_signing_chain, check_valid
from custody.sign.notary.envelope import check_signature
from custody.sign.notary.issuance import algorithm_of, key_name

AGENT = f"custody/{__version__}"
RESERVED = "io.cncf.notary"
"""What names of user metadata may not begin with."""
THUMBPRINTS = "io.cncf.notary.x509chain.thumbprint#S256"
CREATED = "org.opencontainers.image.created"
HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_DESCRIPTOR = ("mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType")
"""What may be said of an artifact (image-spec, descriptor.md)."""
_FOREVER = timedelta(days=365 * 1000)

Stamp = Callable[[bytes, hashes.HashAlgorithm], Awaitable[bytes]]
"""A timestamp authority: from a signature, and the hash that is sent of it, to a DER TimeStampToken that verifies."""


class Key(Protocol):
    """Whoever signs. It may block: who serves others meanwhile calls this in a thread."""

    agent: str
    """What the envelope says of who signed."""

    def algorithm(self) -> str:
        """PS256 to PS512, ES256 to ES512: a certificate's key has one of them."""

    def sign(self, data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        """The signature, of ECDSA r and s, and the chain in DER: leaf first, root last."""


@runtime_checkable
class EnvelopeMaker(Protocol):
    """A program that makes whole envelopes. It may block: who serves others meanwhile calls this in a thread."""

    name: str

    def envelope(self, payload: bytes, media_type: str, expiry: timedelta | None) -> tuple[bytes, Mapping[str, str]]:
        """The envelope, and annotations for its manifest."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How to sign."""

    media_type: str = notary.JWS
    expiry: timedelta | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """An envelope that was looked at again after it was made."""

    data: bytes
    media_type: str
    envelope: notary.Envelope
    plugin_annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def annotations(self) -> dict[str, str]:
        """Of the manifest that holds it: whose certificates, and when."""
        prints = [sha256(certificate).removeprefix("sha256:") for certificate in self.envelope.chain]
        return {**self.plugin_annotations, THUMBPRINTS: json.dumps(prints, separators=(",", ":")),
                CREATED: format_rfc3339(self.envelope.signing_time)}


class LocalKey:
    """A private key and its certificates in memory."""

    agent = AGENT

    def __init__(self, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, chain: tuple[x509.Certificate, ...],
                 where: str) -> None:
        """Raises UsageError where the first certificate is not this key's, UnsupportedError for a key of other kinds
        than sign."""
        if key.public_key() != chain[0].public_key():
            raise UsageError(f"{where}: the key is not that of the first certificate "
                             f"({chain[0].subject.rfc4514_string()})", hint="the certificate of the key stands first, "
                             "then its issuers, the root last")
        self._key = key
        self._algorithm = algorithm_for(key.public_key(), where)
        self._chain = tuple(certificate.public_bytes(Encoding.DER) for certificate in chain)

    def algorithm(self) -> str:
        return self._algorithm

    def sign(self, data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        algorithm = hash_of(self._algorithm)
        if isinstance(self._key, rsa.RSAPrivateKey):
            scheme = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
            return self._key.sign(data, scheme, algorithm), self._chain
        size = (self._key.curve.key_size + 7) // 8
        pair = decode_dss_signature(self._key.sign(data, ec.ECDSA(algorithm)))
        return b"".join(part.to_bytes(size, "big") for part in pair), self._chain


def hash_of(algorithm: str) -> hashes.HashAlgorithm:
    """Of a signature algorithm as JOSE names it."""
    return HASHES[algorithm[2:]]


def algorithm_for(key: object, where: str) -> str:
    """Raises UnsupportedError for a key that does not sign."""
    known = algorithm_of(key)
    if known is None:
        raise UnsupportedError(where, f"a key of {key_name(key)}; RSA of 2048, 3072 and 4096 bits and ECDSA on P-256, "
                               "P-384 and P-521 sign")
    return known[0]


def described(target: notary.Target, metadata: Mapping[str, str]) -> notary.Target:
    """The target with user metadata in its annotations. Raises UsageError for a name that is reserved or there."""
    for name in metadata:
        if name.startswith(RESERVED):
            raise UsageError(f"--user-metadata: got {name}, expected a name that does not begin with {RESERVED}")
        if name in target.annotations:
            raise UsageError(f"--user-metadata: got {name}, which the artifact has already")
        try:
            (name + metadata[name]).encode()
        except UnicodeEncodeError:
            raise UsageError("--user-metadata: got bytes that are no UTF-8, expected text") from None
    return notary.Target(target.media_type, target.digest, target.size, {**target.annotations, **metadata})


async def sign(target: notary.Target, key: Key | EnvelopeMaker, terms: Terms, now: datetime) -> Signed:
    """Sign that the target is vouched for.

    Raises UsageError, UnsupportedError for what cannot be signed so; VerificationError where a chain does not meet the
    Notary Project's rules at this moment, or what a program or an authority gave is not what was asked of it.
    """
    payload = notarywriter.payload_of(described(target, terms.metadata))
    # 1. Times are of whole seconds; the expiry counts from the signing time.
    signing_time = now.replace(microsecond=0)
    expiry = _expiry(signing_time, terms.expiry)
    # 2. A program may make the whole envelope; it says by itself when.
    if isinstance(key, EnvelopeMaker):
        if terms.stamp:
            raise UnsupportedError("--timestamp-url", f"plugin {key.name} makes whole envelopes, to which custody adds "
                                   "nothing")
        data, annotations = key.envelope(payload, terms.media_type, terms.expiry)
        envelope = _checked(data, terms.media_type, None)
        _check_made(envelope, described(target, terms.metadata), terms)
        return Signed(data, terms.media_type, envelope, annotations)
    # 3. Sign what is protected and the payload.
    algorithm = key.algorithm()
    made = notarywriter.draft(terms.media_type, algorithm, payload, signing_time, expiry)
    signature, chain = key.sign(made.signed)
    unsigned = notarywriter.Unsigned(chain, key.agent)
    # 4. Before anybody is asked to witness the signature, it and its chain are looked at.
    envelope = _checked(notarywriter.enveloped(made, signature, unsigned), terms.media_type, signing_time)
    # 5. An authority says when it saw the signature.
    if terms.stamp:
        unsigned = unsigned.stamped(await terms.stamp(signature, hash_of(algorithm)))
    data = notarywriter.enveloped(made, signature, unsigned)
    if len(data) > notary.MAX_ENVELOPE:
        raise UnsupportedError("envelope", f"of {len(data)} bytes; {notary.MAX_ENVELOPE} are read",
                               hint="less --user-metadata")
    return Signed(data, terms.media_type, notary.parse_envelope(data, terms.media_type))


def _expiry(signing_time: datetime, duration: timedelta | None) -> datetime | None:
    if not duration:
        return None
    if duration < timedelta() or duration % timedelta(seconds=1):
        raise UsageError(f"--expiry: got {duration.total_seconds():g} s, expected whole seconds to come")
    if duration > _FOREVER:
        raise UsageError("--expiry: got more than a thousand years")
    return signing_time + duration


def _checked(data: bytes, media_type: str, moment: datetime | None) -> notary.Envelope:
    """The envelope as it can be read, once its signature is its certificate's and the chain may sign at `moment` or
    at the time that it says itself. Raises VerificationError, MalformedError, UnsupportedError."""
    envelope = notary.parse_envelope(data, media_type)
    chain = [load_certificate(der, f"certificate chain [{at}]") for at, der in enumerate(envelope.chain)]
    check_signing_chain(chain)
    check_valid(chain, moment or envelope.signing_time, "when it is to sign", Check.CERTIFICATE)
    check_signature(envelope, chain[0])
    return envelope


def _check_made(envelope: notary.Envelope, target: notary.Target, terms: Terms) -> None:
    """An envelope of a plugin is about what it was told, and says no more than plugins may (plugin-extensibility)."""
    _check_plain(envelope)
    signed = envelope.target
    if (signed.digest, signed.media_type, signed.size) != (target.digest, target.media_type, target.size):
        raise VerificationError(f"plugin: signed {signed.digest}, expected {target.digest}", check=Check.SUBJECT)
    if lacking := [name for name, value in target.annotations.items() if signed.annotations.get(name) != value]:
        raise VerificationError(f"plugin: left out or changed the annotation {lacking[0]}", check=Check.STATEMENT)
    if envelope.scheme == notary.X509 and terms.expiry and envelope.expiry is None:
        raise VerificationError(f"plugin: left out the expiry of {terms.expiry}", check=Check.TIME)


def _check_plain(envelope: notary.Envelope) -> None:
    said = strictjson.loads(notarywriter.signed_payload(envelope), "plugin: payload", max_size=notary.MAX_ENVELOPE,
                            max_depth=8)
    added = sorted({*said} - {"targetArtifact"}) + sorted({*said["targetArtifact"]} - {*_DESCRIPTOR})
    if added:
        raise VerificationError(f"plugin: added {added[0]!r} to what is signed", check=Check.STATEMENT)
