"""Carries an image with its evidence from one place to another, bytes equal: registries and OCI layouts, in any pair.

    1. All is listed at the source before anything is written (`cargo`).
    2. Tags that would move are looked at; without `force` one that means something else is an error.
    3. Blobs: those that the target has are left, those of the same registry are mounted, the rest is fetched into a
       file that appears only when its digest is right, and pushed from there.
    4. Manifests, each after what it names; where a registry ignores `subject`, with an entry in the fallback tag.
    5. The image's own tag last: whoever sees it finds the evidence beside it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from custody.errors import ConflictError, NotFoundError
from custody.formats import oci
from custody.formats.reference import Reference
from custody.kit.concurrency import together
from custody.registry.client import RegistryClient
from custody.services.cargo import Cargo, Piece

_AT_ONCE = 6
_IN_MEMORY = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image is: whom to ask, and under which name."""

    client: RegistryClient
    ref: Reference
    folder: str = ""
    """Of a layout; empty: a registry."""

    def __str__(self) -> str:
        return self.folder or str(self.ref)


@dataclass(slots=True)
class Tally:
    """What was done at the target."""

    pushed: int = 0
    there: int = 0
    """Manifests that it had already."""
    blobs: int = 0
    mounted: int = 0
    bytes: int = 0


async def carry(source: Place, target: Place, cargo: Cargo, *, tag: str | None, force: bool = False,
                advance: Callable[[int], None] | None = None) -> Tally:
    """Put all of the cargo into the target's repository, and `tag`, if there is one, on its root.

    `advance` is told of bytes. Raises ConflictError for a tag that means something else, VerificationError for bytes
    that are not their digest's, and what the two places raise.
    """
    carrier = _Carrier(source, target, advance or (lambda _: None))
    if not force:
        tags = [(piece.tag, piece.descriptor.digest) for piece in cargo.pieces if piece.tag]
        await together(carrier.unmoved(*named) for named in [*tags, *([(tag, cargo.root.digest)] if tag else [])])
    with tempfile.TemporaryDirectory(prefix="custody-copy-") as folder:
        await together(carrier.blob(blob, Path(folder)) for blob in cargo.blobs().values())
    for wave in _waves(cargo):
        await together(carrier.manifest(piece) for piece in wave)
    if tag is not None:
        root = next(piece for piece in cargo.pieces if piece.descriptor.digest == cargo.root.digest)
        await carrier.tag(root, tag)
    return carrier.tally


def _waves(cargo: Cargo) -> Iterator[list[Piece]]:
    """The pieces in groups, each of which names only what is in those before it, or not in the cargo at all."""
    left = {piece.descriptor.digest for piece in cargo.pieces}
    waiting = list(cargo.pieces)
    while waiting:
        wave = [piece for piece in waiting if left.isdisjoint(_named(piece))]
        assert wave  # no manifest can name one that names it, by digests
        yield wave
        left -= {piece.descriptor.digest for piece in wave}
        waiting = [piece for piece in waiting if piece.descriptor.digest in left]


def _named(piece: Piece) -> list[str]:
    children = piece.body.manifests if isinstance(piece.body, oci.Index) else ()
    return [*(child.digest for child in children), *([piece.subject] if piece.subject else [])]


class _Carrier:
    def __init__(self, source: Place, target: Place, advance: Callable[[int], None]) -> None:
        self._source = source
        self._target = target
        self._advance = advance
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._listed: dict[str, asyncio.Future[set[str]]] = {}
        self.tally = Tally()

    async def unmoved(self, tag: str, digest: str) -> None:
        held = await self._held(tag)
        if held not in (None, digest):
            raise ConflictError(f"{self._target.ref.tagged(tag)}: is {held} already, and would become {digest}",
                                hint="--force replaces it; without it nothing was copied")

    async def blob(self, blob: oci.Descriptor, folder: Path) -> None:
        source, target = self._source, self._target
        async with self._gate:
            if await target.client.has_blob(target.ref, blob.digest):
                self._advance(blob.size)
                return
            near = not (source.folder or target.folder) and source.ref.registry == target.ref.registry
            if near and await target.client.mount(target.ref, blob.digest, source.ref):
                self.tally.mounted += 1
                self._advance(blob.size)
                return
            if blob.size <= _IN_MEMORY:
                await target.client.push_blob(target.ref, await source.client.blob(source.ref, blob), blob)
            else:
                file = folder / blob.digest.replace(":", "-")
                await source.client.blob_to(source.ref, blob, file)
                await target.client.push_blob(target.ref, file, blob)
                file.unlink()
            self.tally.blobs += 1
            self.tally.bytes += blob.size
            self._advance(blob.size)

    async def manifest(self, piece: Piece) -> None:
        """By its tag where it has one of cosign's, else by digest."""
        digest = piece.descriptor.digest
        async with self._gate:
            # What is not listed is pushed without another look; what is may have been deleted since.
            if await self._is_listed(piece) and await self._held(piece.tag or digest) == digest:
                self.tally.there += 1
                return
            await self._push(piece, piece.tag or digest)
            self.tally.pushed += 1

    async def tag(self, piece: Piece, tag: str) -> None:
        if await self._held(tag) != piece.descriptor.digest:
            await self._push(piece, tag)

    async def _push(self, piece: Piece, name: str) -> None:
        await self._target.client.push_manifest(self._target.ref, piece.data, piece.descriptor.media_type, tag=name)

    async def _held(self, name: str) -> str | None:
        """The digest of what the target has by a tag or digest."""
        ref = self._target.ref
        try:
            return (await self._target.client.resolve(ref.at(name) if ":" in name else ref.tagged(name))).digest
        except NotFoundError:
            return None

    async def _is_listed(self, piece: Piece) -> bool:
        """Whether the target lists it as a referrer, where it is one: a registry that ignores `subject` may not."""
        subject = piece.subject
        if subject is None:
            return True
        if subject not in self._listed:
            self._listed[subject] = asyncio.ensure_future(self._referrers(subject))
        return piece.descriptor.digest in await self._listed[subject]

    async def _referrers(self, subject: str) -> set[str]:
        try:
            return {referrer.digest for referrer in await self._target.client.referrers(self._target.ref.at(subject))}
        except NotFoundError:  # of an image that is not there, nothing is listed yet
            return set()
