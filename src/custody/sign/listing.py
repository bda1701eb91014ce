"""Which documents a registry keeps about an image: listed whole or not at all, cheapest first, before one is fetched.

Whoever may push can put anything beside an image, so three things are kept apart:

1. The list could not be had whole: a page of referrers, or a tag, answered 5xx, 403, or not at all. Then nobody knows
   what else there is (a newer scan that denies, say), and the image is unverifiable: `list_documents` raises. The same
   goes for a listed document that could not be fetched for a reason that may pass (5xx, a reset, a deadline), and for
   more documents or bytes than the limits allow: leaving out which one counts is not ours to choose. One that is
   larger by its own descriptor than custody reads is unverifiable: a larger scan may well be the newest.
2. A document is broken by itself, and stays so however often it is asked for: it is absent (404), is not its digest,
   is no manifest. Nobody could ever verify it, so it takes nothing away from the document beside it: that one is
   rejected, with its reason.
3. A document is of a kind that custody does not evaluate, or of a predicate type that nobody asked for. It is not
   fetched, costs nothing of the limits, and is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from custody.errors import CustodyError, MalformedError, NotFoundError, UnsupportedError, VerificationError
from custody.evidence.model import Evidence, Rejected, State
from custody.formats import bundle as bundles
from custody.formats import cosign, dsse, intoto, notary, oci
from custody.formats.reference import Reference
from custody.kit.concurrency import together
from custody.registry.client import RegistryClient

PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"
"""The annotation of a bundle's manifest that says what is in it (cosign specs/BUNDLE_SPEC.md)."""
_ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json"
_SIGNATURE_KINDS = {
    _ARTIFACT: "signatures that cosign stores as OCI 1.1 artifacts count for policies that ask for them (cosignOCI11)",
    notary.ARTIFACT_TYPE: "signatures of the Notary Project count for policies that ask for them, or by the trust "
                          "policy that the setting `notation` names"}
_TAGS = {".sig": cosign.SIMPLE_SIGNING, ".att": dsse.MEDIA_TYPE, ".sbom": ""}
_MAX_MANIFEST = 256 * 1024  # a bundle's manifest has about 1 KiB
_MAX_NAMED = 20  # documents that are not asked for, by digest; the others by their number
_AT_ONCE = 8
_SMALL = 64 * 1024  # bytes of a manifest that are parsed where they came, which takes less than a millisecond
_BROKEN = (NotFoundError, VerificationError, MalformedError, UnsupportedError)


class Limits(msgspec.Struct, frozen=True):
    """How much about one image is read. More is an error, except for a document that is too large by itself."""

    documents: int = 500
    document: int = 128 * 1024 * 1024
    """Bytes of one document; cosign reads as much."""
    total: int = 512 * 1024 * 1024
    """Bytes of all documents and their manifests."""


class Document(NamedTuple):
    """One document that is there to be fetched."""

    place: Reference
    """Whose repository holds it."""
    source: str
    layer: oci.Descriptor
    annotations: dict[str, str]
    data: bytes | None = None
    """The bytes, where the manifest itself is the document."""

    @property
    def predicate_type(self) -> str | None:
        """What it claims to be; None where it does not say."""
        return _claim(self.annotations)


class Listing(msgspec.Struct, frozen=True):
    """All documents about an image, smallest first, and those that will not be fetched, with their reasons."""

    documents: tuple[Document, ...]
    rejected: tuple[Rejected, ...]


async def list_documents(client: RegistryClient, ref: Reference, *, unsigned: bool = True,
                         predicate_types: frozenset[str] | None = None, limits: Limits = Limits(),
                         artifacts: bool = False, apart: bool = False, notation: bool = False) -> Listing:
    """List what is kept about `ref.digest`: bundles among its referrers, and the layers of cosign's tags.

    `unsigned` adds the `.sbom` tag, `artifacts` the signatures that cosign stores as OCI 1.1 artifacts,
    `notation` those of the Notary Project. `apart`: the
    repository need not have the image itself.
    `predicate_types` are those that the caller can use; None: any. Raises whatever keeps the list from being whole, and
    VerificationError above the limits.
    """
    if ref.digest is None:
        raise MalformedError("evidence", got=str(ref), expected="an image with a digest")
    suffixes = [suffix for suffix in _TAGS if _useful(suffix, predicate_types, unsigned=unsigned)]
    tally = _Tally(ref, predicate_types, limits)
    layers = (_layers(client, tally, suffix) for suffix in suffixes)
    parts = await together([_bundles(client, tally, artifacts=artifacts, apart=apart, notation=notation), *layers])
    documents = [document for part in parts for document in part]
    tally.charge(len(documents), sum(document.layer.size for document in documents if document.data is None))
    return Listing(tuple(sorted(documents, key=lambda document: document.layer.size)), tally.rejected())


async def list_notary(client: RegistryClient, ref: Reference, limits: Limits = Limits(), *, apart: bool = False
                      ) -> Listing:
    """Signatures of the Notary Project among the referrers of `ref.digest`. Raises as `list_documents` does."""
    if ref.digest is None:
        raise MalformedError("evidence", got=str(ref), expected="an artifact with a digest")
    tally = _Tally(ref, None, limits)
    signatures = [referrer for referrer in await client.referrers(ref, apart=apart)
                  if (referrer.artifact_type or referrer.media_type) == notary.ARTIFACT_TYPE]
    documents = await _read(client, tally, signatures)
    tally.charge(len(documents), sum(document.layer.size for document in documents if document.data is None))
    return Listing(tuple(sorted(documents, key=lambda document: document.layer.size)), tally.rejected())


async def fetch_document(client: RegistryClient, subject: str, document: Document, limits: Limits
                         ) -> Evidence | Rejected:
    """The document's bytes, checked against its descriptor, or the rejection of one that is broken by itself.

    Raises what may pass: NetworkError and its like.
    """
    try:
        data = document.data if document.data is not None else await client.blob(
            document.place, document.layer, max_size=limits.document)
    except CustodyError as error:
        return _broken(subject, document.source, error, document.predicate_type)
    return Evidence(subject=subject, media_type=document.layer.media_type, data=data, source=document.source,
                    annotations=document.annotations)


def _broken(subject: str, source: str, error: CustodyError, predicate_type: str | None = None) -> Rejected:
    """The rejection of one document that is broken by itself; raises `error` again where it may be the registry."""
    if not isinstance(error, _BROKEN):
        raise error
    state = State.MISSING if isinstance(error, NotFoundError) else State.FAILED
    return Rejected(subject=subject, evidence=None, source=source, state=state, reason=error.message,
                    predicate_type=predicate_type)


def _useful(suffix: str, predicate_types: frozenset[str] | None, *, unsigned: bool) -> bool:
    if suffix == ".sbom":
        return unsigned
    if predicate_types is None:
        return True
    return intoto.COSIGN_SIGN in predicate_types if suffix == ".sig" else bool(predicate_types - {intoto.COSIGN_SIGN})


def _claim(annotations: Mapping[str, str]) -> str | None:
    return annotations.get(PREDICATE_TYPE) or annotations.get(cosign.PREDICATE_TYPE)


class _Tally:
    """What was found so far about one image, held against the limits."""

    def __init__(self, ref: Reference, predicate_types: frozenset[str] | None, limits: Limits) -> None:
        self.ref = ref
        self.subject = ref.digest or ""
        self.limits = limits
        self._types = predicate_types
        self._bytes = 0
        self._rejected: list[Rejected] = []
        self._aside: dict[str, list[Rejected]] = {}

    def charge(self, count: int, size: int) -> None:
        """Raises VerificationError where there is more than custody reads."""
        self._bytes += size
        if count > self.limits.documents or self._bytes > self.limits.total:
            raise VerificationError(f"{self.ref}: {count} documents of {self._bytes} bytes refer to it; custody reads "
                                    f"at most {self.limits.documents} and {self.limits.total} bytes")

    def reject(self, source: str, error: CustodyError, predicate_type: str | None = None) -> None:
        self._rejected.append(_broken(self.subject, source, error, predicate_type))

    def put_aside(self, source: str, kind: str, reason: str, predicate_type: str | None) -> None:
        """Name a document that is not fetched. `kind` is what those that are not named are counted by."""
        self._aside.setdefault(kind, []).append(self._unread(source, reason, predicate_type))

    def _unread(self, source: str, reason: str, predicate_type: str | None) -> Rejected:
        return Rejected(subject=self.subject, evidence=None, source=source, state=State.UNVERIFIABLE, reason=reason,
                        predicate_type=predicate_type)

    def asked_for(self, source: str, annotations: dict[str, str]) -> bool:
        """Whether somebody can use a document with these annotations; named where not."""
        claim = _claim(annotations)
        if self._types is None or claim is None or claim in self._types:
            return True
        self.put_aside(source, claim, f"no policy asks for {claim}", claim)
        return False

    def fits(self, source: str, size: int, limit: int, annotations: dict[str, str]) -> bool:
        if size <= limit:
            return True
        self._rejected.append(self._unread(
            source, f"it has {size} bytes by its descriptor; custody reads at most {limit}", _claim(annotations)))
        return False

    def rejected(self) -> tuple[Rejected, ...]:
        named: list[Rejected] = []
        unnamed: dict[str, int] = {}
        for kind, aside in self._aside.items():
            taken = aside[:max(0, _MAX_NAMED - len(named))]
            named += taken
            if len(aside) > len(taken):
                unnamed[kind] = len(aside) - len(taken)
        for kind, count in list(unnamed.items())[:_MAX_NAMED]:
            example = self._aside[kind][0]
            named.append(self._unread("referrers", f"{count} more: {example.reason}", example.predicate_type))
        if len(unnamed) > _MAX_NAMED:
            rest = sum(list(unnamed.values())[_MAX_NAMED:])
            named.append(self._unread("referrers", f"{rest} more of {len(unnamed) - _MAX_NAMED} other types", ""))
        return (*self._rejected, *named)


async def _bundles(client: RegistryClient, tally: _Tally, *, artifacts: bool, apart: bool, notation: bool
                   ) -> list[Document]:
    listed: list[oci.Descriptor] = []
    for referrer in await client.referrers(tally.ref, apart=apart):
        source, annotations = f"referrer {referrer.digest}", dict(referrer.annotations)
        kind = referrer.artifact_type or referrer.media_type
        if kind.startswith(bundles.PREFIX):
            if tally.asked_for(source, annotations) and tally.fits(source, referrer.size, _MAX_MANIFEST, annotations):
                listed.append(referrer)
        elif (kind == _ARTIFACT and artifacts) or (kind == notary.ARTIFACT_TYPE and notation):
            if tally.asked_for(source, {**annotations, PREDICATE_TYPE: intoto.COSIGN_SIGN}):
                listed.append(referrer)
        elif kind in _SIGNATURE_KINDS:
            tally.put_aside(source, kind, _SIGNATURE_KINDS[kind], intoto.COSIGN_SIGN)
        else:
            tally.put_aside(source, kind, f"documents of type {kind} are not evaluated by custody", kind)
    return await _read(client, tally, listed)


async def _read(client: RegistryClient, tally: _Tally, listed: list[oci.Descriptor]) -> list[Document]:
    """The documents of these referrers; what is wrong with one is said of that one."""
    tally.charge(len(listed), sum(referrer.size for referrer in listed))
    gate = asyncio.Semaphore(_AT_ONCE)

    async def read(referrer: oci.Descriptor) -> list[Document]:
        source = f"referrer {referrer.digest}"
        try:
            async with gate:
                return await _bundle(client, tally, referrer, source)
        except CustodyError as error:
            tally.reject(source, error, _claim(referrer.annotations))
            return []

    parts = await together(read(referrer) for referrer in sorted(listed, key=lambda referrer: referrer.size))
    return [document for part in parts for document in part]


async def _bundle(client: RegistryClient, tally: _Tally, referrer: oci.Descriptor, source: str) -> list[Document]:
    """The one layer that is the document; where there is no one layer, the manifest itself is it, and will not do.

    Of an artifact of cosign's, as of its tag, each layer is a signature.
    """
    place = tally.ref.at(referrer.digest)
    descriptor, data = await client.manifest(place)
    body = await _parse(data, str(place), descriptor.media_type)
    if isinstance(body, oci.Manifest) and (referrer.artifact_type or referrer.media_type) == _ARTIFACT:
        return _documents(tally, place, body, source, cosign.SIMPLE_SIGNING)
    annotations = dict(body.annotations)
    if not tally.asked_for(source, annotations):
        return []
    if not isinstance(body, oci.Manifest) or len(body.layers) != 1:
        return [Document(place, source, descriptor, annotations, data)]
    layer = body.layers[0]
    return [Document(place, source, layer, annotations)] if tally.fits(
        source, layer.size, tally.limits.document, annotations) else []


async def _parse(data: bytes, where: str, media_type: str) -> oci.Manifest | oci.Index:
    """A manifest that somebody may have made to be dear, parsed beside the event loop."""
    if len(data) <= _SMALL:
        return oci.parse_manifest(data, where, media_type)
    return await asyncio.to_thread(oci.parse_manifest, data, where, media_type)


async def _layers(client: RegistryClient, tally: _Tally, suffix: str) -> list[Document]:
    tag = cosign.tag(tally.subject, suffix)
    place = tally.ref.tagged(tag)
    try:
        descriptor, data = await client.manifest(place)
    except NotFoundError:
        return []
    except VerificationError as error:
        tally.reject(f"tag {tag}", error)
        return []
    try:
        body = await _parse(data, str(place), descriptor.media_type)
        if not isinstance(body, oci.Manifest):
            raise MalformedError(str(place), got="an index", expected="an image manifest")
    except (MalformedError, UnsupportedError) as error:
        tally.reject(f"tag {tag}", error)
        return []
    return _documents(tally, place, body, f"tag {tag}", _TAGS[suffix])


def _documents(tally: _Tally, place: Reference, body: oci.Manifest, where: str, kind: str | None) -> list[Document]:
    """Each layer of this media type, or of any where it is None, with its own annotations."""
    documents = []
    for position, layer in enumerate(body.layers):
        source, annotations = f"{where} layer {position}", dict(layer.annotations)
        if kind and layer.media_type != kind:
            tally.put_aside(source, layer.media_type, f"layers of type {layer.media_type} are not evaluated by custody",
                            layer.media_type)
        elif tally.asked_for(source, annotations) and tally.fits(source, layer.size, tally.limits.document,
                                                                 annotations):
            documents.append(Document(place, source, layer, annotations))
    tally.charge(len(documents), 0)
    return documents
