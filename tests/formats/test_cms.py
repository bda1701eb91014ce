"""CMS signatures in which exactly one thing is wrong, and the reason that is told of it (RFC 5652 section 5)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats import cms
from tests.sign.gitsigning import (
    CONTENT_TYPE,
    DATA,
    ECDSA_SHA256,
    MESSAGE_DIGEST,
    SHA256,
    SIGNED_DATA,
    SIGNING_TIME,
    attribute,
    der,
    oid,
)

SHA1, SHA384, SHA512 = "1.3.14.3.2.26", "2.16.840.1.101.3.4.2.2", "2.16.840.1.101.3.4.2.3"
RSA, RSA_SHA256, ED25519 = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.11", "1.3.101.112"
NULL = der(5)
ONE = der(2, b"\1")
NAME, OTHER_NAME = der(0x30, b""), der(0x30, der(0x31))


def algorithm(name: str, *parameters: bytes) -> bytes:
    return der(0x30, oid(name), *parameters)


def certificate(number: int, name: bytes = NAME, version: bytes = b"") -> bytes:
    """As far as it is read: version, serial number, algorithm, issuer."""
    return der(0x30, der(0x30, version, der(2, bytes([number])), algorithm(ECDSA_SHA256), name))


TYPE, DIGEST = attribute(CONTENT_TYPE, oid(DATA)), attribute(MESSAGE_DIGEST, der(4, bytes(32)))
TIME = attribute(SIGNING_TIME, der(0x17, b"260601120000Z"))


@dataclass
class Signed:
    """A signature in which everything is right; fields make it wrong. Elements whole, as DER."""

    kind: str = SIGNED_DATA
    version: bytes = ONE
    digests: tuple[bytes, ...] = (algorithm(SHA256),)
    content: bytes = der(0x30, oid(DATA))
    certificates: bytes = der(0xa0, certificate(1))
    lists: bytes = b""
    signer_version: bytes = ONE
    identity: bytes = der(0x30, NAME, ONE)
    digest: bytes = algorithm(SHA256)
    attributes: tuple[bytes, ...] = (TYPE, DIGEST, TIME)
    ordered: bool = True
    signed: bytes | None = None
    """In place of the attributes."""
    algorithm: bytes = algorithm(ECDSA_SHA256)
    signature: bytes = der(4, b"signature")
    unsigned: bytes = b""
    signers: int = 1
    after_signer: bytes = b""
    after_signers: bytes = b""
    after_data: bytes = b""
    after_wrapped: bytes = b""
    after: bytes = b""

    def der(self) -> bytes:
        listed = sorted(self.attributes) if self.ordered else self.attributes
        signed = der(0xa0, *listed) if self.signed is None else self.signed
        signer = der(0x30, self.signer_version, self.identity, self.digest, signed, self.algorithm, self.signature,
                     self.unsigned, self.after_signer)
        return der(0x30, oid(self.kind), der(0xa0, der(
            0x30, self.version, der(0x31, *self.digests), self.content, self.certificates, self.lists,
            der(0x31, *[signer] * self.signers), self.after_signers), self.after_data), self.after_wrapped) + self.after


def armored(data: bytes) -> str:
    text = base64.b64encode(data).decode()
    lines = "\n".join(text[at:at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN SIGNED MESSAGE-----\n{lines}\n-----END SIGNED MESSAGE-----\n"


def refused(signed: Signed, kind: type[CustodyError], words: str) -> None:
    with pytest.raises(kind) as raised:
        cms.parse(signed.der(), "it")
    assert words in raised.value.message


def test_what_is_right() -> None:
    read = cms.parse_armor(armored(Signed().der()), "it")
    assert read == cms.SignedData((certificate(1),), "sha256", "ecdsa", der(0x31, *sorted((TYPE, DIGEST, TIME))),
                                  bytes(32), datetime(2026, 6, 1, 12, tzinfo=UTC), b"signature", {})
    assert cms.parse(Signed(certificates=der(0xa0, certificate(1, version=der(0xa0, ONE)))).der(), "it").certificates
    assert cms.parse(Signed(unsigned=der(0xa1, attribute("1.2.3.4", NULL))).der(), "it").unsigned == {"1.2.3.4": NULL}


def test_the_signers_certificate_comes_first() -> None:
    others = [certificate(number, name) for number, name in ((2, NAME), (1, OTHER_NAME), (3, NAME))]
    signed = Signed(certificates=der(0xa0, *others, certificate(1)))
    assert cms.parse(signed.der(), "it").certificates == (certificate(1), *others)


@pytest.mark.parametrize(("digest", "name", "said", "key"), [
    (SHA256, "sha256", ECDSA_SHA256, "ecdsa"), (SHA384, "sha384", "1.2.840.10045.4.3.3", "ecdsa"),
    (SHA512, "sha512", "1.2.840.10045.4.3.4", "ecdsa"), (SHA384, "sha384", RSA, "rsa"),
    (SHA256, "sha256", RSA_SHA256, "rsa"), (SHA512, "sha512", "1.2.840.113549.1.1.13", "rsa")])
@pytest.mark.parametrize("parameters", [(), (NULL,)])
def test_algorithms_that_are_known(digest: str, name: str, said: str, key: str, parameters: tuple[bytes, ...]) -> None:
    hashed = algorithm(digest, *parameters)
    read = cms.parse(Signed(digests=(hashed,), digest=hashed, algorithm=algorithm(said, *parameters)).der(), "it")
    assert (read.digest_algorithm, read.key_type) == (name, key)


@pytest.mark.parametrize(("changes", "kind", "words"), [
    # The outer forms
    ({"kind": DATA}, UnsupportedError, f"it: CMS content of type {DATA}, expected signed data"),
    ({"after": NULL}, MalformedError, "it: got '2 more bytes'"),
    ({"after_wrapped": NULL}, MalformedError, "it: got '2 more bytes'"),
    ({"after_data": NULL}, MalformedError, "it: got '2 more bytes'"),
    ({"after_signers": NULL}, MalformedError, "it: signed data: got '2 more bytes'"),
    ({"after_signer": NULL}, MalformedError, "it: signer: got 'tag 0x05', expected tag 0xa1"),
    ({"unsigned": der(0xa1), "after_signer": NULL}, MalformedError, "it: signer: got '2 more bytes'"),
    ({"version": der(2, b"\3")}, UnsupportedError, "it: signed data: version 3, expected 1"),
    ({"signer_version": der(2, b"\3")}, UnsupportedError, "it: signer: version 3, expected 1"),
    # Algorithms
    ({"digests": ()}, MalformedError, "it: digest algorithms: got 'none', expected one"),
    ({"digests": (algorithm(SHA256), algorithm(SHA512))}, MalformedError, "it: digest algorithms: got 'more'"),
    ({"digests": (algorithm(SHA256, der(5, b"x")),)}, MalformedError, "it: signed data: got 'a NULL with content'"),
    ({"digests": (algorithm(SHA256, ONE),)}, MalformedError, "it: signed data: got 'tag 0x02', expected tag 0x05"),
    ({"digests": (algorithm(SHA256, NULL, NULL),)}, MalformedError, "it: signed data: got '2 more bytes'"),
    ({"digest": algorithm(SHA256, der(5, b"x"))}, MalformedError, "it: signer: got 'a NULL with content'"),
    ({"algorithm": algorithm(RSA, der(0x30))}, MalformedError, "it: signer: got 'tag 0x30', expected tag 0x05"),
    ({"digest": algorithm(SHA512)}, MalformedError,
     f"it: signer: digest algorithm: got {SHA512!r}, expected {SHA256}, as the signed data says"),
    ({"digests": (algorithm(SHA1),), "digest": algorithm(SHA1)}, UnsupportedError,
     f"it: signer: digest algorithm: {SHA1}, expected sha256, sha384, sha512"),
    ({"algorithm": algorithm(ED25519)}, UnsupportedError, f"{ED25519} is neither ECDSA nor RSA with SHA-2"),
    ({"algorithm": algorithm("1.2.840.10045.4.1")}, UnsupportedError, "neither ECDSA nor RSA with SHA-2"),  # SHA-1
    ({"algorithm": algorithm("1.2.840.10045.4.3.3")}, MalformedError,
     "it: signer: signature algorithm: got 'ecdsa with sha384', expected one with sha256, as the digest algorithm"),
    ({"algorithm": algorithm("1.2.840.113549.1.1.13")}, MalformedError, "got 'rsa with sha512', expected one with"),
    ({"signature": ONE}, MalformedError, "it: signer: got 'tag 0x02', expected tag 0x04"),
    # The content
    ({"content": der(0x30, oid(SIGNED_DATA))}, UnsupportedError, f"it is over content of type {SIGNED_DATA}"),
    ({"content": der(0x30, oid(DATA), der(0xa0, der(4, b"x")))}, MalformedError, "got 'content in the signature'"),
    # Certificates, and whose they are
    ({"certificates": b""}, MalformedError, "got '0 certificates, none of this issuer and serial number'"),
    ({"certificates": der(0xa0, certificate(2))}, MalformedError, "got '1 certificates, none of this issuer"),
    ({"certificates": der(0xa0, certificate(1, OTHER_NAME))}, MalformedError, "none of this issuer and serial number"),
    ({"certificates": der(0xa0, certificate(1), certificate(2), certificate(2))}, MalformedError,
     "it: certificates: got 'one issuer and serial number twice', expected each once"),
    ({"certificates": der(0xa0, *map(certificate, range(9)))}, MalformedError,
     "it: certificates: got 'more', expected at most 8"),
    ({"certificates": der(0xa0, der(0x30, ONE))}, MalformedError, "it: certificates: got 'tag 0x02'"),
    ({"identity": der(0x30, NAME, ONE, NULL)}, MalformedError, "it: signer: issuer and serial number: got '2 more"),
    ({"identity": der(0x80, b"key identifier")}, MalformedError, "it: signer: got 'tag 0x80', expected tag 0x30"),
    ({"lists": der(0xa1)}, UnsupportedError, "it: crls: revocation lists in a signature are not evaluated"),
    # Signers
    ({"signers": 0}, MalformedError, "it: signers: got 'none', expected one"),
    ({"signers": 2}, UnsupportedError, "it: signers: more than one"),
    # Signed attributes
    ({"signed": b""}, MalformedError, "it: signer: got 'no signed attributes', expected content type and message"),
    ({"attributes": (DIGEST, TIME)}, MalformedError, "it: signer: signed attributes: got 'no content type'"),
    ({"attributes": (TYPE, TIME)}, MalformedError, "it: signer: signed attributes: got 'no message digest'"),
    ({"attributes": (DIGEST, TYPE), "ordered": False}, MalformedError,
     "it: signer: signed attributes: got 'attributes in another order or one twice'"),
    ({"attributes": (TYPE, DIGEST, DIGEST)}, MalformedError, "got 'attributes in another order or one twice'"),
    ({"attributes": (TYPE, DIGEST, attribute(MESSAGE_DIGEST, der(4, b"\1" * 32)))}, MalformedError,
     f"it: signer: signed attributes: {MESSAGE_DIGEST}: got 'it twice', expected once"),
    ({"attributes": (TYPE, DIGEST, attribute(SIGNING_TIME, NULL, NULL))}, MalformedError,
     f"it: signer: signed attributes: {SIGNING_TIME}: got 'several values', expected one"),
    ({"attributes": (TYPE, DIGEST, attribute(SIGNING_TIME))}, MalformedError,
     "it: signer: signed attributes: got 'no bytes', expected a DER element"),
    ({"attributes": (TYPE, DIGEST, der(0x30, oid(SIGNING_TIME), der(0x31, NULL), NULL))}, MalformedError,
     "it: signer: signed attributes: got '2 more bytes'"),
    ({"attributes": (TYPE, DIGEST, *(attribute(f"1.2.3.{number}", NULL) for number in range(15)))}, MalformedError,
     "it: signer: signed attributes: got 'more', expected at most 16"),
    ({"attributes": (TYPE, DIGEST, attribute("1.2.3.4", NULL))}, UnsupportedError,
     "it: signer: signed attribute: 1.2.3.4 is not evaluated"),
    ({"attributes": (attribute(CONTENT_TYPE, oid(SIGNED_DATA)), DIGEST)}, MalformedError,
     f"it: signer: content type: got {SIGNED_DATA!r}, expected data ({DATA}), as the content is"),
    ({"attributes": (attribute(CONTENT_TYPE, NULL), DIGEST)}, MalformedError,
     "it: signer: content type: got 'tag 0x05', expected tag 0x06"),
    ({"attributes": (TYPE, attribute(MESSAGE_DIGEST, NULL))}, MalformedError,
     "it: signer: message digest: got 'tag 0x05', expected tag 0x04"),
    # Attributes that are not signed
    ({"unsigned": der(0xa1, attribute("1.2.3.4", NULL), attribute("1.2.3.4", NULL))}, MalformedError,
     "it: signer: 1.2.3.4: got 'it twice', expected once"),
    ({"unsigned": der(0xa1, *(attribute(f"1.2.3.{number}", NULL) for number in range(17)))}, MalformedError,
     "it: signer: got 'more', expected at most 16"),
    ({"unsigned": der(0xa1, attribute("1.2.3.4", NULL, NULL))}, MalformedError, "1.2.3.4: got 'several values'"),
])
def test_what_is_wrong_is_told(changes: dict[str, Any], kind: type[CustodyError], words: str) -> None:
    refused(replace(Signed(), **changes), kind, words)


@pytest.mark.parametrize("changes", [
    {"certificates": der(0xa0, *map(certificate, range(8)))},
    {"unsigned": der(0xa1, *(attribute(f"1.2.3.{number}", NULL) for number in range(16)))},
    {"unsigned": der(0xa1, attribute("1.2.3.5", NULL), attribute("1.2.3.4", NULL))}])
def test_what_just_passes(changes: dict[str, Any]) -> None:
    assert cms.parse(replace(Signed(), **changes).der(), "it").signature == b"signature"


@pytest.mark.parametrize(("value", "moment"), [
    (der(0x17, b"260601120000Z"), datetime(2026, 6, 1, 12, tzinfo=UTC)),
    (der(0x17, b"500101000000Z"), datetime(1950, 1, 1, tzinfo=UTC)),
    (der(0x17, b"491231235959Z"), datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
    (der(0x18, b"20500101000000Z"), datetime(2050, 1, 1, tzinfo=UTC)), (None, None)])
def test_times(value: bytes | None, moment: datetime | None) -> None:
    stated = () if value is None else (attribute(SIGNING_TIME, value),)
    assert cms.parse(Signed(attributes=(TYPE, DIGEST, *stated)).der(), "it").signing_time == moment


@pytest.mark.parametrize(("value", "words"), [
    (der(4, b"260601120000Z"), "it: signer: signing time: got 'tag 4', expected UTCTime or GeneralizedTime"),
    (der(0x17, b"20260601120000Z"), "got '20260601120000Z', expected a time in UTC, to the second"),
    (der(0x18, b"260601120000Z"), "expected a time in UTC, to the second"),
    (der(0x17, b"260601120000+0100"), "expected a time in UTC, to the second"),
    (der(0x17, b"2606011200Z"), "expected a time in UTC, to the second"),
    (der(0x17, b"260231120000Z"), "expected a time in UTC, to the second"),
    (der(0x17, b"26060112000\xb0Z"), "expected a time in UTC, to the second")])
def test_what_is_no_time(value: bytes, words: str) -> None:
    refused(Signed(attributes=(TYPE, DIGEST, attribute(SIGNING_TIME, value))), MalformedError, words)


def test_armor_of_more_than_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = armored(Signed().der())
    monkeypatch.setattr(cms, "_MAX_ARMOR", len(text))
    assert cms.parse_armor(text, "it").signature == b"signature"
    with pytest.raises(MalformedError, match=f"it: got '{len(text) + 1} characters', expected at most {len(text)}"):
        cms.parse_armor(text + "\n", "it")


def _spelled(padding: str) -> str:
    """The same bytes, whose last letter before the padding has bits that mean nothing."""
    encoded = armored(Signed(signature=der(4, b"s" * next(size for size in range(3) if len(Signed(
        signature=der(4, b"s" * size)).der()) % 3 == 3 - len(padding)))).der())
    last = encoded.rindex(f"{padding}\n-----END") - 1
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return encoded[:last] + letters[letters.index(encoded[last]) + 1] + encoded[last + 1:]


@pytest.mark.parametrize("text", [
    _spelled("="), _spelled("=="),
    armored(Signed().der()).replace("MESSAGE-----\n", "MESSAGE-----\n====\n", 1),  # padding in front
    armored(Signed().der()).replace("M", "-", 1), armored(Signed().der()).replace("\n", "\r\n"),
    armored(Signed().der()).replace("-----\n", "-----\n\n", 1), armored(b""), "", "x" + armored(Signed().der()),
    armored(Signed().der()) + "\n", armored(Signed().der())[:-3], armored(Signed().der()).replace("\n", "", 2)])
def test_what_is_no_armor(text: str) -> None:
    with pytest.raises(MalformedError, match="expected one PEM block of type SIGNED MESSAGE, and nothing else"):
        cms.parse_armor(text, "it")


def test_what_a_stream_writes_is_read_where_that_is_asked_for() -> None:
    whole = Signed().der()
    streamed = armored(b"\x30\x80" + whole[whole.index(oid(SIGNED_DATA)):] + b"\0\0")
    assert cms.parse_armor(streamed, "it", streamed=True) == cms.parse(whole, "it")
    with pytest.raises(MalformedError, match="a definite length in its shortest form"):
        cms.parse_armor(streamed, "it")
