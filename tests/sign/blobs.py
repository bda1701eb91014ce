"""Bundles of a file in which everything is right, of a world whose authorities are all in memory."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from custody.formats import bundle as bundles
from custody.formats import intoto
from tests.sign.authority import NOW, World, b64, entry_body, new_key

BLOB = b"what is signed\n"
DIGEST = "sha256:" + hashlib.sha256(BLOB).hexdigest()


def signed(world: World, data: bytes = BLOB, *, kind: str = "v2", key: Any = None, at: datetime = NOW,
           **leaf: Any) -> dict[str, Any]:
    """A bundle 0.3 with a signature of the bytes. `kind`: v2, or hashedrekord of Rekor v1."""
    key = key or new_key()
    cert = world.leaf(key, at=at, **leaf)
    der, pem = cert.public_bytes(Encoding.DER), cert.public_bytes(Encoding.PEM)
    signature = key.sign(data, ec.ECDSA(hashes.SHA256()))
    material: dict[str, Any] = {
        "certificate": {"rawBytes": b64(der)},
        "tlogEntries": [world.entry(entry_body(kind, data, data, signature, der, pem), at, v1=kind != "v2")]}
    if kind == "v2":
        material["timestampVerificationData"] = {"rfc3161Timestamps": [
            {"signedTimestamp": b64(world.stamp(signature, at))}]}
    return {"mediaType": bundles.MEDIA_TYPE, "verificationMaterial": material, "messageSignature": {
        "messageDigest": {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(data).digest())},
        "signature": b64(signature)}}


def older(world: World, data: bytes = BLOB, *, key: Any = None, at: datetime = NOW) -> dict[str, Any]:
    """cosign's bundle before Sigstore's, with the promise of Rekor v1."""
    return as_older(signed(world, data, kind="hashedrekord", key=key, at=at))


def as_older(document: dict[str, Any]) -> dict[str, Any]:
    """What a bundle with an entry of Rekor v1 is in that form."""
    import base64

    from custody.formats.cosign import certificate_pem

    material = document["verificationMaterial"]
    entry = material["tlogEntries"][0]
    return {"base64Signature": document["messageSignature"]["signature"],
            "cert": b64(certificate_pem(base64.b64decode(material["certificate"]["rawBytes"]))),
            "rekorBundle": {"SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"], "Payload": {
                "body": entry["canonicalizedBody"], "integratedTime": int(entry["integratedTime"]),
                "logIndex": int(entry["logIndex"]),
                "logID": base64.b64decode(entry["logId"]["keyId"]).hex()}}}


def attested(world: World, subjects: list[dict[str, Any]] | None = None, *, kind: str = "v2",
             predicate_type: str = "https://spdx.dev/Document", key: Any = None) -> dict[str, Any]:
    """A bundle 0.3 with a statement about the bytes."""
    subjects = subjects if subjects is not None else [{"name": "blob", "digest": {"sha256": DIGEST[7:]}}]
    statement = json.dumps({"_type": intoto.STATEMENT, "subject": subjects, "predicateType": predicate_type,
                            "predicate": {}}).encode()
    return world.keyless(kind=kind, statement=statement, key=key)
