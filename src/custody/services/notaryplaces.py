"""Where an artifact lies with its signatures of the Notary Project: a repository of a registry, or an OCI layout.

(notaryproject/specifications signature-specification, OCI signatures: those whose artifact type, or in their older form
whose configuration's media type, is application/vnd.cncf.notary.signature.) The manifest that is written is
`notation`'s: an image manifest whose config is of the artifact's type, `{}`, and whose one layer is the envelope.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from custody.errors import MalformedError
from custody.formats import notary, oci

if TYPE_CHECKING:
    from custody.formats.reference import Reference
    from custody.registry.client import RegistryClient
    from custody.registry.listedlayout import ListedLayout
    from custody.sign.notary.sign import Signed


class Place(Protocol):
    async def signatures(self, subject: oci.Descriptor) -> list[oci.Descriptor]:
        """Manifests of signatures. Raises whatever keeps the list from being whole."""

    async def envelope(self, signature: oci.Descriptor) -> tuple[bytes, str]:
        """An envelope and its media type. Raises MalformedError for another form, and what the place raises."""

    async def push(self, subject: oci.Descriptor, signed: Signed) -> oci.Descriptor:
        """Store a signature as a referrer of the artifact; its manifest's descriptor."""


class RegistryPlace:
    """A repository."""

    def __init__(self, client: RegistryClient, ref: Reference, *, fallback: bool = False) -> None:
        """`fallback`: what is pushed is listed by the referrers tag too where the registry has the referrers API."""
        self._client = client
        self._ref = ref
        self._fallback = fallback

    async def signatures(self, subject: oci.Descriptor) -> list[oci.Descriptor]:
        return [referrer for referrer in await self._client.referrers(self._ref.at(subject.digest))
                if referrer.artifact_type == notary.ARTIFACT_TYPE]

    async def envelope(self, signature: oci.Descriptor) -> tuple[bytes, str]:
        place = self._ref.at(signature.digest)
        descriptor, data = await self._client.manifest(place)
        layer = _layer(data, str(place), descriptor.media_type)
        return await self._client.blob(place, layer, max_size=notary.MAX_ENVELOPE), layer.media_type

    async def push(self, subject: oci.Descriptor, signed: Signed) -> oci.Descriptor:
        blob = await self._client.push_blob(self._ref, signed.data)
        config = await self._client.push_blob(self._ref, oci.EMPTY_BLOB)
        data = manifest_of(subject, blob, config, signed)
        return await self._client.push_manifest(self._ref, data, oci.MANIFEST, fallback=self._fallback)


class LayoutPlace:
    """A folder of this machine."""

    def __init__(self, layout: ListedLayout) -> None:
        self._layout = layout

    async def signatures(self, subject: oci.Descriptor) -> list[oci.Descriptor]:
        return [referrer for referrer in self._layout.referrers(subject.digest)
                if referrer.artifact_type == notary.ARTIFACT_TYPE]

    async def envelope(self, signature: oci.Descriptor) -> tuple[bytes, str]:
        layer = _layer(self._layout.manifest(signature), signature.digest, signature.media_type)
        return self._layout.blob(layer, notary.MAX_ENVELOPE), layer.media_type

    async def push(self, subject: oci.Descriptor, signed: Signed) -> oci.Descriptor:
        blob = self._layout.push_blob(signed.data, signed.media_type)
        config = self._layout.push_blob(oci.EMPTY_BLOB, notary.ARTIFACT_TYPE)
        return self._layout.push_manifest(manifest_of(subject, blob, config, signed), oci.MANIFEST)


def manifest_of(subject: oci.Descriptor, blob: oci.Descriptor, config: oci.Descriptor, signed: Signed) -> bytes:
    """The bytes of a signature's manifest."""
    manifest = oci.Manifest(
        oci.MANIFEST, oci.Descriptor(notary.ARTIFACT_TYPE, config.digest, config.size),
        (oci.Descriptor(signed.media_type, blob.digest, blob.size),),
        subject=oci.Descriptor(subject.media_type, subject.digest, subject.size),
        annotations=dict(sorted(signed.annotations.items())))
    return json.dumps(manifest.to_json(), separators=(",", ":"), ensure_ascii=False).encode()


def _layer(manifest: bytes, where: str, media_type: str) -> oci.Descriptor:
    """The one layer of a signature's manifest."""
    body = oci.parse_manifest(manifest, where, media_type)
    if not isinstance(body, oci.Manifest) or len(body.layers) != 1:
        raise MalformedError(where, got="another manifest", expected="an image manifest with one layer, the envelope")
    return body.layers[0]
