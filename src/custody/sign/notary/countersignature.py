"""Timestamps over a Notary Project signature: a bare RFC 3161 token, checked against roots that somebody trusts.

(notaryproject/specifications trust-store-trust-policy, authentic timestamp; RFC 3161, RFC 5652 section 5, RFC 5816.)
Authorities in the field order the certificates of a token as they please, which DER does not allow and every other
client reads: so the token is read here, and not as strictly as one of custody's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from asn1crypto import cms, tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from custody.errors import Check, MalformedError, VerificationError
from custody.formats.der import set_of
from custody.kit.clock import format_rfc3339
from custody.sign.certificate import extension, load_certificate
from custody.sign.keys import public_key
from custody.sign.notary.chain import check_stamping_chain, check_valid
from custody.sign.notary.issuance import issued_by
from custody.trust.keys import verifies

MAX_TOKEN = 64 * 1024
_MAX_CERTIFICATES = 16
_MAX_SIGNERS = 4
_MAX_PATH = 6
_HASHES: dict[str, hashes.HashAlgorithm] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(),
                                            "sha512": hashes.SHA512()}
_BASELINE = "0.4.0.2023.1.1"
"""The policy of ETSI's baseline, which says that a time without accuracy is right to a second."""
_BROKEN = (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError, NotImplementedError,
           RecursionError)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a token says, unverified."""

    moment: datetime
    accuracy: timedelta
    certificates: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Countersignature:
    """When a trusted authority saw a signature."""

    moment: datetime
    accuracy: timedelta
    """On both sides of it."""
    chain: tuple[x509.Certificate, ...]
    """The authority's, leaf first, root last."""

    def check_within(self, certificate: x509.Certificate) -> None:
        """Raises VerificationError where a certificate may not have been valid at that time."""
        name = certificate.subject.rfc4514_string()
        earliest, latest = self.moment - self.accuracy, self.moment + self.accuracy
        if earliest < certificate.not_valid_before_utc:
            raise VerificationError(
                f"timestamp: {format_rfc3339(earliest)} is before certificate {name} is valid, from "
                f"{format_rfc3339(certificate.not_valid_before_utc)}", check=Check.TIME)
        if latest > certificate.not_valid_after_utc:
            raise VerificationError(
                f"timestamp: {format_rfc3339(latest)} is after certificate {name} is valid, until "
                f"{format_rfc3339(certificate.not_valid_after_utc)}", check=Check.TIME)


@dataclass(frozen=True, slots=True)
class _Signer:
    version: str
    serial: int
    issuer: bytes
    digest: str
    scheme: str
    attributes: bytes
    """DER, as they are signed."""
    signature: bytes
    content_types: list[str]
    digests: list[bytes]
    identifiers: list[tuple[str, bytes, int | None]]
    """Of the signing certificate: hash algorithm, hash, serial number."""
    times: list[datetime]


@dataclass(frozen=True, slots=True)
class _Token:
    content: bytes
    version: int
    imprint: tuple[str, bytes]
    moment: datetime
    accuracy: timedelta
    certificates: list[tuple[bytes, bytes]]
    """DER of each, and of its issuer's name."""
    signers: list[_Signer]


def read_stamp(token: bytes, signature: bytes) -> Stamp:
    """What a token says of this very signature, for people. Raises MalformedError, VerificationError."""
    read = _read(token)
    _check_imprint(read, signature)
    return Stamp(read.moment, read.accuracy, _certificates(read))


def countersigned(token: bytes, signature: bytes, roots: Sequence[x509.Certificate]) -> Countersignature:
    """Raises MalformedError or VerificationError. Whether the authority's certificates were revoked is not asked.

    Steps: 1 the token is CMS over a TSTInfo; 2 the imprint is of this signature; 3 the signer's certificate is the one
    that is signed with it; 4 its key signed; 5 it leads to a root, all valid at that time; 6 the chain may stamp.
    """
    # 1.
    read = _read(token)
    # 2.
    _check_imprint(read, signature)
    certificates = _certificates(read)
    reasons: list[str] = []
    for signer in read.signers:
        try:
            # 3.
            leaf = _signing_certificate(signer, read)
            # 4.
            _check_signer(signer, leaf, read.content)
            # 5.
            chain = _path(leaf, [*certificates], roots, read.moment)
            # 6.
            check_stamping_chain(chain)
            for time in signer.times:
                check_valid(chain, time, "of the timestamp authority")
        except VerificationError as error:
            reasons.append(error.message.removeprefix("timestamp: "))
            continue
        return Countersignature(read.moment, read.accuracy, tuple(chain))
    raise VerificationError("timestamp: " + ("; ".join(reasons[:3]) or "nobody signed it"), check=Check.TIME)


def _read(token: bytes) -> _Token:
    try:
        if len(token) > MAX_TOKEN:
            raise ValueError("too long")
        info = cms.ContentInfo.load(token)
        if len(info.dump()) != len(token) or info["content_type"].native != "signed_data":
            raise ValueError("no signed data")
        signed = info["content"]
        encapsulated = signed["encap_content_info"]
        if signed["version"].native != "v3" or encapsulated["content_type"].native != "tst_info":
            raise ValueError("no time")
        content = bytes(encapsulated["content"].native if isinstance(encapsulated["content"].native, bytes)
                        else encapsulated["content"].contents)
        stamp = tsp.TSTInfo.load(content, strict=True)
        imprint, accuracy = stamp["message_imprint"], stamp["accuracy"].native or {}
        margin = timedelta(seconds=int(accuracy.get("seconds") or 0), milliseconds=int(accuracy.get("millis") or 0),
                           microseconds=int(accuracy.get("micros") or 0))
        if not margin and str(stamp["policy"].dotted) == _BASELINE:
            margin = timedelta(seconds=1)
        moment = stamp["gen_time"].native
        if not timedelta() <= margin < timedelta(days=365) or not isinstance(moment, datetime) or moment.tzinfo is None:
            raise ValueError("no time")
        _ = (moment - margin, moment + margin)  # what the clock of no calendar shows overflows
        certificates, signers = signed["certificates"], signed["signer_infos"]
        if len(certificates) > _MAX_CERTIFICATES or len(signers) > _MAX_SIGNERS:
            raise ValueError("too many")
        return _Token(content, {"v1": 1}.get(stamp["version"].native, 0),
                      (str(imprint["hash_algorithm"]["algorithm"].native), bytes(imprint["hashed_message"].native)),
                      moment, margin, [(choice.chosen.dump(), choice.chosen["tbs_certificate"]["issuer"].dump())
                                       for choice in certificates if choice.name == "certificate"],
                      [_signer(signer) for signer in signers])
    except _BROKEN:
        raise MalformedError("timestamp", got=f"{len(token)} bytes", expected="an RFC 3161 TimeStampToken") from None


def _signer(info: Any) -> _Signer:
    values: dict[str, list[Any]] = {}
    for attribute in info["signed_attrs"]:
        name = str(attribute["type"].native)
        if name in values:
            raise ValueError("an attribute twice")
        values[name] = list(attribute["values"])
    identifiers = []
    for value in values.get("signing_certificate_v2", []):
        first = value["certs"][0]
        serial = first["issuer_serial"]
        identifiers.append((str(first["hash_algorithm"]["algorithm"].native), bytes(first["cert_hash"].native),
                            int(serial["serial_number"].native) if serial.native else None))
    sid = info["sid"].chosen
    attributes = set_of(*(attribute.dump() for attribute in info["signed_attrs"]))
    return _Signer(str(info["version"].native), int(sid["serial_number"].native), sid["issuer"].dump(),
                   str(info["digest_algorithm"]["algorithm"].native),
                   str(info["signature_algorithm"].signature_algo), attributes,
                   bytes(info["signature"].native), [str(value.native) for value in values.get("content_type", [])],
                   [bytes(value.native) for value in values.get("message_digest", [])], identifiers,
                   [value.native for value in values.get("signing_time", [])])


def _check_imprint(read: _Token, signature: bytes) -> None:
    algorithm, digest = read.imprint
    if read.version != 1 or algorithm not in _HASHES:
        raise VerificationError(f"timestamp: its imprint is made with {algorithm}, expected {', '.join(_HASHES)}",
                                check=Check.TIME)
    if digest != hashlib.new(algorithm, signature).digest():
        raise VerificationError("timestamp: it is of another signature (imprint)", check=Check.TIME)


def _certificates(read: _Token) -> tuple[x509.Certificate, ...]:
    return tuple(load_certificate(der, "timestamp: certificate") for der, _ in read.certificates)


def _signing_certificate(signer: _Signer, read: _Token) -> x509.Certificate:
    """The one whose hash is among what is signed (RFC 5816), which is the one that the signer is named by."""
    if len(signer.identifiers) != 1:
        raise VerificationError("the signed attributes do not name the signing certificate (signing-certificate-v2)")
    algorithm, digest, serial = signer.identifiers[0]
    if algorithm not in _HASHES:
        raise VerificationError(f"its certificate is named with {algorithm}, expected {', '.join(_HASHES)}")
    for der, issuer in read.certificates:
        if hashlib.new(algorithm, der).digest() == digest:
            certificate = load_certificate(der, "timestamp: certificate")
            numbers = {signer.serial, certificate.serial_number} | ({serial} if serial is not None else set())
            if issuer != signer.issuer or len(numbers) > 1:
                raise VerificationError("the signing certificate has another issuer or serial number than is said")
            return certificate
    raise VerificationError("the certificate that signed it is not in the token")


def _check_signer(signer: _Signer, leaf: x509.Certificate, content: bytes) -> None:
    if signer.version != "v1" or signer.digest not in _HASHES:
        raise VerificationError(f"it is signed with {signer.digest}, expected {', '.join(_HASHES)}")
    if signer.content_types != ["tst_info"]:
        raise VerificationError("the signed content type is not that of a time")
    if signer.digests != [hashlib.new(signer.digest, content).digest()]:
        raise VerificationError("the signed digest is not that of the time")
    key, algorithm = public_key(leaf.public_key(), "timestamp: certificate").key, _HASHES[signer.digest]
    scheme: padding.AsymmetricPadding | None = None
    if isinstance(key, rsa.RSAPublicKey):
        if signer.scheme not in ("rsassa_pkcs1v15", "rsassa_pss"):
            raise VerificationError(f"an RSA key does not sign with {signer.scheme}")
        scheme = padding.PKCS1v15() if signer.scheme == "rsassa_pkcs1v15" else padding.PSS(
            padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH)
    elif signer.scheme != "ecdsa":
        raise VerificationError(f"the certificate's key does not sign with {signer.scheme}")
    if not verifies(key, signer.signature, signer.attributes, algorithm, scheme):
        raise VerificationError("the signature is not the authority's over these bytes")


def _path(leaf: x509.Certificate, pool: list[x509.Certificate], roots: Sequence[x509.Certificate], moment: datetime
          ) -> list[x509.Certificate]:
    """From the leaf to a root, each valid at that time. Raises VerificationError."""
    reason = f"no trusted authority issued {leaf.subject.rfc4514_string()}"
    budget = 64
    waiting = [[leaf]]
    while waiting:
        path = waiting.pop()
        for candidate in (*roots, *pool):
            if candidate.subject != path[-1].issuer or candidate in path:
                continue
            budget -= 1
            if budget < 0:
                raise VerificationError("more certificates to try than are tried")
            if issued_by(path[-1], candidate):
                continue
            longer = [*path, candidate]
            try:
                check_valid(longer, moment, "of the timestamp authority")
            except VerificationError as error:
                reason = error.message
                continue
            if candidate in roots:
                return longer
            purposes = extension(candidate, x509.ExtendedKeyUsage)
            if purposes is not None and not {Usage.TIME_STAMPING, Usage.ANY_EXTENDED_KEY_USAGE} & {*purposes.value}:
                reason = f"{candidate.subject.rfc4514_string()} is not for timeStamping (extended key usage)"
            elif len(longer) < _MAX_PATH:
                waiting.append(longer)
    raise VerificationError(reason)
