"""Refreshes the attested scan of each released image before it is too old for admission, and when findings change.

What is kept of the image is judged again by the advisories of now, and the statement signed by the scanner takes the
place of the scanner's older ones. Nothing is signed where the advisories themselves are old: a new date over old
knowledge would say what nobody looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from custody.errors import CustodyError, MissingEvidenceError, NetworkError, NotFoundError
from custody.formats import intoto, reference, vulnattestation
from custody.formats.namepattern import Pattern
from custody.kit.clock import Clock
from custody.ports.advisories import AdvisoryReader
from custody.ports.findings import Findings
from custody.ports.inventory import InventoryStore, Seen
from custody.ports.queue import Job, Queue
from custody.registry.client import RegistryClient
from custody.services.counting import NOTHING, Words
from custody.services.replace import replace_bundles
from custody.sign.referrers import push_bundle
from custody.sign.signer import Signer
from custody.vulns.judgement import Remembering

_KIND, _CURSOR = "rescan", "rescan"
_AT_ONCE = 1000
_LEASE, _DEADLINE = timedelta(minutes=5), 120.0
_PAUSE = timedelta(minutes=5)
_ROUND = timedelta(minutes=1)
"""After which no further image is begun, so that the next look is made."""


class Store(InventoryStore, Findings, Protocol):
    """The inventory with its findings."""


class Rescanned(msgspec.Struct, kw_only=True):
    """What one look did."""

    released: int = 0
    """Images whose scan is kept young."""
    attested: list[str] = msgspec.field(default_factory=list)
    failures: list[str] = msgspec.field(default_factory=list)
    """What could not be attested now, and why; it is tried again."""


class Rescans:
    """`patterns` say which repositories are released; `refresh` is how old a scan becomes, `oldest` how old the newest
    advisory may be. `signer` is asked anew for each look: tokens are short-lived.
    """

    def __init__(self, client: RegistryClient, store: Store, queue: Queue, advisories: AdvisoryReader, clock: Clock,
                 signer: Callable[[], Awaitable[Signer]], patterns: Sequence[Pattern], refresh: timedelta,
                 oldest: timedelta) -> None:
        self._client, self._store, self._queue, self._clock = client, store, queue, clock
        self._advisories, self._signer, self._patterns = advisories, signer, patterns
        self._refresh, self._oldest = refresh, oldest

    async def look(self, words: Words = NOTHING) -> Rescanned:
        """At what is due; `words` say what does not count. Raises StorageError."""
        done = Rescanned()
        released = await asyncio.to_thread(self._released)
        done.released = len(released)
        await asyncio.to_thread(self._put, released)
        try:
            self._current()
            signer = await self._signer()
        except CustodyError as error:
            done.failures.append(f"no scan is attested: {error.message}")
            return done
        until = self._clock() + _ROUND
        while self._clock() < until and (job := await asyncio.to_thread(
                self._queue.take, _KIND, self._clock(), self._clock() + _LEASE)) is not None:
            await self._work(job, released, signer, words, done)
        return done

    def _current(self) -> None:
        newest = self._advisories.status().newest
        if newest is None or self._clock() - newest > self._oldest:
            raise MissingEvidenceError(
                "no advisory is known" if newest is None else
                f"the newest advisory is {(self._clock() - newest).days} days old, more than {self._oldest.days}",
                hint="custody db import PATH, or rescan.max_age in custody.toml")

    def _released(self) -> dict[str, str]:
        """By digest the repository, of each image that has a name in a released one now, or had one and still runs."""
        latest: dict[str, tuple[datetime, datetime, str]] = {}
        running: dict[str, str] = {}
        for digest, rows in self._sightings():
            names = [row for row in rows if row.kind == "name" and self._matches(_repository(row.where))]
            for row in names:
                latest[row.where] = max(latest.get(row.where, (row.last, row.first, digest)),
                                        (row.last, row.first, digest))
            if names and any(row.kind in ("pod", "admission") for row in rows):
                running[digest] = _repository(max(names, key=lambda row: row.last).where)
        return running | {digest: _repository(name) for name, (_, _, digest) in latest.items()}

    def _sightings(self) -> Iterator[tuple[str, Sequence[Seen]]]:
        last = 0
        while images := self._store.images(last, _AT_ONCE):
            last = images[-1][0]
            seen = self._store.seen([digest for _, digest in images])
            indexes = {row.where for rows in seen.values() for row in rows if row.kind == "index"}
            above = self._store.seen(indexes) if indexes else {}
            for digest, rows in seen.items():
                yield digest, [*rows, *(more for row in rows if row.kind == "index"
                                        for more in above.get(row.where, ()))]

    def _matches(self, repository: str) -> bool:
        return any(pattern.matches(repository) for pattern in self._patterns)

    def _put(self, released: dict[str, str]) -> None:
        """Each is due at once when it is new, and when one of its findings changed."""
        now = self._clock()
        for digest in released:
            self._queue.put(_KIND, digest, b"", now)
        stated = self._store.cursor(_CURSOR)
        last = int(stated or 0)
        while events := self._store.events(last, _AT_ONCE):
            last = events[-1].number
            changed: set[str] = set()
            for _, event in events if stated else ():  # else all are due: nothing was attested here yet
                changed |= set(event.images) if event.affected <= len(event.images) else set(released)
            for digest in changed & set(released):
                self._queue.hasten(_KIND, digest, now)
        if str(last) != stated:
            self._store.replace({}, (), {_CURSOR: str(last)})

    async def _work(self, job: Job, released: dict[str, str], signer: Signer, words: Words,
                    done: Rescanned) -> None:
        due = self._clock() + self._refresh
        repository = released.get(job.key)
        if repository is not None:  # else it is looked at again, should it come back
            target = f"{repository}@{job.key}"
            try:
                async with asyncio.timeout(_DEADLINE):
                    await self._attest(repository, job.key, signer, words)
                done.attested.append(target)
            except NotFoundError:
                pass  # it was deleted
            except TimeoutError:
                due = self._clock() + _PAUSE
                done.failures.append(f"{target}: took longer than {_DEADLINE:g} s")
            except CustodyError as error:
                due = self._clock() + _PAUSE
                done.failures.append(f"{target}: {error.message}")
        await asyncio.to_thread(self._queue.again, job, due, "")

    async def _attest(self, repository: str, digest: str, signer: Signer, words: Words) -> None:
        started = self._clock()
        ref = reference.parse(f"{repository}@{digest}")
        descriptor = await self._client.resolve(ref)
        catalog = await asyncio.to_thread(self._store.catalog, digest)
        if catalog is None:
            raise NetworkError(f"{repository}@{digest}: is no longer kept")
        named = msgspec.structs.replace(catalog, name=str(ref))
        report = await asyncio.to_thread(words.scan, named, Remembering(self._advisories), started, self._clock(),
                                         self._oldest)
        statement = intoto.statement(digest, vulnattestation.PREDICATE_TYPE, report.to_cosign_vuln(), name=ref.name)
        data, verified = await signer.sign(statement, digest)
        pushed = await push_bundle(self._client, ref, descriptor, data, vulnattestation.PREDICATE_TYPE, self._clock())
        await replace_bundles(self._client, ref, verified, pushed, signer.trust(require_log=verified.log is not None),
                              self._clock())


def _repository(name: str) -> str:
    """Of `registry/name:tag`."""
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition("@")[0].partition(":")[0]
