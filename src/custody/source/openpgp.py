"""Commits and tags signed with OpenPGP keys of a keyring (RFC 9580; gitformat-signature).

Sequoia reads packets and checks signatures, and a key as it was when the signature says that it was made: one that ran
out afterwards counts, one that was revoked as compromised never does. Whose key it is are the addresses of its own
user IDs: whoever puts a certificate into the keyring vouches for these.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from custody.errors import MalformedError, UnsupportedError, UsageError, VerificationError
from custody.formats.gitobject import Commit, Tag

if TYPE_CHECKING:
    from pysequoia import Cert, Sig

ARMOR = "-----BEGIN PGP SIGNATURE-----"
_ARMORED = re.compile(ARMOR + r"\n(?:[!-9;-~][ -~]*: ?[ -~]*\n)*\n[A-Za-z0-9+/=\n]+"
                      r"-----END PGP SIGNATURE-----\n?\Z")
_MAX_ARMOR = 64 * 1024
_MAX_KEYRING = 16 * 1024 * 1024
_WEAK = ("MD5", "SHA1", "RipeMD")
_ADDRESS = re.compile(r"<([^<>\s]+@[^<>\s]+)>\s*\Z|\A([^<>\s]+@[^<>\s]+)\Z")


@dataclass(frozen=True, slots=True)
class Keyring:
    """Certificates (public keys) whose signatures count."""

    by_fingerprint: dict[str, Cert]
    """By that of the primary key."""
    by_key: dict[str, tuple[str, ...]]
    """Fingerprints of those that have a key, by its fingerprint and its ID. Several may have one, or say so."""

    def certificates(self, keys: Sequence[str]) -> list[Cert]:
        fingerprints = dict.fromkeys(fingerprint for key in keys for fingerprint in self.by_key.get(key, ()))
        return [self.by_fingerprint[fingerprint] for fingerprint in fingerprints]


def read_keyring(path: Path, flag: str) -> Keyring:
    """A file of OpenPGP certificates, armored or not, as `gpg --export` writes it. Raises UsageError."""
    from pysequoia import Cert
    from pysequoia.packet import PacketPile

    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_KEYRING + 1)
    except OSError as error:
        raise UsageError(f"{flag} {path}: {error.strerror}") from None
    if len(data) > _MAX_KEYRING:
        raise UsageError(f"{flag} {path}: has more than {_MAX_KEYRING} bytes")
    try:
        certificates = tuple(Cert.split_bytes(data))
    except RuntimeError as error:
        raise UsageError(f"{flag} {path}: got {_first_line(error)}, expected OpenPGP certificates",
                         hint="gpg --export --armor ADDRESS…") from None
    if not certificates:
        raise UsageError(f"{flag} {path}: got no certificate, expected those of everybody who may sign")
    with warnings.catch_warnings():  # the property is deprecated for those who would use the secret
        warnings.simplefilter("ignore", DeprecationWarning)
        secret = next((certificate for certificate in certificates if certificate.has_secret_keys), None)
    if secret is not None:
        raise UsageError(f"{flag} {path}: holds the secret key of {secret.fingerprint}, expected public keys alone",
                         hint="gpg --export, not --export-secret-keys")
    # One that is there twice, as where exports of two days are put together, is one: what either revokes is revoked.
    merged: dict[str, Cert] = {}
    for certificate in certificates:
        known = merged.get(certificate.fingerprint)
        merged[certificate.fingerprint] = certificate if known is None else known.merge(certificate)
    by_key: dict[str, tuple[str, ...]] = {}
    for fingerprint, certificate in merged.items():
        names = dict.fromkeys(name for packet in PacketPile.from_bytes(bytes(certificate))
                              for name in (packet.fingerprint, packet.key_id) if name is not None)
        for name in names:
            by_key[name] = (*by_key.get(name, ()), fingerprint)
    return Keyring(merged, by_key)


def verify_openpgp(signed: Commit | Tag, keyring: Keyring) -> str:
    """Who signed it: fingerprint and user ID. Raises VerificationError with the reason, or MalformedError."""
    import pysequoia

    # 1. There is a signature, which the caller has seen to be OpenPGP's: one, in armor, and nothing else.
    assert signed.signature is not None
    where = f"{signed.kind} {signed.id[:12]}: gpgsig"
    if len(signed.signature) > _MAX_ARMOR or not _ARMORED.match(signed.signature):
        raise MalformedError(where, got=f"{len(signed.signature)} characters",
                             expected=f"one armored OpenPGP signature of at most {_MAX_ARMOR}")
    signature = _read(signed.signature.encode(), where)
    # 2. A key of the keyring made it, which could sign then, over the object without its signature.
    try:
        valid = pysequoia.verify(bytes=signed.payload, store=keyring.certificates, signature=signature).valid_sigs
    except RuntimeError:
        raise VerificationError(_why_not(signature, keyring)) from None
    owner = next((keyring.by_fingerprint[sign.certificate] for sign in valid
                  if sign.certificate in keyring.by_fingerprint), None)
    if owner is None:
        raise VerificationError(_why_not(signature, keyring))
    # 3. It is the committer's key: an allowed colleague's key does not make somebody else's commit.
    addresses = []
    for identity in map(str, owner.user_ids):
        address = _address(identity)
        if address == signed.person:
            return f"{owner.fingerprint} {identity}"
        addresses += [address] if address else []
    raise VerificationError(f"the {signed.role} says {signed.person}, the key {owner.fingerprint} belongs to "
                            f"{', '.join(addresses) or 'nobody with an address'}")


def _read(armor: bytes, where: str) -> Sig:
    """The one signature in it, over bytes as they are. Raises MalformedError, UnsupportedError."""
    from pysequoia import Sig
    from pysequoia.packet import PacketPile, SignatureType, Tag

    try:
        tags = [packet.tag for packet in PacketPile.from_bytes(armor)]
        if tags != [Tag.Signature]:
            raise MalformedError(where, got=f"{len(tags)} packets", expected="one, of a signature")
        signature = Sig.from_bytes(armor)
    except RuntimeError as error:
        raise MalformedError(where, got=_first_line(error), expected="an OpenPGP signature") from None
    if signature.signature_type != SignatureType.Binary:
        kind = str(signature.signature_type).rpartition(".")[2]
        raise UnsupportedError(where, f"a signature of type {kind}, expected one of a binary document: one of a text "
                               "fits commits with other ends of lines too", hint="without textmode in gpg.conf")
    return signature


def _address(user_id: str) -> str | None:
    match = _ADDRESS.search(user_id)
    return (match[1] or match[2]) if match else None


def _why_not(signature: Sig, keyring: Keyring) -> str:
    """The library says only that no signature is valid; this is the nearest reason."""
    issuer = signature.issuer_fingerprint or signature.issuer_key_id or ""
    owner = next(iter(keyring.certificates([issuer])), None)
    if owner is None:
        return f"signed by {issuer or 'a key that it does not name'}, which is not in the keyring"
    if owner.is_revoked:
        return f"the key {owner.fingerprint} was revoked"
    created, end = signature.created, owner.expiration
    if created is None:
        return "the signature does not say when it was made"
    if end is not None and created >= end:
        return f"the key {owner.fingerprint} was not valid at {created:%Y-%m-%d}"
    weak = str(signature.hash_algorithm).rpartition(".")[2]
    if weak in _WEAK:
        return f"it is over {weak}, which does not count any more"
    return f"the key {issuer} did not make this signature over it, or could not sign at {created:%Y-%m-%d}"


def _first_line(error: RuntimeError) -> str:
    """Of what the library says: a backtrace follows."""
    return str(error).partition("\n")[0]
