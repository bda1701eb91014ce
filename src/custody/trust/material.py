"""All keys and certificates of the embedded trust services, made once and kept in one directory.

    root.key, root.crt                     certificate authority, P-384, ten years
    intermediate.key, intermediate.crt     what signs leaves, P-256, path length 0, code signing
    ctlog.key                              P-256; log.key: Ed25519
    tsa-root.key, tsa-root.crt, tsa.key, tsa.crt     timestamp authority, P-256
    oidc.key                               P-256; whoever reads it may sign as anybody

Keys are PKCS #8 in PEM, mode 0600. The directory appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

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
from custody.trust.ca import key_usage
from custody.trust.checkpoint import LogSigner, LogVerifier
from custody.trust.keys import spki
from custody.trust.roots import CertificateAuthority, Service, SigningConfig, TransparencyLog, TrustedRoot, Validity

ORGANIZATION = "custody"
_YEARS = timedelta(days=3650)
_Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The URLs that clients know the services by; they need not be where the services listen."""

    oidc: str
    ca: str
    log: str
    ct: str
    tsa: str

    @classmethod
    def at(cls, base: str) -> Endpoints:
        """All services below one base URL, such as http://127.0.0.1:5080."""
        base = base.rstrip("/")
        return cls(f"{base}/oidc", base, base, f"{base}/ct", f"{base}/api/v1/timestamp")

    @property
    def log_origin(self) -> str:
        """The host name of the log's base URL: what sigstore-go looks for in checkpoints."""
        return urlsplit(self.log).hostname or self.log

    @property
    def ct_origin(self) -> str:
        parts = urlsplit(self.ct)
        return f"{parts.hostname}{parts.path}"


@dataclass(frozen=True, slots=True)
class Material:
    """Loaded keys and certificates. Chains are leaf-most first, root last."""

    ca_key: ec.EllipticCurvePrivateKey
    ca_chain: tuple[x509.Certificate, ...]
    ctlog_key: ec.EllipticCurvePrivateKey
    log_key: ed25519.Ed25519PrivateKey
    tsa_key: ec.EllipticCurvePrivateKey
    tsa_chain: tuple[x509.Certificate, ...]
    oidc_key: ec.EllipticCurvePrivateKey

    def log_signer(self, endpoints: Endpoints) -> LogSigner:
        return LogSigner(endpoints.log_origin, self.log_key)

    def ct_signer(self, endpoints: Endpoints) -> LogSigner:
        return LogSigner(endpoints.ct_origin, self.ctlog_key)

    def trusted_root(self, endpoints: Endpoints) -> TrustedRoot:
        """What verifiers of these services trust (trusted_root.json)."""
        valid = Validity(self.ca_chain[-1].not_valid_before_utc)
        return TrustedRoot(
            tlogs=(_log(endpoints.log, self.log_signer(endpoints).verifier, "PKIX_ED25519", valid),),
            certificate_authorities=(_authority(endpoints.ca, self.ca_chain, valid),),
            ctlogs=(_log(endpoints.ct, self.ct_signer(endpoints).verifier, "PKIX_ECDSA_P256_SHA_256", valid),),
            timestamp_authorities=(_authority(endpoints.tsa, self.tsa_chain, valid),))

    def signing_config(self, endpoints: Endpoints) -> SigningConfig:
        """Where signers sign (signing_config.json). The version of all but the log is 1 (sigstore's convention)."""
        valid = Validity(self.ca_chain[-1].not_valid_before_utc)
        ca, oidc, rekor, tsa = ((Service(url, version, valid, ORGANIZATION),) for url, version in (
            (endpoints.ca, 1), (endpoints.oidc, 1), (endpoints.log, 2), (endpoints.tsa, 1)))
        return SigningConfig(ca=ca, oidc=oidc, rekor=rekor, tsa=tsa)


def load_or_create(directory: Path, clock: Clock) -> Material:
    """The directory's material; made first where there is none. Raises MalformedError, UsageError."""
    if not directory.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            _create(draft, clock().replace(microsecond=0))
            _sync(draft)
            draft.rename(directory)
            _sync(directory.parent)
        except OSError:
            if not directory.exists():  # else another process was first, and its keys are the ones
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return load(directory)


def load(directory: Path) -> Material:
    """Raises MalformedError for a file that is missing, broken or belongs to another; UsageError for an open key."""
    ca = tuple(_certificate(directory, name) for name in ("intermediate", "root"))
    tsa = tuple(_certificate(directory, name) for name in ("tsa", "tsa-root"))
    log_key = _key(directory, "log")
    if not isinstance(log_key, ed25519.Ed25519PrivateKey):
        raise MalformedError(str(directory / "log.key"), got=type(log_key).__name__, expected="an Ed25519 key")
    material = Material(_p256(directory, "intermediate"), ca, _p256(directory, "ctlog"), log_key,
                        _p256(directory, "tsa"), tsa, _p256(directory, "oidc"))
    for name, key, chain in (("intermediate", material.ca_key, ca), ("tsa", material.tsa_key, tsa)):
        if key.public_key() != chain[0].public_key():
            raise MalformedError(str(directory / f"{name}.crt"), got="another key's certificate",
                                 expected=f"the certificate of {name}.key")
    return material


def _create(directory: Path, now: datetime) -> None:
    keys: dict[str, _Key] = {
        name: ec.generate_private_key(ec.SECP384R1() if name == "root" else ec.SECP256R1())
        for name in ("root", "intermediate", "ctlog", "tsa-root", "tsa", "oidc")}
    keys["log"] = ed25519.Ed25519PrivateKey.generate()
    for name, key in keys.items():
        _write(directory / f"{name}.key",
               key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)

    def issue(name: str, issuer: str, path_length: int | None, usage: x509.ObjectIdentifier | None) -> None:
        certificate = _issue(keys[name].public_key(), name, keys[issuer], issuer, now, path_length, usage)
        _write(directory / f"{name}.crt", certificate.public_bytes(Encoding.PEM), 0o644)

    issue("root", "root", 1, None)
    issue("intermediate", "root", 0, ExtendedKeyUsageOID.CODE_SIGNING)
    issue("tsa-root", "tsa-root", 0, None)
    issue("tsa", "tsa-root", None, ExtendedKeyUsageOID.TIME_STAMPING)


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
    return builder.sign(issuer_key, hashes.SHA384() if issuer == "root" else hashes.SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
                      x509.NameAttribute(NameOID.COMMON_NAME, f"{ORGANIZATION} {name}")])


def _write(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(handle)


def _p256(directory: Path, name: str) -> ec.EllipticCurvePrivateKey:
    key = _key(directory, name)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise MalformedError(str(directory / f"{name}.key"), got=type(key).__name__, expected="an ECDSA P-256 key")
    return key


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(handle)
    os.close(handle)


def _key(directory: Path, name: str) -> object:
    path = directory / f"{name}.key"
    data = _read(path)
    if path.stat().st_mode & 0o077:
        raise UsageError(f"{path}: others may read it (mode {path.stat().st_mode & 0o777:03o}), expected 600",
                         hint=f"chmod 600 {path}, and make new material if others did read it")
    try:
        return load_pem_private_key(data, None)
    except (ValueError, TypeError):
        raise MalformedError(str(path), got=data[:30], expected="a private key in PEM without a password") from None


def _certificate(directory: Path, name: str) -> x509.Certificate:
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


def _log(url: str, verifier: LogVerifier, details: str, valid: Validity) -> TransparencyLog:
    return TransparencyLog(url, spki(verifier.key), details, verifier.log_id, valid)


def _authority(url: str, chain: tuple[x509.Certificate, ...], valid: Validity) -> CertificateAuthority:
    return CertificateAuthority(ORGANIZATION, f"{ORGANIZATION} root", url,
                                tuple(certificate.public_bytes(Encoding.DER) for certificate in chain), valid)
