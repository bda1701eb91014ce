"""The CA: what its certificates say, and what it refuses; over HTTP as Fulcio's clients call it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from asn1crypto.core import UTF8String
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, VerificationError
from custody.kit.clock import ClockError
from custody.trust.audit import verify_log
from custody.trust.ca import SigningRequest, _key_of_csr, _public_key
from custody.trust.ctlog import without_poison
from tests.trust.client import Reply, call
from tests.trust.stack import GITHUB, NOW, SettableClock, Stack, build, serving

KEY = ec.generate_private_key(ec.SECP256R1())
V2, V1 = "/api/v2/signingCert", "/api/v1/signingCert"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("ca"), SettableClock()) as served:
        yield served


def public(key: Any, encoding: Encoding = Encoding.PEM) -> bytes:
    return bytes(key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo))


def request(key: Any, proof: bytes, **changes: Any) -> dict[str, Any]:
    return {"publicKeyRequest": {"publicKey": {"algorithm": "ECDSA", "content": public(key).decode()},
                                 "proofOfPossession": base64.b64encode(proof).decode()}, **changes}


def proof(challenge: str, key: Any = KEY) -> bytes:
    message = challenge.encode()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        digest = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.curve.key_size]
        return key.sign(message, ec.ECDSA(digest))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return bytes(key.sign(message))


def post(stack: Stack, body: bytes | dict[str, Any], token: str | None = None, path: str = V2) -> Reply:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return call(stack.endpoints.ca, "POST", path, body, headers)


def token(stack: Stack) -> str:
    return stack.people.mint_email("dev@example.com")


def certificates(reply: Reply) -> list[x509.Certificate]:
    assert reply.status == 200, reply.body
    chain = reply.json()["signedCertificateEmbeddedSct"]["chain"]["certificates"]
    assert not chain[0].endswith("\n")
    return [x509.load_pem_x509_certificate(text.encode()) for text in chain]


def test_an_email_certificate(stack: Stack) -> None:
    leaf, intermediate, root = certificates(post(stack, request(KEY, proof("dev@example.com")), token(stack)))
    leaf.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(root)
    assert leaf.subject == x509.Name([])
    assert leaf.not_valid_before_utc == NOW.replace(microsecond=0)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(minutes=10)
    assert leaf.public_key() == KEY.public_key()
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert san.critical
    assert list(san.value) == [x509.RFC822Name("dev@example.com")]
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CODE_SIGNING]
    assert list(intermediate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CODE_SIGNING]
    constraints = intermediate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    said = {extension.oid.dotted_string: extension.value.public_bytes() for extension in leaf.extensions
            if extension.oid.dotted_string.startswith("1.3.6.1.4.1.57264.1.")}
    issuer = stack.people.url
    assert said == {"1.3.6.1.4.1.57264.1.1": issuer.encode(), "1.3.6.1.4.1.57264.1.8": UTF8String(issuer).dump(),
                    "1.3.6.1.4.1.57264.1.24": UTF8String("dev@example.com").dump()}


def test_the_sct_is_the_ct_log_s_promise_of_what_it_holds(stack: Stack) -> None:
    leaf, intermediate, _ = certificates(post(stack, request(KEY, proof("dev@example.com")), token(stack)))
    scts = list(leaf.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value)
    assert len(scts) == 1
    sct = scts[0]
    log = stack.material.trusted_root(stack.endpoints).ctlogs[0]
    assert sct.log_id == log.log_id
    stamp = int(NOW.timestamp() * 1000)
    issuer_hash = hashes.Hash(hashes.SHA256())
    issuer_hash.update(intermediate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    tbs = leaf.tbs_precertificate_bytes
    entry = (b"\0\0" + stamp.to_bytes(8, "big") + b"\0\1" + issuer_hash.finalize() + len(tbs).to_bytes(3, "big") + tbs
             + b"\0\0")
    stack.material.ctlog_key.public_key().verify(sct.signature, entry, ec.ECDSA(hashes.SHA256()))
    held = {index: entry for index in range(stack.ct.log.size) if index == stack.ct.log.size - 1}
    verifier = stack.material.ct_signer(stack.endpoints).verifier
    assert verify_log(stack.ct_store, verifier, held=held).size == stack.ct.log.size
    note = call(stack.endpoints.ct, "GET", "/ct/checkpoint").body
    assert verifier.verify(note).size == stack.ct.log.size


def test_a_workflow_of_an_issuer_that_is_known_by_file(stack: Stack) -> None:
    text = stack.github.mint_workflow("acme/app", ".github/workflows/release.yml", "refs/heads/main", "1" * 40)
    sub = "repo:acme/app:ref:refs/heads/main"
    leaf = certificates(post(stack, request(KEY, proof(sub)), text))[0]
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(san) == [x509.UniformResourceIdentifier(
        "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main")]
    assert GITHUB.encode() in leaf.public_bytes(Encoding.DER)


@pytest.mark.parametrize("key", [
    ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP521R1()),
    ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)])
def test_other_keys_by_proof_and_by_signing_request(stack: Stack, key: Any) -> None:
    assert certificates(post(stack, request(key, proof("dev@example.com", key)), token(stack)))[0].public_key() == (
        key.public_key())
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, digest)
    body = {"certificateSigningRequest": base64.b64encode(csr.public_bytes(Encoding.PEM)).decode()}
    assert certificates(post(stack, body, token(stack)))[0].public_key() == key.public_key()


def test_a_token_in_the_body_wins_and_names_may_be_snake_case(stack: Stack) -> None:
    good = proof("dev@example.com")
    body = request(KEY, good, credentials={"oidcIdentityToken": token(stack)})
    assert post(stack, body, "garbage").status == 200
    assert post(stack, body).status == 200
    assert post(stack, request(KEY, good, credentials={"oidcIdentityToken": "garbage"}), token(stack)).status == 400
    assert post(stack, {"public_key_request": {"public_key": {"content": public(KEY).decode()},
                                               "proof_of_possession": base64.b64encode(good).decode()},
                        "unknown": 1}, token(stack)).status == 200


def csr_of(key: Any) -> dict[str, str]:
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return {"certificateSigningRequest": base64.b64encode(csr.public_bytes(Encoding.DER)).decode()}


def broken_csr() -> dict[str, str]:
    data = bytearray(base64.b64decode(csr_of(KEY)["certificateSigningRequest"]))
    data[-1] ^= 1
    return {"certificateSigningRequest": base64.b64encode(bytes(data)).decode()}


WEAK = rsa.generate_private_key(65537, 1024)
GOOD = proof("dev@example.com")


@pytest.mark.parametrize(("body", "reason"), [
    (request(KEY, proof("evil@example.com")), "the signature over 'dev@example.com' does not verify"),
    (request(KEY, b""), "proofOfPossession"),
    (request(ec.generate_private_key(ec.SECP256R1()), GOOD), "proofOfPossession: the signature over"),
    (request(ec.generate_private_key(ec.SECP384R1()), GOOD), "does not verify with the given ECDSA secp384r1 key"),
    (request(WEAK, proof("dev@example.com", WEAK)), "public key: RSA 1024 is not accepted"),
    (csr_of(WEAK), "public key: RSA 1024 is not accepted"),
    (request(ec.generate_private_key(ec.SECP256K1()), GOOD), "public key: ECDSA secp256k1 is not accepted"),
    (broken_csr(), "certificateSigningRequest: its signature does not verify with its key"),
    ({"certificateSigningRequest": "AAAA"}, "expected a PKCS #10 request"),
    ({"publicKeyRequest": {"publicKey": {"content": "no key"}, "proofOfPossession": "AAAA"}}, "expected a public key"),
    ({"publicKeyRequest": {"publicKey": {"content": "x" * 20_000}, "proofOfPossession": "AAAA"}}, "at most 16384"),
    ({"publicKeyRequest": {"publicKey": {"content": "x"}, "proofOfPossession": "*"}}, "expected standard base64"),
    ({"publicKeyRequest": []}, "expected a JSON object"),
    ({}, "one of publicKeyRequest and certificateSigningRequest"),
    ({**request(KEY, GOOD), **csr_of(KEY)}, "one of publicKeyRequest and certificateSigningRequest"),
    (b"{", "expected one JSON document"),
    (b'{"a":1,"a":2}', "key 'a' twice"),
    (b"[" * 99 + b"]" * 99, "nesting deeper than 16"),
    (b" " * 70_000, "request body too large"),
])
def test_requests_that_are_refused(stack: Stack, body: Any, reason: str) -> None:
    size = stack.ct.log.size
    reply = post(stack, body, token(stack))
    assert reply.status == 400
    assert reply.json()["code"] == 3
    assert reply.json()["details"] == []
    assert reason in reply.message
    assert stack.ct.log.size == size


@given(st.integers(0, 2000), st.integers(1, 255), st.booleans())
def test_changed_keys_and_signing_requests_are_read_or_refused(place: int, change: int, armoured: bool) -> None:
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(KEY, hashes.SHA256())
    encoding = Encoding.PEM if armoured else Encoding.DER
    for read, data in ((_public_key, public(KEY, encoding)), (_key_of_csr, csr.public_bytes(encoding))):
        broken = bytearray(data)
        broken[place % len(broken)] ^= change
        try:
            assert isinstance(read(bytes(broken)), ec.EllipticCurvePublicKey)
        except CustodyError:
            continue


def test_a_signing_request_of_another_version() -> None:
    data = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(KEY, hashes.SHA256()).public_bytes(
        Encoding.DER)
    with pytest.raises(CustodyError, match="certificateSigningRequest: got '5 is not a valid CSR version'"):
        _key_of_csr(data.replace(b"\x02\x01\x00\x30", b"\x02\x01\x05\x30", 1))


def test_tokens_that_are_refused(stack: Stack) -> None:
    for text, reason in ((None, "identity token: got none"), ("x", "identity token"), ("x" * 17_000, "at most 16384"),
                         (stack.people.mint({"sub": "x", "email": "dev@example.com"}), "email_verified: got None"),
                         (stack.people.mint_email("dev@example.com", audience="other"), "aud: got 'other'"),
                         (stack.people.mint_email("dev@example.com", lifetime=timedelta(0)), "exp: expired"),
                         (stack.github.mint({"sub": "x", "iss": "https://evil.example"}), "is not a trusted issuer")):
        reply = post(stack, request(KEY, GOOD), text)
        assert (reply.status, reply.json()["code"]) == (400, 3)
        assert reason in reply.message


def test_the_older_api_that_cosign_2_uses(stack: Stack) -> None:
    body = {"publicKey": {"algorithm": "ecdsa", "content": base64.b64encode(public(KEY, Encoding.DER)).decode()},
            "signedEmailAddress": base64.b64encode(GOOD).decode()}
    reply = post(stack, body, token(stack), V1)
    assert (reply.status, reply.headers["content-type"]) == (201, "application/pem-certificate-chain")
    assert len(x509.load_pem_x509_certificates(reply.body)) == 3
    assert post(stack, csr_of(KEY), token(stack), V1).status == 201
    assert post(stack, body, None, V1).status == 400


def test_what_the_ca_says_of_itself(stack: Stack) -> None:
    base = stack.endpoints.ca
    bundle = call(base, "GET", "/api/v2/trustBundle").json()["chains"][0]["certificates"]
    assert x509.load_pem_x509_certificate(bundle[-1].encode()) == stack.material.ca_chain[-1]
    assert x509.load_pem_x509_certificates(call(base, "GET", "/api/v1/rootCert").body) == list(stack.material.ca_chain)
    issuers = call(base, "GET", "/api/v2/configuration").json()["issuers"]
    assert issuers[0] == {"issuerUrl": stack.people.url, "audience": "sigstore", "challengeClaim": "email",
                          "spiffeTrustDomain": "", "issuerType": "email", "subjectDomain": "",
                          "skipEmailVerification": False}
    assert [(issuer["issuerType"], issuer["challengeClaim"]) for issuer in issuers[1:]] == [
        ("ci-provider", "sub"), ("ci-provider", "sub"), ("uri", "sub")]
    reply = call(base, "GET", V2)
    assert (reply.status, reply.json()["code"], reply.message) == (501, 12, "Method Not Allowed")
    reply = call(base, "GET", "/api/v2/nothing")
    assert (reply.status, reply.json()["code"], reply.message) == (404, 5, "Not Found")


def test_the_issuer_serves_keys_and_mints_nothing(stack: Stack) -> None:
    document = call(stack.people.url, "GET", "/oidc/.well-known/openid-configuration").json()
    assert (document["issuer"], document["jwks_uri"]) == (stack.people.url, f"{stack.people.url}/keys")
    assert call(stack.people.url, "GET", "/oidc/keys").json()["keys"][0]["alg"] == "ES256"
    for method in ("GET", "POST"):
        for path in ("/oidc/token", "/oidc/auth", "/token"):
            assert call(stack.people.url, method, path).status == 404


def test_keys_by_discovery(stack: Stack) -> None:
    from custody.adapters.http.jwks import DiscoveredKeys
    from custody.adapters.http.stdlib import StdlibHttp
    from custody.errors import AuthenticationError, MalformedError, NetworkError
    from custody.trust.identity import IdentityVerifier, TrustedIssuer
    from custody.trust.oidc import OidcIssuer

    async def verify(url: str, text: str) -> str:
        http = StdlibHttp()
        try:
            verifier = IdentityVerifier((TrustedIssuer(url, DiscoveredKeys(http, url)),))
            return (await verifier.verify(text, NOW)).challenge
        finally:
            await http.close()

    assert asyncio.run(verify(stack.people.url, token(stack))) == "dev@example.com"
    other = OidcIssuer(stack.people.url, ec.generate_private_key(ec.SECP256R1()), SettableClock())
    with pytest.raises(AuthenticationError, match="is none of the issuer's keys"):
        asyncio.run(verify(stack.people.url, other.mint_email("dev@example.com")))
    alias = stack.people.url.replace("127.0.0.1", "localhost")
    with pytest.raises(MalformedError, match="openid-configuration issuer: got 'http://127"):
        asyncio.run(verify(alias, OidcIssuer(alias, KEY, SettableClock()).mint_email("dev@example.com")))
    missing = f"{stack.people.url}/missing"
    with pytest.raises(NetworkError, match="got status 404"):
        asyncio.run(verify(missing, OidcIssuer(missing, KEY, SettableClock()).mint_email("dev@example.com")))


def test_the_ct_log_takes_only_what_its_issuer_signed(stack: Stack) -> None:
    name = x509.Name([])
    stranger = (x509.CertificateBuilder(name, stack.material.ca_chain[0].subject, KEY.public_key(), 1, NOW, NOW)
                .add_extension(x509.PrecertPoison(), critical=True).sign(KEY, hashes.SHA256()))
    with pytest.raises(VerificationError, match="not signed by the log's issuer"):
        asyncio.run(stack.ca._ctlog.add_precertificate(stranger))
    with pytest.raises(VerificationError, match="does not end with the poison extension"):
        without_poison(stack.material.ca_chain[0].tbs_certificate_bytes)


def test_a_clock_that_goes_back_and_forth_does_not_stop_the_ca(tmp_path: Any) -> None:
    clock = SettableClock()
    stack = build(tmp_path, clock=clock)

    def sign() -> tuple[x509.Certificate, ...]:
        return asyncio.run(stack.ca.sign(SigningRequest(token(stack), public(KEY), proof("dev@example.com"))))

    for hours in (0, 8760, 1):  # a year ahead, and back
        clock.now = NOW + timedelta(hours=hours)
        certificate = sign()[0]
        assert certificate.not_valid_before_utc == clock.now.replace(microsecond=0)
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(minutes=10)
    clock.now = NOW - timedelta(seconds=5)
    with pytest.raises(ClockError, match=r"CA: the clock says .*, its certificate begins at 2026-11-24T12:00:00Z"):
        sign()
    clock.now = NOW + timedelta(hours=2)
    assert len(sign()) == 3
    stack.close()
    again = build(tmp_path, clock=clock)
    clock.now = NOW + timedelta(days=4000)
    with pytest.raises(CustodyError, match="CA: its certificate ends at 2036"):
        asyncio.run(again.ca.sign(SigningRequest(token(again), public(KEY), proof("dev@example.com"))))
    again.close()
