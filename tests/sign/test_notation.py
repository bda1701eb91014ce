"""Signatures of the Notary Project: real ones by `notation`, and for every check an envelope in which that is wrong."""

from __future__ import annotations

import base64
import json
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from custody.errors import CustodyError, MalformedError
from custody.evidence.model import Evidence, Verified
from custody.formats import cbor, notary
from custody.sign.notary.evidence import Notaries, verify_notation
from tests.sign.authority import DAY, NOW, OTHER, World, certificate, new_key
from tests.sign.authority import IMAGE as DIGEST

NAME = "io.cncf.notary."
SIGNING = (x509.KeyUsage(True, False, False, False, False, False, False, False, False), True)
ISSUING = (x509.KeyUsage(False, False, False, False, False, True, False, False, False), True)
SPAN = {"start": NOW - DAY, "end": NOW + DAY}
ROOT_KEY, KEY = new_key(), new_key()
ROOT = certificate(ROOT_KEY, None, name="root", ca=True, extensions=[ISSUING], **SPAN)
LEAF = certificate(KEY, (ROOT, ROOT_KEY), name="acme", usages=[Usage.CODE_SIGNING], extensions=[SIGNING], **SPAN)
WORLD = World()


def der(item: Any) -> bytes:
    data: bytes = item.public_bytes(Encoding.DER)
    return data


TRUSTED = Notaries((der(ROOT),))


def payload(digest: str = DIGEST, **more: Any) -> bytes:
    return json.dumps({"targetArtifact": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest,
                                          "size": 7, **more}}).encode()


def signed(key: Any, message: bytes, algorithm: Any) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), algorithm)
    size = (key.curve.key_size + 7) // 8
    return b"".join(part.to_bytes(size, "big") for part in decode_dss_signature(key.sign(message, ec.ECDSA(algorithm))))


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def attributes(**changes: Any) -> dict[str, Any]:
    """Of the protected header; None takes one away."""
    said = {"alg": "ES256", "cty": notary.PAYLOAD_TYPE, "crit": [f"{NAME}signingScheme"],
            f"{NAME}signingScheme": "notary.x509", f"{NAME}signingTime": "2026-06-01T12:00:00Z", **changes}
    return {name: value for name, value in said.items() if value is not None}


def jws(*, key: Any = KEY, chain: tuple[Any, ...] = (LEAF, ROOT), algorithm: Any = None, content: bytes | None = None,
        stamped: bool = False, header: dict[str, Any] | None = None, **changes: Any) -> Evidence:
    protected = b64url(json.dumps(attributes(**changes)).encode())
    body = b64url(payload() if content is None else content)
    signature = signed(key, f"{protected}.{body}".encode(), algorithm or hashes.SHA256())
    unsigned = {"x5c": [base64.b64encode(der(entry)).decode() for entry in chain], **(header or {})}
    if stamped:
        unsigned[f"{NAME}timestampSignature"] = base64.b64encode(token(signature)).decode()
    return envelope({"payload": body, "protected": protected, "header": unsigned, "signature": b64url(signature)})


def token(signature: bytes, at: datetime = NOW) -> bytes:
    """The TimeStampToken of a TimeStampResp."""
    response = WORLD.stamp(signature, at)
    inner = response[4:]  # SEQUENCE of two length bytes
    return inner[2 + inner[1]:]


def envelope(document: dict[str, Any] | bytes, media_type: str = notary.JWS) -> Evidence:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Evidence(subject=DIGEST, media_type=media_type, data=data, source="test")


def cose(*, content: bytes | None = None, **changes: Any) -> Evidence:
    said = {1: -7, 2: [f"{NAME}signingScheme"], 3: notary.PAYLOAD_TYPE, f"{NAME}signingScheme": "notary.x509",
            f"{NAME}signingTime": cbor.Tagged(1, int(NOW.timestamp())),
            **{int(name[1:]) if name[1:].isdecimal() else name: value for name, value in changes.items()}}
    protected = encoded({name: value for name, value in said.items() if value is not None})
    body = payload() if content is None else content
    message = encoded(["Signature1", protected, b"", body])
    signature = signed(KEY, message, hashes.SHA256())
    return envelope(encoded(cbor.Tagged(18, [protected, {33: [der(LEAF), der(ROOT)]}, body, signature])), notary.COSE)


def encoded(value: Any) -> bytes:
    if isinstance(value, cbor.Tagged):
        return bytes([0xC0 | value.tag]) + encoded(value.value)
    if isinstance(value, int):
        return struct.pack(">BI", 0x1A, value) if value >= 0 else struct.pack(">BI", 0x3A, -1 - value)
    if isinstance(value, str):
        return cbor.text(value)
    if isinstance(value, bytes):
        return cbor.byte_string(value)
    if isinstance(value, list):
        return cbor.array(*map(encoded, value))
    return bytes([0xA0 | len(value)]) + b"".join(encoded(key) + encoded(inner) for key, inner in value.items())


def verify(evidence: Evidence, trusted: Notaries = TRUSTED, now: datetime = NOW) -> Verified:
    return verify_notation(evidence, trusted, now)


@pytest.mark.parametrize("made", [jws(), cose(), cose(content=payload(annotations={"env": "prod"}))])
def test_what_is_right(made: Evidence) -> None:
    verified = verify(made)
    assert (verified.kind, verified.format, str(verified.signer)) == ("signature", "notary", "certificate CN=acme")
    assert verified.annotations in ({}, {"env": "prod"})
    assert verified.signed_at is None  # what the signer says of the time is nobody's word


@pytest.mark.parametrize(("key", "name", "algorithm"), [
    (ec.generate_private_key(ec.SECP384R1()), "ES384", hashes.SHA384()),
    (ec.generate_private_key(ec.SECP521R1()), "ES512", hashes.SHA512()),
    (rsa.generate_private_key(65537, 2048), "PS256", hashes.SHA256()),
    (rsa.generate_private_key(65537, 3072), "PS384", hashes.SHA384())])
def test_algorithms(key: Any, name: str, algorithm: Any) -> None:
    leaf = certificate(key, (ROOT, ROOT_KEY), name="acme", extensions=[SIGNING], **SPAN)
    assert verify(jws(key=key, chain=(leaf, ROOT), alg=name, algorithm=algorithm))
    with pytest.raises(CustodyError, match="signature: ES256 is made with secp256r1"):
        verify(jws(key=key, chain=(leaf, ROOT), algorithm=algorithm))


def leaf(**more: Any) -> Any:
    said = {"name": "acme", "extensions": [SIGNING], **SPAN, **more}
    return certificate(KEY, (ROOT, ROOT_KEY), **said)


STRANGER = certificate(ROOT_KEY, None, name="stranger", ca=True, extensions=[ISSUING], **SPAN)
INTERMEDIATE_KEY = new_key()


@pytest.mark.parametrize(("made", "words"), [
    (jws(key=new_key()), "signature: the signature is not this certificate's"),
    (jws(content=payload(OTHER)), f"subject: the signature is of {OTHER}"),
    (cose(content=payload(OTHER)), f"subject: the signature is of {OTHER}"),
    (jws(alg="HS256"), "alg"), (jws(alg="none"), "alg"), (jws(cty="text/plain"), "cty"), (jws(cty=None), "cty"),
    (jws(crit=None), "crit"), (jws(crit=[]), "crit"),
    (jws(crit=[f"{NAME}signingScheme", "x"], x="1"), "x is critical, and custody does not know it"),
    (jws(crit=[f"{NAME}signingScheme", f"{NAME}expiry"]), "which is not there"),
    (jws(**{f"{NAME}expiry": "2026-06-01T13:00:00Z"}), "crit: got 'no io.cncf.notary.expiry'"),
    (jws(**{f"{NAME}verificationPlugin": "p"}), "verificationPlugin"),
    (jws(crit=[f"{NAME}signingScheme", f"{NAME}expiry"], **{f"{NAME}expiry": "2026-06-01T11:00:00Z"},
         **{f"{NAME}signingTime": "2026-06-01T10:00:00Z"}), "expired at"),
    (jws(crit=[f"{NAME}signingScheme", f"{NAME}expiry"], **{f"{NAME}expiry": "2026-06-01T12:00:00Z"},
         **{f"{NAME}signingTime": "2026-06-01T10:00:00Z"}), "expired at 2026-06-01T12:00:00Z"),  # at that very moment
    (jws(crit=[f"{NAME}signingScheme", f"{NAME}expiry"], **{f"{NAME}expiry": "2026-06-01T12:00:00Z"}),
     "expected a time after that of the signature"),
    (jws(**{f"{NAME}signingTime": None}), "expected the time of the signature"),
    (jws(crit=[f"{NAME}signingScheme", f"{NAME}signingScheme"]), "a name twice"),
    (jws(crit=[f"{NAME}signingScheme", f"{NAME}signingTime"]), "no time that is the signer's word alone"),
    (jws(**{f"{NAME}signingScheme": "x"}), "signingScheme"),
    (jws(**{f"{NAME}signingScheme": "notary.x509.signingAuthority", f"{NAME}signingTime": None,
            f"{NAME}authenticSigningTime": "2026-06-01T12:00:00Z"},
         crit=[f"{NAME}signingScheme", f"{NAME}authenticSigningTime"]), "signing scheme: got notary.x509.signing"),
    (jws(chain=(LEAF,)), "stands alone and is not self-signed"), (jws(chain=(LEAF, STRANGER)), "did not issue"),
    (jws(chain=(ROOT, LEAF)), "signature"),
    (jws(chain=(leaf(end=NOW - timedelta(hours=1)), ROOT)), "not valid at"),
    (jws(chain=(leaf(usages=[Usage.SERVER_AUTH]), ROOT)), "is for serverAuth too"),
    (jws(chain=(leaf(usages=[Usage.CODE_SIGNING, Usage.TIME_STAMPING]), ROOT)), "is for timeStamping too"),
    (jws(chain=(leaf(usages=[Usage.ANY_EXTENDED_KEY_USAGE]), ROOT)), "is for any use"),
    (jws(chain=(leaf(extensions=[]), ROOT)), "has no key usage"),
    (jws(chain=(leaf(extensions=[(SIGNING[0], False)]), ROOT)), "a key usage that is not critical"),
    (jws(chain=(leaf(ca=True), ROOT)), "is a CA certificate"),
    (jws(chain=(leaf(extensions=[SIGNING, (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b""), True)]),
                ROOT)), "critical extension 1.2.3"),
    (envelope(b"{}"), "payload"), (envelope(b"\xd2\x80", notary.COSE), "COSE_Sign1"),
    (envelope(b"", notary.COSE), "CBOR"),
    (envelope(jws().data, "text/plain"), "an envelope of type text/plain"),
    (cose(_1=-6), "alg"), (cose(_2=["x"]), "crit"), (cose(**{f"{NAME}signingTime": 5}), "signingTime"),
])
def test_exactly_this_is_wrong(made: Evidence, words: str) -> None:
    with pytest.raises(CustodyError) as caught:
        verify(made)
    assert words in caught.value.message


def test_who_is_trusted() -> None:
    assert verify(jws(), Notaries((der(LEAF),)))
    with pytest.raises(CustodyError, match="signature is not produced by a trusted signer: CN=acme"):
        verify(jws(), Notaries((der(STRANGER),)))
    alone_key = new_key()
    alone = certificate(alone_key, None, name="alone", extensions=[SIGNING], **SPAN)
    assert verify(jws(key=alone_key, chain=(alone,)), Notaries((der(alone),)))
    signer = certificate(INTERMEDIATE_KEY, (ROOT, ROOT_KEY), name="between", ca=False, extensions=[ISSUING], **SPAN)
    below = certificate(KEY, (signer, INTERMEDIATE_KEY), name="acme", extensions=[SIGNING], **SPAN)
    with pytest.raises(CustodyError, match="CN=between is no CA"):
        verify(jws(chain=(below, signer, ROOT)))


def test_a_timestamp_says_when() -> None:
    trusted = Notaries(TRUSTED.certificates, (der(WORLD.tsa_root),))
    later = NOW + timedelta(days=2)
    assert verify(jws(stamped=True), trusted, later).signed_at == NOW
    with pytest.raises(CustodyError, match="timestamp: there is none"):
        verify(jws(), trusted)
    with pytest.raises(CustodyError, match="not valid at"):
        verify(jws(stamped=True), TRUSTED, later)
    with pytest.raises(CustodyError, match="timestamp"):
        verify(jws(stamped=True), Notaries(TRUSTED.certificates, (der(World().tsa_root),)), later)
    other = base64.b64encode(token(b"another signature")).decode()
    with pytest.raises(CustodyError, match="timestamp"):
        verify(jws(header={f"{NAME}timestampSignature": other}), trusted)


@pytest.mark.parametrize("made", [jws(), cose()])
def test_no_changed_byte_is_taken(made: Evidence) -> None:
    """What is not signed is the chain, in which a certificate of the root may take another form, and white space."""
    taken = []
    for at in range(0, len(made.data), 3):
        changed = made.data[:at] + bytes([made.data[at] ^ 1]) + made.data[at + 1:]
        try:
            verified = verify_notation(Evidence(subject=DIGEST, media_type=made.media_type, data=changed, source="x"),
                                       TRUSTED, NOW)
        except CustodyError:
            continue
        taken.append((at, verified))
    assert taken == []


def test_base64_has_one_text_for_the_same_bytes() -> None:
    """The last letter of base64 has bits of nothing: where they are set, the text is not the one that was made."""
    for end in (b"=", b"=="):
        while True:
            key, root_key = new_key(), new_key()
            root = certificate(root_key, None, name="root", ca=True, extensions=[ISSUING], **SPAN)
            leaf = certificate(key, (root, root_key), name="acme", extensions=[SIGNING], **SPAN)
            made = jws(key=key, chain=(leaf, root))
            last_certificate = made.data[:made.data.index(b'"]', made.data.index(b"x5c"))]
            padding_at = len(last_certificate.rstrip(b"="))
            if last_certificate[padding_at:] == end:
                break
        trusted = Notaries((der(root),))
        assert verify(made, trusted)
        for bit in (1, 2) if end == b"=" else (1, 2, 4, 8):
            letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
            letter = letters[letters.index(made.data[padding_at - 1]) | bit]
            data = made.data[:padding_at - 1] + bytes([letter]) + made.data[padding_at:]
            with pytest.raises(MalformedError, match="unused bits are zero"):
                verify(Evidence(subject=DIGEST, media_type=made.media_type, data=data, source="x"), trusted)


def test_cbor_that_is_not_read() -> None:
    for data in (b"\x1c", b"\xf9\x00\x00", b"\x9f\xff", b"\xa2\x01\x01\x01\x02", b"\xa1\x41\x00\x00", b"\x61\xff",
                 b"\x00\x00", b"\x81" * 20 + b"\x00", b"\x9b" + b"\xff" * 8, b"\x5a\xff\xff\xff\xff"):
        with pytest.raises(MalformedError):
            cbor.loads(data, "x")
    assert cbor.loads(encoded([1, -1, "a", b"b", {"c": [cbor.Tagged(1, 5)]}]), "x") == [
        1, -1, "a", b"b", {"c": [cbor.Tagged(1, 5)]}]
    assert datetime.fromtimestamp(5, UTC)
