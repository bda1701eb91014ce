"""What an envelope says, unverified: as `notation inspect` and `notation blob inspect` print it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography import x509

from custody.errors import MalformedError, VerificationError
from custody.formats import notary
from custody.kit.clock import format_rfc3339
from custody.kit.digest import sha256
from custody.kit.visible import visible
from custody.sign.certificate import load_certificate
from custody.sign.notary.countersignature import Stamp, read_stamp

_ALGORITHMS = {"PS256": "RSASSA-PSS-SHA-256", "PS384": "RSASSA-PSS-SHA-384", "PS512": "RSASSA-PSS-SHA-512",
               "ES256": "ECDSA-SHA-256", "ES384": "ECDSA-SHA-384", "ES512": "ECDSA-SHA-512"}
Branch = tuple[str, list["Branch"]]
"""A line, and what stands below it."""


def inspected(data: bytes, media_type: str, digest: str) -> dict[str, Any]:
    """notation's JSON of one signature. Raises MalformedError, UnsupportedError."""
    envelope = notary.parse_envelope(data, media_type)
    chain = [load_certificate(der, f"certificate chain [{at}]") for at, der in enumerate(envelope.chain)]
    signed = {"signingScheme": envelope.scheme, "signingTime": format_rfc3339(envelope.signing_time)}
    if envelope.expiry is not None:
        signed["expiry"] = format_rfc3339(envelope.expiry)
    signed |= {name: str(value) for name, value in sorted(envelope.extended.items())}
    unsigned: dict[str, Any] = {}
    if envelope.timestamp is not None:
        unsigned["timestampSignature"] = _stamped(envelope.timestamp, envelope.signature)
    if envelope.agent:
        unsigned["signingAgent"] = envelope.agent
    target = envelope.target
    return {"mediaType": media_type, "digest": digest, "signatureAlgorithm": _ALGORITHMS[envelope.algorithm],
            "signedAttributes": signed, "userDefinedAttributes": dict(sorted(target.annotations.items())) or None,
            "unsignedAttributes": unsigned, "certificates": [_certificate(certificate) for certificate in chain],
            "signedArtifact": {"mediaType": target.media_type, "digest": target.digest, "size": target.size}}


def branch_of(signature: dict[str, Any], title: str) -> Branch:
    """The same as a tree for people."""
    unsigned: list[Branch] = []
    for name, value in signature["unsignedAttributes"].items():
        if isinstance(value, dict):
            unsigned.append(("timestamp signature", _stamp_branch(value)))
        else:
            unsigned.append((f"{name}: {value}", []))
    artifact = signature["signedArtifact"]
    return (title, [
        (f"media type: {signature['mediaType']}", []), (f"signature algorithm: {signature['signatureAlgorithm']}", []),
        ("signed attributes", _pairs(signature["signedAttributes"])),
        ("user defined attributes", _pairs(signature["userDefinedAttributes"] or {})),
        ("unsigned attributes", unsigned), _certificates(signature["certificates"]),
        ("signed artifact", [(f"media type: {artifact['mediaType']}", []), (f"digest: {artifact['digest']}", []),
                             (f"size: {artifact['size']}", [])])])


def drawn(branch: Branch) -> str:
    """A tree in lines, as notation draws it."""
    lines = [visible(branch[0])]

    def below(children: Sequence[Branch], indent: str) -> None:
        for at, (line, inner) in enumerate(children):
            last = at == len(children) - 1
            lines.append(f"{indent}{'└' if last else '├'}── {visible(line, starts_line=False)}")
            below(inner, indent + ("    " if last else "│   "))

    below(branch[1], "")
    return "\n".join(lines)


def _pairs(entries: dict[str, str]) -> list[Branch]:
    return [(f"{name}: {_shown(value)}", []) for name, value in entries.items()] or [("(empty)", [])]


def _stamp_branch(stamp: dict[str, Any]) -> list[Branch]:
    if "error" in stamp:
        return [(f"error: {stamp['error']}", [])]
    span = ", ".join(map(_shown, stamp["timestamp"].strip("[]").split(", ")))
    return [(f"timestamp: [{span}]", []), _certificates(stamp["certificates"])]


def _certificates(certificates: list[dict[str, str]]) -> Branch:
    return ("certificates", [(f"SHA256 fingerprint: {entry['SHA256Fingerprint']}", [
        (f"issued to: {entry['issuedTo']}", []), (f"issued by: {entry['issuedBy']}", []),
        (f"expiry: {_shown(entry['expiry'])}", [])]) for entry in certificates])


def _certificate(certificate: x509.Certificate) -> dict[str, str]:
    from cryptography.hazmat.primitives.serialization import Encoding

    return {"SHA256Fingerprint": sha256(certificate.public_bytes(Encoding.DER)).partition(":")[2],
            "issuedTo": certificate.subject.rfc4514_string(), "issuedBy": certificate.issuer.rfc4514_string(),
            "expiry": format_rfc3339(certificate.not_valid_after_utc)}


def _stamped(token: bytes, signature: bytes) -> dict[str, Any]:
    try:
        stamp: Stamp = read_stamp(token, signature)
    except (MalformedError, VerificationError) as error:
        return {"error": f"failed to parse timestamp countersignature: {error.message}"}
    span = "[{}, {}]".format(*map(format_rfc3339, (stamp.moment - stamp.accuracy, stamp.moment + stamp.accuracy)))
    return {"timestamp": span, "certificates": [_certificate(certificate) for certificate in stamp.certificates]}


def _shown(text: str) -> str:
    """A time as notation shows it to people: `Mon Jan  2 15:04:05 2006`; any other text as it is."""
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 - it is UTC, and shown without a zone
    except ValueError:
        return text
    return f"{moment:%a %b} {moment.day:2d} {moment:%H:%M:%S %Y}"
