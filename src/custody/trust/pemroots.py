"""Authorities and logs to believe whose certificates and keys are PEM files, as entries of a trusted root."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import BasicConstraints, Certificate, ExtensionNotFound, KeyUsage, load_der_x509_certificate
from cryptography.x509.oid import NameOID

from custody.errors import MalformedError, UnsupportedError, UsageError
from custody.formats.cosign import pem_certificates
from custody.trust.checkpoint import LogVerifier
from custody.trust.keys import key_details, spki
from custody.trust.roots import CertificateAuthority, TransparencyLog, Validity

_MAX_FILE = 1 << 20


def read_pem(path: str, flag: str) -> bytes:
    """A file that holds PEM. Raises UsageError."""
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(_MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"{flag} {path}: {error.strerror}") from None
    if len(data) > _MAX_FILE:
        raise UsageError(f"{flag} {path}: has more than {_MAX_FILE} bytes", hint="is it PEM?")
    return data


def read_pem_chain(path: str, flag: str) -> tuple[bytes, ...]:
    """DER of the certificates in a PEM file, as they stand. Raises UsageError and MalformedError."""
    where = f"{flag} {path}"
    chain = pem_certificates(read_pem(path, flag).decode("ascii", "replace"), where)
    for der in chain:
        try:
            load_der_x509_certificate(der)
        except ValueError:
            raise MalformedError(where, got=f"{len(der)} bytes that are no certificate",
                                 expected="X.509 certificates in PEM") from None
    return chain


def authority_of(chain: Sequence[bytes], uri: str = "", valid: Validity | None = None) -> CertificateAuthority:
    """`chain` is DER with the root last; without `valid` it is believed from when its root is valid on.

    Raises MalformedError where the last one is no root, or says that it signs no certificates: no path would end there.
    """
    root = load_der_x509_certificate(chain[-1])
    if root.issuer != root.subject or not _may_issue(root):
        raise MalformedError("certificate chain", got=root.subject.rfc4514_string() or "a certificate without a name",
                             expected="a self-signed certificate of a CA as the last")
    if not _may_sign(root):
        raise MalformedError("certificate chain", got=f"{root.subject.rfc4514_string()}, which may not sign "
                             "certificates (key usage)", expected="a root that may")
    names = {oid: [str(part.value) for part in root.subject.get_attributes_for_oid(oid)]
             for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)}
    return CertificateAuthority("".join(names[NameOID.ORGANIZATION_NAME][:1]), "".join(names[NameOID.COMMON_NAME][:1]),
                                uri, tuple(chain), valid or Validity(root.not_valid_before_utc))


def _may_issue(certificate: Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(BasicConstraints).value.ca
    except (ExtensionNotFound, ValueError):
        return False


def _may_sign(certificate: Certificate) -> bool:
    """RFC 5280 section 6.1.4 (n): a key usage must name it where there is one; roots that openssl makes have none."""
    try:
        return certificate.extensions.get_extension_for_class(KeyUsage).value.key_cert_sign
    except ExtensionNotFound:
        return True


def log_of(pem: bytes, where: str, url: str, valid: Validity, origin: str | None = None) -> TransparencyLog:
    """A log by its public key. Its ID is the key's SHA-256 (RFC 6962), or with `origin` that of a signed note's line.

    Raises UsageError for a private key, MalformedError and UnsupportedError.
    """
    if b"PRIVATE KEY" in pem:
        raise UsageError(f"{where}: is a private key", hint="a log is known by its public key")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise MalformedError(where, got=pem[:64].decode(errors="replace"), expected="a PEM public key") from None
    if not isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey, ed25519.Ed25519PublicKey)):
        raise UnsupportedError(where, "logs have ECDSA, RSA or Ed25519 keys")
    details = "PKIX_ED25519" if isinstance(key, ed25519.Ed25519PublicKey) else key_details(key)
    if details is None:
        raise UnsupportedError(where, "a key of this size is none that a trusted root can name")
    der = spki(key)
    log_id = hashlib.sha256(der).digest()
    if origin is not None:
        if isinstance(key, rsa.RSAPublicKey):
            raise UnsupportedError(where, "a log with an origin signs notes, for which custody reads no RSA keys")
        log_id = LogVerifier(origin, key).log_id
    return TransparencyLog(url, der, details, log_id, valid)
