"""Keys and roots in PEM that a policy names: the same rules as for the entries of a trusted root."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from custody.errors import MalformedError, UnsupportedError, UsageError
from custody.ports.lookup import Authority
from custody.sign.trusting import trust_of
from tests.sign.notary.materials import issue, key_of, pem

KEY = key_of("EC-256", 41)
PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def text(key: dsa.DSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("kind", ["EC-256", "EC-384", "RSA-2048"])
def test_a_log_by_its_key(kind: str) -> None:
    made = key_of(kind).public_key()
    (log,) = trust_of(Authority(log_key=made.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
                                log_url="https://log.example"), None).root.tlogs
    assert (log.base_url, log.key_der) == ("https://log.example", made.public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize(("named", "where"), [("log_key", "rekor.pubkey"), ("ct_key", "ctlog.pubkey")])
def test_no_key_of_a_log(named: str, where: str) -> None:
    with pytest.raises(UsageError, match=f"{where}: is a private key") as raised:
        trust_of(Authority(**{named: PRIVATE}), None)
    assert PRIVATE.splitlines()[1][:20] not in raised.value.message
    with pytest.raises(MalformedError, match=f"{where}: got 'no key', expected a PEM public key"):
        trust_of(Authority(**{named: "no key"}), None)
    with pytest.raises(UnsupportedError, match=f"{where}: logs have ECDSA, RSA or Ed25519 keys"):
        trust_of(Authority(**{named: text(dsa.generate_private_key(1024))}), None)


def test_roots() -> None:
    root = issue(KEY, "root", None, ca=True)
    (authority,) = trust_of(Authority(roots=pem(root).decode()), None).root.certificate_authorities
    assert (authority.uri, authority.organization, authority.common_name) == ("roots", "acme", "root")
    with pytest.raises(MalformedError, match="which may not sign certificates"):
        trust_of(Authority(roots=pem(issue(KEY, "root", None, ca=True, usages=("crl_sign",))).decode()), None)
    with pytest.raises(MalformedError, match="none of them a root"):
        trust_of(Authority(roots=pem(issue(KEY, "leaf", None)).decode()), None)
