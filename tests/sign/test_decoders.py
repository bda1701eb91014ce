"""A format is a decoder and a row: the numbered steps check all that it claims, and know nothing of it."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from custody.errors import Check, CustodyError, VerificationError
from custody.evidence.model import Evidence, KeylessSigner, Rejected, Verified
from custody.formats import bundle as bundles
from custody.formats import cosign, dsse
from custody.services.verify import Terms, judge
from custody.sign import verify
from custody.sign.decoders import DECODERS, decode, format_of
from custody.sign.keys import PrivateKey
from custody.sign.verify import Trust, verify_evidence
from tests.sign import jws
from tests.sign.authority import IDENTITY, IMAGE, NOW, OTHER, World, b64, entry_body, evidence, new_key

WORLD = World()
ROOT = WORLD.trusted_root()


@pytest.fixture(autouse=True, scope="module")
def _row() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DECODERS, jws.MEDIA_TYPE, jws.FORMAT)
        yield


def test_types() -> None:
    for media_type, kind in ((bundles.MEDIA_TYPE, "attestation"), (f"{bundles.PREFIX}+json;version=0.1", "attestation"),
                             (cosign.SIMPLE_SIGNING, "signature"), (dsse.MEDIA_TYPE, "attestation")):
        row = format_of(media_type)
        assert row is not None
        assert row.kind == kind
    assert format_of(cosign.SIMPLE_SIGNING + "x") is None
    assert format_of("application/vnd.cyclonedx+json") is None


def test_the_steps_import_no_format() -> None:
    imported = {node.module for node in ast.walk(ast.parse(inspect.getsource(verify)))
                if isinstance(node, ast.ImportFrom) and node.module}
    assert not {module for module in imported if module.startswith("custody.formats")}


DOCUMENTS = (json.dumps(WORLD.keyless()).encode(), json.dumps(WORLD.keyless()["dsseEnvelope"]).encode(),
             b'{"critical":{"type":"cosign container image signature","image":{"docker-manifest-digest":"%s"}}}' % (
                 IMAGE.encode()))


@given(st.sampled_from(list(DECODERS)), st.binary(max_size=100) | st.sampled_from(DOCUMENTS), st.integers(0, 5000),
       st.integers(0, 255), st.dictionaries(st.sampled_from((
           "dev.cosignproject.cosign/signature", "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/bundle",
           "dev.sigstore.cosign/chain", "dev.sigstore.cosign/rfc3161timestamp")), st.text(max_size=40)))
def test_hostile_documents(pattern: str, data: bytes, position: int, change: int, annotations: dict[str, str]) -> None:
    """Only a CustodyError comes out of a decoder, and of reading what it made."""
    changed = bytearray(data)
    if changed:
        changed[position % len(changed)] ^= change
    item = evidence(bytes(changed), media_type=pattern.replace("*", ".v0.3+json"), annotations=annotations)
    try:
        decode(item).read(IMAGE)
    except CustodyError:
        return


def document(header: dict[str, Any], algorithm: str, sign: Any, digest: str = IMAGE) -> dict[str, Any]:
    protected, payload = jws.parts(digest, algorithm)
    return {"protected": protected, "payload": payload, "header": header,
            "signature": jws.base64url(sign(f"{protected}.{payload}".encode()))}


def found_at(made: dict[str, Any], subject: str = IMAGE) -> Evidence:
    return evidence(json.dumps(made).encode(), subject, jws.MEDIA_TYPE)


def keyless(digest: str = IMAGE) -> dict[str, Any]:
    """ES256 with a certificate and its whole chain, a timestamp, and an entry of Rekor v2."""
    key, header = new_key(), dict[str, Any]()
    leaf = WORLD.leaf(key)
    header["x5c"] = [b64(cert.public_bytes(Encoding.DER)) for cert in (leaf, WORLD.ca, WORLD.root)]

    def sign(message: bytes) -> bytes:
        signature = key.sign(message, ec.ECDSA(hashes.SHA256()))
        header["stamp"] = b64(WORLD.stamp(signature))
        header["log"] = [WORLD.entry(entry_body("v2", message, b"", signature, leaf.public_bytes(Encoding.DER), b""),
                                     v1=False)]
        return b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(signature))

    return document(header, "ES256", sign, digest)


def test_a_certificate_with_its_proofs() -> None:
    verified = verify_evidence(found_at(keyless()), Trust(ROOT), NOW)
    assert isinstance(verified.signer, KeylessSigner)
    assert (verified.signer.subject, verified.format, verified.signed_at) == (IDENTITY, "jws", NOW)
    assert verified.log is not None


def test_a_key_with_a_scheme_of_its_own() -> None:
    key = rsa.generate_private_key(65537, 2048)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    trust = Trust(keys=(PrivateKey(key).public,), require_log=False)
    good = document({}, "PS256", lambda message: key.sign(message, pss, hashes.SHA256()))
    assert verify_evidence(found_at(good), trust, NOW).signed_at is None
    bad = document({}, "PS256", lambda message: key.sign(message, padding.PKCS1v15(), hashes.SHA256()))
    refused(found_at(bad), Check.SIGNATURE, trust)


def refused(item: Evidence, check: Check, trust: Trust) -> None:
    with pytest.raises(VerificationError) as caught:
        verify_evidence(item, trust, NOW)
    assert caught.value.check is check
    rejected = judge(item, Terms(trust), NOW)
    assert isinstance(rejected, Rejected)
    assert (rejected.check, rejected.reason) == (check, caught.value.message)


@pytest.mark.parametrize(("change", "check"), [
    ({"protected": jws.base64url(b'{"alg":"none"}')}, Check.FORMAT), ({"signature": 1}, Check.FORMAT),
    ({"payload": jws.parts(OTHER, "ES256")[1]}, Check.SIGNATURE), ({"x5c": []}, Check.KEY),
    ({"x5c": ["AA=="]}, Check.CERTIFICATE), ({"stamp": b64(WORLD.stamp(b"other"))}, Check.TIME),
    ({"stamp": None}, Check.TIME), ({"log": []}, Check.LOGGED), ({"log": "another's"}, Check.LOG)])
def test_every_step_is_made(change: dict[str, Any], check: Check) -> None:
    made = keyless()
    for name, value in change.items():
        part = made if name in made else made["header"]
        part[name] = value if value != "another's" else keyless()["header"]["log"]
    refused(found_at(made), check, Trust(ROOT))


def test_every_step_is_made_of_the_rest() -> None:
    refused(found_at(keyless(OTHER)), Check.SUBJECT, Trust(ROOT))
    refused(found_at(keyless()), Check.SCT, Trust(replace(ROOT, ctlogs=())))
    refused(found_at(keyless()), Check.CERTIFICATE, Trust(replace(ROOT, certificate_authorities=())))
    refused(found_at(keyless()), Check.ROOT, Trust())
    refused(found_at(keyless()), Check.WEIGHT, Trust(ROOT, max_weight=500))


def test_who_is_expected() -> None:
    rejected = judge(found_at(keyless()), Terms(Trust(ROOT), lambda signer: f"identity: got {signer}"), NOW)
    assert isinstance(rejected, Rejected)
    assert (rejected.check, rejected.state) == (Check.IDENTITY, "failed")
    assert isinstance(judge(found_at(keyless()), Terms(Trust(ROOT), lambda _: None), NOW), Verified)
