"""Documents beside an image that are signed as artifacts of their own, as the Notary Project does it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from custody.errors import CustodyError, MalformedError, NotFoundError, UnsupportedError, VerificationError
from custody.evidence.model import Evidence, Rejected, State, Verified
from custody.formats import intoto, oci
from custody.formats.reference import Reference
from custody.kit.concurrency import together
from custody.registry.client import RegistryClient
from custody.sign.listing import Document, Limits, list_notary
from custody.sign.notary.evidence import attested

_MAX_ARTIFACTS = 50
_BROKEN = (NotFoundError, VerificationError, MalformedError, UnsupportedError)
Judge = Callable[[Reference, Document], Coroutine[Any, Any, Verified | Rejected]]
"""What a verifier says of a document about the artifact at a place."""


async def notarized(client: RegistryClient, ref: Reference, kinds: frozenset[str], limits: Limits, judge: Judge
                    ) -> list[Verified | Rejected]:
    """The artifacts of these types that refer to the image `ref.digest`, each as somebody signed it.

    Raises what may pass, and VerificationError where there are more than 50.
    """
    types = kinds - {intoto.COSIGN_SIGN}
    if not types:
        return []
    referrers = [referrer for referrer in await client.referrers(ref)
                 if (referrer.artifact_type or referrer.media_type) in types]
    if len(referrers) > _MAX_ARTIFACTS:
        raise VerificationError(f"{ref}: {len(referrers)} artifacts refer to it; at most {_MAX_ARTIFACTS} are read")

    async def of(referrer: oci.Descriptor) -> Verified | Rejected:
        kind = referrer.artifact_type or referrer.media_type
        try:
            return await _artifact(client, ref, referrer, kind, limits, judge)
        except _BROKEN as error:
            return _rejected(ref, referrer, kind, error)

    return await together(map(of, referrers))


async def _artifact(client: RegistryClient, ref: Reference, referrer: oci.Descriptor, kind: str, limits: Limits,
                    judge: Judge) -> Verified | Rejected:
    place = ref.at(referrer.digest)
    listing = await list_notary(client, place, limits)
    judged = await together(judge(place, document) for document in listing.documents)
    signature = next((said for said in judged if isinstance(said, Verified)), None)
    if signature is None:
        reasons = [said.reason for said in (*judged, *listing.rejected) if isinstance(said, Rejected)]
        raise VerificationError("; ".join(reasons[:3]) or "nobody signed the artifact")
    _, manifest = await client.manifest(place)
    body = oci.parse_manifest(manifest, str(place))
    if not isinstance(body, oci.Manifest) or len(body.layers) != 1:
        raise VerificationError("artifact: expected a manifest with one layer")
    layer = body.layers[0]
    data = await client.blob(place, layer, max_size=limits.document)
    document = Evidence(subject=str(ref.digest), media_type=layer.media_type, data=data,
                        source=f"referrer {referrer.digest}")
    return attested(manifest, document, signature, kind)


def _rejected(ref: Reference, referrer: oci.Descriptor, kind: str, error: CustodyError) -> Rejected:
    return Rejected(subject=str(ref.digest), evidence=None, source=f"referrer {referrer.digest}", state=State.FAILED,
                    reason=error.message, predicate_type=kind)
