"""Trust stores: folders of certificates by type and name.

    truststore/x509/{ca,signingAuthority,tsa}/NAME/FILE    PEM, or DER, each with one certificate or several

(notaryproject/specifications trust-store-trust-policy, trust store.) Links and folders in a store are refused; so is a
certificate that is neither a CA's nor self-signed, and in a tsa store one that is no root.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography import x509

from custody.errors import Check, MalformedError, UsageError, VerificationError
from custody.sign.certificate import is_ca, load_certificate
from custody.sign.notary.directory import Directory, read_document
from custody.sign.notary.issuance import issued_by, self_signed

_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----\s")
_END = re.compile(rb"-----END ([A-Z0-9 ]{1,64})-----")
_MAX_CERTIFICATES = 1000
_HINT = "`custody notation cert add --type {} --store {} FILE` puts certificates there"


class TrustStores(Protocol):
    """Where certificates are that somebody trusts."""

    def certificates(self, store_type: str, name: str) -> tuple[x509.Certificate, ...]:
        """All of a named store, at least one. Raises VerificationError where it is not there or not as it must be."""


@dataclass(frozen=True, slots=True)
class DirectoryStores:
    """Those of a notation directory, read when they are asked for."""

    directory: Directory

    def certificates(self, store_type: str, name: str) -> tuple[x509.Certificate, ...]:
        folder, where = self.directory.trust_store(store_type, name), f"trust store {store_type}:{name}"
        hint = _HINT.format(store_type, name)
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise VerificationError(f"{where}: {folder} is no folder, or a link to one", check=Check.CERTIFICATE)
        if not folder.is_dir():
            raise VerificationError(f"{where}: there is no folder {folder}", hint=hint, check=Check.CERTIFICATE)
        trusted: list[x509.Certificate] = []
        for path in _files(folder):
            if path.is_symlink() or not path.is_file():
                raise VerificationError(f"{where}: {path.name} is a link or a folder, expected regular files alone",
                                        check=Check.CERTIFICATE)
            try:
                held = read_certificates(read_document(path) or b"", f"{where}: {path.name}")
            except UsageError as error:
                raise VerificationError(error.message, check=Check.CERTIFICATE) from None
            for certificate in held:
                if reason := unfit(certificate, store_type):
                    raise VerificationError(f"{where}: {path.name}: {reason}", check=Check.CERTIFICATE)
            trusted += held
        if not trusted:
            raise VerificationError(f"{where}: {folder} holds no certificate", hint=hint, check=Check.CERTIFICATE)
        return tuple(trusted)


def read_certificates(data: bytes, where: str) -> list[x509.Certificate]:
    """The certificates of a file: PEM, or DER one behind another. Raises MalformedError, also where there is none."""
    ders = [_decoded(body, kind, where) for kind, body in _blocks(data)] or list(_ders(data, where))
    if not 1 <= len(ders) <= _MAX_CERTIFICATES:
        raise MalformedError(where, got=f"{len(ders)} certificates", expected=f"1 to {_MAX_CERTIFICATES}, PEM or DER")
    return [load_certificate(der, where) for der in ders]


def unfit(certificate: x509.Certificate, store_type: str) -> str:
    """Why a store of this type cannot hold a certificate; "" where it can."""
    name = certificate.subject.rfc4514_string()
    if not is_ca(certificate) and not self_signed(certificate):
        return f"{name} is neither a CA's certificate nor self-signed"
    if store_type == "tsa" and issued_by(certificate, certificate):
        return f"{name} is no root: {issued_by(certificate, certificate)}"
    return ""


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise VerificationError(f"{folder}: {error.strerror}", check=Check.CERTIFICATE) from None


def _blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Label and text of each PEM block: between an end and the one before, what begins with that end's label. Each
    byte is looked at twice."""
    at = 0
    for end in _END.finditer(data):
        for begin in _BEGIN.finditer(data, at, end.start()):
            if begin[1] == end[1]:
                yield begin[1], data[begin.end():end.start()]
                break
        at = end.end()


def _decoded(body: bytes, kind: bytes, where: str) -> bytes:
    if kind != b"CERTIFICATE":
        raise MalformedError(where, got=kind.decode(), expected="CERTIFICATE")
    try:
        return binascii.a2b_base64(body)
    except ValueError:
        raise MalformedError(where, got="no base64", expected="certificates in PEM") from None


def _ders(data: bytes, where: str) -> Iterator[bytes]:
    """DER values that stand one behind another."""
    at = 0
    while at < len(data):
        head = data[at:at + 6]
        long = head[1] & 0x7F if len(head) > 1 and head[1] & 0x80 else 0
        if len(head) < 2 or head[0] != 0x30 or long > 4 or (head[1] == 0x80):
            raise MalformedError(where, got=f"{len(data)} bytes", expected="certificates in PEM or DER")
        size = int.from_bytes(head[2:2 + long], "big") if long else head[1]
        end = at + 2 + long + size
        yield data[at:end]  # one that is cut off is no certificate, which whoever loads it says
        at = end
