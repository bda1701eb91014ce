"""Responders, lists, stores and tokens of bytes that nobody should send: each is refused in custody's own words."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as x509_ocsp
from hypothesis import given
from hypothesis import strategies as st

from custody.cli.notation.inspection import inspected
from custody.errors import CustodyError, MalformedError
from custody.formats import notary
from custody.kit.clock import system_clock
from custody.sign.notary import crl, ocsp
from custody.sign.notary.countersignature import countersigned, read_stamp
from custody.sign.notary.truststore import read_certificates
from tests.sign.authority import NOW
from tests.sign.notary.envelopes import TSA_ROOT, made, token
from tests.sign.notary.materials import DAY, chain_of, issue, key_of, pem
from tests.sign.notary.revoking import REASONS, ROOT_KEY, Authority, now

COUNT = 1500


@pytest.fixture(scope="module")
def ca() -> Authority:
    made = Authority(issue(ROOT_KEY, "revoking root", None, ca=True, usages=("key_cert_sign", "crl_sign")),
                     url="http://ca.example")
    made.issued(lists=("a",))
    return made


def mutants(data: bytes, count: int = COUNT) -> Iterator[bytes]:
    """The same ones each time."""
    chance = random.Random(7)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 5))):
            at = chance.randrange(len(changed))
            way = chance.randrange(4)
            if way == 0:
                changed[at] ^= 1 << chance.randrange(8)
            elif way == 1:
                del changed[at:at + chance.choice((1, 2, 9))]
            elif way == 2:
                changed[at:at] = changed[at:at + chance.choice((1, 3, 20))]
            else:
                changed[at] = chance.choice((0, 0x30, 0x80, 0xA0, 0xFF, 0x18, 0x17))
            if not changed:
                break
        yield bytes(changed)


def test_answers_of_responders(ca: Authority) -> None:
    assert ca.leaf is not None
    bad = ca.response(x509_ocsp.OCSPCertStatus.REVOKED, reason=REASONS.key_compromise)
    assert "revoked since" in ocsp.revoked(bad, ca.leaf, ca.root, None, system_clock())
    good = []
    for answer in mutants(bad):
        try:
            if answer != bad and not ocsp.revoked(answer, ca.leaf, ca.root, now(), system_clock()):
                good.append(answer)
        except CustodyError:
            continue
    assert good == []


def test_lists(ca: Authority) -> None:
    assert ca.leaf is not None
    bad = ca.revoked((REASONS.key_compromise, now()), newer="b")
    good = []
    for data in mutants(bad):
        try:
            made = crl.load(data, "x")
            crl.newer_places(made)
            if data != bad and not crl.revoked(ca.leaf, ca.root, crl.Lists(made), None, system_clock()):
                good.append(data)
        except CustodyError:
            continue
    assert good == []


def test_tokens() -> None:
    right = token(b"signature")
    assert countersigned(right, b"signature", [TSA_ROOT]).moment == NOW
    wrong = []
    for data in mutants(right):
        try:
            read_stamp(data, b"signature")
            if countersigned(data, b"signature", [TSA_ROOT]).moment != NOW:
                wrong.append(data)
        except CustodyError:
            continue
    assert wrong == []


@pytest.mark.parametrize(("moment", "accuracy"), [
    (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), 5), (datetime(9999, 12, 31, 0, 0, 0, tzinfo=UTC), 86_400 * 300)])
def test_a_time_that_no_calendar_has(moment: datetime, accuracy: int) -> None:
    """What a token says, and what is around it, can be shown; else it is a token that cannot be read."""
    data = claimed(b"signature", moment, accuracy)
    for read in (lambda: read_stamp(data, b"signature"), lambda: countersigned(data, b"signature", [TSA_ROOT])):
        with pytest.raises(MalformedError, match="expected an RFC 3161 TimeStampToken"):
            read()
    assert read_stamp(claimed(b"signature", moment, 0), b"signature").moment == moment
    shown = inspected(made("jws", stamp=data), notary.JWS, "x")
    assert "failed to parse timestamp" in shown["unsignedAttributes"]["timestampSignature"]["error"]
    assert shown["signedArtifact"]["size"] == 7


def claimed(signature: bytes, moment: datetime, accuracy: int) -> bytes:
    """A token that nobody signed."""
    info = tsp.TSTInfo({"version": "v1", "policy": "1.2.3", "serial_number": 1, "gen_time": moment,
                        "message_imprint": {"hash_algorithm": {"algorithm": "sha256"},
                                            "hashed_message": hashlib.sha256(signature).digest()},
                        **({"accuracy": {"seconds": accuracy}} if accuracy else {})})
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData({
        "version": "v3", "digest_algorithms": [], "signer_infos": [], "certificates": [],
        "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(info.dump())}})}).dump())


def test_pem_in_proportion() -> None:
    """Beginnings without an end, ends without a beginning, other labels' ends: no byte is read often."""
    (certificate,) = blocks = [chain_of("EC-256")[0]]
    right = pem(*blocks)
    many = 60_000
    labels = b"".join(b"-----BEGIN A%d-----\n" % at for at in range(many))
    for data in (b"-----BEGIN A-----\n" * many, labels, b"-----END A-----\n" * many, labels + b"-----END B-----",
                 b"-----BEGIN " * many, b"-----BEGIN A-----\n-----END B-----\n" * many, b"-----BEGIN " + b"A " * many):
        began = time.process_time()
        with pytest.raises(CustodyError, match="PEM or DER"):
            read_certificates(data, "x")
        assert read_certificates(data + b"\n-----END B-----\n" + right, "x") == [certificate]
        assert time.process_time() - began < 3
    for kept in (b"text\n" + right, right + b"-----BEGIN A-----\n", b"-----BEGIN A-----\n" + right, right.replace(
            b"\n", b"\r\n")):
        assert read_certificates(kept, "x") == [certificate]
    with pytest.raises(CustodyError, match="got 'A', expected CERTIFICATE"):
        read_certificates(right.replace(b"CERTIFICATE", b"A"), "x")


def test_signatures_of_lists(ca: Authority) -> None:
    """By each kind of key; what was signed, and with what, is what is there."""
    assert ca.leaf is not None
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    for kind, scheme in (("EC-256", None), ("EC-384", None), ("RSA-2048", None), ("RSA-2048", pss)):
        key = key_of(kind, 31)
        root = issue(key, "signing root", None, ca=True, usages=("key_cert_sign", "crl_sign"))
        builder = (x509.CertificateRevocationListBuilder().issuer_name(root.subject).last_update(now())
                   .next_update(now() + DAY))
        data = builder.sign(key, hashes.SHA256(), **({"rsa_padding": scheme} if scheme else {})).public_bytes(
            Encoding.DER)
        assert crl.revoked(ca.leaf, root, crl.Lists(crl.load(data, "x")), None, now()) == ""
        assert x509.load_der_x509_crl(data).is_signature_valid(root.public_key())
        for wrong in mutants(data, 300):
            try:
                crl.revoked(ca.leaf, root, crl.Lists(crl.load(wrong, "x")), None, now())
            except CustodyError:
                continue
            assert x509.load_der_x509_crl(wrong).is_signature_valid(root.public_key())


def test_certificates() -> None:
    for right in (pem(*chain_of("EC-256")), b"".join(one.public_bytes(Encoding.DER) for one in chain_of("EC-256"))):
        assert len(read_certificates(right, "x")) == 3
        for data in mutants(right, 400):
            try:
                read_certificates(data, "x")
            except CustodyError:
                continue


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    leaf, issuer, _ = chain_of("EC-256")
    for read in (lambda: ocsp.revoked(data, leaf, issuer, None, NOW), lambda: crl.load(data, "x"),
                 lambda: countersigned(data, b"", []), lambda: read_certificates(data, "x")):
        with pytest.raises(CustodyError):
            read()
