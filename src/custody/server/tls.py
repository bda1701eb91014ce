"""TLS of the servers: one function from files to a context, which says what is wrong with which file."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from custody.errors import MalformedError, UsageError
from custody.kit.clock import format_rfc3339

_LOG = logging.getLogger(__name__)
_KEY = b"PRIVATE KEY-----"


class Served(NamedTuple):
    """What handshakes go by, whatever the files have become."""

    context: ssl.SSLContext
    expires: datetime
    """When the server's own certificate runs out."""


@dataclass(frozen=True)
class TlsFiles:
    """A server's certificate with its key, and who may sign those of its clients."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    demanded: bool = False
    renew: Callable[[], object] | None = None
    """Makes the files anew where it is time; None where somebody else does."""

    @property
    def files(self) -> list[Path]:
        return [path for path in (self.certificate, self.key, self.client_ca) if path is not None]

    def read(self, now: datetime) -> Served:
        """Raises UsageError and MalformedError naming the file; UsageError for a certificate that has run out."""
        if self.renew is not None:
            self.renew()
        if (expires := _certificates(self.certificate)[0].not_valid_after_utc) <= now:
            raise UsageError(f"{self.certificate}: the certificate ran out at {format_rfc3339(expires)}")
        return Served(server_context(self.certificate, self.key, self.client_ca, demanded=self.demanded), expires)


def server_context(certificate: Path, key: Path, client_ca: Path | None = None, *,
                   demanded: bool = False) -> ssl.SSLContext:
    """A server's context: TLS 1.2 and later. With `client_ca` clients are asked for a certificate of those authorities;
    `demanded` ends the handshake of those who show none.

    Raises UsageError and MalformedError naming the file, and never what is in it.
    """
    _certificates(certificate)
    secret = _read(key)
    if _KEY not in secret:
        raise MalformedError(str(key), got="no private key", expected="the private key of " + str(certificate))
    if (mode := key.stat().st_mode & 0o777) & 0o007:  # a mounted Secret is, and its keeper knows; others may not
        _LOG.warning("%s: everybody on this machine may read this key (mode %03o)", key, mode)
    if b"ENCRYPTED" in secret:
        raise UsageError(f"{key}: got a key with a password, expected one without: there is nobody to ask at a start")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise MalformedError(str(key), got="the key of another certificate",
                                 expected=f"the key of the first certificate in {certificate}") from None
        raise MalformedError(str(key), got=error.reason or "what OpenSSL does not read",
                             expected=f"the private key of {certificate}, in PEM") from None
    if client_ca is not None:
        _certificates(client_ca)
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if demanded else ssl.CERT_OPTIONAL
    return context


def _certificates(path: Path) -> list[x509.Certificate]:
    data = _read(path)
    if _KEY in data:
        raise MalformedError(str(path), got="a private key", expected="certificates in PEM",
                             hint="tls.crt, not tls.key; a file that holds both must be taken apart")
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise MalformedError(str(path), got=f"{len(data)} bytes without a certificate that can be read",
                             expected="certificates in PEM (BEGIN CERTIFICATE)") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
