"""Where signatures and attestations are kept in a registry: OCI referrers, and cosign's older tags."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Set
from datetime import datetime
from typing import NamedTuple

from custody.errors import ConflictError, MalformedError, NotFoundError, VerificationError
from custody.evidence.model import Evidence, Rejected
from custody.formats import bundle as bundles
from custody.formats import cosign, dsse, oci
from custody.formats.reference import Reference
from custody.kit.clock import format_rfc3339
from custody.kit.concurrency import together
from custody.registry.client import RegistryClient
from custody.sign.listing import PREDICATE_TYPE, Document, Limits, fetch_document, list_documents

_TRIES = 5
_MAX_LAYERS = 1000
_MAX_MANIFESTS = 1000
_MAX_DEPTH = 8
_NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time, which cosign writes."""


class Gathered(NamedTuple):
    """Documents about an image, unverified, and what else is there and does not count, with its reason."""

    evidence: tuple[Evidence, ...]
    rejected: tuple[Rejected, ...]


async def fetch_evidence(client: RegistryClient, ref: Reference, *, unsigned: bool = True,
                         predicate_types: frozenset[str] | None = None, limits: Limits = Limits(),
                         notation: bool = False) -> Gathered:
    """All evidence about the image `ref.digest`, smallest first; with `notation` the Notary Project's signatures too.

    One broken document is one rejection; what cannot be had for a reason that may pass is an error of the whole
    (`custody.sign.listing` says why). Raises NetworkError and its like, and VerificationError where there is more than
    `limits` allow: nothing is left out silently.
    """
    listing = await list_documents(client, ref, unsigned=unsigned, predicate_types=predicate_types, limits=limits,
                                   artifacts=True, notation=notation)
    gate = asyncio.Semaphore(8)
    subject = str(ref.digest)

    async def fetch(document: Document) -> Evidence | Rejected:
        async with gate:
            return await fetch_document(client, subject, document, limits)

    fetched = await together(map(fetch, listing.documents))
    return Gathered(tuple(document for document in fetched if isinstance(document, Evidence)),
                    (*(document for document in fetched if isinstance(document, Rejected)), *listing.rejected))


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
                     PREDICATE_TYPE: predicate_type})
    return await client.push_manifest(ref, _dump(manifest.to_json()), oci.MANIFEST)


async def push_signature(client: RegistryClient, ref: Reference, payload: bytes, annotations: Mapping[str, str]
                         ) -> oci.Descriptor:
    """Add a layer to the image tagged `sha256-<hex>.sig`, as cosign 2 does (cosign specs/SIGNATURE_SPEC.md).

    A tag is read, changed and written, and another signer may write it in between: it is read again, and the layer
    added again where it is not there. Raises ConflictError where that happens every time, VerificationError for a tag
    that holds something else.
    """
    return await _push_layer(client, ref, _SIGNATURES, payload, annotations, frozenset())


async def push_attestation(client: RegistryClient, ref: Reference, envelope: bytes, annotations: Mapping[str, str],
                           replaced: Set[str] = frozenset()) -> oci.Descriptor:
    """Add a DSSE envelope to the image tagged `sha256-<hex>.att`, as `push_signature` does; layers with one of the
    digests `replaced` are left out. Raises the same.
    """
    return await _push_layer(client, ref, _ATTESTATIONS, envelope, annotations, replaced)


class _Kind(NamedTuple):
    """What one of cosign 2's tags holds."""

    suffix: str
    media_type: str
    name: str


_SIGNATURES = _Kind(".sig", cosign.SIMPLE_SIGNING, "signatures")
_ATTESTATIONS = _Kind(".att", dsse.MEDIA_TYPE, "attestations")


async def _push_layer(client: RegistryClient, ref: Reference, kind: _Kind, data: bytes, annotations: Mapping[str, str],
                      replaced: Set[str]) -> oci.Descriptor:
    blob = await client.push_blob(ref, data)
    added = oci.Descriptor(kind.media_type, blob.digest, blob.size, annotations)
    place = ref.tagged(cosign.tag(ref.digest or "", kind.suffix))
    for _ in range(_TRIES):
        kept = [layer for layer in await _layers(client, place, kind) if layer.digest not in replaced]
        layers = (*kept, added)
        if len(layers) > _MAX_LAYERS:
            raise VerificationError(f"{place}: has {_MAX_LAYERS} {kind.name}, which is all that cosign reads")
        written = _dump({"architecture": "", "created": _NEVER, "history": [{"created": _NEVER} for _ in layers],
                         "os": "", "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
                         "config": {}})
        config = await client.push_blob(ref, written)
        manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, config.digest, config.size), layers)
        pushed = await client.push_manifest(ref, _dump(manifest.to_json()), oci.MANIFEST, tag=place.tag)
        if added in await _layers(client, place, kind):
            return pushed
    raise ConflictError(f"{place}: others wrote it {_TRIES} times in between", hint="sign again")


async def _layers(client: RegistryClient, place: Reference, kind: _Kind) -> tuple[oci.Descriptor, ...]:
    try:
        descriptor, data = await client.manifest(place)
    except NotFoundError:
        return ()
    manifest = oci.parse_manifest(data, str(place), descriptor.media_type)
    if not isinstance(manifest, oci.Manifest) or any(layer.media_type != kind.media_type for layer in manifest.layers):
        raise VerificationError(f"{place}: holds something else than {kind.name}, and is not replaced")
    return manifest.layers


async def image_manifests(client: RegistryClient, ref: Reference, descriptor: oci.Descriptor) -> list[oci.Descriptor]:
    """`descriptor` and every manifest below it where it is an index, each once, children before their parents.

    Raises NotFoundError for one that is not there, MalformedError above 1,000 manifests or eight indexes in another.
    """
    order: dict[str, oci.Descriptor] = {}
    seen: set[str] = set()

    async def visit(manifest: oci.Descriptor, depth: int) -> None:
        if manifest.digest in seen:
            return
        seen.add(manifest.digest)
        if len(seen) > _MAX_MANIFESTS or depth > _MAX_DEPTH:
            raise MalformedError(str(ref), got=f"more than {_MAX_MANIFESTS} manifests, or {_MAX_DEPTH} indexes in one "
                                 "another", expected="an image that can be signed whole")
        place = ref.at(manifest.digest)
        held, data = await client.manifest(place)
        body = oci.parse_manifest(data, str(place), held.media_type)
        for child in body.manifests if isinstance(body, oci.Index) else ():
            await visit(child, depth + 1)
        order[manifest.digest] = held

    await visit(descriptor, 0)
    return list(order.values())


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
