"""The timestamp authority, judged by rfc3161-client and openssl."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st
from rfc3161_client import TimestampRequestBuilder, VerifierBuilder, decode_timestamp_response
from rfc3161_client import VerificationError as ClientError
from rfc3161_client.base import HashAlgorithm

from custody.errors import CustodyError
from custody.trust.tsa import MAX_REQUEST, parse_request
from tests.conftest import peer
from tests.trust.client import Reply, call
from tests.trust.stack import NOW, SettableClock, Stack, serving

PATH = "/api/v1/timestamp"
DER = {"Content-Type": "application/timestamp-query"}
DIGEST = hashlib.sha256(b"artifact").digest()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("tsa"), SettableClock()) as served:
        yield served


def post(stack: Stack, body: bytes | dict[str, Any], headers: dict[str, str] | None = None) -> Reply:
    return call(stack.endpoints.tsa, "POST", PATH, body, DER if headers is None else headers)


def query(algorithm: str = "sha256", digest: bytes = DIGEST, **fields: Any) -> bytes:
    return bytes(tsp.TimeStampReq({"version": "v1", "message_imprint": {
        "hash_algorithm": {"algorithm": algorithm}, "hashed_message": digest}, **fields}).dump())


@pytest.mark.parametrize("algorithm", [HashAlgorithm.SHA256, HashAlgorithm.SHA512])
@pytest.mark.parametrize("certificates", [True, False])
@pytest.mark.parametrize("nonce", [True, False])
def test_rfc3161_client_verifies(stack: Stack, algorithm: HashAlgorithm, certificates: bool, nonce: bool) -> None:
    request = (TimestampRequestBuilder().data(b"artifact").hash_algorithm(algorithm).nonce(nonce=nonce)
               .cert_request(cert_request=certificates).build())
    reply = post(stack, request.as_bytes())
    assert (reply.status, reply.headers["content-type"]) == (200, "application/timestamp-reply")
    response = decode_timestamp_response(reply.body)
    leaf, root = stack.material.tsa_chain
    builder = VerifierBuilder.from_request(request).add_root_certificate(root).tsa_certificate(leaf)
    assert builder.build().verify_message(response, b"artifact")
    assert response.tst_info.gen_time == NOW.replace(microsecond=0)
    assert response.tst_info.nonce == request.nonce
    assert len(response.signed_data.certificates) == certificates
    other = stack.material.ca_chain[-1]
    wrong = VerifierBuilder.from_request(request).add_root_certificate(other).tsa_certificate(leaf).build()
    with pytest.raises(ClientError):
        wrong.verify_message(response, b"artifact")
    with pytest.raises(ClientError):
        builder.build().verify_message(response, b"another artifact")


@pytest.mark.peer
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_openssl_verifies(stack: Stack, tmp_path: Path, digest: str) -> None:
    openssl = peer("openssl")
    names = ("artifact", "query", "reply", "root", "leaf")
    artifact, request, reply, root, leaf = (tmp_path / name for name in names)
    artifact.write_bytes(b"artifact")
    leaf.write_bytes(stack.material.tsa_chain[0].public_bytes(Encoding.PEM))
    root.write_bytes(stack.material.tsa_chain[1].public_bytes(Encoding.PEM))
    subprocess.run([openssl, "ts", "-query", "-data", artifact, f"-{digest}", "-cert", "-out", request], check=True,
                   capture_output=True)
    reply.write_bytes(post(stack, request.read_bytes()).body)
    verify: list[str | Path] = [openssl, "ts", "-verify", "-in", reply, "-CAfile", root, "-untrusted", leaf, "-attime",
              str(int(NOW.timestamp()) + 1)]
    for option, path in (("-queryfile", request), ("-data", artifact)):
        done = subprocess.run([*verify, option, path], capture_output=True, text=True, check=False)
        assert "Verification: OK" in done.stdout, done.stderr
    artifact.write_bytes(b"changed")
    assert subprocess.run([*verify, "-data", artifact], capture_output=True, check=False).returncode != 0


def test_the_certificate_may_only_stamp(stack: Stack) -> None:
    usage = stack.material.tsa_chain[0].extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert usage.critical
    assert list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]
    chain = x509.load_pem_x509_certificates(call(stack.endpoints.tsa, "GET", f"{PATH}/certchain").body)
    assert tuple(chain) == stack.material.tsa_chain


def test_json_requests(stack: Stack) -> None:
    reply = post(stack, {"artifactHash": base64.b64encode(DIGEST).decode(), "hashAlgorithm": "sha256",
                         "certificates": True, "nonce": 7}, {})
    response = decode_timestamp_response(reply.body)
    assert (response.tst_info.nonce, len(response.signed_data.certificates)) == (7, 1)
    assert bytes(response.tst_info.message_imprint.message) == DIGEST


@pytest.mark.parametrize(("body", "reason"), [
    (query("sha1", bytes(20)), "Weak hash algorithm in timestamp request: got sha1, expected sha256"),
    (query("md5", bytes(16)), "Weak hash algorithm"),
    (query(digest=bytes(31)), "timestamp request digest: got '31 bytes', expected 32 bytes of sha256"),
    (query("sha512"), "expected 64 bytes of sha512"),
    (query(req_policy="1.2.3"), "unaccepted policy: 1.2.3"),
    (query(nonce=-1), "timestamp request nonce: got -1"),
    (query(nonce=1 << 200), "timestamp request nonce"),
    (query(extensions=[{"extn_id": "1.2.3.4", "critical": True, "extn_value": b"x"}]), "extensions: none is"),
    (query() + b"x", "expected a DER TimeStampReq"),
    (b"garbage", "expected a DER TimeStampReq"),
    (b"0" * (MAX_REQUEST + 1), "request body too large"),
])
def test_queries_that_are_refused(stack: Stack, body: bytes, reason: str) -> None:
    reply = post(stack, body)
    assert (reply.status, reply.json()["code"]) == (400, 400)
    assert reason in reply.message


def test_requests_that_are_no_queries(stack: Stack) -> None:
    assert (post(stack, b"").status, post(stack, b"").json()["code"]) == (422, 602)
    assert post(stack, query(), {"Content-Type": "text/plain"}).status == 415
    for body, reason in (({"artifactHash": "AAAA", "hashAlgorithm": "sha256"}, "expected 32 bytes"),
                         ({"artifactHash": base64.b64encode(bytes(20)).decode(), "hashAlgorithm": "sha1"}, "Weak hash"),
                         ({"artifactHash": "AAAA", "hashAlgorithm": "sha256", "tsaPolicyOID": "1.2"}, "tsaPolicyOID"),
                         ({"artifactHash": "AAAA"}, "hashAlgorithm: got null")):
        reply = post(stack, body, {})
        assert reply.status == 400
        assert reason in reply.message
    assert call(stack.endpoints.tsa, "GET", PATH).status == 501


def test_the_clock_is_the_service_s(stack: Stack) -> None:
    first = decode_timestamp_response(post(stack, query()).body)
    assert first.tst_info.accuracy is not None
    assert first.tst_info.accuracy.seconds == 1
    clock = stack.tsa._clock
    assert isinstance(clock, SettableClock)
    clock.now += timedelta(hours=1)
    later = decode_timestamp_response(post(stack, query()).body)
    assert later.tst_info.gen_time - first.tst_info.gen_time == timedelta(hours=1)
    clock.now = NOW


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CustodyError):
        parse_request(data)


@given(st.integers(0, 200), st.integers(1, 255))
def test_changed_queries_are_read_or_refused(place: int, change: int) -> None:
    data = bytearray(query(nonce=12345, cert_req=True, req_policy="1.3.6.1.4.1.57264.2"))
    data[place % len(data)] ^= change
    try:
        assert len(parse_request(bytes(data)).digest) in (32, 48, 64)
    except CustodyError:
        return
