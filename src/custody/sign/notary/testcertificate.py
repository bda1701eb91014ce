"""Keys to try things out with: a self-signed certificate for a day, its key in the list, and itself in a trust store.

(`notation certificate generate-test`.) Whoever trusts it trusts whoever can read the key's file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from custody.errors import UsageError
from custody.sign.notary.directory import Directory, write_document
from custody.sign.notary.signingkeys import SigningKey, SigningKeys, load_signing_keys, save_signing_keys

BITS = (2048, 3072, 4096)
_LIFETIME = timedelta(days=1)
_NAMES = ((NameOID.COUNTRY_NAME, "US"), (NameOID.STATE_OR_PROVINCE_NAME, "WA"), (NameOID.LOCALITY_NAME, "Seattle"),
          (NameOID.ORGANIZATION_NAME, "Notary"))


@dataclass(frozen=True, slots=True)
class TestKey:
    """What was made, and where it lies."""

    __test__ = False
    key_path: Path
    certificate_path: Path
    stored_path: Path
    expires: datetime


def places(directory: Directory, name: str) -> tuple[Path, Path, Path]:
    """Key, certificate, and the certificate in the trust store `ca:NAME`. Raises UsageError for a name that is none."""
    key, certificate = directory.local_key(name)
    return key, certificate, directory.trust_store("ca", name) / f"{name}.crt"


def generate(directory: Directory, name: str, bits: int, now: datetime, *, default: bool) -> TestKey:
    """Make key and certificate, list the key, trust the certificate.

    Raises UsageError where one of these is there already, and nothing is made then; StorageFullError.
    """
    if bits not in BITS:
        raise UsageError(f"--bits: got {bits}, expected one of {', '.join(map(str, BITS))}: keys of other sizes do not "
                         "sign")
    paths = key_path, certificate_path, stored = places(directory, name)
    # Files of an earlier one that is still trusted are not replaced: what it signed would become what this one did.
    if there := next((path for path in paths if os.path.lexists(path)), None):
        raise UsageError(f"{there}: is there already", hint=f"custody notation certificate cleanup-test {name}")
    keys = load_signing_keys(directory).with_key(
        SigningKey(name, str(key_path.absolute()), str(certificate_path.absolute())), default=default)
    key = rsa.generate_private_key(65537, bits)
    subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in (*_NAMES, (NameOID.COMMON_NAME, name))])
    start = now.replace(microsecond=0)
    certificate = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(
        key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(
        start + _LIFETIME).add_extension(x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False),
        critical=True).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]),
                                     critical=False).sign(key, hashes.SHA256())
    write_document(key_path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    pem = certificate.public_bytes(Encoding.PEM)
    write_document(certificate_path, pem)
    certificate_path.chmod(0o644)
    save_signing_keys(directory, keys)
    write_document(stored, pem)
    return TestKey(key_path.absolute(), certificate_path.absolute(), stored, certificate.not_valid_after_utc)


def cleanup(directory: Directory, name: str) -> Iterator[tuple[str, Path | None, bool]]:
    """Take away what `generate` made: role, path (None for the entry of the list), and whether it was there.

    Raises UsageError for a key that `generate` did not make, and where a file cannot be deleted.
    """
    keys = load_signing_keys(directory)
    key_path, certificate_path, stored = places(directory, name)
    _check_made_here(keys, name, key_path, certificate_path)
    for role, path in (("key file", key_path), ("certificate file", certificate_path),
                       (f"certificate of the trust store ca:{name}", stored)):
        try:
            path.unlink()
        except FileNotFoundError:
            yield role, path, False
            continue
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        yield role, path, True
    if not any(stored.parent.glob("*")) and stored.parent.is_dir():
        stored.parent.rmdir()  # an empty store is an error for whoever reads it
    save_signing_keys(directory, keys.without([name]))
    yield "signing key", None, True


def _check_made_here(keys: SigningKeys, name: str, key_path: Path, certificate_path: Path) -> None:
    key = keys.key(name)
    paths = Path(key.key_path).absolute(), Path(key.certificate_path).absolute()
    if key.plugin or paths != (key_path.absolute(), certificate_path.absolute()):
        raise UsageError(f"signing key {name}: was not made by generate-test, so its files are not deleted",
                         hint=f"custody notation key delete {name} takes it out of the list")
