"""Signs manifests as `kubectl sigstore sign` does: into the annotations of an object."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.sign.authority import NOW, World, entry_body

DOMAIN = "cosign.sigstore.dev"


def written(*documents: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump_all(documents).encode()


def archived(files: Mapping[str, bytes], *, links: Mapping[str, str] | None = None) -> bytes:
    """A tar.gz."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return data.getvalue()


def packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


def annotations(data: bytes, key: Any, *, domain: str = DOMAIN, suffix: str = "", certificate: Any = None,
                world: World | None = None, at: datetime = NOW) -> dict[str, str]:
    """Of a message, which are the bytes given; with a `world` its log's entry is beside the signature."""
    signature = key.sign(data, ec.ECDSA(hashes.SHA256()))
    said = {f"{domain}/message": packed(data),
            f"{domain}/signature{suffix}": base64.b64encode(signature).decode()}
    presented = b""
    if certificate is not None:
        presented = certificate.public_bytes(Encoding.PEM)
        said[f"{domain}/certificate{suffix}"] = packed(presented)
    if world is not None:
        body = json.dumps(entry_body("hashedrekord", data, data, signature, b"", presented or _pem(key)),
                          separators=(",", ":"), sort_keys=True).encode()
        said[f"{domain}/bundle{suffix}"] = packed(json.dumps({
            "SignedEntryTimestamp": base64.b64encode(world.promise(body, at, 1)).decode(),
            "Payload": {"body": base64.b64encode(body).decode(), "integratedTime": int(at.timestamp()), "logIndex": 1,
                        "logID": world.log1.verifier.log_id.hex()}}).encode())
    return said


def _pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import PublicFormat

    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def signed(document: Mapping[str, Any], key: Any, *, changes: Mapping[str, Any] | None = None, **more: Any
           ) -> dict[str, Any]:
    """The object with its signature; `changes` are fields that it has since."""
    said = annotations(written(document), key, **more)
    metadata = document["metadata"]
    return {**document, **(changes or {}), "metadata": {
        **metadata, "namespace": metadata.get("namespace", "default"),
        "annotations": {**metadata.get("annotations", {}), **said}}}
