"""cosign's bundle of a file before Sigstore's: `{base64Signature, cert, rekorBundle}` (pkg/cosign LocalSignedPayload).

The signature is one of the file's bytes, or a whole DSSE envelope. `cert` is PEM, which cosign writes in base64, and
holds a public key where a key signed: that key is not read, since a document does not say whom to trust.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from custody.errors import MalformedError
from custody.formats import cosign, dsse
from custody.formats.bundle import Bundle, LogEntry, MessageSignature
from custody.formats.protojson import Message, decode_base64, encode_base64

SIGNATURE = "base64Signature"
"""The field by which such a document is told from a Sigstore bundle."""
_CERTIFICATE = "cert"
_ENTRY = "rekorBundle"


def read_signed_payload(document: dict[str, Any], digest: bytes, where: str = "bundle") -> Bundle:
    """The Bundle (version 0.1) that the JSON amounts to, for a file with this SHA-256.

    Raises MalformedError or UnsupportedError, naming the field.
    """
    root = Message(document, where)
    signature, certificate, entry = root.data(SIGNATURE), root.text(_CERTIFICATE, ""), root.optional(_ENTRY)
    entries = (cosign.read_rekor_bundle(entry),) if entry else ()
    root.done()
    return of_parts(signature, digest, read_certificates(certificate, f"{where}.{_CERTIFICATE}"), entries,
                    where=f"{where}.{SIGNATURE}")


def of_parts(signature: bytes, digest: bytes, certificates: tuple[bytes, ...], entries: Sequence[LogEntry] = (),
             stamps: Sequence[bytes] = (), where: str = "signature") -> Bundle:
    """What a signature amounts to that came alone; one that is a JSON object is a DSSE envelope.

    Raises MalformedError.
    """
    if not signature:
        raise MalformedError(where, got="nothing", expected="a signature")
    envelope = message = None
    if signature[:1] == b"{":
        envelope = dsse.parse_envelope(signature, where)
        if len(envelope.signatures) != 1:
            raise MalformedError(f"{where}.signatures", got=f"{len(envelope.signatures)} signatures", expected="one")
    else:
        message = MessageSignature(digest, signature)
    return Bundle("0.1", certificates, None if certificates else "", tuple(entries), tuple(stamps), envelope, message)


def read_certificates(text: str, where: str) -> tuple[bytes, ...]:
    """DER of certificates in PEM or in base64 of it; none in a public key or an empty text. Raises MalformedError."""
    if text and not text.lstrip().startswith("-----"):
        text = decode_base64(text.strip(), where).decode("ascii", "replace")
    if not text.strip() or "-----BEGIN PUBLIC KEY-----" in text:
        return ()
    return cosign.pem_certificates(text, where)


def signed_payload(bundle: Bundle) -> bytes:
    """`read_signed_payload` the other way round. Raises UnsupportedError for an entry of Rekor v2.

    Without a certificate there is no `cert`: cosign 3 fails at a public key in it.
    """
    document: dict[str, Any] = {SIGNATURE: encode_base64(bundle.envelope.to_bytes() if bundle.envelope
                                                         else bundle.signature)}
    if bundle.certificates:
        document[_CERTIFICATE] = encode_base64(cosign.certificate_pem(bundle.certificates[0]))
    if bundle.entries:
        document[_ENTRY] = cosign.rekor_bundle(bundle.entries[0])
    return json.dumps(document, separators=(",", ":")).encode()
