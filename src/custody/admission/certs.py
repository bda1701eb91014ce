"""The webhook's own authority and serving certificate, kept in a folder and renewed in time."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from custody.errors import MalformedError
from custody.kit.folder import private, refuse_open
from custody.trust.ca import key_usage

_DNS = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_AUTHORITY = timedelta(days=3650)
_SERVING = timedelta(days=90)
_RENEW = timedelta(days=30)
_SKEW = timedelta(minutes=5)


def certificates(data: bytes, where: str) -> bytes:
    """The PEM certificates in `data` and nothing beside them, for caBundle, which everybody may read.

    Raises MalformedError where there is none, and for a private key: somebody named the wrong file.
    """
    if b"PRIVATE KEY-----" in data:
        raise MalformedError(where, got="a private key", expected="certificates, which may be published",
                             hint="ca.crt, not ca.key")
    try:
        certificates = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise MalformedError(where, got=f"{len(data)} bytes without a certificate that can be read",
                             expected="PEM (BEGIN CERTIFICATE)") from None
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


class ServingCertificate:
    """`ca.crt` for caBundle, `tls.crt` and `tls.key` for the server, `ca.key` to renew them; keys are mode 0600."""

    def __init__(self, folder: Path, hosts: Sequence[str]) -> None:
        self.folder = folder
        self.hosts = list(hosts)
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"

    @property
    def ca_bundle(self) -> bytes:
        """PEM of the authority; it stays the same when the serving certificate is renewed."""
        return (self.folder / "ca.crt").read_bytes()

    def ensure(self, now: datetime) -> bool:
        """Make what is missing, runs out within 30 days or names other hosts. True where `tls.crt` is new: a server
        then loads it into its live context with `load_cert_chain`."""
        private(self.folder)
        for key_file in (self.folder / "ca.key", self.key):
            refuse_open(key_file)
        issuer, issuer_key = self._authority(now)
        if self.certificate.is_file() and self.key.is_file():
            current = x509.load_pem_x509_certificate(self.certificate.read_bytes())
            names = current.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            if (current.not_valid_after_utc - now > _RENEW and list(names) == names_of(self.hosts)
                    and current.issuer == issuer.subject):
                return False
        made = serving(Pair(issuer.public_bytes(Encoding.PEM), _private(issuer_key)), self.hosts, now)
        _write(self.key, made.key)
        _write(self.certificate, made.certificate)
        return True

    def _authority(self, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        cert_file, key_file = self.folder / "ca.crt", self.folder / "ca.key"
        if cert_file.is_file() and key_file.is_file():
            key = load_pem_private_key(key_file.read_bytes(), None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise MalformedError(str(key_file), got=type(key).__name__, expected="an elliptic curve key")
            certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
            if certificate.not_valid_after_utc - now > _SERVING:
                return certificate, key
        made = authority(now)
        _write(key_file, made.key)
        _write(cert_file, made.certificate)
        return x509.load_pem_x509_certificate(made.certificate), _key_of(made)


class Pair(NamedTuple):
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes

    @property
    def read(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate)


def authority(now: datetime, lifetime: timedelta = _AUTHORITY) -> Pair:
    """A new authority of webhooks' certificates, whose name no other has."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"custody webhook CA {now:%Y-%m-%d %H:%M:%S}"
    certificate = (_builder(name, now, lifetime).public_key(key.public_key()).issuer_name(_subject(name))
                   .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                   .add_extension(key_usage(certificates=True), critical=True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                   .sign(key, hashes.SHA256()))
    return Pair(certificate.public_bytes(Encoding.PEM), _private(key))


def serving(issuer: Pair, hosts: Sequence[str], now: datetime, lifetime: timedelta = _SERVING) -> Pair:
    """A new certificate of a webhook that is called by these names. Raises MalformedError for what is none."""
    key, issuer_key = ec.generate_private_key(ec.SECP256R1()), _key_of(issuer)
    certificate = (_builder("custody webhook", now, lifetime).public_key(key.public_key())
                   .issuer_name(issuer.read.subject)
                   .add_extension(x509.SubjectAlternativeName(names_of(hosts)), critical=False)
                   .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
                   .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                   .add_extension(key_usage(digital_signature=True), critical=True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                                  critical=False).sign(issuer_key, hashes.SHA256()))
    return Pair(certificate.public_bytes(Encoding.PEM), _private(key))


def _key_of(pair: Pair) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pair.key, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise MalformedError("authority's key", got=type(key).__name__, expected="an elliptic curve key")
    return key


def _builder(name: str, now: datetime, lifetime: timedelta) -> x509.CertificateBuilder:
    return (x509.CertificateBuilder().subject_name(_subject(name)).serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW).not_valid_after(now + lifetime))


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def names_of(hosts: Sequence[str]) -> list[x509.GeneralName]:
    """As a certificate has them. Raises MalformedError."""
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            if not _DNS.fullmatch(host):
                raise MalformedError("webhook's name", got=host, expected="a host's name or IP address, without scheme "
                                     "and port") from None
            names.append(x509.DNSName(host))
    return names


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all; a key is never readable by others, not even for a moment."""
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if path.suffix == ".key" else 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)
