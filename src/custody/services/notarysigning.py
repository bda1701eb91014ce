"""Signatures of the Notary Project made and kept: beside an image in a registry or an OCI layout, or in a file.

The manifest is `notation`'s: an image manifest whose config is of the artifact's type, `{}`, and whose one layer is
the envelope (notaryproject/specifications signature-specification, OCI signatures; notation-go `registry`).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from custody.errors import UsageError, VerificationError
from custody.formats import notary, oci
from custody.kit.clock import Clock
from custody.sign.notary.sign import EnvelopeMaker, Key, Signed, Terms, hash_of, sign

if TYPE_CHECKING:
    from custody.formats.reference import Reference
    from custody.registry.client import RegistryClient
    from custody.registry.listedlayout import ListedLayout

BLOB_TYPE = "application/octet-stream"
SUFFIXES = {notary.JWS: "jws", notary.COSE: "cose"}
_READ = 1 << 20


class Depot(Protocol):
    """Where an artifact lies, and its signature will."""

    async def push(self, subject: oci.Descriptor, signed: Signed) -> oci.Descriptor:
        """Store a signature as a referrer of the artifact; its manifest's descriptor."""


class RegistryDepot:
    """A repository. With `fallback` the referrers tag is kept even where the registry has the referrers API."""

    def __init__(self, client: RegistryClient, ref: Reference, *, fallback: bool) -> None:
        self._client = client
        self._ref = ref
        self._fallback = fallback

    async def push(self, subject: oci.Descriptor, signed: Signed) -> oci.Descriptor:
        blob = await self._client.push_blob(self._ref, signed.data)
        config = await self._client.push_blob(self._ref, oci.EMPTY_BLOB)
        data = manifest_of(subject, blob, config, signed)
        return await self._client.push_manifest(self._ref, data, oci.MANIFEST, fallback=self._fallback)


class LayoutDepot:
    """A folder of this machine."""

    def __init__(self, layout: ListedLayout) -> None:
        self._layout = layout

    async def push(self, subject: oci.Descriptor, signed: Signed) -> oci.Descriptor:
        blob = self._layout.push_blob(signed.data, signed.media_type)
        config = self._layout.push_blob(oci.EMPTY_BLOB, notary.ARTIFACT_TYPE)
        return self._layout.push_manifest(manifest_of(subject, blob, config, signed), oci.MANIFEST)


def subject_of(descriptor: oci.Descriptor, data: bytes, where: str) -> oci.Descriptor:
    """What is signed of a manifest: the type that its own bytes say, their digest and how many they are.

    Whoever keeps it may say another type of the same bytes, and would have that signed. Raises VerificationError then,
    MalformedError, UnsupportedError for what is no manifest.
    """
    kind = oci.parse_manifest(data, where, descriptor.media_type).media_type
    if kind != descriptor.media_type:
        raise VerificationError(f"{where}: is listed as {descriptor.media_type}, and says itself that it is {kind}")
    return oci.Descriptor(kind, descriptor.digest, len(data))


def manifest_of(subject: oci.Descriptor, blob: oci.Descriptor, config: oci.Descriptor, signed: Signed) -> bytes:
    """The bytes of a signature's manifest."""
    manifest = oci.Manifest(
        oci.MANIFEST, oci.Descriptor(notary.ARTIFACT_TYPE, config.digest, config.size),
        (oci.Descriptor(signed.media_type, blob.digest, blob.size),),
        subject=oci.Descriptor(subject.media_type, subject.digest, subject.size),
        annotations=dict(sorted(signed.annotations.items())))
    return json.dumps(manifest.to_json(), separators=(",", ":"), ensure_ascii=False).encode()


async def sign_artifact(depot: Depot, subject: oci.Descriptor, key: Key | EnvelopeMaker, terms: Terms,
                        clock: Clock) -> tuple[oci.Descriptor, Signed]:
    """Sign a manifest, and store the signature beside it. Raises as `sign` and the depot do."""
    target = notary.Target(subject.media_type, subject.digest, subject.size, dict(subject.annotations))
    signed = await sign(target, key, terms, clock())
    return await depot.push(subject, signed), signed


async def sign_blob(blob: BinaryIO, media_type: str, key: Key, terms: Terms, clock: Clock) -> Signed:
    """Sign bytes, by the hash that goes with the key. Raises as `sign` does."""
    state, size = hashlib.new(hash_of(key.algorithm()).name), 0
    while chunk := blob.read(_READ):
        state.update(chunk)
        size += len(chunk)
    target = notary.Target(media_type, f"{state.name}:{state.hexdigest()}", size, {})
    return await sign(target, key, terms, clock())


def signature_path(blob: Path, folder: Path | None, media_type: str) -> Path:
    """Where the signature of a file is kept: beside it, or in a folder, as NAME.jws.sig or NAME.cose.sig."""
    if not blob.name:
        raise UsageError(f"{blob}: got no file's name")
    return (folder or blob.parent) / f"{blob.name}.{SUFFIXES[media_type]}.sig"
