"""A trusted root in which exactly one thing is wrong is refused, and the error names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.serialization import Encoding

from custody.errors import CustodyError
from custody.formats.protojson import encode_base64
from custody.trust.keys import spki
from custody.trust.pemroots import authority_of
from custody.trust.roots import parse_signing_config, parse_trusted_root
from tests.sign.authority import DAY, NOW, World, certificate, new_key

ROOT = json.loads(World().trusted_root().to_json())
LOGS, AUTHORITIES = ("tlogs", "ctlogs"), ("certificateAuthorities", "timestampAuthorities")


def without(*names: str) -> Callable[[Any], None]:
    def change(entry: Any) -> None:
        for name in names[:-1]:
            entry = entry[name]
        del entry[names[-1]]
    return change


def put(value: Any, *names: Any) -> Callable[[Any], None]:
    def change(entry: Any) -> None:
        for name in names[:-1]:
            entry = entry[name]
        entry[names[-1]] = value
    return change


ED25519 = encode_base64(spki(ed25519.Ed25519PrivateKey.generate().public_key()))
X25519 = encode_base64(spki(x25519.X25519PrivateKey.generate().public_key()))
LOG_FAULTS: list[tuple[Callable[[Any], None], str]] = [
    (without("publicKey", "validFor"), r"publicKey\.validFor\.start: got 'nothing'"),
    (without("publicKey", "validFor", "start"), r"publicKey\.validFor\.start: got 'nothing'"),
    (put(None, "publicKey", "validFor", "start"), r"publicKey\.validFor\.start: got 'nothing'"),
    (put("2020-01-01T00:00:00Z", "publicKey", "validFor", "end"), r"validFor\.end: .* a time that is not before"),
    (put("yesterday", "publicKey", "validFor", "start"), r"validFor\.start"),
    (without("publicKey"), r"publicKey: .*expected a JSON object"),
    (without("publicKey", "rawBytes"), r"publicKey\.rawBytes"),
    (put("", "publicKey", "rawBytes"), r"publicKey\.rawBytes: got '0 bytes that are no key'"),
    (put("AAAA", "publicKey", "rawBytes"), r"publicKey\.rawBytes: got '3 bytes that are no key'"),
    (put("%%", "publicKey", "rawBytes"), r"publicKey\.rawBytes: .* expected standard base64"),
    (put(X25519, "publicKey", "rawBytes"), r"publicKey\.rawBytes: got 'X25519"),
    (without("publicKey", "keyDetails"), r"publicKey\.keyDetails.*PUBLIC_KEY_DETAILS_UNSPECIFIED"),
    (put("PKIX_ED25519_PH", "publicKey", "keyDetails"), r"publicKey\.keyDetails.*PKIX_ED25519_PH"),
    (put("LMS_SHA256", "publicKey", "keyDetails"), r"publicKey\.keyDetails.*LMS_SHA256"),
    (put("PKIX_RSA_PKCS1V15_2048_SHA256", "publicKey", "keyDetails"), r"publicKey\.rawBytes: .* expected PKIX_RSA"),
    (without("hashAlgorithm"), r"hashAlgorithm.*HASH_ALGORITHM_UNSPECIFIED"),
    (put("SHA2_512", "hashAlgorithm"), r"hashAlgorithm.*SHA2_512; Merkle trees are over SHA2_256"),
    (without("logId"), r"logId\.keyId: got 'nothing'"),
    (put("", "logId", "keyId"), r"logId\.keyId: got 'nothing'"),
    (put("zz-not/base64!", "logId", "keyId"), r"logId\.keyId: .* expected standard base64"),
    (put({"keyId": "AAAAAAAA"}, "checkpointKeyId"), r"checkpointKeyId.*differs from logId"),
    (put(1, "threshold"), r"threshold.*a field that custody does not know"),
]
AUTHORITY_FAULTS: list[tuple[Callable[[Any], None], str]] = [
    (without("validFor"), r"validFor\.start: got 'nothing'"),
    (without("validFor", "start"), r"validFor\.start: got 'nothing'"),
    (put("2020-01-01T00:00:00Z", "validFor", "end"), r"validFor\.end: .* expected a time that is not before"),
    (put([], "certChain", "certificates"), r"certChain\.certificates: got 'nothing'"),
    (without("certChain"), r"certChain: .*expected a JSON object"),
    (put("", "certChain", "certificates", 0, "rawBytes"), r"certificates\[0\]\.rawBytes: got '0 bytes"),
    (put(ED25519, "certChain", "certificates", 0, "rawBytes"), r"certificates\[0\]\.rawBytes: .* are no certificate"),
    (put([{"rawBytes": "AAAA"}] * 17, "certChain", "certificates"), r"certificates: .* a list of at most 16"),
]


@pytest.mark.parametrize(("part", "change", "reason"), [
    *((part, change, reason) for part in LOGS for change, reason in LOG_FAULTS),
    *((part, change, reason) for part in AUTHORITIES for change, reason in AUTHORITY_FAULTS)])
def test_one_thing_wrong(part: str, change: Callable[[Any], None], reason: str) -> None:
    root = json.loads(json.dumps(ROOT))
    change(root[part][0])
    with pytest.raises(CustodyError, match=rf"{part}\[0\].*{reason}"):
        parse_trusted_root(json.dumps(root).encode())


def test_what_is_trusted_still_has_an_open_end() -> None:
    root = json.loads(json.dumps(ROOT))
    for part in LOGS:
        del root[part][0]["publicKey"]["validFor"]["end"]
    for part in AUTHORITIES:
        del root[part][0]["validFor"]["end"]
    read = parse_trusted_root(json.dumps(root).encode())
    assert read.tlogs[0].valid.end is read.timestamp_authorities[0].valid.end is None


CONFIG = {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
          "caUrls": [{"url": "https://ca.example", "majorApiVersion": 1, "operator": "o"}]}
BOTH = {"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json", "trustedRoot": ROOT,
        "signingConfig": CONFIG}


@pytest.mark.parametrize("name", ["signingConfig", "signing_config"])
def test_a_client_trust_config_is_both(name: str) -> None:
    """What sigstore-python's --trust-config takes."""
    data = json.dumps({**{key: part for key, part in BOTH.items() if key != "signingConfig"}, name: CONFIG}).encode()
    assert parse_trusted_root(data) == parse_trusted_root(json.dumps(ROOT).encode())
    assert parse_signing_config(data).ca[0].url == "https://ca.example"


@pytest.mark.parametrize(("change", "reason"), [
    ({"mediaType": "bad-media-type"}, r"trusted root\.mediaType: 'bad-media-type'; custody reads"),
    ({"trustedRoot": None}, r"trusted root\.trustedRoot: got 'nothing', expected it once"),
    ({"trusted_root": ROOT}, r"trusted root\.trustedRoot: got 'trustedRoot and trusted_root'"),
    ({"trustedRoot": {**ROOT, "mediaType": "x"}}, r"trusted root\.trustedRoot\.mediaType: 'x'"),
    ({"witnesses": []}, r"trusted root\.witnesses: a field that custody does not know")])
def test_a_client_trust_config_that_is_wrong(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(CustodyError, match=reason):
        parse_trusted_root(json.dumps({**BOTH, **change}).encode())


@pytest.mark.parametrize("may", [True, False, None])
def test_a_root_that_may_not_sign_certificates_is_none(may: bool | None) -> None:
    usage = x509.KeyUsage(True, False, False, False, False, bool(may), False, False, False)
    extensions = [] if may is None else [(usage, True)]
    root = certificate(new_key(), None, name="root", ca=True, start=NOW - DAY, end=NOW, extensions=extensions)
    chain = (root.public_bytes(Encoding.DER),)
    if may is False:
        with pytest.raises(CustodyError, match=r"CN=root, which may not sign certificates \(key usage\)"):
            authority_of(chain)
    else:
        assert authority_of(chain).chain == chain


def test_a_list_that_is_too_long_is_not_printed() -> None:
    root = {**ROOT, "tlogs": ROOT["tlogs"] * 200}
    with pytest.raises(CustodyError, match=r"tlogs: got '400 of them', expected a list of at most 256"):
        parse_trusted_root(json.dumps(root).encode())
