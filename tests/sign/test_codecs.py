"""Round trips of the codecs, and hostile bytes: only a CustodyError ever comes out."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, UnsupportedError, UsageError, VerificationError
from custody.formats import cosign, dsse, intoto
from custody.formats.bundle import Bundle, InclusionProof, LogEntry, MessageSignature, parse_bundle
from custody.sign.certificate import read_signing_certificate
from custody.sign.keys import (
    PrivateKey,
    check_signature,
    encrypt_key,
    generate_key,
    load_private_key,
    load_public_key,
)
from custody.sign.verify import Trust, verify_evidence
from custody.trust import roots
from tests.sign.authority import NOW, World, evidence

WORLD = World()
DOCUMENT = json.dumps(WORLD.keyless()).encode()
ROOT = WORLD.trusted_root()

text = st.text(st.characters(codec="utf-8"), max_size=20)
blob = st.binary(max_size=40)
natural = st.integers(0, 2**62)
times = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
moments = st.none() | times


def ordered(start: datetime | None, end: datetime | None) -> roots.Validity:
    return roots.Validity(*sorted((start, end))) if start and end else roots.Validity(start, end)


validity = st.builds(ordered, moments, moments)
since = st.builds(ordered, times, moments)
envelopes = st.builds(dsse.Envelope, text, blob, st.tuples(st.tuples(text, blob)))
proofs = st.builds(InclusionProof, natural, blob, natural, st.lists(blob, max_size=4).map(tuple), text)
entries = st.builds(LogEntry, natural, blob, text, text, natural, st.none() | blob, st.none() | proofs, blob)
logs = st.builds(roots.TransparencyLog, text, st.sampled_from([log.key_der for log in ROOT.tlogs[:1]]),
                 st.sampled_from([log.key_details for log in ROOT.tlogs[:1]]),
                 st.binary(min_size=1, max_size=32), since)
authorities = st.builds(
    roots.CertificateAuthority, text, text, text,
    st.lists(st.sampled_from(ROOT.certificate_authorities[0].chain), min_size=1, max_size=3).map(tuple), since)
services = st.builds(roots.Service, text.map("https://".__add__), st.integers(1, 9), validity, text)
plain = st.recursive(st.none() | st.booleans() | st.integers(-10**9, 10**9) | text,
                     lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8)


@given(envelopes)
def test_envelope(envelope: dsse.Envelope) -> None:
    assert dsse.parse_envelope(envelope.to_bytes()) == envelope


@given(st.lists(st.builds(intoto.Subject, st.dictionaries(text, text, min_size=1, max_size=2), text,
                          st.dictionaries(text, text, max_size=2)), min_size=1, max_size=3).map(tuple),
       text.filter(bool), st.dictionaries(text, plain, max_size=3))
def test_statement(subjects: tuple[intoto.Subject, ...], kind: str, predicate: Any) -> None:
    statement = intoto.Statement(subjects, kind, predicate)
    assert intoto.parse_statement(statement.to_bytes()) == statement


@given(st.booleans(), st.lists(entries, max_size=2).map(tuple), st.lists(blob, max_size=2, unique=True).map(tuple),
       envelopes, st.builds(MessageSignature, st.binary(min_size=32, max_size=32), blob), st.booleans())
def test_bundle(keyless: bool, logged: tuple[LogEntry, ...], stamps: tuple[bytes, ...], envelope: dsse.Envelope,
                message: MessageSignature, signs_message: bool) -> None:
    bundle = Bundle("0.3", (b"leaf",) if keyless else (), None if keyless else "hint", logged, stamps,
                    None if signs_message else envelope, message if signs_message else None)
    assert parse_bundle(bundle.to_bytes()) == bundle


@given(st.builds(roots.TrustedRoot, *[st.lists(kind, max_size=2).map(tuple)
                                      for kind in (logs, authorities, logs, authorities)]))
def test_trusted_root(root: roots.TrustedRoot) -> None:
    assert roots.parse_trusted_root(root.to_json()) == root


@given(st.builds(roots.SigningConfig, *[st.lists(services, max_size=2).map(tuple)] * 4))
def test_signing_config(config: roots.SigningConfig) -> None:
    assert roots.parse_signing_config(config.to_json()) == config


@given(st.binary(max_size=200) | plain.map(lambda value: json.dumps(value).encode()))
def test_hostile_documents(data: bytes) -> None:
    for parse in (dsse.parse_envelope, intoto.parse_statement, parse_bundle, cosign.parse_simple_signing,
                  roots.parse_trusted_root, roots.parse_signing_config, cosign.sbom_kind,
                  lambda data: read_signing_certificate(data, "leaf"), lambda data: load_public_key(data, "key"),
                  lambda data: load_private_key(data, b"", "key")):
        try:
            parse(data)
        except CustodyError:
            continue


@given(st.integers(0, len(DOCUMENT) - 1), st.integers(1, 255))
def test_mutated_bundle(position: int, change: int) -> None:
    """No changed byte crashes the verifier; what still verifies still says the same."""
    data = bytearray(DOCUMENT)
    data[position] ^= change
    try:
        verified = verify_evidence(evidence(bytes(data)), Trust(ROOT), NOW)
    except CustodyError:
        return
    good = verify_evidence(evidence(DOCUMENT), Trust(ROOT), NOW)
    assert (verified.signer, verified.predicate_type, verified.subject) == (
        good.signer, good.predicate_type, good.subject)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_mutated_certificate(position: int, change: int) -> None:
    document = WORLD.keyless()
    data = bytearray(base64.b64decode(document["verificationMaterial"]["certificate"]["rawBytes"]))
    data[position % len(data)] ^= change
    document["verificationMaterial"]["certificate"]["rawBytes"] = base64.b64encode(data).decode()
    with pytest.raises(CustodyError):
        verify_evidence(evidence(document), Trust(ROOT), NOW)


def test_key_files() -> None:
    key = generate_key()
    pem = encrypt_key(key, b"hello")
    assert load_private_key(pem, b"hello", "cosign.key").public.der == key.public.der
    assert load_public_key(key.public.pem, "cosign.pub").der == key.public.der
    with pytest.raises(UsageError, match="wrong password"):
        load_private_key(pem, b"bye", "cosign.key")
    with pytest.raises(UsageError, match="is a private key"):
        load_public_key(pem, "cosign.key")
    body = json.loads(base64.b64decode("".join(pem.decode().split("\n")[1:-2])))
    body["kdf"]["params"]["N"] = 1 << 30
    inner = base64.b64encode(json.dumps(body).encode()).decode()
    bomb = f"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{inner}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----"
    with pytest.raises(UnsupportedError, match="N=1073741824"):
        load_private_key(bomb.encode(), b"hello", "cosign.key")


@pytest.mark.parametrize(("data", "expected"), [
    (b'{"bomFormat":"CycloneDX"}', ("cyclonedx", "json")), (b'{"spdxVersion":"SPDX-2.3"}', ("spdx", "json")),
    (b"SPDXVersion: SPDX-2.3", ("spdx", "text")), (b"{}", None), (b"x", None),
    (b'<bom xmlns="http://cyclonedx.org/schema/bom/1.6">', ("cyclonedx", "xml"))])
def test_sbom_kind(data: bytes, expected: tuple[str, str] | None) -> None:
    assert cosign.sbom_kind(data) == expected


def test_refusals() -> None:
    with pytest.raises(UnsupportedError, match="neither a URI nor a short name"):
        intoto.predicate_type("spdxjsn")
    assert intoto.predicate_type("vuln") == "https://cosign.sigstore.dev/attestation/vuln/v1"
    with pytest.raises(UnsupportedError, match=r"version=0\.1"):
        roots.parse_trusted_root(b'{"mediaType":"application/vnd.dev.sigstore.trustedroot.v0.2+json"}')
    with pytest.raises(UnsupportedError, match="selector"):
        roots.parse_signing_config(json.dumps({"mediaType": roots.SIGNING_CONFIG,
                                               "tsaConfig": {"selector": "ALL"}}).encode())


@pytest.mark.parametrize("key", [
    ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1()),
    ec.generate_private_key(ec.SECP521R1()), rsa.generate_private_key(65537, 2048),
    ed25519.Ed25519PrivateKey.generate()], ids=["p256", "p384", "p521", "rsa", "ed25519"])
@pytest.mark.parametrize("prehash", [False, True])
def test_algorithms(key: Any, prehash: bool) -> None:
    private = PrivateKey(key)
    signature = private.sign(b"message", prehash=prehash)
    check_signature(private.public.key, signature, b"message", "signature")
    with pytest.raises(VerificationError, match="not this key's"):
        check_signature(private.public.key, signature, b"other", "signature")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert load_private_key(pem, b"", "key.pem").public.der == private.public.der


def test_keys_that_are_not_trusted() -> None:
    for key in (rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256K1())):
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(UnsupportedError, match=r"weak\.pub"):
            load_public_key(pem, "weak.pub")
