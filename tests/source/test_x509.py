"""Commits signed with a person's own certificate: each reason why one does not count, and what gpgsm itself makes."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID

from custody.adapters.git import GitRepository
from custody.errors import CustodyError
from custody.formats.gitobject import Commit
from custody.sign.trusting import authorities
from custody.source.signatures import Believed
from custody.source.x509 import verify_x509
from custody.trust.roots import CertificateAuthority
from tests.source.repositories import GitFolder

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
PAYLOAD = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ncommitter Ann <ann@example.com> 1780315200 +0000\n\nA shop\n"
ANN = x509.SubjectAlternativeName([x509.RFC822Name("ann@example.com")])
MAIL = x509.ExtendedKeyUsage([Usage.EMAIL_PROTECTION])


def name(text: str, email: str | None = None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, text)]
    return x509.Name(parts + ([x509.NameAttribute(NameOID.EMAIL_ADDRESS, email)] if email else []))


def usage(**allowed: bool) -> x509.KeyUsage:
    every = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                           "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(**{**every, **allowed})


class Authority:
    def __init__(self, title: str = "Team CA", issuer: Authority | None = None,
                 *extensions: x509.ExtensionType, key: rsa.RSAPrivateKey | None = None) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = name(title)
        more = extensions or (x509.BasicConstraints(ca=True, path_length=None),)
        self.certificate = (issuer or self).issue(self.key.public_key(), self.name, *more)

    def issue(self, key: object, subject: x509.Name, *extensions: x509.ExtensionType, start: datetime = NOW - DAY,
              end: datetime = NOW + 30 * DAY, critical: tuple[type, ...] = ()) -> x509.Certificate:
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)  # type: ignore[arg-type]
                   .serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end))
        for extension in extensions:
            builder = builder.add_extension(extension, isinstance(extension, (x509.BasicConstraints, *critical)))
        return builder.sign(self.key, hashes.SHA256())

    @property
    def trusted(self) -> tuple[CertificateAuthority, ...]:
        return authorities(self.certificate.public_bytes(Encoding.PEM).decode(), "--ca-roots")


CA = Authority()


class Person:
    """With a certificate of an authority for whatever it is told."""

    def __init__(self, *extensions: x509.ExtensionType, authority: Authority = CA, subject: x509.Name | None = None,
                 start: datetime = NOW - DAY, end: datetime = NOW + 30 * DAY, critical: tuple[type, ...] = ()) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = authority.issue(self.key.public_key(), subject or name("Ann"), *(extensions or (ANN, MAIL)),
                                           start=start, end=end, critical=critical)

    def sign(self, payload: bytes = PAYLOAD, *more: x509.Certificate) -> str:
        builder = pkcs7.PKCS7SignatureBuilder().set_data(payload)
        builder = builder.add_signer(self.certificate, self.key, hashes.SHA256())
        for certificate in more:
            builder = builder.add_certificate(certificate)
        der = builder.sign(Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary])
        return armored(der)


def armored(der: bytes) -> str:
    lines = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN SIGNED MESSAGE-----\n{lines}\n-----END SIGNED MESSAGE-----\n"


def commit(signature: str, payload: bytes = PAYLOAD, committer: str = "ann@example.com") -> Commit:
    return Commit(id="a" * 40, tree="b" * 40, parents=(), author=committer, committer=committer, time=1780315200,
                  summary="A shop", signature=signature, payload=payload)


def refused(signed: Commit, words: str, authority: Authority = CA) -> None:
    with pytest.raises(CustodyError) as caught:
        verify_x509(signed, authority.trusted)
    assert words in caught.value.message


def test_a_certificate_of_the_team() -> None:
    assert verify_x509(commit(Person().sign()), CA.trusted) == "CN=Ann ann@example.com"
    several = x509.SubjectAlternativeName([x509.RFC822Name("a@example.com"), x509.RFC822Name("ann@example.com")])
    assert verify_x509(commit(Person(several).sign()), CA.trusted)
    assert verify_x509(commit(Person(usage(content_commitment=True), ANN).sign()), CA.trusted)
    in_subject = Person(MAIL, subject=name("Ann", "ann@example.com"))
    assert "ann@example.com" in verify_x509(commit(in_subject.sign()), CA.trusted)


def test_a_chain_that_comes_along() -> None:
    between = Authority("Team 1", CA)
    person = Person(authority=between)
    assert verify_x509(commit(person.sign(PAYLOAD, between.certificate, CA.certificate)), CA.trusted)
    refused(commit(person.sign()), "no trusted authority issued it")
    low = Authority("Team 2", CA, x509.BasicConstraints(ca=True, path_length=None),
                    x509.ExtendedKeyUsage([Usage.CODE_SIGNING]))
    refused(commit(Person(authority=low).sign(PAYLOAD, low.certificate)), "CN=Team 2 is not for emailProtection")
    leaf = Person()
    forged = Authority("Ann")
    forged.name = leaf.certificate.subject
    refused(commit(Person(authority=forged).sign(PAYLOAD, leaf.certificate)), "no trusted authority issued it")


def test_what_does_not_count() -> None:
    good = Person()
    refused(commit(good.sign(), PAYLOAD + b"!"), "the signature is of an object with sha256")
    refused(commit(good.sign(), committer="bob@example.com"),
            "the committer says bob@example.com, the certificate belongs to ann@example.com")
    refused(commit(good.sign()), "no trusted authority issued it", Authority())
    refused(commit(Person(MAIL).sign()), "belongs to nobody with an address")
    # Where there are alternative names, the subject's address is not one of them.
    elsewhere = Person(x509.SubjectAlternativeName([x509.RFC822Name("mallory@example.com")]),
                       subject=name("Ann", "ann@example.com"))
    refused(commit(elsewhere.sign()), "belongs to mallory@example.com")
    refused(commit(Person(ANN, x509.ExtendedKeyUsage([Usage.SERVER_AUTH])).sign()), "is not emailProtection")
    refused(commit(Person(ANN, usage(key_encipherment=True)).sign()), "may not sign (key usage)")
    refused(commit(Person(ANN, x509.BasicConstraints(ca=True, path_length=0)).sign()), "is a CA certificate")
    refused(commit(Person(start=NOW - 9 * DAY, end=NOW - DAY).sign()), "certificate: not valid at")
    refused(commit(Person(start=NOW + DAY, end=NOW + 9 * DAY).sign()), "certificate: not valid at")
    names = x509.NameConstraints([x509.RFC822Name("other.example")], None)
    refused(commit(Person(ANN, names, critical=(x509.NameConstraints,)).sign()), "critical extension 2.5.29.30")


def test_a_signature_that_somebody_changed() -> None:
    person, stranger = Person(), Person()
    armor = person.sign()
    der = base64.b64decode("".join(armor.splitlines()[1:-1]))
    own, foreign = (who.certificate.public_bytes(Encoding.DER) for who in (person, stranger))
    refused(commit(armored(der[:-3] + bytes([der[-3] ^ 1]) + der[-2:])), "does not fit the certificate's key")
    assert own in der
    # Somebody else's certificate of the same length in its place is not the one that the signer names.
    if len(own) == len(foreign):
        refused(commit(armored(der.replace(own, foreign))), "expected the signer's certificate")
    refused(commit(armored(der) + "x"), "expected one PEM block")
    refused(commit(armored(der[:-1])), f"got '{len(der) - 5} bytes', expected {len(der) - 4} bytes")


def test_a_certificate_of_a_short_key() -> None:
    key = rsa.generate_private_key(65537, 1024)
    person = Person()
    person.key = key  # type: ignore[assignment]
    person.certificate = CA.issue(key.public_key(), name("Ann"), ANN, MAIL)
    refused(commit(person.sign()), "an RSA key of 1024 bits")


def test_an_authority_of_a_short_key() -> None:
    """Who can factor an intermediate's key issues certificates in its name, and so does who can a root's."""
    key = rsa.generate_private_key(65537, 1024)
    between = Authority("Team 1", CA, key=key)
    refused(commit(Person(authority=between).sign(PAYLOAD, between.certificate)),
            "CN=Team 1: an RSA key of 1024 bits; 2048 to 8192 are accepted")
    root = Authority("Old CA", key=key)
    refused(commit(Person(authority=root).sign()), "CN=Old CA: an RSA key of 1024 bits", root)


@pytest.mark.parametrize("critical", [(), (x509.NameConstraints,)], ids=["not critical", "critical"])
def test_an_authority_for_some_names_alone(critical: tuple[type, ...]) -> None:
    """Many authorities' constraints are not critical, and other verifiers hold them to these."""
    between = Authority("Team 1", CA)
    only = x509.NameConstraints([x509.RFC822Name("other.example")], None)
    between.certificate = CA.issue(between.key.public_key(), between.name, x509.BasicConstraints(True, None), only,
                                   critical=critical)
    refused(commit(Person(authority=between).sign(PAYLOAD, between.certificate)),
            "CN=Team 1 has name constraints, which custody does not evaluate")


def test_a_certificate_that_was_signed_over_sha_1(tmp_path: Path) -> None:
    """Two certificates may have one such signature."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    person = Person()
    for file, key in (("ca.key", CA.key), ("ann.key", person.key)):
        (tmp_path / file).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "ca.pem").write_bytes(CA.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "more").write_text("subjectAltName=email:ann@example.com\nextendedKeyUsage=emailProtection\n")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

    openssl("req", "-new", "-key", "ann.key", "-subj", "/CN=Ann", "-out", "ann.csr")
    for digest in ("sha256", "sha1"):
        openssl("x509", "-req", "-in", "ann.csr", "-CA", "ca.pem", "-CAkey", "ca.key", f"-{digest}", "-days", "9",
                "-extfile", "more", "-set_serial", "7", "-out", "ann.pem")
        person.certificate = x509.load_pem_x509_certificate((tmp_path / "ann.pem").read_bytes())
        if digest == "sha256":
            assert verify_x509(commit(person.sign()), CA.trusted)
        else:
            refused(commit(person.sign()), "signed it with SHA1, which no longer counts")


def test_open_lengths_alone_are_read_so() -> None:
    person = Person()
    der = base64.b64decode("".join(person.sign().splitlines()[1:-1]))
    assert der[:2] == b"\x30\x82"
    opened = b"\x30\x80" + der[4:] + b"\0\0"
    assert verify_x509(commit(armored(opened)), CA.trusted)
    refused(commit(armored(opened[:-2])), "an element without an end")
    refused(commit(armored(b"\x30\x80" * 4000)), "more elements of indefinite length inside each other")


def test_keyless_and_own_certificates_are_told_apart() -> None:
    believed = Believed(authorities=CA.trusted)
    assert believed.vouching(commit(Person().sign())) == "CN=Ann ann@example.com"
    with pytest.raises(CustodyError, match="signed with 'SIGNED MESSAGE', expected an SSH signature") as caught:
        Believed(()).vouching(commit(Person().sign()))
    assert "--ca-roots FILE" in (caught.value.hint or "")


GPGSM = '#!/bin/sh\nexec gpgsm --batch --pinentry-mode loopback --passphrase-fd 9 "$@" 9<"$GNUPGHOME/password"\n'


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """GnuPG's, with its agent running, under a short path: the agent's socket is in it."""
    for program in ("gpgsm", "openssl", "gpgconf"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    folder = tmp_path_factory.mktemp("g") / "h"
    folder.mkdir(mode=0o700)
    subprocess.run(["gpgconf", "--homedir", str(folder), "--launch", "gpg-agent"], check=True, timeout=60)
    yield folder
    subprocess.run(["gpgconf", "--homedir", str(folder), "--kill", "all"], check=False, timeout=60)


def test_what_gpgsm_signs(tmp_path: Path, home: Path) -> None:
    environment = {**os.environ, "GNUPGHOME": str(home)}
    (home / "password").write_text("x\n")
    (home / "program").write_text(GPGSM)
    (home / "program").chmod(0o755)
    authority = Authority("Gpgsm CA", None, x509.BasicConstraints(ca=True, path_length=None),
                          usage(key_cert_sign=True, crl_sign=True))
    key = rsa.generate_private_key(65537, 2048)
    leaf = authority.issue(key.public_key(), name("Ann"), ANN, MAIL, usage(digital_signature=True))
    (tmp_path / "ann.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    (tmp_path / "ca.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "ann.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    subprocess.run(["openssl", "pkcs12", "-export", "-legacy", "-inkey", "ann.key", "-in", "ann.pem", "-certfile",
                    "ca.pem", "-passout", "pass:x", "-out", "ann.p12"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["gpgsm", "--batch", "--pinentry-mode", "loopback", "--passphrase-fd", "0", "--import", "ann.p12"],
                   cwd=tmp_path, env=environment, input=b"x\n", capture_output=True, check=False)
    (home / "trustlist.txt").write_text(authority.certificate.fingerprint(hashes.SHA1()).hex() + " S relax\n")
    (home / "gpgsm.conf").write_text("disable-crl-checks\n")
    folder = GitFolder(tmp_path)
    folder("-c", "gpg.format=x509", "-c", f"gpg.x509.program={home / 'program'}", "-c", "user.name=Ann", "-c",
           "user.email=ann@example.com", "commit", "-q", "--allow-empty", "-Sann@example.com", "-m", "first",
           GNUPGHOME=str(home))
    repository = GitRepository(folder.path)
    signed = repository.commit(repository.resolve("main"))
    repository.close()
    assert Believed(authorities=authority.trusted).vouching(signed) == "CN=Ann ann@example.com"
