"""Old statements that somebody who may push brings again, with a new time and no new signature."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.evidence.model import Verified
from custody.evidence.newest import newest
from custody.formats import bundle as bundles
from custody.formats import intoto
from custody.kit.pae import pae
from custody.sign.keys import public_key
from custody.sign.verify import Trust, verify_evidence
from tests.sign.authority import DAY, IMAGE, NOW, World, b64, entry_body, evidence, new_key

SCAN = "https://example.com/scan"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (SEC 2 section 2.4.2)
WORLD = World()
KEY = new_key()
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def scan(verdict: str) -> tuple[bytes, bytes]:
    """Payload and signature."""
    payload = intoto.statement(IMAGE, SCAN, {"verdict": verdict}).to_bytes()
    return payload, KEY.sign(pae(intoto.PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA256()))


def attested(payload: bytes, signature: bytes, at: datetime | None, *, log: bool = True) -> Verified:
    message = pae(intoto.PAYLOAD_TYPE, payload)
    material: dict[str, Any] = {"publicKey": {"hint": "x"}}
    if log and at:
        material["tlogEntries"] = [WORLD.entry(entry_body("dsse", message, payload, signature, b"", PEM), at, v1=True)]
    elif at:
        material["timestampVerificationData"] = {"rfc3161Timestamps": [{"signedTimestamp": b64(WORLD.stamp(
            signature, at))}]}
    document = {"mediaType": bundles.MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": {
        "payload": b64(payload), "payloadType": intoto.PAYLOAD_TYPE, "signatures": [{"sig": b64(signature)}]}}
    trust = Trust(WORLD.trusted_root(), (public_key(KEY.public_key(), "key"),), require_log=log)
    return verify_evidence(evidence(document), trust, NOW)


def turned(signature: bytes) -> bytes:
    """The other signature of the same message that anybody can make of one."""
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, ORDER - s)


@pytest.mark.parametrize("how", ["logged again", "turned and logged", "stamped", "turned and stamped", "undated"])
def test_an_old_good_scan_does_not_supersede_a_new_bad_one(how: str) -> None:
    payload, signature = scan("clean")
    good, bad = attested(payload, signature, NOW - 3 * DAY), attested(*scan("critical"), NOW - 2 * DAY)
    copy = turned(signature) if "turned" in how else signature
    again = attested(payload, copy, None if how == "undated" else NOW - DAY, log="logged" in how)
    assert again.signed_at is None or again.signed_at > bad.signed_at  # type: ignore[operator]
    assert [statement.predicate for statement in newest([good, again, bad]).speaking] == [{"verdict": "critical"}]


def test_a_scan_that_was_signed_again_speaks() -> None:
    """The same words, said anew: that takes the key."""
    good, bad = attested(*scan("clean"), NOW - 3 * DAY), attested(*scan("critical"), NOW - 2 * DAY)
    again = attested(*scan("clean"), NOW - DAY)
    assert newest([good, bad, again]).speaking == [again]
