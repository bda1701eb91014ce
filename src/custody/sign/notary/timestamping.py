"""Timestamps that signatures of the Notary Project carry: a TimeStampToken over the signature (RFC 3161).

An authority is believed by its root alone, which whoever signs names; the certificates between are in the token.
"""

from __future__ import annotations

from asn1crypto import parser
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from custody.errors import MalformedError, UsageError
from custody.formats.cosign import pem_certificates
from custody.ports.http import Http
from custody.sign.authorities import request_timestamp
from custody.sign.certificate import is_ca, load_certificate
from custody.sign.notary.sign import Stamp
from custody.sign.timestamp import check_timestamp
from custody.trust.roots import CertificateAuthority, Validity


def stamper(http: Http, url: str, root: x509.Certificate) -> Stamp:
    """Whoever stamps signatures at `url`, believed by `root`. It raises NetworkError, MalformedError and, for a
    timestamp that is not the authority's over this signature, VerificationError."""
    authority = CertificateAuthority("", url, "", (root.public_bytes(Encoding.DER),), Validity())

    async def stamp(signature: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
        response = await request_timestamp(http, url, signature, algorithm.name)
        check_timestamp(response, signature, [authority])
        return token_of(response)

    return stamp


def token_of(response: bytes) -> bytes:
    """The TimeStampToken of a TimeStampResp, byte for byte. Raises MalformedError."""
    try:
        content = parser.parse(response, strict=True)[4]
        status = sum(map(len, parser.parse(content)[3:6]))
        header, value, trailer = parser.parse(content[status:], strict=True)[3:6]
    except ValueError:
        raise MalformedError("timestamp", got=f"{len(response)} bytes", expected="a TimeStampResp with a token") from None
    return bytes(header + value + trailer)


def authority_root(data: bytes, where: str) -> x509.Certificate:
    """The one root certificate of a file in PEM or DER. Raises MalformedError, UsageError for one that is no root."""
    ders = pem_certificates(data.decode("ascii", "replace"), where) if b"-----BEGIN" in data else (data,)
    if len(ders) != 1:
        raise UsageError(f"{where}: got {len(ders)} certificates, expected one root certificate")
    root = load_certificate(ders[0], where)
    if not is_ca(root) or root.subject != root.issuer:
        raise UsageError(f"{where}: {root.subject.rfc4514_string()} is no root certificate, expected one of a CA that "
                         "issued itself")
    return root
