"""Keys and certificates of the embedded trust services, each role's made once, when that role first needs them.

    ca     root.key, root.crt                   certificate authority, P-384, ten years
           intermediate.key, intermediate.crt   what signs leaves, P-256, path length 0, code signing
           ctlog.key                            P-256
    log    log.key                              Ed25519; log.crt says since when
    tsa    tsa-root.key, tsa-root.crt, tsa.key, tsa.crt     timestamp authority, P-256
    oidc   oidc.key                             P-256; whoever reads it may sign as anybody
    tuf    tuf-online.key                       P-256; signs what the TUF repository says now
           tuf-root.key                         P-256; signs who does. It may be kept elsewhere once it has signed

A role reads its own keys and no others. Keys are PKCS #8 in PEM, mode 0600, in one folder of mode 0700. A role's files
appear together: they are made in a draft, a rename says that it is whole, and what is then not put in place is at the
next start.
"""


from __future__ import annotations

import os
import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from custody.errors import MalformedError, UsageError
from custody.kit.clock import Clock
from custody.kit.folder import private, refuse_open, sync
from custody.kit.lock import locked
from custody.trust.ca import key_usage
from custody.trust.roots import parse_trusted_root
from custody.trust.tuf.mirrored import read_mirrored

ORGANIZATION = "custody"
KEYS = {"ca": ("root", "intermediate", "ctlog"), "log": ("log",), "tsa": ("tsa-root", "tsa"), "oidc": ("oidc",),
        "tuf": ("tuf-root", "tuf-online")}
"""Role → its keys."""
_YEARS = timedelta(days=3650)
NEXT_ROOT = "tuf-root.next"
"""A TUF root key until root metadata that names it is published."""
_Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def ensure(directory: Path, role: str, clock: Clock) -> None:
    """Make the role's files where there are none. Raises MalformedError where there were some."""
    ready = directory / f".{role}"
    if any((directory / f"{name}.key").exists() for name in KEYS[role]) and not ready.is_dir():
        return  # where some are lost, reading says which
    private(directory)
    with locked(directory):
        if not ready.is_dir():
            if any((directory / f"{name}.key").exists() for name in KEYS[role]):
                return
            _refuse_lost(directory, role)
            draft = Path(tempfile.mkdtemp(prefix=f".{role}.", dir=directory))
            try:
                _create(draft, role, clock().replace(microsecond=0))
                sync(draft)
                draft.rename(ready)
                sync(directory)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        for file in sorted(ready.iterdir()):  # a .crt comes before its .key
            file.rename(directory / file.name)
        ready.rmdir()
        sync(directory)


def _refuse_lost(directory: Path, role: str) -> None:
    """Raises MalformedError where the trust root names a service whose keys are gone: new ones would be another's.

    UsageError where it is a mirror's: its services are elsewhere.
    """
    if role == "tuf":
        if (directory.parent / "tuf" / "1.root.json").is_file():
            raise MalformedError(str(directory / "tuf-online.key"), got="no such file", expected="the key of "
                                 f"{directory.parent / 'tuf'}", hint="restore the directory")
        return
    if (known := read_mirrored(directory)) is not None:
        raise UsageError(f"{directory}: its trust files are those of {known.mirror}, which `custody initialize` wrote",
                         hint="run services over another data_dir")
    file = directory / "trusted_root.json"
    if role == "oidc" or not file.is_file():
        return
    root = parse_trusted_root(file.read_bytes(), str(file))
    if {"ca": root.certificate_authorities, "log": root.tlogs, "tsa": root.timestamp_authorities}[role]:
        raise MalformedError(str(directory / f"{KEYS[role][0]}.key"), got="no such file",
                             expected="the key of what trusted_root.json names",
                             hint="restore the directory, or delete it whole to start with new keys")


def _create(directory: Path, role: str, now: datetime) -> None:
    keys: dict[str, _Key] = {
        name: ed25519.Ed25519PrivateKey.generate() if name == "log" else
        ec.generate_private_key(ec.SECP384R1() if name == "root" else ec.SECP256R1()) for name in KEYS[role]}
    for name, key in keys.items():
        _write(directory / f"{name}.key", _pem(key), 0o600)

    def issue(name: str, issuer: str, path_length: int | None, usage: x509.ObjectIdentifier | None) -> None:
        certificate = _issue(keys[name].public_key(), name, keys[issuer], issuer, now, path_length, usage)
        _write(directory / f"{name}.crt", certificate.public_bytes(Encoding.PEM), 0o644)

    if role == "ca":
        issue("root", "root", 1, None)
        issue("intermediate", "root", 0, ExtendedKeyUsageOID.CODE_SIGNING)
    if role == "tsa":
        issue("tsa-root", "tsa-root", 0, None)
        issue("tsa", "tsa-root", None, ExtendedKeyUsageOID.TIME_STAMPING)
    if role == "log":
        issue("log", "log", None, None)


def _issue(key: object, name: str, issuer_key: _Key, issuer: str, now: datetime, path_length: int | None,
           usage: x509.ObjectIdentifier | None) -> x509.Certificate:
    """A long-lived certificate; with a `path_length` it is a CA's (RFC 5280 section 4.2.1.9)."""
    assert isinstance(key, (ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey))
    is_ca = path_length is not None
    builder = (x509.CertificateBuilder(subject_name=_name(name), issuer_name=_name(issuer), public_key=key,
                                       serial_number=x509.random_serial_number(), not_valid_before=now,
                                       not_valid_after=now + _YEARS)
               .add_extension(x509.BasicConstraints(ca=is_ca, path_length=path_length), critical=True)
               .add_extension(key_usage(digital_signature=not is_ca, certificates=is_ca), critical=True)
               .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                              critical=False))
    if usage is not None:
        # RFC 3161 section 2.3: timeStamping, critical and alone.
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]),
                                        critical=usage == ExtendedKeyUsageOID.TIME_STAMPING)
    algorithm = hashes.SHA384() if issuer == "root" else hashes.SHA256()
    return builder.sign(issuer_key, None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else algorithm)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
                      x509.NameAttribute(NameOID.COMMON_NAME, f"{ORGANIZATION} {name}")])


def next_root_key(directory: Path) -> ec.EllipticCurvePrivateKey:
    """Make the key that is to follow tuf-root.key, or read the one that was made and not published."""
    path = directory / f"{NEXT_ROOT}.key"
    if not path.is_file():
        _write(path, _pem(ec.generate_private_key(ec.SECP256R1())), 0o600)
        sync(directory)
    return read_p256(directory, NEXT_ROOT)


def take_next_root_key(directory: Path) -> None:
    """Put it in the place of tuf-root.key: root metadata names it."""
    (directory / f"{NEXT_ROOT}.key").replace(directory / "tuf-root.key")
    sync(directory)


def replace_online_key(directory: Path) -> None:
    """Make another tuf-online.key."""
    draft = directory / ".tuf-online.key"
    draft.unlink(missing_ok=True)
    _write(draft, _pem(ec.generate_private_key(ec.SECP256R1())), 0o600)
    draft.replace(directory / "tuf-online.key")
    sync(directory)


def _pem(key: _Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(handle)


def read_p256(directory: Path, name: str) -> ec.EllipticCurvePrivateKey:
    return read_p256_file(directory / f"{name}.key")


def read_p256_file(path: Path) -> ec.EllipticCurvePrivateKey:
    key = _read_key(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise MalformedError(str(path), got=type(key).__name__, expected="an ECDSA P-256 key")
    return key


def read_key(directory: Path, name: str) -> object:
    return _read_key(directory / f"{name}.key")


def _read_key(path: Path) -> object:
    data = _read(path)
    refuse_open(path)
    try:
        return load_pem_private_key(data, None)
    except (ValueError, TypeError):
        raise MalformedError(str(path), got=data[:30], expected="a private key in PEM without a password") from None


def read_certificate(directory: Path, name: str) -> x509.Certificate:
    path = directory / f"{name}.crt"
    data = _read(path)
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError:
        raise MalformedError(str(path), got=data[:30], expected="a certificate in PEM") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MalformedError(str(path), got=error.strerror, expected="a file of the services' keys",
                             hint="restore the directory, or delete it whole to start with new keys") from None
