"""What a bundle holds, for people: the outline that `cosign bundle inspect` prints. Nothing is verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID, SignatureAlgorithmOID

from custody.errors import MalformedError, UnsupportedError
from custody.formats import bundle as bundles
from custody.formats import intoto
from custody.formats.bundle import Bundle, LogEntry
from custody.kit.clock import format_rfc3339
from custody.sign.certificate import FULCIO, extension, load_certificate, utf8_string
from custody.trust.checkpoint import parse_checkpoint
from custody.trust.roots import TransparencyLog, TrustedRoot

Line = tuple[int, str, str]
"""Depth, label and value; an empty value heads the deeper lines below it."""

_SIGNATURES = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: "ECDSA-SHA256", SignatureAlgorithmOID.ECDSA_WITH_SHA384: "ECDSA-SHA384",
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: "ECDSA-SHA512", SignatureAlgorithmOID.RSA_WITH_SHA256: "SHA256-RSA",
    SignatureAlgorithmOID.RSA_WITH_SHA384: "SHA384-RSA", SignatureAlgorithmOID.RSA_WITH_SHA512: "SHA512-RSA",
    SignatureAlgorithmOID.ED25519: "Ed25519"}
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_USAGES = {"digital_signature": "Digital Signature", "content_commitment": "Content Commitment",
           "key_encipherment": "Key Encipherment", "data_encipherment": "Data Encipherment",
           "key_agreement": "Key Agreement", "key_cert_sign": "Cert Sign", "crl_sign": "CRL Sign"}
_PURPOSES = {ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "Any", ExtendedKeyUsageOID.SERVER_AUTH: "Server Auth",
             ExtendedKeyUsageOID.CLIENT_AUTH: "Client Auth", ExtendedKeyUsageOID.CODE_SIGNING: "Code Signing",
             ExtendedKeyUsageOID.EMAIL_PROTECTION: "Email Protection",
             ExtendedKeyUsageOID.TIME_STAMPING: "Time Stamping", ExtendedKeyUsageOID.OCSP_SIGNING: "OCSP Signing"}
_HANDLED = {ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE, ExtensionOID.SUBJECT_KEY_IDENTIFIER,
            ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.SUBJECT_ALTERNATIVE_NAME}
_CLAIMS = (
    "OIDC Issuer", "GitHub Workflow Trigger", "GitHub Workflow SHA", "GitHub Workflow Name",
    "GitHub Workflow Repository", "GitHub Workflow Ref", "OtherName SAN", "Issuer (V2)", "Build Signer URI",
    "Build Signer Digest", "Runner Environment", "Source Repository URI", "Source Repository Digest",
    "Source Repository Ref", "Source Repository Identifier", "Source Repository Owner URI",
    "Source Repository Owner Identifier", "Build Config URI", "Build Config Digest", "Build Trigger",
    "Run Invocation URI", "Source Repository Visibility At Signing", "Deployment Environment", "Token Subject")
"""Of Fulcio's extensions 1 to 24."""


def outline(bundle: Bundle, root: TrustedRoot | None) -> Iterator[Line]:
    """`root` is asked for the names of logs and authorities alone."""
    root = root or TrustedRoot()
    yield 0, "Bundle Media Type", bundle.media_type
    yield 0, "Verification Material", ""
    chained = bundle.version != "0.3"
    if bundle.certificates and chained:
        yield 1, "Content", "X.509 Certificate Chain"
        yield 2, "Certificates", str(len(bundle.certificates))
        for at, der in enumerate(bundle.certificates):
            yield 2, f"Certificate [{at}]", ""
            yield from _deeper(3, _certificate(der, root))
    elif bundle.certificates:
        yield 1, "Content", "X.509 Certificate"
        yield from _deeper(2, _certificate(bundle.certificates[0], root))
    else:
        yield 1, "Content", "Public Key Identifier"
        yield 2, *(("Hint", _hexadecimal(bundle.key_hint)) if bundle.key_hint else _warning("Public key hint is empty"))
    if bundle.entries:
        yield 1, "Transparency Log Entries", str(len(bundle.entries))
    for at, entry in enumerate(bundle.entries):
        yield 2, f"Entry [{at}]", ""
        yield from _deeper(3, _entry(entry, root))
        if bundle.version == "0.1" and entry.promise is None:
            yield 3, *_warning("v0.1 bundle tlog entry MUST contain an inclusion promise")
        if bundle.version != "0.1" and entry.proof is None:
            yield 3, *_warning(f"v{bundle.version} bundle tlog entry MUST contain an inclusion proof")
    if bundle.timestamps:
        yield 1, "Timestamp Verification Data", ""
        yield 2, "RFC3161 Timestamps", str(len(bundle.timestamps))
    for at, stamp in enumerate(bundle.timestamps):
        yield 2, f"Timestamp [{at}]", ""
        yield from _deeper(3, _timestamp(stamp))
    yield 0, "Content", ""
    yield from _deeper(1, _content(bundle))


def _deeper(depth: int, lines: Iterator[Line]) -> Iterator[Line]:
    return ((depth + own, label, value) for own, label, value in lines)


def _warning(text: str) -> tuple[str, str]:
    return "[!] WARNING", text


def _hexadecimal(hint: str) -> str:
    from custody.formats.protojson import decode_base64

    try:
        return decode_base64(hint, "hint").hex()
    except MalformedError:
        return hint


def _certificate(der: bytes, root: TrustedRoot) -> Iterator[Line]:
    try:
        certificate = load_certificate(der, "certificate")
    except MalformedError as error:
        yield 0, "Error", error.message
        return
    oid = certificate.signature_algorithm_oid
    yield 0, "Signature Algorithm", _SIGNATURES.get(oid, oid.dotted_string)
    if subject := certificate.subject.rfc4514_string():
        yield 0, "Subject", subject
    issuer = [(label, str(values[0].value)) for label, oid in (
        ("Common Name", NameOID.COMMON_NAME), ("Organization", NameOID.ORGANIZATION_NAME),
        ("Country", NameOID.COUNTRY_NAME)) if (values := certificate.issuer.get_attributes_for_oid(oid))]
    if issuer:
        yield 0, "Issuer", ""
        yield from ((1, label, value) for label, value in issuer)
    yield 0, "Validity", ""
    yield 1, "Not Before", format_rfc3339(certificate.not_valid_before_utc)
    yield 1, "Not After", format_rfc3339(certificate.not_valid_after_utc)
    yield 0, "Subject Public Key Info", ""
    yield from _deeper(1, _public_key(certificate.public_key()))
    yield 0, "Extensions", ""
    yield from _deeper(1, _extensions(certificate, root))
    yield 0, "Signature", _present(certificate.signature)


def _public_key(key: object) -> Iterator[Line]:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if isinstance(key, ec.EllipticCurvePublicKey):
        yield 0, "Algorithm", "ECDSA"
        yield 0, "Curve", _CURVES.get(key.curve.name, key.curve.name)
        yield 0, "Public Key", _shortened(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
    elif isinstance(key, ed25519.Ed25519PublicKey):
        yield 0, "Algorithm", "Ed25519"
        yield 0, "Public Key", _shortened(key.public_bytes_raw())
    elif isinstance(key, rsa.RSAPublicKey):
        yield 0, "Algorithm", "RSA"
        yield 0, "Key Size", f"{key.key_size} bits"
    else:
        yield 0, "Algorithm", "Unknown"


def _shortened(key: bytes) -> str:
    return f"{key.hex()[:8]}...{key.hex()[-8:]} ({len(key)} bytes)"


def _present(data: bytes) -> str:
    return f"Present ({len(data)} bytes)"


def _extensions(certificate: x509.Certificate, root: TrustedRoot) -> Iterator[Line]:
    names = extension(certificate, x509.SubjectAlternativeName)
    emails = names.value.get_values_for_type(x509.RFC822Name) if names else []
    uris = names.value.get_values_for_type(x509.UniformResourceIdentifier) if names else []
    common = [str(part.value) for part in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if common or emails or uris:
        yield 0, "Identity (Subject Alternative Name)", ""
        yield from ((1, label, value) for label, values in (("Common Name", common), ("Email", emails), ("URI", uris))
                    for value in values)
    usage, purposes = extension(certificate, x509.KeyUsage), extension(certificate, x509.ExtendedKeyUsage)
    if usage and (said := [label for name, label in _USAGES.items() if getattr(usage.value, name)]):
        yield 0, "Key Usage", ", ".join(said)
    if purposes and (said := [_PURPOSES[oid] for oid in purposes.value if oid in _PURPOSES]):
        yield 0, "Extended Key Usage", ", ".join(said)
    if purposes and (said := [oid.dotted_string for oid in purposes.value if oid not in _PURPOSES]):
        yield 0, "Unknown Extended Key Usage", ", ".join(said)
    if own := extension(certificate, x509.SubjectKeyIdentifier):
        yield 0, "Subject Key ID", own.value.digest.hex()
    issuer = extension(certificate, x509.AuthorityKeyIdentifier)
    if issuer and issuer.value.key_identifier is not None:
        url = _authority_url(issuer.value.key_identifier, root)
        yield 0, *(("Authority URL", url) if url else ("Authority Key ID", issuer.value.key_identifier.hex()))
    for present in certificate.extensions:
        if present.oid in _HANDLED:
            continue
        if isinstance(present.value, x509.PrecertificateSignedCertificateTimestamps):
            yield from _promises(present.value, root)
            continue
        arc, _, last = present.oid.dotted_string.rpartition(".")
        value = present.value.public_bytes()
        if arc == FULCIO and 1 <= int(last) <= len(_CLAIMS):
            yield 0, _CLAIMS[int(last) - 1], _text(value, bare=int(last) < 7)
        else:
            critical = str(present.critical).lower()
            yield 0, f"OID: {present.oid.dotted_string}", f"(Critical: {critical}) [{len(value)} bytes]"


def _text(value: bytes, *, bare: bool) -> str:
    """To extension 6 text as it is, then a DER UTF8String. What is none is shown all the same, as it is."""
    try:
        return value.decode("utf-8", "replace") if bare else utf8_string(value, "extension")
    except MalformedError:
        return value.decode("utf-8", "replace")


def _promises(listed: x509.PrecertificateSignedCertificateTimestamps, root: TrustedRoot) -> Iterator[Line]:
    scts = list(listed)
    yield 0, "Signed Certificate Timestamps", str(len(scts))
    for at, sct in enumerate(scts):
        yield 1, f"Signed Certificate Timestamp [{at}]", ""
        yield 2, "Version", "v1"
        yield 2, *_log(sct.log_id, root.ctlogs)
        try:
            yield 2, "Timestamp", format_rfc3339(sct.timestamp.replace(tzinfo=UTC, microsecond=0))
        except ValueError:
            yield 2, *_warning("its timestamp is beyond the year 9999")
        yield 2, "Extensions", f"{len(sct.extension_bytes)} bytes" if sct.extension_bytes else "none"
        yield 2, "Signature", _present(sct.signature)


def _log(log_id: bytes, logs: tuple[TransparencyLog, ...]) -> tuple[str, str]:
    url = next((log.base_url for log in logs if log.log_id == log_id), "")
    return ("Log URL", url) if url else ("Log ID", log_id.hex())


def _authority_url(key_id: bytes, root: TrustedRoot) -> str:
    for authority in root.certificate_authorities:
        for der in authority.chain:
            own = extension(load_certificate(der, "trusted root"), x509.SubjectKeyIdentifier)
            if own is not None and own.value.digest == key_id:
                return authority.uri
    return ""


def _entry(entry: LogEntry, root: TrustedRoot) -> Iterator[Line]:
    yield 0, "Log Index", str(entry.log_index)
    yield 0, *_log(entry.log_id, root.tlogs)
    yield 0, "Kind", entry.kind
    yield 0, "Version", entry.version
    yield 0, "Integrated Time", format_rfc3339(datetime.fromtimestamp(entry.integrated_time, UTC)) if (
        0 < entry.integrated_time < 1 << 36) else f"{entry.integrated_time} (Not set)"
    if entry.promise is not None:
        yield 0, "Inclusion Promise", ""
        yield 1, "Signed Entry Timestamp", _present(entry.promise)
    if (proof := entry.proof) is not None:
        yield 0, "Inclusion Proof", ""
        yield 1, "Log Index", str(proof.log_index)
        yield 1, "Tree Size", str(proof.tree_size)
        yield 1, "Hashes", str(len(proof.hashes))
        if proof.checkpoint:
            yield 1, "Checkpoint", ""
            yield from _deeper(2, _checkpoint(proof.checkpoint))
    if entry.body:
        yield 0, "Canonicalized Body", _present(entry.body)


def _checkpoint(note: str) -> Iterator[Line]:
    try:
        checkpoint = parse_checkpoint(note.encode())
    except MalformedError:
        yield 0, "Envelope", _present(note.encode())
        return
    yield 0, "Origin", checkpoint.origin
    yield 0, "Tree Size", str(checkpoint.size)
    more = checkpoint.text.decode().split("\n")[3:-1]
    if more:
        yield 0, "Other Content", f"{len(more)} lines"
        yield from ((1, f"[{at}]", line) for at, line in enumerate(more))
    yield 0, "Witnesses", str(len(checkpoint.signatures))
    for name, blob in checkpoint.signatures:  # 4 bytes of each say whose key it was
        yield 1, name, f"Signature Present ({len(blob) - 4} bytes)"


def _timestamp(stamp: bytes) -> Iterator[Line]:
    from rfc3161_client import decode_timestamp_response

    try:
        info = decode_timestamp_response(stamp).tst_info
        imprint = info.message_imprint
    except ValueError:
        yield 0, *_warning("it cannot be read")
        return
    yield 0, "Time", format_rfc3339(info.gen_time)
    sizes = {hashlib.new(name).digest_size: label for name, label in (
        ("sha256", "SHA-256"), ("sha384", "SHA-384"), ("sha512", "SHA-512"), ("sha1", "SHA-1"))}
    yield 0, "Hash Algorithm", sizes.get(len(imprint.message), imprint.hash_algorithm.dotted_string)
    yield 0, "Message Imprint", _present(imprint.message)
    yield 0, "Serial Number", str(info.serial_number)
    yield 0, "Policy", info.policy.dotted_string


def _content(bundle: Bundle) -> Iterator[Line]:
    if (message := bundle.message) is not None:
        yield 0, "Type", "Message Signature"
        yield 0, "Message Digest", ""
        yield 1, "Algorithm", next(name for name, own in bundles.DIGESTS.items() if own == message.algorithm)
        yield 1, "Digest", _present(message.digest)
        yield 0, "Signature", _present(message.signature)
        return
    envelope = bundle.envelope
    assert envelope is not None  # a bundle holds one of the two
    yield 0, "Type", "DSSE Envelope"
    yield 0, "Payload Type", envelope.payload_type
    yield 0, "Payload", _present(envelope.payload)
    if envelope.payload_type == intoto.PAYLOAD_TYPE:
        yield from _statement(envelope.payload)
    yield 0, "Signatures", str(len(envelope.signatures))
    for at, (key_id, signature) in enumerate(envelope.signatures):
        yield 1, f"Signature [{at}]", ""
        yield 2, "Signature", _present(signature)
        if key_id:
            yield 2, "Key Hint", _hexadecimal(key_id)
            if bundle.key_hint is not None and bundle.key_hint != key_id:
                yield 2, *_warning("Key hint mismatch with Verification Material")


def _statement(payload: bytes) -> Iterator[Line]:
    try:
        statement = intoto.parse_statement(payload)
    except (MalformedError, UnsupportedError) as error:
        yield 0, *_warning(error.message)
        return
    yield 0, "Payload Content (in-toto)", ""
    yield 1, "Predicate Type", statement.predicate_type
    yield 1, "Subjects", str(len(statement.subjects))
    yield from ((2, "Name", subject.name) for subject in statement.subjects if subject.name)
