"""Responders, lists, stores and tokens of bytes that nobody should send: each is refused in custody's own words."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as x509_ocsp
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError
from custody.kit.clock import system_clock
from custody.sign.notary import crl, ocsp
from custody.sign.notary.countersignature import countersigned, read_stamp
from custody.sign.notary.truststore import read_certificates
from tests.sign.authority import NOW
from tests.sign.notary.envelopes import TSA_ROOT, token
from tests.sign.notary.materials import chain_of, issue, pem
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
