"""All objects of one kind in a cluster, as a watch tells them: listed once, followed, and listed again where the watch
cannot go on.

A kind that is not served has no objects, and is asked for again: its definition may come later. One that is not served
for a moment only, as where an API server starts, keeps the objects that were known: it has none once its definition is
gone.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary, WeakSet

from custody.errors import CustodyError, NetworkError
from custody.policy.kinds import builtin
from custody.policy.model import Kind
from custody.policy.resources import ApiResource
from custody.ports.cluster import ApiError, ClusterObjects, Listing, Object, Served

_LOG = logging.getLogger(__name__)
_SHORTEST, _LONGEST = 0.2, 15.0
"""Seconds before what failed is tried again, doubled each time."""
_SPREAD, _SOON = 0.5, 2.0
"""Seconds over which those look again that were told that the API server answers again, and the longest pause while it
may not answer everything yet."""
_RARE = 240.0
"""Seconds after which they are told again at the latest, where that did not help."""
_RECENT = 60.0
"""Seconds for which what was refused may have been for want of what an API server that starts knows only later."""
_FORBIDDEN = 30.0
"""The same, for what this account may not list: somebody has to give it the right first."""
ABSENT = 5.0
"""Seconds after which a kind that was not served is asked for again."""
_HELD = 15.0
"""Seconds that a watch without events has to hold for the next break not to be counted as one more of a row."""
_SHORT = 1.0
"""A watch that ends sooner, without an event, is a break: the server ends one after some 45 s."""
DEFINITIONS = ApiResource(group="apiextensions.k8s.io", version="v1", kind="CustomResourceDefinition",
                          plural="customresourcedefinitions", namespaced=False)

Key = tuple[str, str]
"""(namespace, name)."""
Changed = Callable[[Object | None, Object | None], None]
"""Told of an object before and after: None where it was not there, or is not any more."""


class Mirror:
    """`versions`: the apiVersions that will do, the best first; the first that is served is watched. With `plural`,
    the resource's name, a kind that its definition has and that is not served is waited for, also at first.

    `objects` are without `managedFields`, and not to be changed. `most` bounds how many there may be. With `stubs` they
    are names and versions alone, for whoever keeps what `changed` is told in another form: lists are read page by page,
    and what was there before is told by its stub.
    """

    def __init__(self, cluster: ClusterObjects, versions: Sequence[str], kind: str, *, plural: str = "",
                 namespace: str = "", labels: str = "", fields: str = "", changed: Changed | None = None,
                 most: int = 50_000, stubs: bool = False) -> None:
        self.kind = kind
        self.objects: dict[Key, Object] = {}
        self.served: Served | None = None
        """What is watched, or was last where `failure` says so; None where no version is served."""
        self.synced = asyncio.Event()
        """Set once `objects` is whole, or the kind is known not to be served."""
        self.failure: str | None = None
        """Why `objects` may be older than a few seconds; None where it is as the watch tells."""
        self.failing_since = 0.0
        """The event loop's time from which on `failure` is one."""
        self._cluster = cluster
        self.versions, self._plural = versions, plural
        self._namespace, self._labels, self._fields = namespace, labels, fields
        self._changed = changed
        self._most = most
        self._kept = _stub if stubs else _whole
        self._stubs = stubs
        self._woken = asyncio.Event()
        self._pause = _SHORTEST
        self._silence = _SILENCES.setdefault(cluster, _Silence())
        self._forbidden = False

    def look_again(self) -> None:
        """The cluster may serve other kinds than before: look now, instead of in some seconds."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        refresh = False
        while True:
            try:
                served = await self._resource(refresh=refresh)
                refresh = True
                if served is None:
                    if await self._defined():
                        raise NetworkError(f"{self.versions[0]} {self.kind} is not served, and has not gone")
                    self.served = None
                    self._replace(Listing([], ""))
                    self._well()
                    await self._wait(ABSENT)
                    continue
                self.served = served
                await self._follow(served)
            except CustodyError as error:
                await self._broken(error)

    async def _broken(self, error: CustodyError) -> None:
        """Say why, and wait: longer each time, until a watch was one again."""
        # A version that expires once is no fault of anybody's, and several in a row are.
        usual = isinstance(error, ApiError) and error.expired and self._pause == _SHORTEST
        if self.failure is None:
            self.failing_since = asyncio.get_running_loop().time()
            _LOG.log(logging.DEBUG if usual else logging.WARNING, "watching %s: %s", self.kind, error.message)
        self.failure = error.message
        self._forbidden = isinstance(error, ApiError) and error.answered == 403
        pause = _FORBIDDEN if self._forbidden else self._pause
        starts = asyncio.get_running_loop().time() < self._silence.told + _LONGEST
        self._pause = min(self._pause * 2, _SOON if starts else _LONGEST)
        self._silence.waiting.add(self)
        await self._wait(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spread
        self._silence.waiting.discard(self)

    def _well(self) -> None:
        """It is as the cluster tells; where it was not, the others that wait look again."""
        failed, self.failure = self.failure is not None, None
        if failed:
            self._silence.broken(asyncio.get_running_loop())

    def _hears(self, now: float) -> bool:
        """Whether it is of use that it looks again, as another heard of the cluster."""
        if self._forbidden and now > self.failing_since + _RECENT:
            return False
        self._pause = min(self._pause, _SOON)
        return True

    async def _defined(self) -> bool:
        """Whether a kind that discovery does not tell of is one all the same: an API server that starts tells of it
        later. Raises CustodyError where that cannot be known."""
        last = self.served
        if last is None and (self.synced.is_set() or not self._plural):
            return False
        if last is not None and builtin().namespaced(Kind(last.kind, last.version, last.group)) is not None:
            return True  # it has no definition that could go
        name = f"{last.plural}.{last.group}" if last is not None else (
            f"{self._plural}.{self.versions[0].rpartition('/')[0]}")
        definitions = (await self._cluster.list(DEFINITIONS, fields=f"metadata.name={name}")).items
        return any(last is not None or _serves(definition, self.versions) for definition in definitions)

    async def _resource(self, *, refresh: bool) -> Served | None:
        for at, version in enumerate(self.versions):
            served = await self._cluster.resource(version, self.kind, refresh=refresh and at == 0)
            if served is not None:
                return served
        return None

    async def _follow(self, served: Served) -> None:
        """List, and watch until that ends in an error. Raises CustodyError."""
        if self._stubs:
            version = await self._paged(served)
        else:
            listing = await self._cluster.list(served, self._namespace, labels=self._labels, fields=self._fields,
                                               most=self._most)
            self._replace(listing)
            version = listing.version
        self._well()
        while True:
            version = await self._watched(served, version)

    async def _watched(self, served: Served, version: str) -> str:
        """Follow one watch to its end. The version that is to be gone on from."""
        loop = asyncio.get_running_loop()
        begun, events = loop.time(), False
        try:
            async for event in self._cluster.watch(served, self._namespace, version=version, labels=self._labels,
                                                   fields=self._fields):
                events = True
                version = event.version or version
                if event.type != "BOOKMARK":
                    self._put(event.object, gone=event.type == "DELETED")
        finally:
            if events or loop.time() - begun > _HELD:
                self._pause = _SHORTEST
        if not events and loop.time() - begun < _SHORT:
            raise NetworkError(f"the watch ended within {_SHORT:g} s, and told nothing")
        return version

    async def _paged(self, served: Served) -> str:
        """What is different is told page by page, what is gone at the end. The version of the list."""
        there: set[Key] = set()
        version = ""
        async for page in self._cluster.pages(served, self._namespace, labels=self._labels, fields=self._fields):
            for document in page.items:
                key = key_of(document)
                there.add(key)
                known = self.objects.get(key)
                if known is None or version_of(known) != version_of(document):
                    self._put(document, gone=False)
            version = page.version
        for key in self.objects.keys() - there:
            self._tell(self.objects.pop(key), None)
        self.synced.set()
        return version

    def _put(self, document: Object, *, gone: bool) -> None:
        key = key_of(document)
        before = self.objects.pop(key, None) if gone else self.objects.get(key)
        after = None if gone else _bare(document)
        if after is not None:
            if before is None and len(self.objects) >= self._most:
                raise CustodyError(f"there are more than {self._most} objects of kind {self.kind}")
            self.objects[key] = self._kept(after)
        if before is not None or after is not None:
            self._tell(before, after)

    def _replace(self, listing: Listing) -> None:
        """What is different is told as if a watch had told it."""
        now = {key_of(document): _bare(document) for document in listing.items}
        before, self.objects = self.objects, now
        self.synced.set()
        if self._changed is None:
            return
        for key, document in before.items():
            if key not in now:
                self._tell(document, None)
        for key, document in now.items():
            known = before.get(key)
            if known is None or version_of(known) != version_of(document):
                self._tell(known, document)

    def _tell(self, before: Object | None, after: Object | None) -> None:
        """An object that whoever is told stumbles over, which anybody may have written, ends no watch of all others."""
        if self._changed is None:
            return
        try:
            self._changed(before, after)
        except CustodyError:
            raise
        except Exception:
            _LOG.exception("%s %s is passed over", self.kind, "/".join(key_of(after or before or {})))

    async def _wait(self, seconds: float) -> None:
        self._woken.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return


class _Silence:
    """Mirrors of one cluster that wait before they try again. The first that hears of it tells the others: so each may
    wait long while it does not answer, and none waits long once it does."""

    def __init__(self) -> None:
        self.waiting: WeakSet[Mirror] = WeakSet()
        self.told = -_RARE
        """The event loop's time when they were told last."""
        self._rest = _LONGEST

    def broken(self, loop: asyncio.AbstractEventLoop) -> None:
        """Not again and again: where lists come and watches break, mirrors would wake each other without end."""
        now = loop.time()
        if now < self.told + self._rest:
            return
        self._rest = min(self._rest * 2, _RARE) if now < self.told + _RARE else _LONGEST
        for mirror in [mirror for mirror in self.waiting if mirror._hears(now)]:
            self.told = now
            loop.call_later(random.uniform(0, _SPREAD), mirror.look_again)  # noqa: S311 - spread


_SILENCES: WeakKeyDictionary[ClusterObjects, _Silence] = WeakKeyDictionary()


def _serves(definition: Object, versions: Sequence[str]) -> bool:
    """Whether a definition says that one of these is to be served, and was taken up."""
    spec = definition["spec"]
    return established(definition) and any(
        version.get("served") and f"{spec['group']}/{version['name']}" in versions for version in spec["versions"])


def established(definition: Object) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(condition.get("type") == "Established" and condition.get("status") == "True"
               for condition in conditions)


def key_of(document: Object) -> Key:
    metadata = document.get("metadata") or {}
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or "")


def version_of(document: Object) -> str:
    """The resourceVersion: the same text for the same contents."""
    return str((document.get("metadata") or {}).get("resourceVersion") or "")


def _bare(document: Object) -> Object:
    """Without managedFields, which are half of it and say nothing that is judged."""
    metadata = document.get("metadata")
    if isinstance(metadata, dict):
        metadata.pop("managedFields", None)
    return document


def _whole(document: Object) -> Object:
    return document


def _stub(document: Object) -> Object:
    metadata = document["metadata"]
    return {"metadata": {name: metadata[name] for name in ("namespace", "name", "resourceVersion") if name in metadata}}
