"""Signed metadata of a TUF repository, as bytes (TUF specification 1.0.31 sections 4.2 to 4.6).

Keys are ECDSA P-256, as those of Sigstore's own repository; every role has a threshold of one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.formats.protojson import Message
from custody.kit import strictjson
from custody.kit.clock import parse_rfc3339

ROLES = ("root", "targets", "snapshot", "timestamp")
_SPECIFICATION = "1.0.31"
_MAX_SIZE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key and how metadata names it."""

    key: ec.EllipticCurvePrivateKey

    @property
    def public(self) -> dict[str, Any]:
        pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return {"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": pem}}

    @property
    def key_id(self) -> str:
        """SHA-256 of the key's canonical form: clients before specification 1.0.20 hold keys to that."""
        return hashlib.sha256(canonical(self.public)).hexdigest()

    def signature(self, signed: bytes) -> dict[str, str]:
        return {"keyid": self.key_id, "sig": self.key.sign(signed, ec.ECDSA(hashes.SHA256())).hex()}


class Metadata:
    """One file of a repository, as it lies there. It is ours: its signatures were made by who reads it."""

    def __init__(self, data: bytes, where: str) -> None:
        """Raises MalformedError, naming the field."""
        document = Message(strictjson.loads(data, where, max_size=_MAX_SIZE, max_depth=16), where)
        signed = document.message("signed")
        self.data = data
        self.signers = frozenset(signature.text("keyid") for signature in document.messages("signatures", 16))
        """Ids of the keys that signed it."""
        self.signed: dict[str, Any] = {name: signed.raw(name) for name in signed.names}
        self.version = signed.integer("version")
        self.expires: datetime = parse_rfc3339(signed.text("expires"), f"{signed.where}.expires")

    def names(self, role: str, signer: Signer) -> bool:
        """Whether this root metadata says that the key signs for `role`."""
        return signer.key_id in self.signed["roles"][role]["keyids"]


def root(version: int, expires: datetime, keys: Mapping[str, Signer]) -> dict[str, Any]:
    """What root metadata says: who signs for each of `ROLES`."""
    return _signed("root", version, expires) | {
        "consistent_snapshot": True, "keys": {signer.key_id: signer.public for signer in keys.values()},
        "roles": {role: {"keyids": [keys[role].key_id], "threshold": 1} for role in ROLES}}


def targets(version: int, expires: datetime, files: Mapping[str, bytes]) -> dict[str, Any]:
    """By name what clients may fetch."""
    return _signed("targets", version, expires) | {
        "targets": {name: {**_described(data), "custom": {"sigstore": {"status": "Active", "uri": "", "usage": "Unknown"
                                                                       }}} for name, data in files.items()}}


def snapshot(version: int, expires: datetime, listing: Metadata) -> dict[str, Any]:
    """Which targets metadata is the one that counts."""
    return _signed("snapshot", version, expires) | {"meta": {"targets.json": _meta(listing)}}


def timestamp(version: int, expires: datetime, current: Metadata) -> dict[str, Any]:
    """Which snapshot is the one that counts."""
    return _signed("timestamp", version, expires) | {"meta": {"snapshot.json": _meta(current)}}


def sign(signed: Mapping[str, Any], signers: Iterable[Signer]) -> Metadata:
    form = canonical(signed)
    document = {"signatures": [signer.signature(form) for signer in signers], "signed": signed}
    return Metadata(json.dumps(document, indent=1, sort_keys=True).encode() + b"\n", f"{signed['_type']}.json")


def canonical(value: Any) -> bytes:
    """OLPC's canonical JSON, which signatures are over; it escapes `"` and `\\` alone, unlike RFC 8785."""
    return _canonical(value).encode()


def _canonical(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_canonical(name)}:{_canonical(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    return json.dumps(value)


def _signed(role: str, version: int, expires: datetime) -> dict[str, Any]:
    return {"_type": role, "spec_version": _SPECIFICATION, "version": version,
            "expires": f"{expires:%Y-%m-%dT%H:%M:%SZ}"}


def _meta(metadata: Metadata) -> dict[str, Any]:
    return {"version": metadata.version, **_described(metadata.data)}


def _described(data: bytes) -> dict[str, Any]:
    return {"length": len(data), "hashes": {"sha256": hashlib.sha256(data).hexdigest()}}
