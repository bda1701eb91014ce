"""Which manifests refer to an image: the referrers API, or the fallback tag where a registry has none
(distribution-spec v1.1, "Listing Referrers", "Unavailable Referrers API", "Pushing Manifests with Subject").

The list is whole or an error, never cut: whoever may push could hide evidence behind what he adds. For the same reason
the fallback tag, which anybody who may push can write, is read only where the registry says that it has no API.
"""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import Callable

import msgspec

from custody.errors import MalformedError, NetworkError, NotFoundError, UnsupportedError, VerificationError
from custody.formats import oci
from custody.formats.reference import Reference
from custody.ports.http import Answer
from custody.registry.budget import Budget
from custody.registry.refusal import Refusal, read_refusal
from custody.registry.requests import PUSH, Requests
from custody.registry.tokens import Registry

MAX_REFERRERS = 10_000
_MAX_COMPLETED = 200
_COMPLETED_AT_ONCE = 4
_LARGE = 64 * 1024
"""Bytes of a page from which it is read in a thread."""
_LACK_KEPT = 300.0
_HAVE_KEPT = 3600.0
"""Seconds for which is remembered that a repository has no referrers API, and that it has one."""
_MOST = 10_000
_NO_API = (400, 404, 405, 406, 501)
_UNSUPPORTED = frozenset({"", "UNSUPPORTED", "NOT_FOUND", "NOTFOUND", "UNKNOWN"})
"""Error codes that speak of the API; the others (NAME_UNKNOWN, MANIFEST_UNKNOWN, DENIED …) speak of this image."""


class Facts:
    """What registries can do, learned from their answers and forgotten after a while."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lacks: dict[tuple[str, str], float] = {}
        self._has: dict[tuple[str, str], float] = {}

    def has_api(self, registry: Registry) -> bool:
        return self._has.get(_place(registry), 0.0) > self._now()

    def lacks_api(self, registry: Registry) -> bool:
        return not self.has_api(registry) and self._lacks.get(_place(registry), 0.0) > self._now()

    def learn_has(self, registry: Registry) -> None:
        if len(self._has) >= _MOST:
            self._has.clear()
        self._has[_place(registry)] = self._now() + _HAVE_KEPT

    def learn_lacks(self, registry: Registry) -> None:
        """Of one repository only: behind one host may be registries of several kinds, and of several owners."""
        if len(self._lacks) >= _MOST:
            self._lacks.clear()
        self._lacks[_place(registry)] = self._now() + _LACK_KEPT


def _place(registry: Registry) -> tuple[str, str]:
    return str(registry.origin), registry.repository


class Referrers:
    def __init__(self, requests: Requests, now: Callable[[], float] = time.monotonic) -> None:
        self._requests = requests
        self._facts = Facts(now)
        self._writing = asyncio.Lock()

    def within(self, budget: Budget) -> Referrers:
        view = copy.copy(self)
        view._requests = self._requests.within(budget)
        return view

    async def all_of(self, ref: Reference, *, apart: bool = False) -> list[oci.Descriptor]:
        """All manifests whose subject is `ref.digest`, of every kind. `apart`: the image itself is kept elsewhere.

        Raises VerificationError where they cannot be had whole, NotFoundError where the image is not there.
        """
        registry = self._requests.registry(ref)
        referrers: list[oci.Descriptor] | None = None
        if not self._facts.lacks_api(registry):
            referrers = await self._from_api(ref, registry, apart=apart)
        if referrers is None:
            referrers = list((await self._fallback(ref))[1])
        bare = [referrer for referrer in referrers if _is_bare(referrer)]
        if len(bare) > _MAX_COMPLETED:
            raise VerificationError(f"{ref}: {len(bare)} referrers are listed without their artifactType; custody asks "
                                    f"at most {_MAX_COMPLETED} manifests for it")
        completed = {referrer.digest: referrer for referrer in await self._complete_all(ref, bare)}
        return [completed.get(referrer.digest, referrer) for referrer in referrers]

    async def added(self, ref: Reference, body: oci.Manifest | oci.Index, pushed: oci.Descriptor) -> None:
        """A manifest with a subject was pushed to a registry that ignored that: write it into the fallback tag."""
        if body.subject is None:
            return
        kind = body.artifact_type or (body.config.media_type if isinstance(body, oci.Manifest) else None)
        referrer = msgspec.structs.replace(pushed, artifact_type=kind, annotations=body.annotations)
        await self._write(ref.at(body.subject.digest), add=referrer)

    async def dropped(self, ref: Reference, subject: str) -> None:
        """The manifest `ref.digest` was deleted: take it out of the fallback tag, if there is one."""
        if not self._facts.has_api(self._requests.registry(ref)):
            await self._write(ref.at(subject), drop=ref.digest)

    # The API

    async def _from_api(self, ref: Reference, registry: Registry, *, apart: bool) -> list[oci.Descriptor] | None:
        """None where the registry says that it has no such API."""
        path = f"referrers/{ref.digest}"
        first = await self._requests.ask("GET", ref, path, headers={"Accept": oci.INDEX}, expect=(200, *_NO_API))
        if first.status != 200:
            async with first:
                refusal = await read_refusal(first)
            await self._judge_refusal(ref, registry, first, refusal, apart=apart)
            return None
        referrers: list[oci.Descriptor] = []
        async for data in self._requests.pages(ref, path, first):
            referrers += await self._page(ref, data)
            if len(referrers) > MAX_REFERRERS:
                raise VerificationError(f"{ref}: more than {MAX_REFERRERS} referrers",
                                        hint="a list that cannot be read whole is not believed")
        self._facts.learn_has(registry)
        return referrers

    async def _judge_refusal(self, ref: Reference, registry: Registry, answer: Answer, refusal: Refusal, *,
                             apart: bool) -> None:
        """Return where the answer says that there is no referrers API; raise what else it says."""
        text = f"{ref}: GET referrers answered {answer.status}" + (f": {refusal.words}" if refusal.words else "")
        speaks_of_api = all(code.upper() in _UNSUPPORTED for code in refusal.codes)
        if self._facts.has_api(registry) or (answer.status != 404 and not speaks_of_api):
            raise VerificationError(text, hint="it has the referrers API, so its fallback tag is not believed")
        # Some registries answer 404 about an image that is not there: that says nothing about the API. About one that
        # is there, a registry with the API never answers 404 (distribution-spec, "Listing Referrers").
        if apart:
            return
        if await self._requests.resolve(ref) is None:
            await self._requests.manifest(ref)
        if speaks_of_api:
            self._facts.learn_lacks(registry)

    async def _page(self, ref: Reference, data: bytes) -> tuple[oci.Descriptor, ...]:
        where = f"{ref.name}: referrers of {ref.digest}"
        try:
            if len(data) > _LARGE:
                body = await asyncio.to_thread(oci.parse_manifest, data, where, oci.INDEX)
            else:
                body = oci.parse_manifest(data, where, oci.INDEX)
        except (MalformedError, UnsupportedError) as error:
            raise VerificationError(error.message) from None
        if not isinstance(body, oci.Index):
            raise VerificationError(f"{where}: got an image manifest, expected an index")
        return body.manifests

    async def _complete_all(self, ref: Reference, referrers: list[oci.Descriptor]) -> list[oci.Descriptor]:
        turn = asyncio.Semaphore(_COMPLETED_AT_ONCE)

        async def complete(referrer: oci.Descriptor) -> oci.Descriptor:
            async with turn:
                return await self._complete(ref, referrer)

        tasks = [asyncio.ensure_future(complete(referrer)) for referrer in referrers]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _complete(self, ref: Reference, referrer: oci.Descriptor) -> oci.Descriptor:
        """Old writers left artifactType and annotations out of fallback indexes: ask the manifest itself."""
        place = ref.at(referrer.digest)
        try:
            _, data = await self._requests.manifest(place)
            body = oci.parse_manifest(data, str(place), referrer.media_type)
        except (NotFoundError, MalformedError, UnsupportedError):
            return referrer  # it stays in the list, of no kind; whoever wants it finds out what it is
        kind = body.artifact_type
        if isinstance(body, oci.Manifest) and kind in (None, oci.EMPTY):
            kind = body.config.media_type if body.config.media_type != oci.EMPTY else (
                body.layers[0].media_type if body.layers else None)
        return msgspec.structs.replace(referrer, artifact_type=kind,
                                       annotations=referrer.annotations or body.annotations)

    # The fallback tag

    async def _fallback(self, ref: Reference) -> tuple[str | None, tuple[oci.Descriptor, ...]]:
        where = f"{ref.name}: fallback tag {fallback_tag(ref.digest or '')}"
        try:
            descriptor, data = await self._requests.manifest(ref.tagged(fallback_tag(ref.digest or "")))
        except NotFoundError:
            return None, ()
        if descriptor.digest == ref.digest:
            return descriptor.digest, ()  # `cosign copy` tags the image itself so: that is no list
        try:
            body = oci.parse_manifest(data, where, descriptor.media_type)
        except (MalformedError, UnsupportedError) as error:
            raise VerificationError(error.message) from None
        if not isinstance(body, oci.Index):
            raise VerificationError(f"{where}: got an image manifest, expected an index")
        return descriptor.digest, body.manifests

    async def _write(self, ref: Reference, add: oci.Descriptor | None = None, drop: str | None = None) -> None:
        # Another writer may replace the index between our read and our write. Registries that know conditional
        # requests refuse then (412); for others the writers of this process take turns, and the index is read again.
        async with self._writing:
            await self._write_in_turn(ref, add, drop)

    async def _write_in_turn(self, ref: Reference, add: oci.Descriptor | None, drop: str | None) -> None:
        tag = fallback_tag(ref.digest or "")
        for attempt in range(8):
            digest, referrers = await self._fallback(ref)
            have = {referrer.digest for referrer in referrers}
            if (add is None or add.digest in have) and (drop is None or drop not in have):
                return
            kept = [referrer for referrer in referrers if referrer.digest not in (drop, add.digest if add else None)]
            index = oci.Index(oci.INDEX, (*kept, *([add] if add else [])))
            data = json.dumps(index.to_json(), separators=(",", ":")).encode()
            condition = {"If-Match": f'"{digest}"'} if digest else {"If-None-Match": "*"}
            async with await self._requests.ask("PUT", ref, f"manifests/{tag}", body=data, actions=PUSH,
                                                expect=(200, 201, 202, 412),
                                                headers={"Content-Type": oci.INDEX, **condition}):
                pass
            await asyncio.sleep(0.01 * attempt)
        raise NetworkError(f"{ref.name}: other writers keep replacing the tag {tag}")


def fallback_tag(digest: str) -> str:
    """`sha256-<hex>`, cut as the specification says (32 and 64 characters)."""
    algorithm, _, value = digest.partition(":")
    return f"{algorithm[:32]}-{value[:64]}"


def _is_bare(referrer: oci.Descriptor) -> bool:
    return referrer.artifact_type in (None, oci.EMPTY) and referrer.media_type in (*oci.MANIFEST_TYPES, oci.INDEX)


