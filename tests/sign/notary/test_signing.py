"""Signing for the Notary Project: what comes out is what verifiers take, and what is wrong does not come out."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from hypothesis import given
from hypothesis import strategies as st

from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import (
    CustodyError,
    MalformedError,
    NetworkError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from custody.formats import cbor, notary, notarywriter
from custody.sign.certificate import load_certificate
from custody.sign.notary.countersignature import countersigned
from custody.sign.notary.envelope import check_signature
from custody.sign.notary.revocation import Answer, State
from custody.sign.notary.sign import CREATED, THUMBPRINTS, LocalKey, Signed, Terms, sign
from custody.sign.notary.signingkeys import SigningKey, open_local_key
from custody.sign.notary.timestamping import authority_root, stamper, token_of
from tests.sign.notary import materials
from tests.sign.notary.materials import DAY, KINDS, authority, chain_of, issue, key_of, key_pem, pem

NOW = datetime.now(UTC).replace(microsecond=0)
TARGET = notary.Target("application/vnd.oci.image.manifest.v1+json", "sha256:" + "a" * 64, 7, {})
BOTH = [notary.JWS, notary.COSE]


def signed(kind: str = "EC-256", *, chain: Any = None, now: datetime = NOW, target: notary.Target = TARGET,
           key: Any = None, **terms: Any) -> Signed:
    local = LocalKey(key or key_of(kind), chain or chain_of(kind), "key")
    return asyncio.run(sign(target, local, Terms(**terms), now))


@pytest.mark.parametrize("media_type", BOTH)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_key(kind: str, media_type: str) -> None:
    made = signed(kind, media_type=media_type, expiry=timedelta(hours=3), metadata={"env": "prod", "é": "<&>\u2028"})
    envelope = notary.parse_envelope(made.data, media_type)
    assert (envelope.algorithm, envelope.scheme) == (KINDS[kind], notary.X509)
    assert (envelope.signing_time, envelope.expiry) == (NOW, NOW + timedelta(hours=3))
    assert envelope.target == replace(TARGET, annotations={"env": "prod", "é": "<&>\u2028"})
    assert envelope.agent.startswith("custody/")
    assert [load_certificate(der, "").subject for der in envelope.chain] == [
        certificate.subject for certificate in chain_of(kind)]
    check_signature(envelope, load_certificate(envelope.chain[0], "leaf"))
    prints = json.loads(made.annotations[THUMBPRINTS])
    assert [len(text) for text in prints] == [64, 64, 64]
    assert made.annotations[CREATED] == f"{NOW:%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize("media_type", BOTH)
def test_a_leaf_that_stands_alone(media_type: str) -> None:
    alone = issue(key_of("EC-256"), "alone", None)
    assert len(signed(chain=(alone,), media_type=media_type).envelope.chain) == 1


def test_no_expiry_where_none_is_asked_for() -> None:
    for media_type in BOTH:
        assert signed(media_type=media_type).envelope.expiry is None
        assert signed(media_type=media_type, expiry=timedelta()).envelope.expiry is None


def chains() -> Mapping[str, tuple[Any, str]]:
    above, key = authority()
    return {
        "out of order": ((chain_of("EC-256")[0], above[1], above[0]), "did not issue"),
        "without its root": (chain_of("EC-256")[:2], "is no self-signed root"),
        "leaf alone, not its own": (chain_of("EC-256")[:1], "its issuers are missing"),
        "expired": (chain_of("EC-256", start=NOW - 3 * DAY, end=NOW - DAY), "not valid at"),
        "not yet": (chain_of("EC-256", start=NOW + DAY, end=NOW + 2 * DAY), "not valid at"),
        "a CA": (chain_of("EC-256", ca=True, usages=("digital_signature", "key_cert_sign")), "is a CA certificate"),
        "for encryption": (chain_of("EC-256", usages=("key_encipherment",)), "not for digitalSignature"),
        "for more": (chain_of("EC-256", usages=("digital_signature", "key_agreement")), "keyAgreement"),
        "without key usage": (chain_of("EC-256", usages=()), "has no key usage"),
        "for servers": (chain_of("EC-256", purposes=[Usage.CODE_SIGNING, Usage.SERVER_AUTH]), "serverAuth"),
        "for timestamps": (chain_of("EC-256", purposes=[Usage.TIME_STAMPING]), "timeStamping"),
        "an issuer that may not issue": ((issue(key_of("EC-256"), "x", (bad := issue(
            key, "bad", None, ca=True, usages=("digital_signature",)), key)), bad), "may not sign certificates"),
        "an expired root": ((issue(key_of("EC-256"), "x", (old := issue(
            key, "old", None, ca=True, start=NOW - 3 * DAY, end=NOW - DAY), key)), old), "CN=old"),
    }


@pytest.mark.parametrize("media_type", BOTH)
@pytest.mark.parametrize("name", chains())
def test_a_chain_that_nobody_would_take(name: str, media_type: str) -> None:
    chain, reason = chains()[name]
    with pytest.raises(VerificationError) as raised:
        signed(chain=chain, media_type=media_type)
    assert reason in raised.value.message


def test_a_key_that_is_not_the_certificates() -> None:
    with pytest.raises(UsageError, match="the key is not that of the first certificate"):
        signed(key=key_of("EC-256", 9))
    with pytest.raises(UsageError, match="the key is not that of the first certificate"):
        signed(chain=chain_of("EC-256")[::-1])


@pytest.mark.parametrize("kind", ["EC-224", "RSA-2304"])
def test_a_key_of_another_size(kind: str) -> None:
    with pytest.raises(UnsupportedError, match="RSA of 2048, 3072 and 4096 bits and ECDSA on P-256"):
        signed(kind)


@pytest.mark.parametrize(("terms", "reason"), [
    ({"metadata": {"io.cncf.notary.x": "1"}}, "does not begin with io.cncf.notary"),
    ({"metadata": {"a": "\udcff"}}, "no UTF-8"),
    ({"expiry": timedelta(seconds=-1)}, "whole seconds to come"),
    ({"expiry": timedelta(milliseconds=1500)}, "whole seconds to come"),
    ({"expiry": timedelta(days=400_000)}, "a thousand years")])
def test_terms_that_are_refused(terms: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        signed(**terms)


def test_metadata_that_the_artifact_has_already() -> None:
    with pytest.raises(UsageError, match="got a, which the artifact has already"):
        signed(target=replace(TARGET, annotations={"a": "1"}), metadata={"a": "1"})


def test_more_than_is_read() -> None:
    with pytest.raises(CustodyError, match=r"at most 1048576|1048576 are read"):
        signed(metadata={"a": "x" * (1 << 20)})


class _Strange:
    """A key that gives something else than what was asked for."""

    agent = "strange"

    def __init__(self, algorithm: str, signature: bytes | None = None) -> None:
        self._key = LocalKey(key_of("EC-256"), chain_of("EC-256"), "key")
        self._algorithm, self._signature = algorithm, signature

    def algorithm(self) -> str:
        return self._algorithm

    def sign(self, data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        signature, chain = self._key.sign(data)
        return signature if self._signature is None else self._signature, chain


@pytest.mark.parametrize("media_type", BOTH)
@pytest.mark.parametrize(("key", "reason"), [
    (_Strange("ES384"), "ES384 is made with secp384r1"), (_Strange("ES256", b"\0" * 64), "not this certificate's"),
    (_Strange("ES256", b"short"), "5 bytes, expected r and s"), (_Strange("ES256", b""), "0 bytes, expected r and s")])
def test_a_signature_that_is_none(key: _Strange, reason: str, media_type: str) -> None:
    with pytest.raises(VerificationError, match=reason):
        asyncio.run(sign(TARGET, key, Terms(media_type), NOW))


# Timestamps


def stamped(url: str, root: Any, kind: str = "EC-256", revocations: Any = None, **terms: Any) -> Signed:
    async def ask() -> Signed:
        http = StdlibHttp()
        try:
            key = LocalKey(key_of(kind), chain_of(kind), "key")
            return await sign(TARGET, key, Terms(stamp=stamper(http, url, root, revocations), **terms), NOW)
        finally:
            await http.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("media_type", BOTH)
@pytest.mark.parametrize("kind", ["RSA-2048", "EC-384", "EC-521"])
def test_a_timestamp(kind: str, media_type: str) -> None:
    with materials.time_authority() as (url, root):
        made = stamped(url, root, kind, media_type=media_type)
    token = made.envelope.timestamp
    assert token is not None
    witnessed = countersigned(token, made.envelope.signature, [root])
    assert abs(witnessed.moment - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_timestamp_of_another_root() -> None:
    stranger = issue(key_of("EC-256", 7), "tsa root", None, ca=True)
    with materials.time_authority() as (url, _), pytest.raises(VerificationError, match="timestamp:"):
        stamped(url, stranger)


def test_an_authority_that_is_not_there() -> None:
    with pytest.raises(NetworkError):
        stamped("http://127.0.0.1:1/", issue(key_of("EC-256"), "root", None, ca=True))


class _Known:
    """Implements Revocations: the same answer of every certificate."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def answers(self, chain: Any, signed_at: datetime | None) -> list[Answer]:
        assert (len(chain), signed_at) == (2, None)
        return [Answer("CN=tsa", self._state, "CRL", "so it says")]


@pytest.mark.parametrize(("state", "reason"), [
    (State.REVOKED, "timestamp authority: CN=tsa is revoked"), (State.UNKNOWN, "is unknown to its responder"),
    (State.UNAVAILABLE, "could not be looked up")])
def test_an_authority_that_was_revoked(state: State, reason: str) -> None:
    with materials.time_authority() as (url, root):
        with pytest.raises(VerificationError, match=reason):
            stamped(url, root, revocations=_Known(state))
        assert stamped(url, root, revocations=_Known(State.GOOD)).envelope.timestamp


def test_the_root_of_an_authority() -> None:
    root = issue(key_of("EC-256"), "root", None, ca=True)
    assert authority_root(pem(root), "f") == root == authority_root(root.public_bytes(Encoding.DER), "f")
    for data, reason in ((pem(root, root), "got 2 certificates"), (pem(chain_of("EC-256")[0]), "is no root"),
                         (pem(authority()[0][0]), "is no root"), (b"what", "DER X.509")):
        with pytest.raises(UsageError, match=reason):
            authority_root(data, "f")


@given(st.binary(max_size=60))
def test_no_answer_of_an_authority_breaks_it(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert len(token_of(data)) < len(data)


# Keys of this machine


def written(folder: Path, key: bytes, chain: bytes) -> SigningKey:
    (folder / "k").write_bytes(key)
    (folder / "c").write_bytes(chain)
    return SigningKey("mine", str(folder / "k"), str(folder / "c"))


def test_forms_of_keys(tmp_path: Path) -> None:
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    for data in (key_pem(key_of("EC-256")), key_pem(key_of("EC-256"), PrivateFormat.TraditionalOpenSSL),
                 parameters + key_pem(key_of("EC-256"), PrivateFormat.TraditionalOpenSSL)):
        assert open_local_key(written(tmp_path, data, pem(*chain_of("EC-256")))).algorithm() == "ES256"
    data = key_pem(key_of("RSA-2048"), PrivateFormat.TraditionalOpenSSL)
    assert open_local_key(written(tmp_path, data, pem(*chain_of("RSA-2048")))).algorithm() == "PS256"


def test_keys_that_cannot_be_opened(tmp_path: Path) -> None:
    key, chain = key_pem(key_of("EC-256")), pem(*chain_of("EC-256"))
    encrypted = key_of("EC-256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    edwards = key_pem(ed25519.Ed25519PrivateKey.generate())
    for private, certificates, kind, reason in (
            (encrypted, chain, UnsupportedError, "encrypted private key"),
            (edwards, chain, UnsupportedError, "Ed25519"),
            (b"what", chain, MalformedError, "PEM private key"), (key, b"what", MalformedError, "0 certificates"),
            (key, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", MalformedError, "certificate 0"),
            (b"x" * (1 << 20 + 1), chain, MalformedError, "at most 1048576"),
            (key_pem(key_of("RSA-2048")), chain, UsageError, "is not that of the first certificate")):
        with pytest.raises(kind, match=reason):
            open_local_key(written(tmp_path, private, certificates))
    with pytest.raises(UsageError, match="No such file"):
        open_local_key(SigningKey("mine", str(tmp_path / "nothing"), str(tmp_path / "c")))
    with pytest.raises(UsageError, match="is no regular file"):
        open_local_key(SigningKey("mine", str(tmp_path), str(tmp_path / "c")))


# What is written


@given(st.recursive(st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.text(max_size=8), st.binary(max_size=8)),
                    lambda inner: st.lists(inner, max_size=4), max_leaves=12))
def test_cbor_is_read_as_it_was_written(value: Any) -> None:
    def write(item: Any) -> bytes:
        if isinstance(item, int):
            return cbor.integer(item)
        if isinstance(item, list):
            return cbor.array(*map(write, item))
        return cbor.text(item) if isinstance(item, str) else cbor.byte_string(item)

    assert cbor.loads(write(value), "value") == value
    assert cbor.loads(cbor.tagged(1, write(value)), "value") == cbor.Tagged(1, value)
    assert cbor.loads(cbor.mapping([(cbor.text("k"), write(value))]), "value") == {"k": value}


@given(st.dictionaries(st.text(min_size=1, max_size=12).filter(lambda name: not name.startswith("io.cncf")),
                       st.text(max_size=40), max_size=5), st.sampled_from(BOTH))
def test_any_metadata_comes_back(metadata: dict[str, str], media_type: str) -> None:
    target = replace(TARGET, annotations=metadata)
    made = notarywriter.draft(media_type, "ES256", notarywriter.payload_of(target), NOW, None)
    data = notarywriter.enveloped(made, b"s" * 64, notarywriter.Unsigned((b"c",), "agent"))
    envelope = notary.parse_envelope(data, media_type)
    assert (envelope.target, envelope.signed) == (target, made.signed)
    assert notarywriter.signed_payload(envelope) == made.payload


def test_an_envelope_of_no_kind() -> None:
    with pytest.raises(ValueError, match="no envelope is of type text/plain"):
        notarywriter.draft("text/plain", "ES256", b"{}", NOW, None)
