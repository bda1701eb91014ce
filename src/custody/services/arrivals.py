"""Images of repositories that are new are read and kept: the tags are looked at, and what is not known yet is a job.

A tag whose image cannot be read now is tried again later and later, beside the others; after the last time it is given
up, which `Queue.buried` lists. What is no image (a signature, an attestation, a chart) is passed over.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import msgspec

from custody.errors import CustodyError
from custody.formats import oci, reference
from custody.formats.bom import Catalog
from custody.formats.reference import Reference
from custody.kit.clock import Clock
from custody.ports.inventory import InventoryStore, Sighting
from custody.ports.queue import Queue
from custody.registry.client import RegistryClient
from custody.services.signers import Signers

_KIND = "scan"
_BESIDE = re.compile(r"sha256-[0-9a-f]{64}(?:\..*)?\Z")
"""Tags under which evidence lies beside an image."""
_PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 720))
_LEASE = timedelta(minutes=30)


class Arrived(msgspec.Struct, kw_only=True):
    """What one look did."""

    tags: int = 0
    kept: int = 0
    failures: list[str] = msgspec.field(default_factory=list)
    """What could not be asked or read, and why; it is tried again."""


class Arrivals:
    """For one registry client; `catalog` reads the image of a reference, by `readers`: what others read is read again.
    `signers` says whose signatures verify: it is asked at each look, until there is one.
    """

    def __init__(self, client: RegistryClient, store: InventoryStore, queue: Queue, clock: Clock,
                 catalog: Callable[[str], Awaitable[Catalog]], readers: str = "",
                 signers: Signers | None = None) -> None:
        self._client, self._store, self._queue, self._clock = client, store, queue, clock
        self._catalog, self._readers, self._signers = catalog, readers, signers

    async def look(self, repositories: Sequence[str]) -> Arrived:
        """At all tags, then at what is due of what they brought. Raises MalformedError, StorageError."""
        done = Arrived()
        for repository in repositories:
            ref = reference.parse(repository, "repository")
            try:
                tags = [tag for tag in await self._client.tags(ref) if not _BESIDE.match(tag)]
            except CustodyError as error:
                done.failures.append(f"{ref.name}: {error.message}")
                continue
            for tag in tags:
                done.tags += 1
                try:
                    await self._tag(ref.tagged(tag))
                except CustodyError as error:
                    done.failures.append(f"{ref.tagged(tag)}: {error.message}")
        await self._work(done)
        return done

    async def _tag(self, ref: Reference) -> None:
        descriptor, manifest = await self._client.image(ref)
        if manifest.config.media_type not in oci.CONFIG_TYPES:
            return
        now = self._clock()
        sightings = [Sighting(descriptor.digest, "name", str(ref), now)]
        if (pulled := (await self._client.resolve(ref)).digest) != descriptor.digest:
            sightings.append(Sighting(descriptor.digest, "index", pulled, now))
        await asyncio.to_thread(self._store.see, sightings)
        if not await asyncio.to_thread(self._store.kept, [descriptor.digest], self._readers):
            await asyncio.to_thread(self._queue.put, _KIND, f"{descriptor.digest} {self._readers}",
                                    str(ref.at(descriptor.digest)).encode(), now)
        if self._signers is not None and not await asyncio.to_thread(self._signed, descriptor.digest):
            await asyncio.to_thread(self._store.see, await self._signers.look(ref.at(descriptor.digest)))

    def _signed(self, digest: str) -> bool:
        """Whether it is known by whom; a signature may come after its image."""
        return any(row.kind == "signer" and row.where for row in self._store.seen([digest]).get(digest, ()))

    async def _work(self, done: Arrived) -> None:
        while (job := await asyncio.to_thread(self._queue.take, _KIND, self._clock(),
                                              self._clock() + _LEASE)) is not None:
            target = job.body.decode()
            try:
                await asyncio.to_thread(self._store.keep, await self._catalog(target), self._clock(),
                                        self._readers)
            except CustodyError as error:
                done.failures.append(f"{target}: {error.message}")
                if job.attempts > len(_PAUSES):
                    await asyncio.to_thread(self._queue.bury, job, error.message)
                else:
                    await asyncio.to_thread(self._queue.again, job, self._clock() + _PAUSES[job.attempts - 1],
                                            error.message)
                continue
            done.kept += 1
            await asyncio.to_thread(self._queue.done, job)
