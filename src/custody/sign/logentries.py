"""What a transparency log's entries say of who signed: the certificates and keys in them, whatever kind they are of.

(rekor-tiles api/proto: hashedrekord 0.0.2, dsse 0.0.2; rekor pkg/types: hashedrekord 0.0.1, dsse 0.0.1, intoto 0.0.1
and 0.0.2.)
Read quickly and without judging: which bytes a log may take as an entry is the log's matter, and whoever verifies a
signature compares them with those that it is told (`sign.logentry`).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import msgspec

_DECODER = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class Recorded:
    """One entry."""

    kind: str
    """`hashedrekord 0.0.2`."""
    digest: str
    """What was signed, for an envelope its payload: `sha256:` and hexadecimal; "" where the entry does not say."""
    verifiers: tuple[bytes, ...]
    """DER of certificates and of keys (SubjectPublicKeyInfo)."""


def read_entry(body: bytes) -> Recorded | None:
    """None for an entry of a kind that says otherwise, or nothing, of who signed; and for what is no entry."""
    try:
        entry = _DECODER.decode(body)
        kind = f"{entry['kind']} {entry['apiVersion']}"
        return _READERS[kind](kind, entry["spec"])
    except (msgspec.MsgspecError, UnicodeDecodeError, binascii.Error, KeyError, TypeError, AttributeError, ValueError,
            RecursionError):
        return None


def _version_2(kind: str, spec: Any) -> Recorded:
    record = spec["hashedRekordV002"]
    return Recorded(kind, _hash(record["data"]), (_holder(record["signature"]["verifier"]),))


def _dsse_2(kind: str, spec: Any) -> Recorded:
    record = spec["dsseV002"]
    return Recorded(kind, _hash(record["payloadHash"]),
                    tuple(_holder(signature["verifier"]) for signature in record["signatures"]))


def _hash(output: Any) -> str:
    algorithm = output["algorithm"].replace("SHA2_", "sha")
    return f"{algorithm}:{base64.b64decode(output['digest'], validate=True).hex()}"


def _holder(verifier: Any) -> bytes:
    holder = verifier.get("x509Certificate") or verifier["publicKey"]
    return base64.b64decode(holder["rawBytes"], validate=True)


def _hashedrekord(kind: str, spec: Any) -> Recorded:
    digest = spec["data"]["hash"]
    return Recorded(kind, f"{digest['algorithm']}:{digest['value']}",
                    (_pem(spec["signature"]["publicKey"]["content"]),))


def _dsse(kind: str, spec: Any) -> Recorded:
    digest = spec["payloadHash"]
    return Recorded(kind, f"{digest['algorithm']}:{digest['value']}",
                    tuple(_pem(signature["verifier"]) for signature in spec["signatures"]))


def _intoto_1(kind: str, spec: Any) -> Recorded:
    digest = spec["content"].get("payloadHash") or spec["content"]["hash"]
    return Recorded(kind, f"{digest['algorithm']}:{digest['value']}", (_pem(spec["publicKey"]),))


def _intoto_2(kind: str, spec: Any) -> Recorded:
    digest = spec["content"]["payloadHash"]
    return Recorded(kind, f"{digest['algorithm']}:{digest['value']}",
                    tuple(_pem(signature["publicKey"]) for signature in spec["content"]["envelope"]["signatures"]))


_READERS = {"hashedrekord 0.0.2": _version_2, "dsse 0.0.2": _dsse_2, "hashedrekord 0.0.1": _hashedrekord,
            "dsse 0.0.1": _dsse, "intoto 0.0.1": _intoto_1, "intoto 0.0.2": _intoto_2}


def _pem(text: str) -> bytes:
    """The DER of the first PEM block in base64."""
    lines = base64.b64decode(text, validate=True).split(b"-----")[2]
    return base64.b64decode(lines.replace(b"\r", b"").replace(b"\n", b""), validate=True)
