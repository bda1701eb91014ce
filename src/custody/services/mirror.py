"""All objects of one kind in a cluster, as a watch tells them: listed once, followed, and listed again where the watch
cannot go on.

A kind that is not served has no objects, and is asked for again: its definition may come later.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from custody.errors import CustodyError
from custody.ports.cluster import ApiError, ClusterObjects, Listing, Object, Served

_LOG = logging.getLogger(__name__)
_SHORTEST, _LONGEST = 0.2, 15.0
"""Seconds before what failed is tried again, doubled each time."""
_FORBIDDEN = 30.0
"""The same, for what this account may not list: somebody has to give it the right first."""
ABSENT = 5.0
"""Seconds after which a kind that was not served is asked for again."""

Key = tuple[str, str]
"""(namespace, name)."""
Changed = Callable[[Object | None, Object | None], None]
"""Told of an object before and after: None where it was not there, or is not any more."""


class Mirror:
    """`versions`: the apiVersions that will do, the best first; the first that is served is watched.

    `objects` are without `managedFields`, and not to be changed. `most` bounds how many there may be. With `stubs` they
    are names and versions alone, for whoever keeps what `changed` is told in another form: lists are read page by page,
    and what was there before is told by its stub.
    """

    def __init__(self, cluster: ClusterObjects, versions: Sequence[str], kind: str, *, namespace: str = "",
                 labels: str = "", fields: str = "", changed: Changed | None = None, most: int = 50_000,
                 stubs: bool = False) -> None:
        self.kind = kind
        self.objects: dict[Key, Object] = {}
        self.served: Served | None = None
        """What is watched; None where no version is served."""
        self.synced = asyncio.Event()
        """Set once `objects` is whole, or the kind is known not to be served."""
        self.failure: str | None = None
        """Why `objects` may be older than a few seconds; None where it is as the watch tells."""
        self.failing_since = 0.0
        """The event loop's time from which on `failure` is one."""
        self._cluster = cluster
        self._versions = versions
        self._namespace, self._labels, self._fields = namespace, labels, fields
        self._changed = changed
        self._most = most
        self._kept = _stub if stubs else _whole
        self._stubs = stubs
        self._woken = asyncio.Event()

    def look_again(self) -> None:
        """The cluster may serve other kinds than before: look now, instead of in some seconds."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        pause, refresh = _SHORTEST, False
        while True:
            try:
                self.served = await self._resource(refresh=refresh)
                refresh = True
                if self.served is None:
                    self._replace(Listing([], ""))
                    self.failure = None
                    await self._wait(ABSENT)
                    continue
                await self._follow(self.served)
                pause = _SHORTEST
            except CustodyError as error:
                if isinstance(error, ApiError) and error.expired:
                    continue
                if self.failure is None:
                    self.failing_since = asyncio.get_running_loop().time()
                    _LOG.warning("watching %s: %s", self.kind, error.message)
                self.failure = error.message
                forbidden = isinstance(error, ApiError) and error.answered == 403
                await self._wait((_FORBIDDEN if forbidden else pause) * random.uniform(0.8, 1.2))  # noqa: S311 - spread
                pause = min(pause * 2, _LONGEST)

    async def _resource(self, *, refresh: bool) -> Served | None:
        for at, version in enumerate(self._versions):
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
        self.failure = None
        while True:
            async for event in self._cluster.watch(served, self._namespace, version=version, labels=self._labels,
                                                   fields=self._fields):
                version = event.version or version
                if event.type != "BOOKMARK":
                    self._put(event.object, gone=event.type == "DELETED")

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
