"""What belongs to an image: its manifests, and the manifests of all that is known about each of them, read whole before
anything is done with them.

    the image            of an index every manifest below it, or the one of a platform
    its evidence         referrers (the API or the fallback tag), cosign's tags `.sig`, `.att` and `.sbom`
    evidence's evidence  the same of each of those, eight deep

Whoever may push to the source, or the source itself, may lie: a list that cannot be had whole, a referrer that is not
one, bytes of another digest and more than the bounds are errors, and never "there is no evidence". That a referrer's
own `subject` is compared is what keeps lists from leading in a circle, since no manifest can name its own digest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

from custody.errors import MissingEvidenceError, NotFoundError, UsageError, VerificationError
from custody.formats import bundle as bundles
from custody.formats import cosign, intoto, oci
from custody.formats.reference import Reference
from custody.kit.concurrency import together
from custody.registry.client import RegistryClient
from custody.sign.listing import PREDICATE_TYPE

KINDS = ("sig", "att", "sbom")
"""What cosign calls evidence: signatures, attestations, SBOMs that nobody signed."""
_ARTIFACTS = {"application/vnd.dev.cosign.artifact.sig.v1+json": "sig",
              "application/vnd.dev.cosign.artifact.sbom.v1+json": "sbom"}
MAX_DEPTH = 8
MAX_MANIFESTS = 10_000
_MAX_BYTES = 256 * 1024 * 1024
_AT_ONCE = 8


class Piece(NamedTuple):
    """A manifest that is carried."""

    descriptor: oci.Descriptor
    data: bytes
    body: oci.Manifest | oci.Index
    evidence: bool
    """Whether it is about an image, and no part of the image."""
    tag: str | None = None
    """Of cosign's, by which it is kept."""

    @property
    def subject(self) -> str | None:
        return self.body.subject.digest if self.body.subject else None

    @property
    def blobs(self) -> tuple[oci.Descriptor, ...]:
        return (self.body.config, *self.body.layers) if isinstance(self.body, oci.Manifest) else ()


@dataclass
class Cargo:
    """`pieces` by their digest and tag, those that another names before it."""

    root: oci.Descriptor
    pieces: list[Piece]
    left: list[oci.Descriptor]
    """Referrers that were seen and are not carried, since nobody asked for their kind."""

    @property
    def evidence(self) -> list[Piece]:
        return [piece for piece in self.pieces if piece.evidence]

    def blobs(self) -> dict[str, oci.Descriptor]:
        """By digest. Raises VerificationError where two manifests disagree on a blob's size."""
        blobs: dict[str, oci.Descriptor] = {}
        for piece in self.pieces:
            for blob in piece.blobs:
                if blobs.setdefault(blob.digest, blob).size != blob.size:
                    raise VerificationError(f"{piece.descriptor.digest}: names {blob.digest} with {blob.size} bytes, "
                                            f"another manifest with {blobs[blob.digest].size}")
        return blobs


async def pack(client: RegistryClient, ref: Reference, *, whole: bool, kinds: Collection[str] = KINDS,
               platform: str | None = None, advance: Callable[[int], None] | None = None) -> Cargo:
    """All that belongs to the image `ref`. `whole`: of any kind, and the evidence of evidence; else of `kinds` alone.

    `advance` is told of each manifest that was read.

    Raises what keeps it from being whole: VerificationError and NetworkError with their kinds.
    """
    descriptor, _ = await (client.manifest(ref) if platform is None else client.image(ref, platform))
    packer = _Packer(client, ref, whole=whole, kinds=kinds, advance=advance or (lambda _: None))
    pieces = await packer.manifest(descriptor.digest, 0, evidence=False)
    return Cargo(descriptor, pieces, packer.left)


class _Packer:
    def __init__(self, client: RegistryClient, ref: Reference, *, whole: bool, kinds: Collection[str],
                 advance: Callable[[int], None]) -> None:
        self._client = client
        self._ref = ref
        self._whole = whole
        self._kinds = kinds
        self._advance = advance
        self._seen: set[tuple[str, str | None]] = set()
        self._asked: set[str] = set()
        """Manifests of which what is known was asked for: once, however many tags and lists name one."""
        self._reads = self._bytes = 0
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self.left: list[oci.Descriptor] = []

    async def manifest(self, digest: str, depth: int, *, evidence: bool) -> list[Piece]:
        """The manifest with what it names before it, then what is known about it."""
        if (digest, None) in self._seen:
            return []
        piece = await self._read(self._ref.at(digest), digest, evidence=evidence)
        return [*await self._parts(piece, depth, evidence=evidence), piece, *await self._evidence_of(digest, depth)]

    async def _parts(self, piece: Piece, depth: int, *, evidence: bool) -> list[Piece]:
        """What an index names."""
        pieces: list[Piece] = []
        if isinstance(piece.body, oci.Index):
            self._bound(depth)
            for child in piece.body.manifests:
                pieces += await self.manifest(child.digest, depth + 1, evidence=evidence)
        return pieces

    async def _evidence_of(self, digest: str, depth: int) -> list[Piece]:
        if digest in self._asked:
            return []
        self._asked.add(digest)
        place = self._ref.at(digest)
        tagged = await together(self._tag(place, kind) for kind in KINDS if self._whole or kind in self._kinds)
        about = [piece for piece in (*tagged, *await self._referrers(place)) if piece is not None]
        return [piece for pieces in await together(self._with_its_own(piece, depth) for piece in about)
                for piece in pieces]

    async def _with_its_own(self, piece: Piece, depth: int) -> list[Piece]:
        """A piece of evidence with its parts, and with what is known about it in turn."""
        pieces = [*await self._parts(piece, depth, evidence=True), piece]
        if self._whole:
            self._bound(depth)
            pieces += await self._evidence_of(piece.descriptor.digest, depth + 1)
        return pieces

    async def _tag(self, place: Reference, kind: str) -> Piece | None:
        tag = cosign.tag(str(place.digest), f".{kind}")
        try:
            return await self._read(place.tagged(tag), None, evidence=True, tag=tag)
        except NotFoundError:
            return None

    async def _referrers(self, place: Reference) -> list[Piece]:
        listed = await self._client.referrers(place)
        unseen = [referrer for referrer in listed if (referrer.digest, None) not in self._seen]
        pieces = await together([self._referrer(place, referrer) for referrer in unseen])
        return [piece for piece in pieces if piece is not None]

    async def _referrer(self, place: Reference, listed: oci.Descriptor) -> Piece | None:
        try:
            piece = await self._read(place.at(listed.digest), listed.digest, evidence=True)
        except NotFoundError:
            raise MissingEvidenceError(f"{place}: the list of its referrers names {listed.digest}, which is not there",
                                       hint="what the list names may be evidence: it is not left out silently"
                                       ) from None
        if piece.subject != place.digest:
            raise VerificationError(f"{place}: the list of its referrers names {listed.digest}, whose subject is "
                                    f"{piece.subject or 'none'}", hint="whoever wrote the list is wrong or lies")
        if not self._whole and _kind(piece) not in self._kinds:
            self._seen.discard((listed.digest, None))
            self.left.append(listed)
            return None
        return piece

    async def _read(self, place: Reference, digest: str | None, *, evidence: bool, tag: str | None = None) -> Piece:
        async with self._gate:
            descriptor, data = await self._client.manifest(place)
        body = oci.parse_manifest(data, str(place), descriptor.media_type)
        self._advance(1)
        self._seen.add((descriptor.digest, tag))
        self._reads += 1
        self._bytes += len(data)
        if self._reads > MAX_MANIFESTS or self._bytes > _MAX_BYTES:
            raise VerificationError(f"{self._ref}: more than {MAX_MANIFESTS} manifests belong to it, or than "
                                    f"{_MAX_BYTES >> 20} MiB of them", hint="custody carries all of it or nothing")
        if digest is not None and descriptor.digest != digest:
            raise VerificationError(f"{place}: got {descriptor.digest}, asked for {digest}")
        return Piece(descriptor, data, body, evidence, tag)

    def _bound(self, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise VerificationError(f"{self._ref}: manifests refer to one another more than {MAX_DEPTH} deep",
                                    hint="custody carries all of it or nothing")


def _kind(piece: Piece) -> str:
    """Of a referrer, by its own words and not by those of the list; empty: none of cosign's."""
    body = piece.body
    name = body.artifact_type or (body.config.media_type if isinstance(body, oci.Manifest) else "")
    if isinstance(body, oci.Manifest) and name == oci.EMPTY and body.layers:
        name = body.layers[0].media_type
    if not name.startswith(bundles.PREFIX):
        return _ARTIFACTS.get(name, "")
    content = body.annotations.get("dev.sigstore.bundle.content")
    signature = body.annotations.get(PREDICATE_TYPE) == intoto.COSIGN_SIGN or content == "message-signature"
    return "sig" if signature else "att"


def only(text: str | None, flag: str = "--only") -> tuple[str, ...]:
    """`sig,att` as cosign's flag has it; all where nothing is said. Raises UsageError."""
    if text is None:
        return KINDS
    kinds = tuple(part.strip() for part in text.split(","))
    if unknown := next((kind for kind in kinds if kind not in KINDS), None):
        raise UsageError(f"{flag}: got {unknown!r}, expected one or more of {', '.join(KINDS)}, with commas between")
    return kinds
