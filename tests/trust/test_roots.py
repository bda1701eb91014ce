"""A trusted root in which exactly one thing is wrong is refused, and the error names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519

from custody.errors import CustodyError
from custody.formats.protojson import encode_base64
from custody.trust.keys import spki
from custody.trust.roots import parse_trusted_root
from tests.sign.authority import World

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
