"""The log's write API: what Rekor v2's clients send, and what a log must not take."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, VerificationError
from custody.kit.merkle import leaf_hash, verify_inclusion
from custody.trust.ed25519ph import verify_ed25519ph
from custody.trust.hashedrekord import parse_request
from tests.trust.client import Reply, call
from tests.trust.stack import Stack, serving

KEY = ec.generate_private_key(ec.SECP256R1())
PATH = "/api/v2/log/entries"
# RFC 8032 section 7.3: Ed25519ph of "abc"
PH_KEY = bytes.fromhex("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf")
PH_SIGNATURE = bytes.fromhex("98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"
                             "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def spki(key: Any) -> bytes:
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def request(data: bytes = b"artifact", **changes: Any) -> dict[str, Any]:
    digest = hashlib.sha256(data).digest()
    verifier: dict[str, Any] = {"publicKey": {"rawBytes": b64(spki(KEY.public_key()))},
                                "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
    verifier |= {name: changes.pop(name) for name in ("keyDetails", "publicKey", "x509Certificate") if name in changes}
    body = {"digest": b64(digest), "signature": {
        "content": b64(KEY.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))),
        "verifier": {name: value for name, value in verifier.items() if value is not None}}}
    if "content" in changes:
        body["signature"]["content"] = changes.pop("content")  # type: ignore[index]
    return {"hashedRekordRequestV002": {**body, **changes}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("log")) as served:
        yield served


def post(stack: Stack, body: bytes | dict[str, Any]) -> Reply:
    return call(stack.endpoints.log, "POST", PATH, body)


def test_an_entry_comes_back_proven(stack: Stack) -> None:
    reply = post(stack, request(b"one"))
    assert reply.status == 201
    entry = reply.json()
    assert entry["kindVersion"] == {"kind": "hashedrekord", "version": "0.0.2"}
    assert (entry["integratedTime"], entry["inclusionPromise"]) == ("0", None)
    proof = entry["inclusionProof"]
    assert proof["logIndex"] == entry["logIndex"]
    checkpoint = stack.log.log.signer.verifier.verify(proof["checkpoint"]["envelope"].encode())
    assert checkpoint.origin == "127.0.0.1"
    assert (str(checkpoint.size), b64(checkpoint.root)) == (proof["treeSize"], proof["rootHash"])
    body = base64.b64decode(entry["canonicalizedBody"])
    verify_inclusion(leaf_hash(body), int(proof["logIndex"]), checkpoint.size,
                     [base64.b64decode(node) for node in proof["hashes"]], checkpoint.root)
    assert base64.b64decode(entry["logId"]["keyId"]) == stack.material.trusted_root(stack.endpoints).tlogs[0].log_id
    said = json.loads(body)["spec"]["hashedRekordV002"]
    assert said["data"] == {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(b"one").digest())}
    assert body == json.dumps(json.loads(body), separators=(",", ":"), sort_keys=True).encode()


def test_the_same_entry_again_is_a_conflict_with_its_index(stack: Stack) -> None:
    body = request(b"twice")
    index = post(stack, body).json()["logIndex"]
    reply = post(stack, body)
    assert (reply.status, reply.json()["code"], reply.headers["x-log-index"]) == (409, 6, index)
    assert reply.message == f"an equivalent entry already exists in the transparency log with index {index}"


def test_tiles_are_served_as_files(stack: Stack) -> None:
    post(stack, request(b"served"))
    base = stack.endpoints.log
    checkpoint = call(base, "GET", "/api/v2/checkpoint")
    assert checkpoint.headers["content-type"].startswith("text/plain")
    size = stack.log.log.signer.verifier.verify(checkpoint.body).size
    for path in (f"0/000.p/{size}", f"entries/000.p/{size}"):
        tile = call(base, "GET", f"/api/v2/tile/{path}")
        assert (tile.status, tile.headers["content-type"]) == (200, "application/octet-stream")
        assert "immutable" in tile.headers["cache-control"]
    for path in ("0/000", "0/000.p/255", "0/0", "64/000", "0/../../state/lock", "0/%2e%2e/%2e%2e/state/lock"):
        assert call(base, "GET", f"/api/v2/tile/{path}").status == 404


def test_what_protobuf_s_json_allows(stack: Stack) -> None:
    inner = request(b"lenient")["hashedRekordRequestV002"]
    verifier = inner["signature"]["verifier"]
    url = base64.urlsafe_b64encode(base64.b64decode(inner["digest"])).decode().rstrip("=")
    assert post(stack, {"hashed_rekord_request_v002": {"digest": url, "signature": {
        "content": inner["signature"]["content"],
        "verifier": {"public_key": {"raw_bytes": verifier["publicKey"]["rawBytes"]}, "key_details": 5,
                     "x509Certificate": None}}}}).status == 201


P384 = ec.generate_private_key(ec.SECP384R1())
P521 = ec.generate_private_key(ec.SECP521R1())
RSA = rsa.generate_private_key(65537, 2048)
SHA256, SHA384, SHA512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()


@pytest.mark.parametrize(("details", "digest", "signature", "key"), [
    ("PKIX_ECDSA_P384_SHA_384", "sha384", lambda d: P384.sign(d, ec.ECDSA(Prehashed(SHA384))), spki(P384.public_key())),
    ("PKIX_ECDSA_P521_SHA_512", "sha512", lambda d: P521.sign(d, ec.ECDSA(Prehashed(SHA512))), spki(P521.public_key())),
    ("PKIX_RSA_PKCS1V15_2048_SHA256", "sha256", lambda d: RSA.sign(d, padding.PKCS1v15(), Prehashed(SHA256)),
     spki(RSA.public_key())),
    ("PKIX_RSA_PSS_2048_SHA256", "sha256",
     lambda d: RSA.sign(d, padding.PSS(padding.MGF1(SHA256), 32), Prehashed(SHA256)), spki(RSA.public_key())),
    ("PKIX_ED25519_PH", "sha512", lambda d: PH_SIGNATURE,
     spki(ed25519.Ed25519PublicKey.from_public_bytes(PH_KEY)))])
def test_other_signers(stack: Stack, details: str, digest: str, signature: Any, key: bytes) -> None:
    value = hashlib.new(digest, b"abc").digest()
    body = request(digest=b64(value), content=b64(signature(value)), keyDetails=details,
                   publicKey={"rawBytes": b64(key)})
    assert post(stack, body).status == 201
    wrong = hashlib.new(digest, b"abd").digest()
    reply = post(stack, request(digest=b64(wrong), content=b64(signature(value)), keyDetails=details,
                                publicKey={"rawBytes": b64(key)}))
    assert reply.status == 400
    assert "signature.content: the signature does not verify" in reply.message


@pytest.mark.parametrize(("body", "reason"), [
    (request(content=b64(b"no signature")), "signature.content: the signature does not verify"),
    (request(digest=b64(hashlib.sha256(b"other").digest())), "signature.content: the signature does not verify"),
    (request(digest=b64(bytes(20))), "digest: got 20 bytes, expected 32"),
    (request(digest=b64(bytes(48))), "digest: got 48 bytes, expected 32"),
    (request(digest=""), "digest: got '', expected base64"),
    (request(digest="***"), "digest: got '***', expected base64"),
    (request(keyDetails=None), "keyDetails: got None"),
    (request(keyDetails="PKIX_ED25519"), "keyDetails: got 'PKIX_ED25519', expected one of"),
    (request(keyDetails=999), "keyDetails: got 999"),
    (request(keyDetails="PKIX_ECDSA_P384_SHA_384", digest=b64(bytes(48))), "the key is ECDSA secp256r1"),
    (request(keyDetails="PKIX_RSA_PKCS1V15_3072_SHA256", publicKey={"rawBytes": b64(spki(RSA.public_key()))}),
     "keyDetails says PKIX_RSA_PKCS1V15_3072_SHA256, the key is RSA 2048"),
    (request(publicKey={"rawBytes": b64(b"-----BEGIN PUBLIC KEY-----")}), "or key in DER, not PEM"),
    (request(publicKey=None), "expected one of x509Certificate and publicKey"),
    (request(x509Certificate={"rawBytes": "AAAA"}), "expected one of x509Certificate and publicKey"),
    (request(publicKey=None, x509Certificate={"rawBytes": "AAAA"}), "expected a certificate or key in DER"),
    (request(z=1), "hashedRekordRequestV002.z: a field that custody does not know"),
    ({**request(), "z": {}}, "request.z: a field that custody does not know"),
    ({}, "invalid type, must be hashedrekord"),
    ({"dsseRequestV002": {}}, "invalid type, must be hashedrekord"),
    ({"hashedRekordRequestV002": {}, "hashed_rekord_request_v002": {}}, "under both of its names"),
    (b"{", "expected one JSON document"),
    (b'{"a":1,"a":2}', "key 'a' twice"),
    (b" " * (4 * 1024 * 1024 + 1), "http: request body too large"),
])
def test_requests_that_are_refused(stack: Stack, body: Any, reason: str) -> None:
    size = stack.log.log.size
    reply = post(stack, body)
    assert (reply.status, reply.json()["code"]) == (400, 3)
    assert reason in reply.message
    assert stack.log.log.size == size


def test_an_entry_too_long_for_a_bundle_is_refused(stack: Stack) -> None:
    pss = padding.PSS(padding.MGF1(SHA256), 32)
    digest = hashlib.sha256(b"x").digest()
    big = spki(RSA.public_key()) + bytes(70_000)  # trailing bytes make the DER invalid as well
    reply = post(stack, request(b"x", digest=b64(digest), content=b64(RSA.sign(digest, pss, Prehashed(SHA256))),
                                keyDetails="PKIX_RSA_PSS_2048_SHA256", publicKey={"rawBytes": b64(big)}))
    assert reply.status == 400


def test_a_get_is_unimplemented_as_in_rekor(stack: Stack) -> None:
    reply = call(stack.endpoints.log, "GET", PATH)
    assert (reply.status, reply.json()["code"]) == (501, 12)


def test_ed25519ph() -> None:
    digest = hashlib.sha512(b"abc").digest()
    verify_ed25519ph(PH_KEY, PH_SIGNATURE, digest)
    order = 2**252 + 27742317777372353535851937790883648493
    malleable = (int.from_bytes(PH_SIGNATURE[32:], "little") + order).to_bytes(32, "little")
    for key, signature, value, reason in (
            (PH_KEY, PH_SIGNATURE, hashlib.sha512(b"abd").digest(), "does not verify"),
            (PH_KEY, bytes(64), digest, "does not verify"),
            (PH_KEY, PH_SIGNATURE[:32] + malleable, digest, "out of range"),
            (bytes(32), PH_SIGNATURE, digest, "out of range"),
            (PH_KEY, PH_SIGNATURE[:63], digest, "expected 32, 64 and 64")):
        with pytest.raises(VerificationError, match=reason):
            verify_ed25519ph(key, signature, value)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from([
                        "hashedRekordRequestV002", "digest", "signature", "content", "verifier", "keyDetails",
                        "publicKey", "rawBytes", "x509Certificate"]), inner, max_size=5)))
def test_random_requests_are_refused(value: object) -> None:
    with pytest.raises(CustodyError):
        parse_request(json.dumps(value).encode())


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_changed_requests_are_refused_or_verify(place: int, change: int) -> None:
    data = bytearray(json.dumps(request()).encode())
    data[place % len(data)] ^= change
    try:
        entry = parse_request(bytes(data))
        entry.verify()
    except CustodyError:
        return
    assert entry.digest == hashlib.sha256(b"artifact").digest()
