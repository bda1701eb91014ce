"""Detached CMS signatures by one signer, as git's x509 format holds them (RFC 5652 section 5).

DER is read, and where that is asked for what gpgsm writes of BER: outer elements of indefinite length.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from custody.errors import MalformedError, UnsupportedError
from custody.formats.der import (
    GENERALIZED_TIME,
    INTEGER,
    NULL,
    OCTETS,
    SEQUENCE,
    SET,
    UTC_TIME,
    Reader,
    definite,
    element,
    oid,
    set_of,
)

ARMOR = "-----BEGIN SIGNED MESSAGE-----"
_ARMORED = re.compile(rf"{ARMOR}\n((?:[A-Za-z0-9+/=]{{1,76}}\n)+)-----END SIGNED MESSAGE-----\n?\Z")
_DATA, _SIGNED_DATA = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.2"
_CONTENT_TYPE, _MESSAGE_DIGEST, _SIGNING_TIME = (f"1.2.840.113549.1.9.{number}" for number in (3, 4, 5))
_CAPABILITIES = "1.2.840.113549.1.9.15"
"""What the signer's mail program can decrypt (RFC 8551 section 2.5.2): it says nothing of what is signed."""
_SHA256, _ECDSA_SHA256 = "2.16.840.1.101.3.4.2.1", "1.2.840.10045.4.3.2"
_DIGESTS = {_SHA256: "sha256", "2.16.840.1.101.3.4.2.2": "sha384", "2.16.840.1.101.3.4.2.3": "sha512"}
_SIGNATURES = {_ECDSA_SHA256: ("ecdsa", "sha256"), "1.2.840.10045.4.3.3": ("ecdsa", "sha384"),
               "1.2.840.10045.4.3.4": ("ecdsa", "sha512"), "1.2.840.113549.1.1.1": ("rsa", None),
               "1.2.840.113549.1.1.11": ("rsa", "sha256"), "1.2.840.113549.1.1.12": ("rsa", "sha384"),
               "1.2.840.113549.1.1.13": ("rsa", "sha512")}
_MAX_ARMOR = 256 * 1024
_MAX_CERTIFICATES = 8
_MAX_ATTRIBUTES = 16


@dataclass(frozen=True, slots=True)
class SignedData:
    """What a signature says. Nothing of it is verified, except that it is well formed and has one signer."""

    certificates: tuple[bytes, ...]
    """DER, that of the signer first."""
    digest_algorithm: str
    """`sha256`, `sha384` or `sha512`: of the content, and of the attributes for the signature."""
    key_type: str
    """`ecdsa` or `rsa` (PKCS #1 version 1.5)."""
    attributes: bytes
    """The signed attributes as they are signed: DER of a SET."""
    message_digest: bytes
    """Of the content, among the signed attributes."""
    signing_time: datetime | None
    """What the signer wrote."""
    signature: bytes
    unsigned: dict[str, bytes]
    """Attributes that the signature does not cover: the DER of each one's value, by object identifier."""


def parse_armor(text: str, where: str, *, streamed: bool = False) -> SignedData:
    """`streamed`: outer elements may be of indefinite length. Raises MalformedError or UnsupportedError."""
    if len(text) > _MAX_ARMOR:
        raise MalformedError(where, got=f"{len(text)} characters", expected=f"at most {_MAX_ARMOR}")
    match = _ARMORED.match(text)
    try:
        if match is None:
            raise binascii.Error
        encoded = match[1].replace("\n", "")
        der = base64.b64decode(encoded, validate=True)
        if base64.b64encode(der).decode() != encoded:
            raise binascii.Error
    except binascii.Error:
        raise MalformedError(where, got=text[:80], expected="one PEM block of type SIGNED MESSAGE, and nothing else"
                             ) from None
    return parse(definite(der, where) if streamed else der, where)


def parse(der: bytes, where: str) -> SignedData:
    """Raises MalformedError or UnsupportedError."""
    outer = Reader(der, where)
    info = outer.enter(SEQUENCE)
    outer.done()
    if (kind := info.oid()) != _SIGNED_DATA:
        raise UnsupportedError(where, f"CMS content of type {kind}, expected signed data")
    wrapped = info.enter(0xa0)
    info.done()
    signed = wrapped.enter(SEQUENCE, f"{where}: signed data")
    wrapped.done()
    _version(signed)
    digests = signed.enter(SET)
    listed: list[str] = []
    while digests.peek() is not None and len(listed) < 2:
        listed.append(_algorithm(digests))
    if len(listed) != 1:
        raise MalformedError(f"{where}: digest algorithms", got="more" if listed else "none", expected="one")
    content = signed.enter(SEQUENCE, f"{where}: content")
    if (kind := content.oid()) != _DATA:
        raise UnsupportedError(where, f"it is over content of type {kind}, expected data")
    if content.peek() is not None:
        raise MalformedError(where, got="content in the signature",
                             expected="a detached signature: the object stands beside it")
    certificates = _certificates(signed, where)
    if signed.peek() == 0xa1:
        raise UnsupportedError(f"{where}: crls", "revocation lists in a signature are not evaluated")
    signers = signed.enter(SET, f"{where}: signers")
    signed.done()
    if signers.peek() is None:
        raise MalformedError(signers.where, got="none", expected="one")
    signer = signers.enter(SEQUENCE, f"{where}: signer")
    if signers.peek() is not None:
        raise UnsupportedError(signers.where, "more than one; each would have to be somebody who is expected")
    return _signer(signer, certificates, listed[0])


def signed_attributes(content: bytes, moment: datetime) -> bytes:
    """What a signer signs of detached content: DER of a SET, with the content's SHA-256 and when he signs."""
    return set_of(
        _attribute(_CONTENT_TYPE, oid(_DATA)),
        _attribute(_SIGNING_TIME, element(UTC_TIME, f"{moment.astimezone(UTC):%y%m%d%H%M%SZ}".encode())),
        _attribute(_MESSAGE_DIGEST, element(OCTETS, hashlib.sha256(content).digest())))


def armored(attributes: bytes, signature: bytes, certificate: bytes, unsigned: Mapping[str, bytes]) -> str:
    """A detached signature by ECDSA with SHA-256 over `signed_attributes`; `unsigned` as SignedData has them."""
    (issuer, serial), = _certificates(Reader(element(0xa0, certificate), "certificate"), "certificate")
    digest = element(SEQUENCE, oid(_SHA256))
    number = element(INTEGER, serial.to_bytes(serial.bit_length() // 8 + 1, "big", signed=True))
    signer = element(SEQUENCE, element(INTEGER, b"\1"), element(SEQUENCE, issuer, number), digest,
                     b"\xa0" + attributes[1:], element(SEQUENCE, oid(_ECDSA_SHA256)), element(OCTETS, signature),
                     set_of(*(_attribute(*named) for named in unsigned.items()), tag=0xa1) if unsigned else b"")
    der = element(SEQUENCE, oid(_SIGNED_DATA), element(0xa0, element(
        SEQUENCE, element(INTEGER, b"\1"), element(SET, digest), element(SEQUENCE, oid(_DATA)),
        element(0xa0, certificate), element(SET, signer))))
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[at:at + 64] for at in range(0, len(text), 64))
    return f"{ARMOR}\n{lines}\n-----END SIGNED MESSAGE-----\n"


def _attribute(name: str, value: bytes) -> bytes:
    return element(SEQUENCE, oid(name), element(SET, value))


def _version(reader: Reader) -> None:
    if (version := reader.integer()) != 1:
        raise UnsupportedError(reader.where, f"version {version}, expected 1")


def _algorithm(reader: Reader) -> str:
    """The object identifier of an algorithm without parameters."""
    identifier = reader.enter(SEQUENCE)
    name = identifier.oid()
    if identifier.peek() is not None and identifier.content(NULL):
        raise MalformedError(reader.where, got="a NULL with content", expected="an algorithm without parameters")
    identifier.done()
    return name


def _certificates(signed: Reader, where: str) -> dict[tuple[bytes, int], bytes]:
    """By issuer's name and serial number."""
    result: dict[tuple[bytes, int], bytes] = {}
    listed = Reader(b"", where) if signed.peek() != 0xa0 else signed.enter(0xa0, f"{where}: certificates")
    while listed.peek() is not None:
        der = listed.element(SEQUENCE)
        body = Reader(der, listed.where).enter(SEQUENCE).enter(SEQUENCE)
        if body.peek() == 0xa0:
            body.element()
        serial = body.integer()
        body.element(SEQUENCE)
        identity = (body.element(SEQUENCE), serial)
        if identity in result:
            raise MalformedError(listed.where, got="one issuer and serial number twice", expected="each once")
        result[identity] = der
        if len(result) > _MAX_CERTIFICATES:
            raise MalformedError(listed.where, got="more", expected=f"at most {_MAX_CERTIFICATES}")
    return result


def _signer(signer: Reader, certificates: dict[tuple[bytes, int], bytes], listed: str) -> SignedData:
    where = signer.where
    _version(signer)
    identifier = signer.enter(SEQUENCE, f"{where}: issuer and serial number")
    identity = (identifier.element(SEQUENCE), identifier.integer())
    identifier.done()
    digest = _algorithm(signer)
    if digest != listed:
        raise MalformedError(f"{where}: digest algorithm", got=digest, expected=f"{listed}, as the signed data says")
    if digest not in _DIGESTS:
        raise UnsupportedError(f"{where}: digest algorithm", f"{digest}, expected {', '.join(_DIGESTS.values())}")
    if signer.peek() != 0xa0:
        raise MalformedError(where, got="no signed attributes", expected="content type and message digest")
    implicit = signer.element(0xa0)
    attributes = b"\x31" + implicit[1:]  # they are signed as the SET that the tag [0] stands for
    signed = _attributes(Reader(attributes, f"{where}: signed attributes"), SET, ordered=True)
    algorithm = _algorithm(signer)
    key_type, hashed = _SIGNATURES.get(algorithm, ("", None))
    if not key_type:
        raise UnsupportedError(f"{where}: signature algorithm", f"{algorithm} is neither ECDSA nor RSA with SHA-2")
    if hashed not in (None, _DIGESTS[digest]):
        raise MalformedError(f"{where}: signature algorithm", got=f"{key_type} with {hashed}",
                             expected=f"one with {_DIGESTS[digest]}, as the digest algorithm says")
    signature = signer.content(OCTETS)
    unsigned = {} if signer.peek() is None else _attributes(signer, 0xa1, ordered=False)
    signer.done()
    if identity not in certificates:
        raise MalformedError(where, got=f"{len(certificates)} certificates, none of this issuer and serial number",
                             expected="the signer's certificate")
    for name in signed:
        if name not in (_CONTENT_TYPE, _MESSAGE_DIGEST, _SIGNING_TIME, _CAPABILITIES):
            raise UnsupportedError(f"{where}: signed attribute", f"{name} is not evaluated")
    for name, title in ((_CONTENT_TYPE, "content type"), (_MESSAGE_DIGEST, "message digest")):
        if name not in signed:
            raise MalformedError(f"{where}: signed attributes", got=f"no {title}", expected="one")
    kind = Reader(signed[_CONTENT_TYPE], f"{where}: content type")
    if (said := kind.oid()) != _DATA:
        raise MalformedError(kind.where, got=said, expected=f"data ({_DATA}), as the content is")
    message = Reader(signed[_MESSAGE_DIGEST], f"{where}: message digest")
    leaf = certificates[identity]
    return SignedData((leaf, *(der for der in certificates.values() if der is not leaf)), _DIGESTS[digest], key_type,
                      attributes, message.content(OCTETS),
                      _time(signed[_SIGNING_TIME], f"{where}: signing time") if _SIGNING_TIME in signed else None,
                      signature, unsigned)


def _attributes(reader: Reader, tag: int, *, ordered: bool) -> dict[str, bytes]:
    """Value by object identifier; each has exactly one, and is there once."""
    listed = reader.enter(tag)
    result: dict[str, bytes] = {}
    before = b""
    while listed.peek() is not None:
        whole = listed.element(SEQUENCE)
        if ordered and whole <= before:
            raise MalformedError(listed.where, got="attributes in another order or one twice",
                                 expected="those of a SET in DER: in ascending order")
        before = whole
        attribute = Reader(whole, listed.where).enter(SEQUENCE)
        name = attribute.oid()
        values = attribute.enter(SET)
        attribute.done()
        value = values.element()
        if values.peek() is not None:
            raise MalformedError(f"{listed.where}: {name}", got="several values", expected="one")
        if name in result:
            raise MalformedError(f"{listed.where}: {name}", got="it twice", expected="once")
        result[name] = value
        if len(result) > _MAX_ATTRIBUTES:
            raise MalformedError(listed.where, got="more", expected=f"at most {_MAX_ATTRIBUTES}")
    return result


def _time(der: bytes, where: str) -> datetime:
    reader = Reader(der, where)
    tag = reader.peek()
    if tag not in (UTC_TIME, GENERALIZED_TIME):
        raise MalformedError(where, got=f"tag {tag}", expected="UTCTime or GeneralizedTime")
    text = reader.content(tag).decode("ascii", "replace")
    digits = 12 if tag == UTC_TIME else 14
    try:
        if not re.fullmatch(rf"[0-9]{{{digits}}}Z", text):
            raise ValueError
        if tag == UTC_TIME:
            text = ("20" if text < "50" else "19") + text
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise MalformedError(where, got=text, expected="a time in UTC, to the second") from None
