"""What goes wrong without an attacker: clocks, passwords, roots of another time, tokens that come again.

Each is said as what it is, with a code of its own where a program has to tell.
"""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import AuthenticationError, Check, CustodyError, MalformedError, ReplayedTokenError, UsageError
from custody.formats import intoto
from custody.formats.bundle import parse_bundle
from custody.kit.clock import ClockError
from custody.kit.pae import pae
from custody.settings.tables import Issuer
from custody.sign.authorities import choose
from custody.sign.keys import generate_key, load_private_key
from custody.sign.verify import Trust, verify_evidence
from custody.trust import identity
from custody.trust.identity import IdentityVerifier, TrustedIssuer
from custody.trust.oidc import OidcIssuer
from custody.trust.roots import Service, Validity, parse_signing_config, parse_trusted_root
from custody.trust.token import LocalKeys, parse_token
from custody.wiring.trust import certificate_authority
from tests.sign.authority import DAY, NOW, b64, entry_body, evidence, new_key
from tests.sign.site import Site
from tests.sign.test_verify import ROOT, WORLD, key_bundle, refused
from tests.trust.stack import build

LATER = Validity(NOW + DAY, NOW + 2 * DAY)


# The clock jumps back

def test_nothing_is_signed_before_the_services_begin() -> None:
    services = (Service("https://old.example", 1, Validity(NOW - 9 * DAY, NOW - 8 * DAY), "o"),
                Service("https://ca.example", 1, Validity(NOW, None), "o"))
    assert choose(services, "certificate authority", (1,), NOW).url == "https://ca.example"
    with pytest.raises(ClockError, match=r"certificate authority: the clock says 2026-05-31T12:00:00Z, "
                       r"https://ca.example is valid from 2026-06-01T12:00:00Z") as caught:
        choose(services, "certificate authority", (1,), NOW - DAY)
    assert (caught.value.code, caught.value.hint) == ("clock", "set the machine's clock right")
    with pytest.raises(UsageError, match="no certificate authority that is valid now and of API version 2"):
        choose(services, "certificate authority", (2,), NOW - DAY)


def test_what_was_attested_does_not_hang_on_the_clock() -> None:
    for moment in (NOW - 9000 * DAY, NOW, NOW + 9000 * DAY):
        assert verify_evidence(evidence(WORLD.keyless()), Trust(ROOT), moment).signed_at == NOW


def test_a_logged_key_of_which_nobody_says_when() -> None:
    key, document = _logged_key()
    trust = Trust(ROOT, (key,))
    assert verify_evidence(evidence(document), trust, NOW).log is not None
    with pytest.raises(CustodyError, match=r"nothing attests when it was made, the clock says 2026-04-\S+, and the log "
                       r"https://log2.example is trusted from 2026-05-02") as caught:
        verify_evidence(evidence(document), trust, NOW - 40 * DAY)
    assert "clock" in str(caught.value.hint)


def _logged_key() -> tuple[Any, dict[str, Any]]:
    key = generate_key()
    document = key_bundle(key)
    payload = base64.b64decode(document["dsseEnvelope"]["payload"])
    signature = base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"])
    body = entry_body("v2", pae(intoto.PAYLOAD_TYPE, payload), payload, signature, b"", b"")
    verifier = body["spec"]["hashedRekordV002"]["signature"]["verifier"]
    del verifier["x509Certificate"]
    verifier["publicKey"] = {"rawBytes": b64(key.public.der)}
    document["verificationMaterial"]["tlogEntries"] = [WORLD.entry(body, v1=False)]
    return key.public, document


# Roots of another time

@pytest.mark.parametrize(("part", "check"), [("ca", Check.CERTIFICATE), ("ct", Check.SCT), ("tsa", Check.TIME),
                                             ("log2", Check.LOG)])
@pytest.mark.parametrize("window", [Validity(NOW - 3 * DAY, NOW - DAY), LATER], ids=["expired", "future"])
def test_roots_that_are_expired_or_to_come(part: str, check: Check, window: Validity) -> None:
    refused(WORLD.keyless(), check, f"is trusted from {window}", WORLD.trusted_root(**{part: window}))


# Passwords, keys twice, names

def test_a_key_file_and_another_password(site: Site, capsys: pytest.CaptureFixture[str],
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    data = (site.folder / "cosign.key").read_bytes()
    assert load_private_key(data, b"hello", "cosign.key")
    for password in (b"", b"Hello", b"hello\n", b"x" * 100_000):
        with pytest.raises(UsageError, match=r"cosign.key: wrong password, or a damaged file"):
            load_private_key(data, password, "cosign.key")
    monkeypatch.setenv("COSIGN_PASSWORD", "wrong")
    assert site.custody("sign", "--key", str(site.folder / "cosign.key"), site.push("password")) == 2
    assert "wrong password" in capsys.readouterr().err


@pytest.mark.parametrize("read", [parse_bundle, parse_trusted_root, parse_signing_config])
def test_a_key_twice_in_each_document(read: Any) -> None:
    with pytest.raises(MalformedError, match=r"key 'mediaType' twice in one object"):
        read(b'{"mediaType":"a","mediaType":"b"}')


def test_a_certificate_of_two_names() -> None:
    names = x509.SubjectAlternativeName([x509.RFC822Name("ann@example.com"), x509.RFC822Name("eve@example.com")])
    key = new_key()
    leaf = _renamed(key, names)
    refused(WORLD.keyless(key=key, cert=leaf), Check.CERTIFICATE,
            "certificate: 2 subject alternative names, expected exactly one")


def _renamed(key: Any, names: x509.SubjectAlternativeName) -> x509.Certificate:
    leaf = WORLD.leaf(key)
    builder = (x509.CertificateBuilder().subject_name(leaf.subject).issuer_name(leaf.issuer)
               .public_key(key.public_key()).serial_number(leaf.serial_number)
               .not_valid_before(leaf.not_valid_before_utc).not_valid_after(leaf.not_valid_after_utc))
    for extension in leaf.extensions:
        other = isinstance(extension.value, x509.SubjectAlternativeName)
        builder = builder.add_extension(names if other else extension.value, extension.critical)
    return builder.sign(WORLD.ca_key, hashes.SHA256())


def test_a_token_with_a_critical_header_that_nobody_knows() -> None:
    """RFC 7515 section 4.1.11. Of JWS and COSE envelopes tests/sign/notary/test_cose_labels.py says the same."""
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    for names in (["b64"], [], "b64"):
        with pytest.raises(AuthenticationError, match=r"identity token crit: .* is not understood"):
            parse_token(f"{part({'alg': 'ES256', 'crit': names, 'b64': True})}.{part({'iss': 'x'})}.c2ln")


# A token comes again

def _verifier(*, single_use: bool) -> tuple[OidcIssuer, IdentityVerifier]:
    issuer = OidcIssuer("https://people.example", ec.generate_private_key(ec.SECP256R1()), lambda: NOW)
    return issuer, IdentityVerifier((TrustedIssuer(issuer.url, LocalKeys(issuer.jwks()), single_use=single_use),))


def test_a_token_that_counts_once() -> None:
    issuer, verifier = _verifier(single_use=True)
    first, second = (issuer.mint_email("dev@example.com", lifetime=timedelta(minutes=minutes)) for minutes in (5, 6))

    def verify(text: str) -> str:
        return asyncio.run(verifier.verify(text, NOW)).challenge

    assert verify(first) == verify(second) == "dev@example.com"
    for text in (first, second):
        with pytest.raises(ReplayedTokenError, match="it was used before, and this issuer's tokens count once"
                           ) as caught:
            verify(text)
        assert (caught.value.code, caught.value.exit_code, caught.value.http_status) == ("token_replayed", 5, 401)


def test_a_token_counts_again_where_nobody_said_otherwise() -> None:
    """As at Fulcio: a job signs several images with the one that it has."""
    issuer, verifier = _verifier(single_use=False)
    text = issuer.mint_email("dev@example.com")
    for _ in range(2):
        assert asyncio.run(verifier.verify(text, NOW)).challenge == "dev@example.com"


def test_as_many_are_remembered_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_MAX_SPENT", 2)
    issuer, verifier = _verifier(single_use=True)
    texts = [issuer.mint_email("dev@example.com", lifetime=timedelta(minutes=minutes)) for minutes in (1, 9, 10)]
    for text in texts[:2]:
        asyncio.run(verifier.verify(text, NOW))
    with pytest.raises(AuthenticationError, match="2 that are still valid were used, and no more are remembered"):
        asyncio.run(verifier.verify(texts[2], NOW))
    assert asyncio.run(verifier.verify(texts[2], NOW + timedelta(minutes=2))).challenge == "dev@example.com"
    with pytest.raises(ReplayedTokenError):
        asyncio.run(verifier.verify(texts[1], NOW + timedelta(minutes=2)))


def test_a_token_that_is_not_an_issuers_is_not_spent() -> None:
    issuer, verifier = _verifier(single_use=True)
    text = issuer.mint_email("dev@example.com")
    with pytest.raises(AuthenticationError, match="exp: expired"):
        asyncio.run(verifier.verify(text, NOW + DAY))
    assert asyncio.run(verifier.verify(text, NOW)).challenge == "dev@example.com"


def test_the_setting_reaches_the_certificate_authority(tmp_path: Path) -> None:
    stack = build(tmp_path)
    (tmp_path / "keys.json").write_bytes(stack.people.jwks())
    issuers = [Issuer(url=f"https://{name}.example", jwks=str(tmp_path / "keys.json"), single_use=name == "once")
               for name in ("once", "often")]
    authority = certificate_authority(stack.material, stack.endpoints, stack.ct, own_jwks=tmp_path / "keys.json",
                                      issuers=issuers, http=StdlibHttp(), clock=lambda: NOW)
    assert {issuer.url: issuer.single_use for issuer in authority.identities.issuers if issuer.url.endswith("example")
            and issuer.url.split("//")[1].startswith("o")} == {"https://once.example": True,
                                                               "https://often.example": False}
    stack.close()
