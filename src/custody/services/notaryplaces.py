"""Where an artifact lies with its signatures of the Notary Project: a repository of a registry, or an OCI layout.

(notaryproject/specifications signature-specification, OCI signatures: those whose artifact type, or in their older form
whose configuration's media type, is application/vnd.cncf.notary.signature.) The manifest that is written is
`notation`'s: an image manifest whose config is of the artifact's type, `{}`, and whose one layer is the envelope.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from custody.errors import CustodyError, MalformedError, NotFoundError, UnsupportedError, VerificationError
from custody.formats import notary, oci, revocationanswers
from custody.kit.clock import format_rfc3339
from custody.sign.notary.stapled import Staples

if TYPE_CHECKING:
    from custody.formats.reference import Reference
    from custody.registry.client import RegistryClient
    from custody.registry.listedlayout import ListedLayout
    from custody.sign.notary.sign import Signed


_CREATED = "org.opencontainers.image.created"
_MAX_STAPLES = 4
_BROKEN = (MalformedError, NotFoundError, UnsupportedError, VerificationError)


class Place(Protocol):
    async def signatures(self, subject: oci.Descriptor) -> list[oci.Descriptor]:
        """Manifests of signatures. Raises whatever keeps the list from being whole."""

    async def envelope(self, signature: oci.Descriptor) -> tuple[bytes, str]:
        """An envelope and its media type. Raises MalformedError for another form, and what the place raises."""

    async def push(self, subject: oci.Descriptor, signed: Signed) -> oci.Descriptor:
        """Store a signature as a referrer of the artifact; its manifest's descriptor."""

    async def staples(self, signature: oci.Descriptor) -> Staples:
        """What is stapled to a signature, the newest by its own word first. Raises whatever keeps the list from being
        whole."""

    async def staple(self, signature: oci.Descriptor, document: bytes, now: datetime) -> str:
        """Store answers about revocation as a referrer of a signature's manifest, in the place of those that are there;
        why older ones stay, "" where none does. Raises what the place raises."""


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

    async def staples(self, signature: oci.Descriptor) -> Staples:
        return await registry_staples(self._client, self._ref.at(signature.digest))

    async def staple(self, signature: oci.Descriptor, document: bytes, now: datetime) -> str:
        older = await self._client.referrers(self._ref.at(signature.digest), revocationanswers.ARTIFACT_TYPE)
        blob = await self._client.push_blob(self._ref, document)
        await self._client.push_blob(self._ref, oci.EMPTY_BLOB)
        pushed = await self._client.push_manifest(self._ref, _staple(signature, blob, now), oci.MANIFEST)
        for listed in older:
            if listed.digest != pushed.digest:
                try:
                    await self._client.delete_manifest(self._ref.at(listed.digest))
                except CustodyError as error:
                    return f"{listed.digest}: {error.message}"
        return ""


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

    async def staples(self, signature: oci.Descriptor) -> Staples:
        listed = self._stapled(signature)
        documents, broken = [], []
        for staple in _newest(listed):
            try:
                layer = _answers(self._layout.manifest(staple), staple, signature.digest)
                data = self._layout.blob(layer, revocationanswers.MAX_DOCUMENT)
                documents.append(revocationanswers.parse(data, staple.digest))
            except _BROKEN as error:
                broken.append(f"stapled {staple.digest}: {error.message}")
        return Staples(tuple(documents), (*broken, *_beyond(listed)))

    async def staple(self, signature: oci.Descriptor, document: bytes, now: datetime) -> str:
        older = self._stapled(signature)
        blob = self._layout.push_blob(document, revocationanswers.ARTIFACT_TYPE)
        self._layout.push_blob(oci.EMPTY_BLOB, oci.EMPTY)
        pushed = self._layout.push_manifest(_staple(signature, blob, now), oci.MANIFEST)
        for listed in older:
            if listed.digest != pushed.digest:
                self._layout.remove(listed, keep=(blob.digest, oci.EMPTY_DESCRIPTOR.digest))
        return ""

    def _stapled(self, signature: oci.Descriptor) -> list[oci.Descriptor]:
        return [referrer for referrer in self._layout.referrers(signature.digest)
                if referrer.artifact_type == revocationanswers.ARTIFACT_TYPE]


async def registry_staples(client: RegistryClient, signature: Reference) -> Staples:
    """What is stapled to the signature whose manifest `signature` names; raises as `Place.staples` does."""
    listed = await client.referrers(signature, revocationanswers.ARTIFACT_TYPE)
    documents, broken = [], []
    for staple in _newest(listed):
        try:
            place = signature.at(staple.digest)
            descriptor, data = await client.manifest(place)
            layer = _answers(data, descriptor, str(signature.digest))
            document = await client.blob(place, layer, max_size=revocationanswers.MAX_DOCUMENT)
            documents.append(revocationanswers.parse(document, staple.digest))
        except _BROKEN as error:
            broken.append(f"stapled {staple.digest}: {error.message}")
    return Staples(tuple(documents), (*broken, *_beyond(listed)))


def _newest(listed: Sequence[oci.Descriptor]) -> list[oci.Descriptor]:
    """Whoever may push can add some, and say of them what they like: so only a few are read."""
    return sorted(listed, key=lambda staple: staple.annotations.get(_CREATED, ""), reverse=True)[:_MAX_STAPLES]


def _beyond(listed: Sequence[oci.Descriptor]) -> list[str]:
    return [f"{len(listed)} artifacts are stapled, of which the {_MAX_STAPLES} newest by their own word were read"] if (
        len(listed) > _MAX_STAPLES) else []


def _answers(manifest: bytes, staple: oci.Descriptor, signature: str) -> oci.Descriptor:
    """The one layer of what is stapled to a signature, of a size that is read. Raises MalformedError."""
    body = oci.parse_manifest(manifest, staple.digest, staple.media_type)
    if not isinstance(body, oci.Manifest) or body.subject is None or body.subject.digest != signature:
        raise MalformedError("subject", got=body.subject.digest if body.subject else "none", expected=signature)
    if [layer.media_type for layer in body.layers] != [revocationanswers.ARTIFACT_TYPE]:
        raise MalformedError("layers", got=[layer.media_type for layer in body.layers][:3],
                             expected=f"one, {revocationanswers.ARTIFACT_TYPE}")
    (layer,) = body.layers
    if layer.size > revocationanswers.MAX_DOCUMENT:
        raise MalformedError("layers[0].size", got=layer.size, expected=f"at most {revocationanswers.MAX_DOCUMENT}")
    return layer


def _staple(signature: oci.Descriptor, blob: oci.Descriptor, now: datetime) -> bytes:
    """The bytes of the manifest of what is stapled to a signature."""
    manifest = oci.Manifest(
        oci.MANIFEST, oci.EMPTY_DESCRIPTOR,
        (oci.Descriptor(revocationanswers.ARTIFACT_TYPE, blob.digest, blob.size),),
        subject=oci.Descriptor(signature.media_type, signature.digest, signature.size),
        artifact_type=revocationanswers.ARTIFACT_TYPE, annotations={_CREATED: format_rfc3339(now)})
    return json.dumps(manifest.to_json(), separators=(",", ":")).encode()


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
