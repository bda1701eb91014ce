"""Where signatures and attestations are kept in a registry: OCI referrers, and cosign's older tags."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime

import msgspec

from custody.errors import MalformedError, NotFoundError, VerificationError
from custody.evidence.model import Evidence, KeylessSigner, Verified
from custody.formats import bundle as bundles
from custody.formats import cosign, dsse, oci
from custody.formats.reference import Reference
from custody.kit.clock import format_rfc3339
from custody.registry.client import RegistryClient
from custody.sign.verify import BUNDLE_PREFIX, Trust, verify_evidence

_MAX_DOCUMENTS = 500
_MAX_SIZE = 128 * 1024 * 1024
_MAX_TOTAL = 512 * 1024 * 1024
_TAGS = {".sig": cosign.SIMPLE_SIGNING, ".att": dsse.MEDIA_TYPE, ".sbom": ""}


async def fetch_evidence(client: RegistryClient, ref: Reference, *, unsigned: bool = True) -> list[Evidence]:
    """All evidence about the image `ref.digest`, unverified, newest format first.

    `unsigned` adds SBOMs that were attached without a signature. Raises VerificationError where there is more than
    custody reads (500 documents, 128 MiB each, 512 MiB together): nothing is left out silently.
    """
    if ref.digest is None:
        raise MalformedError("evidence", got=str(ref), expected="an image with a digest")
    suffixes = [suffix for suffix in _TAGS if unsigned or suffix != ".sbom"]
    parts = await asyncio.gather(_bundles(client, ref), *(_layers(client, ref, suffix) for suffix in suffixes))
    found = [item for part in parts for item in part]
    _limit(ref, len(found), sum(len(item.data) for item in found))
    return found


def _limit(ref: Reference, count: int, size: int) -> None:
    if count > _MAX_DOCUMENTS or size > _MAX_TOTAL:
        raise VerificationError(f"{ref}: {count} documents of {size} bytes refer to it; custody reads at most "
                                f"{_MAX_DOCUMENTS} and {_MAX_TOTAL} bytes")


async def _bundles(client: RegistryClient, ref: Reference) -> list[Evidence]:
    listed = [entry for entry in await client.referrers(ref) if (entry.artifact_type or "").startswith(BUNDLE_PREFIX)]
    _limit(ref, len(listed), 0)

    size = 0

    async def manifest(entry: oci.Descriptor) -> tuple[Evidence, oci.Descriptor | None] | None:
        """A referrer, and the one layer that is the document; where there is no one layer, it is the document."""
        nonlocal size
        place = ref.at(entry.digest)
        try:
            descriptor, data = await client.manifest(place)
        except NotFoundError:
            return None  # a fallback index may name what was deleted
        body = oci.parse_manifest(data, str(place), descriptor.media_type)
        layer = body.layers[0] if isinstance(body, oci.Manifest) and len(body.layers) == 1 else None
        size += len(data) + (layer.size if layer else 0)
        _limit(ref, len(listed), size)
        return Evidence(subject=str(ref.digest), media_type=layer.media_type if layer else descriptor.media_type,
                        data=data, source=f"referrer {entry.digest}", annotations=dict(body.annotations)), layer

    async def document(item: Evidence, layer: oci.Descriptor | None) -> Evidence:
        if layer is None:
            return item
        return msgspec.structs.replace(item, data=await client.blob(ref, layer, max_size=_MAX_SIZE))

    found = await asyncio.gather(*map(manifest, listed))
    return list(await asyncio.gather(*(document(*item) for item in found if item is not None)))


async def _layers(client: RegistryClient, ref: Reference, suffix: str) -> list[Evidence]:
    tag = cosign.tag(ref.digest or "", suffix)
    place = ref.tagged(tag)
    try:
        descriptor, data = await client.manifest(place)
    except NotFoundError:
        return []
    body = oci.parse_manifest(data, str(place), descriptor.media_type)
    if not isinstance(body, oci.Manifest):
        raise MalformedError(str(place), got="an index", expected="an image manifest")
    layers = [layer for layer in body.layers if not _TAGS[suffix] or layer.media_type == _TAGS[suffix]]
    _limit(ref, len(layers), sum(layer.size for layer in layers))
    blobs = await asyncio.gather(*(client.blob(place, layer, max_size=_MAX_SIZE) for layer in layers))
    return [Evidence(subject=str(ref.digest), media_type=layer.media_type, data=blob,
                     source=f"tag {tag} layer {position}", annotations=dict(layer.annotations))
            for position, (layer, blob) in enumerate(zip(layers, blobs, strict=True))]


async def push_bundle(client: RegistryClient, ref: Reference, subject: oci.Descriptor, data: bytes, predicate_type: str,
                      now: datetime) -> oci.Descriptor:
    """Store a bundle as a referrer of `subject`, as cosign 3 does (cosign specs/BUNDLE_SPEC.md)."""
    layer = await client.push_blob(ref, data)
    await client.push_blob(ref, oci.EMPTY_BLOB)
    manifest = oci.Manifest(
        oci.MANIFEST, oci.EMPTY_DESCRIPTOR, (oci.Descriptor(bundles.MEDIA_TYPE, layer.digest, layer.size),),
        subject=oci.Descriptor(subject.media_type, subject.digest, subject.size), artifact_type=bundles.MEDIA_TYPE,
        annotations={"org.opencontainers.image.created": format_rfc3339(now.replace(microsecond=0)),
                     "dev.sigstore.bundle.content": "dsse-envelope",
                     "dev.sigstore.bundle.predicateType": predicate_type})
    return await client.push_manifest(ref, _dump(manifest.to_json()), oci.MANIFEST)


async def replace_bundles(client: RegistryClient, ref: Reference, mine: Verified, keep: oci.Descriptor, trust: Trust,
                          now: datetime) -> int:
    """Delete the signer's other bundles of `mine`'s predicate type; those of others stay. Returns how many."""
    gone = 0
    for item in await _bundles(client, ref):
        digest = item.source.removeprefix("referrer ")
        if digest == keep.digest:
            continue
        try:
            other = verify_evidence(item, trust, now)
        except VerificationError:
            continue  # not provably this signer's, so it is not this signer's to remove
        if other.predicate_type == mine.predicate_type and _same_signer(other, mine):
            await client.delete_manifest(ref.at(digest))
            gone += 1
    return gone


def _same_signer(one: Verified, other: Verified) -> bool:
    a, b = one.signer, other.signer
    if isinstance(a, KeylessSigner) and isinstance(b, KeylessSigner):
        return (a.subject, a.issuer) == (b.subject, b.issuer)
    return a == b


async def push_sbom(client: RegistryClient, ref: Reference, data: bytes, media_type: str) -> Reference:
    """Attach an SBOM under the tag `sha256-<hex>.sbom`, unsigned, as cosign 2 does. Returns where it is."""
    layer = await client.push_blob(ref, data)
    config_data = _dump({"architecture": "", "os": "", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [layer.digest]}})
    config = await client.push_blob(ref, config_data)
    manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, config.digest, config.size),
                            (oci.Descriptor(media_type, layer.digest, layer.size),))
    tag = cosign.tag(ref.digest or "", ".sbom")
    await client.push_manifest(ref, _dump(manifest.to_json()), oci.MANIFEST, tag=tag)
    return ref.tagged(tag)


def _dump(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
