"""Where signatures and attestations are kept in a registry: OCI referrers, and cosign's older tags."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from custody.errors import CustodyError, VerificationError
from custody.evidence.model import Evidence, KeylessSigner, Rejected, Verified
from custody.formats import bundle as bundles
from custody.formats import cosign, oci
from custody.formats.reference import Reference
from custody.kit.clock import format_rfc3339
from custody.kit.concurrency import together
from custody.registry.client import RegistryClient
from custody.sign.listing import PREDICATE_TYPE, Document, Limits, broken, fetch_document, list_documents
from custody.sign.verify import Trust, verify_evidence


class Gathered(NamedTuple):
    """Documents about an image, unverified, and what else is there and does not count, with its reason."""

    evidence: tuple[Evidence, ...]
    rejected: tuple[Rejected, ...]


async def fetch_evidence(client: RegistryClient, ref: Reference, *, unsigned: bool = True,
                         predicate_types: frozenset[str] | None = None, limits: Limits = Limits()) -> Gathered:
    """All evidence about the image `ref.digest`, smallest first.

    One broken document is one rejection; what cannot be had for a reason that may pass is an error of the whole
    (`custody.sign.listing` says why). Raises NetworkError and its like, and VerificationError where there is more than
    `limits` allow: nothing is left out silently.
    """
    listing = await list_documents(client, ref, unsigned=unsigned, predicate_types=predicate_types, limits=limits)
    gate = asyncio.Semaphore(8)
    subject = str(ref.digest)

    async def fetch(document: Document) -> Evidence | Rejected:
        try:
            async with gate:
                return await fetch_document(client, subject, document, limits)
        except CustodyError as error:
            return broken(subject, document.source, error, document.predicate_type)

    found = await together(map(fetch, listing.documents))
    return Gathered(tuple(item for item in found if isinstance(item, Evidence)),
                    (*(item for item in found if isinstance(item, Rejected)), *listing.rejected))


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


async def replace_bundles(client: RegistryClient, ref: Reference, mine: Verified, keep: oci.Descriptor, trust: Trust,
                          now: datetime) -> int:
    """Delete the signer's other bundles of `mine`'s predicate type; those of others stay. Returns how many."""
    gone = 0
    types = frozenset({mine.predicate_type})
    for item in (await fetch_evidence(client, ref, unsigned=False, predicate_types=types)).evidence:
        digest = item.source.removeprefix("referrer ")
        if digest in (keep.digest, item.source):
            continue  # the new one itself, or a layer of a tag, which has no manifest of its own
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
