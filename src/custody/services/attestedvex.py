"""VEX that is signed about kept images, beside them in their registries: asked for at each look.

Of an image whose registry does not answer, what was heard last stays; where nothing was heard yet, nobody knows, and
what did not count goes on not to count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from custody.errors import CustodyError
from custody.formats import reference
from custody.formats.reference import Reference
from custody.kit.clock import Clock
from custody.kit.concurrency import together
from custody.ports.inventory import InventoryStore
from custody.registry.client import RegistryClient
from custody.services import statements
from custody.services.verify import Terms, judge_all
from custody.sign.referrers import fetch_evidence
from custody.vulns.vex.waivers import Spoken

_BATCH = 200
_AT_ONCE = 8


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What is said beside images, by their digests."""

    spoken: Mapping[str, tuple[Spoken, ...]] = MappingProxyType({})
    unknown: frozenset[str] = frozenset()
    """Of which nobody could be asked, now or before."""
    failures: tuple[str, ...] = ()
    """Who could not be asked, and what does not count, and why."""


class AttestedVex:
    """Asks the registries of images that are kept and have a name there; `terms` say whose statements count."""

    def __init__(self, store: InventoryStore, terms: Terms, clock: Clock) -> None:
        self._store, self._terms, self._clock = store, terms, clock
        self._last: dict[str, tuple[Spoken, ...]] = {}

    async def look(self, client: RegistryClient) -> Heard:
        """Raises StorageError."""
        heard: dict[str, tuple[Spoken, ...]] = {}
        unknown: set[str] = set()
        failures: list[str] = []
        gate = asyncio.Semaphore(_AT_ONCE)

        async def ask(ref: Reference) -> None:
            digest = str(ref.digest)
            try:
                async with gate:
                    gathered = await fetch_evidence(client, ref, unsigned=False)
                judged = await asyncio.to_thread(judge_all, digest, gathered, self._terms, self._clock())
            except CustodyError as error:
                failures.append(f"{ref}: what is attested was not asked for: {error.message}")
                if digest in self._last:
                    heard[digest] = self._last[digest]
                else:
                    unknown.add(digest)
                return
            spoken, refused = statements.attested(judged)
            heard[digest] = tuple(spoken)
            failures.extend(f"{ref}: {use.source}: {use.reason}" for use in refused)

        last = 0
        while images := await asyncio.to_thread(self._store.images, last, _BATCH):
            last = images[-1][0]
            await together(map(ask, await asyncio.to_thread(self._named, [digest for _, digest in images])))
        self._last = heard
        return Heard(spoken={digest: spoken for digest, spoken in heard.items() if spoken}, unknown=frozenset(unknown),
                     failures=tuple(failures))

    def _named(self, digests: Sequence[str]) -> list[Reference]:
        """Each by the name under which it was seen last; those without one are in no registry that is known."""
        return [reference.parse(max(names, key=lambda row: row.last).where).at(digest)
                for digest, rows in self._store.seen(digests).items()
                if (names := [row for row in rows if row.kind == "name"])]
