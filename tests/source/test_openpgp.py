"""Commits signed with OpenPGP keys: by GnuPG itself where it is installed, and every reason why one does not count."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.adapters.git import GitRepository
from custody.errors import CustodyError, UsageError
from custody.formats.gitobject import Commit, Tag
from custody.source.openpgp import Keyring, read_keyring, verify_openpgp
from custody.source.signatures import Believed
from tests.source.repositories import GitFolder

pysequoia = pytest.importorskip("pysequoia")
PacketPile = pytest.importorskip("pysequoia.packet").PacketPile
PAYLOAD = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ncommitter Ann <ann@example.com> 1780315200 +0000\n\nA shop\n"


def commit(signature: str | None, payload: bytes = PAYLOAD, committer: str = "ann@example.com") -> Commit:
    return Commit(id="a" * 40, tree="b" * 40, parents=(), author=committer, committer=committer, time=1780315200,
                  summary="A shop", signature=signature, payload=payload)


class Person:
    def __init__(self, user_id: str, **options: object) -> None:
        self.secret = pysequoia.Tsk.generate(user_id, **options)

    @property
    def fingerprint(self) -> str:
        return self.secret.extract_certificate().fingerprint

    @property
    def certificate(self) -> bytes:
        return bytes(self.secret.extract_certificate())

    def sign(self, payload: bytes = PAYLOAD) -> str:
        return pysequoia.sign(self.secret.signer(), payload, mode=pysequoia.SignatureMode.DETACHED).decode()


@pytest.fixture(scope="module")
def ann() -> Person:
    return Person("Ann <ann@example.com>")


def keyring(folder: Path, *certificates: bytes) -> Keyring:
    path = folder / "keys.pgp"
    path.write_bytes(b"".join(certificates))
    return read_keyring(path, "--openpgp-keyring")


def refused(ring: Keyring, signed: Commit | Tag, words: str) -> None:
    with pytest.raises(CustodyError) as caught:
        verify_openpgp(signed, ring)
    assert words in caught.value.message


def test_a_key_of_the_keyring(ann: Person, tmp_path: Path) -> None:
    signer = verify_openpgp(commit(ann.sign()), keyring(tmp_path, Person("Bob <bob@example.com>").certificate,
                                                        ann.certificate))
    assert signer == f"{ann.fingerprint} Ann <ann@example.com>"


@pytest.mark.parametrize("suite", ["P256", "P384", "P521", "RSA3k", "Cv25519"])
def test_every_kind_of_key(suite: str, tmp_path: Path) -> None:
    person = Person("ann@example.com", cipher_suite=getattr(pysequoia.CipherSuite, suite))
    assert verify_openpgp(commit(person.sign()), keyring(tmp_path, person.certificate)).endswith(" ann@example.com")


def test_what_does_not_count(ann: Person, tmp_path: Path) -> None:
    bob = Person("Bob <bob@example.com>")
    ring = keyring(tmp_path, ann.certificate, bob.certificate)
    refused(ring, commit(ann.sign(), PAYLOAD + b"!"), "did not make this signature over it")
    refused(ring, commit(bob.sign()), "the committer says ann@example.com, the key "
                                      f"{bob.fingerprint} belongs to bob@example.com")
    stranger = Person("Ann <ann@example.com>")
    refused(ring, commit(stranger.sign()), ", which is not in the keyring")
    refused(keyring(tmp_path, Person("Ann").certificate), commit(ann.sign()), "which is not in the keyring")
    nameless = Person("Ann")
    refused(keyring(tmp_path, nameless.certificate), commit(nameless.sign()), "belongs to nobody with an address")
    # An address inside a name is not the address.
    sly = Person("ann@example.com <mallory@example.com>")
    refused(keyring(tmp_path, sly.certificate), commit(sly.sign()), "belongs to mallory@example.com")


def test_a_revoked_key(tmp_path: Path) -> None:
    person = Person("Ann <ann@example.com>")
    certificate = pysequoia.Cert.from_bytes(person.certificate)
    revocation = certificate.revoke(person.secret.certifier())
    revoked = certificate.merge(pysequoia.Cert.from_bytes(person.certificate + bytes(revocation)))
    refused(keyring(tmp_path, bytes(revoked)), commit(person.sign()), f"the key {certificate.fingerprint} was revoked")


def test_a_certificate_that_is_there_twice(tmp_path: Path) -> None:
    """An export of yesterday beside one of today: what either revokes is revoked, whichever stands last."""
    person = Person("Ann <ann@example.com>")
    stale = pysequoia.Cert.from_bytes(person.certificate)
    revoked = person.certificate + bytes(stale.revoke(person.secret.certifier()))
    for certificates in ((revoked, bytes(stale)), (bytes(stale), revoked)):
        refused(keyring(tmp_path, *certificates), commit(person.sign()), f"the key {stale.fingerprint} was revoked")


def test_a_key_that_somebody_else_claims(ann: Person, tmp_path: Path) -> None:
    """A certificate that holds another's key as a subkey, which that key never said, hides it from nobody."""
    mallory = Person("Mallory <mallory@example.com>")
    key, *_ = PacketPile.from_bytes(ann.certificate)
    claiming = mallory.certificate + b"\xce" + bytes(key)[1:]  # a public key's packet as one of a subkey
    for certificates in ((ann.certificate, claiming), (claiming, ann.certificate)):
        ring = keyring(tmp_path, *certificates)
        assert len(ring.certificates([ann.fingerprint])) == 2
        assert verify_openpgp(commit(ann.sign()), ring) == f"{ann.fingerprint} Ann <ann@example.com>"
        refused(ring, commit(mallory.sign()), "belongs to mallory@example.com")


def test_several_signatures_in_one_armor(ann: Person, tmp_path: Path) -> None:
    ring, bob = keyring(tmp_path, ann.certificate), Person("Bob <bob@example.com>")
    mine, his = (pysequoia.sign(who.secret.signer(), PAYLOAD, mode=pysequoia.SignatureMode.DETACHED)
                 for who in (ann, bob))
    for parts in ((mine, his), (his, mine)):
        packets = b"".join(bytes(packet) for part in parts for packet in PacketPile.from_bytes(part))
        armor = pysequoia.armor(packets, pysequoia.ArmorKind.Signature)
        refused(ring, commit(armor if isinstance(armor, str) else armor.decode()), "got '2 packets', expected one")


def test_texts_that_are_no_signature(ann: Person, tmp_path: Path) -> None:
    ring, armor = keyring(tmp_path, ann.certificate), ann.sign()
    for text in (armor + armor, armor + "x", armor.replace("PGP SIGNATURE-----\n", "PGP SIGNATURE-----", 1),
                 "-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n", armor[:-40], "A" * 70_000):
        refused(ring, commit(text), "expected one armored OpenPGP signature of at most 65536")
    broken = "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"
    refused(ring, commit(broken), "expected an OpenPGP signature")


def test_keyrings_that_are_none(ann: Person, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    for data, words in ((b"", "got no certificate"), (b"hello", "expected OpenPGP certificates"),
                        (ann.certificate[:60], "expected OpenPGP certificates"),
                        (bytes(ann.secret), "holds the secret key of"), (b"A" * (2 ** 24 + 1), "has more than")):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=words):
            read_keyring(path, "--openpgp-keyring")
    with pytest.raises(UsageError, match="No such file"):
        read_keyring(tmp_path / "absent", "--openpgp-keyring")


def test_a_kind_that_nobody_may_sign_with(ann: Person) -> None:
    with pytest.raises(CustodyError, match="signed with 'PGP SIGNATURE', expected an SSH signature") as caught:
        Believed(()).vouching(commit(ann.sign()))
    assert caught.value.hint == "--openpgp-keyring FILE says whose keys count"


class GnuPG:
    """A home of GnuPG's with its own keys, which git signs with."""

    def __init__(self, home: Path) -> None:
        if shutil.which("gpg") is None:
            pytest.skip("gpg is not installed")
        self.home = home
        home.mkdir(mode=0o700)
        self.program = home / "program"
        self.program.write_text('#!/bin/sh\nexec gpg --batch --pinentry-mode loopback --passphrase "" --no-tty $MORE '
                                '"$@"\n')
        self.program.chmod(0o755)

    def __call__(self, *arguments: str) -> bytes:
        return subprocess.run(["gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "", *arguments],
                              env={**os.environ, "GNUPGHOME": str(self.home)}, capture_output=True, check=True).stdout


@pytest.fixture
def gnupg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GnuPG]:
    gnupg = GnuPG(tmp_path_factory.mktemp("g") / "h")  # the agent's socket has a short path
    subprocess.run(["gpgconf", "--homedir", str(gnupg.home), "--launch", "gpg-agent"], check=True, timeout=60)
    yield gnupg
    subprocess.run(["gpgconf", "--homedir", str(gnupg.home), "--kill", "all"], check=False, timeout=60)


def test_a_signature_of_a_text(gnupg: GnuPG, tmp_path: Path) -> None:
    """Its ends of lines are anybody's: it is as valid for a commit with others, which nobody signed."""
    gnupg("--quick-gen-key", "Ann <ann@example.com>", "ed25519", "sign", "0")
    (tmp_path / "commit").write_bytes(PAYLOAD)
    armor = gnupg("--textmode", "--armor", "--output", "-", "--detach-sign", str(tmp_path / "commit")).decode()
    ring = keyring(tmp_path, gnupg("--export"))
    for payload in (PAYLOAD, PAYLOAD.replace(b"\n", b"\r\n")):
        refused(ring, commit(armor, payload), "a signature of type Text, expected one of a binary document")


def test_what_gnupg_signs(gnupg: GnuPG, tmp_path: Path) -> None:
    folder = GitFolder(tmp_path)
    gnupg("--quick-gen-key", "Ann <ann@example.com>", "ed25519", "cert", "0")
    fingerprint = gnupg("--with-colons", "-k").decode().split("\nfpr:::::::::")[1].partition(":")[0]
    gnupg("--quick-add-key", fingerprint, "rsa2048", "sign", "0")
    gnupg("--faked-system-time", "20250101T000000!", "--quick-gen-key", "Old <old@example.com>", "rsa2048",
          "cert,sign", "30d")
    ring = tmp_path / "keys.asc"
    ring.write_bytes(gnupg("--export", "--armor"))

    def sign(person: str, *arguments: str, more: str = "") -> None:
        folder("-c", f"gpg.program={gnupg.program}", "-c", f"user.name={person}", "-c",
               f"user.email={person}@example.com", *arguments, GNUPGHOME=str(gnupg.home), MORE=more)

    sign("ann", "commit", "-q", "--allow-empty", "-Sann@example.com", "-m", "by a subkey")
    sign("ann", "tag", "-sm", "first", "-u", "ann@example.com", "v1")
    sign("old", "commit", "-q", "--allow-empty", "-Sold@example.com", "-m", "while it was valid",
         more="--faked-system-time 20250110T000000!")
    sign("ann", "commit", "-q", "--allow-empty", "-Sann@example.com", "-m", "weak", more="--digest-algo SHA1")
    believed = Believed(keyring=read_keyring(ring, "--openpgp-keyring"))
    repository = GitRepository(folder.path)
    weak, old, first = repository.history(repository.resolve("main"), frozenset())
    assert believed.vouching(first) == f"{fingerprint.lower()} Ann <ann@example.com>"
    assert believed.vouching(old).endswith(" Old <old@example.com>")
    assert believed.vouching(repository.tags("v1")[0]).endswith(" Ann <ann@example.com>")
    with pytest.raises(CustodyError, match="it is over SHA1, which does not count any more"):
        believed.vouching(weak)
    repository.close()
