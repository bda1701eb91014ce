"""cosign's formats before bundles: simple-signing payloads, and layers whose annotations carry the signature.

(cosign specs/SIGNATURE_SPEC.md; annotation names as cosign's pkg/oci/static writes them.) Each layer of the image
tagged `sha256-<hex>.sig` is one signature, each of `sha256-<hex>.att` one DSSE envelope; both become a Bundle here.
`sha256-<hex>.sbom` holds an SBOM that nobody signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.formats.bundle import Bundle, LogEntry, MessageSignature
from custody.formats.dsse import parse_envelope
from custody.formats.protojson import Message, decode_base64, encode_base64
from custody.kit import digest as digests
from custody.kit import strictjson

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_TYPE = "cosign container image signature"
SBOM_TYPES: Mapping[tuple[str, str], str] = {
    ("spdx", "text"): "text/spdx", ("spdx", "json"): "text/spdx+json",
    ("cyclonedx", "json"): "application/vnd.cyclonedx+json", ("cyclonedx", "xml"): "application/vnd.cyclonedx+xml",
    ("syft", "json"): "application/vnd.syft+json",
}
MAX_PAYLOAD = 1 << 20
_MAX_SBOM = 1 << 28
_SIGNATURE = "dev.cosignproject.cosign/signature"
_CERTIFICATE = "dev.sigstore.cosign/certificate"
_CHAIN = "dev.sigstore.cosign/chain"
BUNDLE = "dev.sigstore.cosign/bundle"
TIMESTAMP = "dev.sigstore.cosign/rfc3161timestamp"
PREDICATE_TYPE = "predicateType"
"""What a layer of an .att tag claims to say, for choosing among them."""
_STAMP = "SignedRFC3161Timestamp"


@dataclass(frozen=True, slots=True)
class SimpleSigning:
    """What a simple-signing payload says: this image digest, under this name, with these annotations."""

    digest: str
    docker_reference: str
    annotations: Mapping[str, str]


def tag(digest: str, suffix: str) -> str:
    """`sha256-<hex>.sig`, `.att` or `.sbom`."""
    return digest.replace(":", "-") + suffix


def sbom_kind(data: bytes) -> tuple[str, str] | None:
    """What an SBOM says it is: a key of SBOM_TYPES, or None."""
    text = data[:4096].lstrip()
    if text.startswith(b"<"):
        return ("cyclonedx", "xml") if b"cyclonedx.org/schema/bom" in text else None
    if text.startswith(b"SPDXVersion:"):
        return "spdx", "text"
    if not text.startswith(b"{"):
        return None
    document = strictjson.loads(data, "SBOM", max_size=_MAX_SBOM)
    if document.get("bomFormat") == "CycloneDX":
        return "cyclonedx", "json"
    if "spdxVersion" in document:
        return "spdx", "json"
    schema = document.get("schema")
    return ("syft", "json") if isinstance(schema, dict) and "syft" in str(schema.get("url")) else None


def parse_simple_signing(data: bytes, where: str = "simple-signing payload") -> SimpleSigning:
    """Raises MalformedError, naming the field; a payload of another `critical.type` is no image signature."""
    root = Message(strictjson.loads(data, where, max_size=MAX_PAYLOAD, max_depth=32), where)
    critical = root.message("critical")
    kind = critical.text("type", "")
    if kind != SIGNATURE_TYPE:
        raise MalformedError(f"{critical.where}.type", got=kind, expected=repr(SIGNATURE_TYPE))
    image = critical.message("image")
    key = "docker-manifest-digest"
    digest = digests.parse(image.raw(key), f"{image.where}.{key}")
    identity = critical.optional("identity")
    optional = root.raw("optional") or {}
    if not isinstance(optional, dict):
        raise MalformedError(f"{where}.optional", got=optional, expected="an object")
    return SimpleSigning(digest, identity.text("docker-reference", "") if identity else "",
                         {name: value if isinstance(value, str) else json.dumps(value)
                          for name, value in optional.items()})


def simple_signing(payload: SimpleSigning, kind: str = SIGNATURE_TYPE) -> dict[str, Any]:
    """The payload's JSON; `cosign verify -o json` prints this shape for every format."""
    return {"critical": {"identity": {"docker-reference": payload.docker_reference},
                         "image": {"docker-manifest-digest": payload.digest}, "type": kind},
            "optional": dict(payload.annotations) or None}


def payload(said: SimpleSigning) -> bytes:
    """The bytes that are signed, as Go writes them: annotations by name, what HTML minds escaped."""
    ordered = SimpleSigning(said.digest, said.docker_reference, dict(sorted(said.annotations.items())))
    text = json.dumps(simple_signing(ordered), separators=(",", ":"), ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text.encode()


def layer_bundle(data: bytes, annotations: Mapping[str, str], *, attestation: bool) -> Bundle:
    """The Bundle (version 0.1) that a layer and its annotations amount to. Raises MalformedError, naming the field."""
    certificates: tuple[bytes, ...] = ()
    if pem := annotations.get(_CERTIFICATE):
        certificates = pem_certificates(pem, _CERTIFICATE)
        if chain := annotations.get(_CHAIN):
            certificates += pem_certificates(chain, _CHAIN)
    entries = (_log_entry(annotations[BUNDLE]),) if annotations.get(BUNDLE) else ()
    timestamps: tuple[bytes, ...] = ()
    if text := annotations.get(TIMESTAMP):
        timestamps = (parse_timestamp(text, TIMESTAMP),)
    envelope = message = None
    if attestation:
        envelope = parse_envelope(data, "layer")
        if len(envelope.signatures) != 1:
            raise MalformedError("layer.signatures", got=f"{len(envelope.signatures)} signatures", expected="one")
    else:
        signature = decode_base64(annotations.get(_SIGNATURE), _SIGNATURE)
        message = MessageSignature(hashlib.sha256(data).digest(), signature)
    return Bundle("0.1", certificates, None if certificates else "", entries, timestamps, envelope, message)


def _log_entry(text: str) -> LogEntry:
    return read_rekor_bundle(Message(strictjson.loads(text, BUNDLE, max_size=2 * MAX_PAYLOAD), BUNDLE))


def read_rekor_bundle(root: Message) -> LogEntry:
    """An entry with Rekor v1's promise and without a proof, as cosign 2 keeps it. Raises MalformedError."""
    payload = root.message("Payload")
    body = payload.data("body")
    shape = Message(strictjson.loads(body, "log entry", max_size=2 * MAX_PAYLOAD, max_depth=16), "log entry")
    result = LogEntry(payload.integer("logIndex"), payload.hex("logID"), shape.text("kind"), shape.text("apiVersion"),
                      payload.integer("integratedTime"), root.data("SignedEntryTimestamp"), None, body)
    if result.log_index < 0 or result.integrated_time <= 0:
        raise MalformedError(payload.where, got=payload.raw("integratedTime"), expected="an index and a time")
    root.done()
    payload.done()
    return result


def certificate_pem(der: bytes) -> bytes:
    """One certificate in PEM (RFC 7468)."""
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[at:at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n".encode()


def layer_annotations(bundle: Bundle) -> dict[str, str]:
    """What a layer says of its signature: `layer_bundle` the other way round.

    Raises UnsupportedError for a log entry without a signed entry timestamp (Rekor v2), which a layer cannot hold.
    """
    # An envelope has its signature in itself: cosign writes the name without one.
    result = {_SIGNATURE: encode_base64(bundle.signature) if bundle.envelope is None else ""}
    if bundle.certificates:
        leaf, *chain = bundle.certificates
        result[_CERTIFICATE] = certificate_pem(leaf).decode()
        result[_CHAIN] = b"".join(map(certificate_pem, chain)).decode()
    for entry in bundle.entries:
        result[BUNDLE] = json.dumps(rekor_bundle(entry), separators=(",", ":"))
    for stamp in bundle.timestamps:
        result[TIMESTAMP] = json.dumps(timestamp_json(stamp), separators=(",", ":"))
    return result


def rekor_bundle(entry: LogEntry) -> dict[str, Any]:
    """`read_rekor_bundle` the other way round, in the order in which Go writes the names. Raises UnsupportedError."""
    if entry.promise is None:
        raise UnsupportedError("log entry", "has no signed entry timestamp, and cosign 2's formats hold no other proof")
    return {"SignedEntryTimestamp": encode_base64(entry.promise), "Payload": {
        "body": encode_base64(entry.body), "integratedTime": entry.integrated_time, "logIndex": entry.log_index,
        "logID": entry.log_id.hex()}}


def timestamp_json(stamp: bytes) -> dict[str, str]:
    """cosign's JSON around a DER TimeStampResp."""
    return {_STAMP: encode_base64(stamp)}


def parse_timestamp(data: bytes | str, where: str) -> bytes:
    """The DER TimeStampResp in cosign's JSON around one. Raises MalformedError."""
    stamp = Message(strictjson.loads(data, where, max_size=MAX_PAYLOAD), where)
    return stamp.data(_STAMP)


def signature_annotations(signature: str, certificate: str = "", bundle: str = "") -> dict[str, str]:
    """What a layer would say of a signature that is kept elsewhere: base64, PEM, and Rekor's bundle in JSON."""
    return {_SIGNATURE: signature, **({_CERTIFICATE: certificate} if certificate else {}),
            **({BUNDLE: bundle} if bundle else {})}


def pem_certificates(text: str, where: str) -> tuple[bytes, ...]:
    """DER of the certificates in PEM text, at least one. Raises MalformedError."""
    blocks = text.split("-----BEGIN CERTIFICATE-----")[1:]
    if not 1 <= len(blocks) <= 16:
        raise MalformedError(where, got=f"{len(blocks)} certificates", expected="1 to 16 in PEM")
    try:
        return tuple(binascii.a2b_base64(block.split("-----END", 1)[0]) for block in blocks)
    except ValueError:  # no base64, or letters beyond ASCII
        raise MalformedError(where, got=text, expected="PEM certificates") from None
