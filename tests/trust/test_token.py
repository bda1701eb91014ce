"""Identity tokens: for each thing that is checked, a token where exactly that is wrong."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from custody.errors import AuthenticationError, CustodyError, MalformedError, UsageError
from custody.trust.identity import Identity, IdentityVerifier, TrustedIssuer
from custody.trust.oidc import OidcIssuer
from custody.trust.token import LocalKeys, VerificationKey, parse_jwks, parse_token, verify_token
from tests.trust.stack import NOW, SettableClock

KEY = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
ISSUER = OidcIssuer("https://issuer.example", KEY, SettableClock())
BUILDS = OidcIssuer("https://builds.example", KEY, SettableClock())
SERVICES = OidcIssuer("https://id.services.example", KEY, SettableClock())
VERIFIER = IdentityVerifier((
    TrustedIssuer(ISSUER.url, LocalKeys(ISSUER.jwks())),
    TrustedIssuer(BUILDS.url, LocalKeys(BUILDS.jwks()), "github-workflow"),
    TrustedIssuer(SERVICES.url, LocalKeys(SERVICES.jwks()), "uri", subject_domain="https://run.services.example")))
EMAIL = {"sub": "dev", "email": "dev@example.com", "email_verified": True}
NOW_S = int(NOW.timestamp())


def part(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def verify(token: str, verifier: IdentityVerifier = VERIFIER) -> Identity:
    return asyncio.run(verifier.verify(token, NOW))


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    full = {"iss": ISSUER.url, "aud": "sigstore", "exp": NOW_S + 60, **EMAIL, **claims}
    return f"{part(header)}.{part(full)}.{part(signature)}"


@pytest.mark.parametrize(("claims", "reason"), [
    ({"aud": "other"}, "aud: got 'other', expected 'sigstore'"),
    ({"aud": ["other"]}, r"aud: got \['other'\]"),
    ({"aud": None}, "aud: got None"),
    ({"iss": "https://evil.example"}, "iss: 'https://evil.example' is not a trusted issuer"),
    ({"iss": "https://issuer.example/"}, "iss: 'https://issuer.example/' is not a trusted issuer"),
    ({"exp": NOW_S}, "exp: expired 0 s ago"),
    ({"exp": None}, "exp: got None, expected seconds"),
    ({"exp": "tomorrow"}, "exp: got 'tomorrow'"),
    ({"exp": 1e300}, "exp: got 1e"),
    ({"exp": True}, "exp: got True"),
    ({"nbf": NOW_S + 62}, "nbf: not valid for another 61 s"),
    ({"iat": NOW_S + 3600}, "iat: not valid for another"),
    ({"email_verified": False}, "email_verified: got False, expected true"),
    ({"email_verified": "true"}, "email_verified: got 'true'"),
    ({"email": ""}, "email: got ''"),
    ({"email": "no address"}, "email: got 'no address', expected an address"),
    ({"email": "dév@example.com"}, "expected an address in ASCII"),
    ({"email": ["dev@example.com"]}, "email: got"),
    ({"sub": None}, "sub: got 'None'"),
    ({"sub": "x" * 3000}, "expected printable text of at most 2048"),
])
def test_claims(claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(AuthenticationError, match=reason):
        verify(ISSUER.mint({**EMAIL, **claims}))


def test_a_good_token_and_a_list_of_audiences() -> None:
    identity = verify(ISSUER.mint({**EMAIL, "aud": ["other", "sigstore"], "nbf": NOW_S + 59}))
    assert identity.name.value == identity.challenge == "dev@example.com"
    assert identity.extensions == ((1, ISSUER.url), (8, ISSUER.url), (24, "dev"))


def test_algorithms_that_no_issuer_may_choose() -> None:
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    kid = json.loads(ISSUER.jwks())["keys"][0]["kid"]
    refused: list[Any] = ["none", "None", "HS256", "HS512", "ES256K", "", None, ["ES256"], {}]
    for alg in refused:
        signed = unsigned({"alg": alg, "kid": kid}, {}).rpartition(".")[0]
        forged = hmac.digest(pem, signed.encode(), hashlib.sha256)  # the public key as a secret
        with pytest.raises(AuthenticationError, match=r"identity token alg: got .*, expected one of RS256"):
            verify(f"{signed}.{part(forged)}")
    with pytest.raises(AuthenticationError, match="identity token crit"):
        verify(unsigned({"alg": "ES256", "kid": kid, "crit": ["exp"]}, {}))


def test_the_key_is_the_issuer_s_and_of_the_right_kind() -> None:
    kid = json.loads(ISSUER.jwks())["keys"][0]["kid"]
    with pytest.raises(AuthenticationError, match="kid: 'other' is none of the issuer's keys"):
        verify(unsigned({"alg": "ES256", "kid": "other"}, {}))
    with pytest.raises(AuthenticationError, match="alg: got RS256, the issuer's key is for ES256"):
        verify(unsigned({"alg": "RS256", "kid": kid}, {}))
    with pytest.raises(AuthenticationError, match="signature does not verify"):
        verify(unsigned({"alg": "ES256", "kid": kid}, {}, bytes(64)))
    with pytest.raises(AuthenticationError, match="signature does not verify"):
        verify(unsigned({"alg": "ES256", "kid": kid}, {}, b""))
    stranger = OidcIssuer(ISSUER.url, ec.generate_private_key(ec.SECP256R1()), SettableClock())
    head, claims, signature = stranger.mint(EMAIL).split(".")
    with pytest.raises(AuthenticationError, match="is none of the issuer's keys"):
        verify(f"{head}.{claims}.{signature}")
    mine = ISSUER.mint(EMAIL).split(".")
    with pytest.raises(AuthenticationError, match="signature does not verify"):
        verify(f"{mine[0]}.{mine[1]}.{signature}")
    with pytest.raises(AuthenticationError, match="signature does not verify"):
        verify(f"{mine[0]}.{ISSUER.mint({**EMAIL, 'email': 'evil@example.com'}).split('.')[1]}.{mine[2]}")


@pytest.mark.parametrize(("alg", "bits"), [("RS256", 2048), ("RS384", 2048), ("RS512", 2048), ("PS256", 2048),
                                           ("ES384", 384), ("ES512", 521), ("EdDSA", 0), ("RS256", 1024)])
def test_other_issuers_algorithms(alg: str, bits: int) -> None:
    header = {"alg": alg}
    signed = unsigned(header, {}).rpartition(".")[0]
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}.get(alg[2:], hashes.SHA256())
    data = signed.encode()
    if alg[:2] in ("RS", "PS"):
        key = RSA if bits == 2048 else rsa.generate_private_key(65537, bits)
        scheme = padding.PKCS1v15() if alg[0] == "R" else padding.PSS(padding.MGF1(digest), digest.digest_size)
        signature, jwk = key.sign(data, scheme, digest), RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif alg == "EdDSA":
        edwards = ed25519.Ed25519PrivateKey.generate()
        signature, jwk = edwards.sign(data), OKPAlgorithm.to_jwk(edwards.public_key(), as_dict=True)
    else:
        curve = ec.generate_private_key(ec.SECP384R1() if bits == 384 else ec.SECP521R1())
        algorithm = ECAlgorithm(ECAlgorithm.SHA384 if bits == 384 else ECAlgorithm.SHA512)
        signature, jwk = algorithm.sign(data, curve), ECAlgorithm.to_jwk(curve.public_key(), as_dict=True)
    verifier = IdentityVerifier((TrustedIssuer(ISSUER.url, LocalKeys(json.dumps({"keys": [jwk]}).encode())),))
    token = f"{signed}.{part(signature)}"
    if bits == 1024:
        with pytest.raises(AuthenticationError, match="or the key is weak"):
            verify(token, verifier)
    else:
        assert verify(token, verifier).challenge == "dev@example.com"


@pytest.mark.parametrize(("token", "reason"), [
    ("x" * 20_000, "got '20000 bytes', expected at most 16384"), ("a.b", r"'2 part\(s\)'"),
    ("a.b.c.d", r"'4 part\(s\)'"), ("." * 16_000, r"'16001 part\(s\)'"),
    ("." * (1 << 22), "at most 16384"), ("*.b.c", "expected base64url"), ("", r"'1 part\(s\)'"),
    (f"{part(b'{}')}.{part(b'[]')}.", "no claim iss"),
    (f"{part({})}.{part({'iss': 1})}.", "no claim iss"),
    (".".join((part({"alg": "ES256"}), part(b'{"iss":"a","iss":"b"}'), "")), "key 'iss' twice"),
    (f"{part(b'[' * 40 + b']' * 40)}.{part(b'{}')}.", "nesting deeper than 16"),
])
def test_broken_tokens(token: str, reason: str) -> None:
    """CVE-2025-66506 among them: a token of nothing but dots took memory for each."""
    with pytest.raises(MalformedError, match=reason):
        verify(token)


@given(st.text(max_size=200) | st.lists(st.binary(max_size=60).map(part), min_size=3, max_size=3).map(".".join))
def test_random_tokens_are_refused(text: str) -> None:
    with pytest.raises(CustodyError):
        parse_token(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                        st.sampled_from(["keys", "kty", "use", "kid", "alg", "x", "y", "crv", "n", "e"]), inner)))
def test_random_key_sets_are_read_or_refused(value: object) -> None:
    try:
        assert isinstance(parse_jwks(json.dumps(value).encode()), tuple)
    except MalformedError:
        return


def test_keys_for_encryption_and_of_other_types_are_passed_over() -> None:
    keys = json.loads(ISSUER.jwks())["keys"]
    keys = [{"kty": "oct", "k": "c2VjcmV0"}, {**keys[0], "use": "enc"}, *keys]
    found = parse_jwks(json.dumps({"keys": keys}).encode())
    assert [key.kid for key in found] == [keys[2]["kid"]]


def test_a_token_without_kid_needs_an_issuer_with_one_key() -> None:
    class Source:
        async def keys(self, *, refresh: bool) -> tuple[VerificationKey, ...]:
            return tuple(VerificationKey(KEY.public_key(), None, None) for _ in range(2))

    token = parse_token(unsigned({"alg": "ES256"}, {}))
    with pytest.raises(AuthenticationError, match="kid: None is none"):
        asyncio.run(verify_token(token, Source(), "sigstore", NOW))


def test_a_workflow_s_certificate_says_what_github_s_does() -> None:
    token = BUILDS.mint_workflow("acme/app", ".github/workflows/release.yml", "refs/heads/main", "1" * 40, run=(42, 3),
                                 claims={"environment": "production"}, lifetime=timedelta(minutes=1))
    identity = verify(token)
    at = "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"
    assert identity.name.value == at
    assert identity.challenge == "repo:acme/app:ref:refs/heads/main"
    said = dict(identity.extensions)
    assert sorted(said) == [1, 2, 3, 4, 5, 6, *range(8, 25)]
    assert (said[2], said[4], said[5], said[9], said[18]) == ("push", "release", "acme/app", at, at)
    assert said[16] == "https://github.com/acme"
    assert said[21] == "https://github.com/acme/app/actions/runs/42/attempts/3"
    assert said[23] == "production"


def test_a_workflow_claim_that_is_missing_or_strange() -> None:
    with pytest.raises(AuthenticationError, match="event_name: the claim is missing"):
        verify(BUILDS.mint({"sub": "x"}))
    for value in (7, "line\nbreak", "", {"a": 1}):
        with pytest.raises(AuthenticationError, match="run_id: got"):
            verify(BUILDS.mint_workflow("a/b", "w.yml", "refs/heads/main", "1" * 40,
                                        claims={"run_id": value}))  # type: ignore[dict-item]
    with pytest.raises(AuthenticationError, match="expected a URI in ASCII"):
        verify(BUILDS.mint_workflow("a/b", "w.yml", "refs/heads/mäin", "1" * 40))
    # a claim's braces are text, not a template
    odd = verify(BUILDS.mint_workflow("a/b", "w.yml", "refs/heads/{sub}", "1" * 40))
    assert dict(odd.extensions)[6] == "refs/heads/{sub}"


def test_uri_subjects_stay_in_their_domain() -> None:
    assert verify(SERVICES.mint({"sub": "https://run.services.example/a"})).name.value == "https://run.services.example/a"
    for subject in ("https://run.services.example.evil.org/a", "http://run.services.example/a", "run.services.example"):
        with pytest.raises(AuthenticationError, match="expected a URI below"):
            verify(SERVICES.mint({"sub": subject}))


def test_issuers_that_may_not_be_configured() -> None:
    keys = LocalKeys(ISSUER.jwks())
    with pytest.raises(UsageError, match="subject domain belongs to type uri"):
        TrustedIssuer("https://a.example", keys, subject_domain="https://a.example")
    with pytest.raises(UsageError, match="is not of the issuer's domain"):
        TrustedIssuer("https://a.example", keys, "uri", subject_domain="https://google.com")
    with pytest.raises(UsageError, match="configured twice"):
        IdentityVerifier((TrustedIssuer("https://a.example", keys), TrustedIssuer("https://a.example", keys)))
    with pytest.raises(UsageError, match="expected owner/name"):
        BUILDS.mint_workflow("app", "w.yml", "refs/heads/main", "1" * 40)
