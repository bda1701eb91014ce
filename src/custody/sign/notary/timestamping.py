"""Timestamps that signatures of the Notary Project carry: a TimeStampToken over the signature (RFC 3161).

An authority is believed by its root alone, which whoever signs names; the certificates between are in the token.
"""

from __future__ import annotations

from asn1crypto import parser
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from custody.errors import MalformedError, UsageError
from custody.formats.cosign import pem_certificates
from custody.ports.http import Http
from custody.sign.authorities import request_timestamp
from custody.sign.certificate import is_ca, load_certificate
from custody.sign.notary.countersignature import countersigned
from custody.sign.notary.revocation import Revocations, check_answers
from custody.sign.notary.sign import Stamp


def stamper(http: Http, url: str, root: x509.Certificate, revocations: Revocations | None = None) -> Stamp:
    """Whoever stamps signatures at `url`, believed by `root`; `revocations` knows whose certificates are revoked.

    It raises NetworkError, MalformedError and, for a timestamp that is not the authority's over this signature,
    VerificationError.
    """

    async def stamp(signature: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
        # The library that writes requests has no SHA-384.
        response = await request_timestamp(http, url, signature, "sha256" if algorithm.name == "sha256" else "sha512")
        token = token_of(response)
        witnessed = countersigned(token, signature, [root])
        if revocations:
            check_answers(await revocations.answers(witnessed.chain, None), "timestamp authority")
        return token

    return stamp


def token_of(response: bytes) -> bytes:
    """The TimeStampToken of a TimeStampResp, byte for byte. Raises MalformedError."""
    try:
        content = parser.parse(response, strict=True)[4]
        status = sum(map(len, parser.parse(content)[3:6]))
        header, value, trailer = parser.parse(content[status:], strict=True)[3:6]
    except ValueError:
        raise MalformedError("timestamp", got=f"{len(response)} bytes",
                             expected="a TimeStampResp with a token") from None
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
