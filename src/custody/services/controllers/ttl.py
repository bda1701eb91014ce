"""Objects that say themselves when they are to go: the label `cleanup.kyverno.io/ttl`.

Its value is a time from the object's creation (`90s`, `1h30m`, `2d`, `1 week`) or a moment (`2026-12-24T180000Z`,
`2026-12-24`). One that is neither is told in the log, once, and the object stays.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from custody.errors import CustodyError
from custody.kit.clock import Clock
from custody.policy.kinds import Kinds
from custody.policy.resources import ApiResource
from custody.ports.cluster import ApiError, ClusterObjects, Object
from custody.services.controllers.following import Following
from custody.services.controllers.named import version_of
from custody.services.mirror import Mirror
from policylang.go.durations import parse

_LOG = logging.getLogger(__name__)
LABEL = "cleanup.kyverno.io/ttl"
_MOST = 500
"""Kinds that are watched."""
_AGAIN = timedelta(minutes=1)
"""After which what could not be deleted is tried again."""
_UNITS = {"n": 1e-9, "u": 1e-6, "µ": 1e-6, "milli": 1e-3, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400,
          "w": 604800}
_PART = re.compile(r"(\d+)\s*([A-Za-zµ]+)")
_WORDS = re.compile(r"(ns|nano|us|µs|micro|ms|milli|sec|s\Z|min|m\Z|hr|hour|h\Z|day|d\Z|wk|week|w\Z)")
_PREFERRED = re.compile(r"v\d+\Z")


def due(value: str, created: datetime) -> datetime | None:
    """When an object with this label is to go; None where the label says no time."""
    nanoseconds = parse(value)
    if nanoseconds is not None:
        return created + timedelta(microseconds=nanoseconds / 1000)
    for layout in ("%Y-%m-%dT%H%M%SZ", "%Y-%m-%d"):
        try:
            return datetime.strptime(value, layout).replace(tzinfo=UTC)
        except ValueError:
            continue
    seconds, known = 0.0, False
    for number, unit in _PART.findall(value):
        word = _WORDS.match(unit.lower())
        if word is not None:
            known = True
            seconds += int(number) * _UNITS[word[1] if word[1] in ("ms", "milli") else word[1][0]]
    try:
        return created + timedelta(seconds=seconds) if known else None
    except OverflowError:
        return None


class Ttl:
    """`run` while this replica leads."""

    def __init__(self, cluster: ClusterObjects, kinds: Callable[[], Awaitable[Kinds]], clock: Clock, *,
                 every: float = 1.0) -> None:
        """`every`: seconds between two looks at what is due."""
        self._cluster, self._kinds, self._clock, self._every = cluster, kinds, clock, every
        self._due: dict[tuple[ApiResource, str, str], tuple[datetime, str]] = {}
        self._mirrors: Following[ApiResource] = Following()
        self.deleted = 0
        self._stale = True

    def changed(self) -> None:
        """There may be other kinds."""
        self._stale = True

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    if self._stale:
                        self._stale = False
                        await self._follow(await self._kinds())
                    await self._sweep(self._clock())
                except CustodyError as error:
                    _LOG.warning("what has a time to live: %s", error.message)
                await asyncio.sleep(self._every)
        finally:
            await self._mirrors.close()

    async def _follow(self, kinds: Kinds) -> None:
        """Kinds that custody may not list have no objects that it could delete."""
        served: dict[tuple[str, str], ApiResource] = {}
        for resource in kinds.resources:
            name = resource.group, resource.kind
            stable = _PREFERRED.match(resource.version) is not None
            if "DELETE" in resource.operations and (name not in served or stable):
                served[name] = resource
        for resource in served.values():
            if resource not in self._mirrors and len(self._mirrors) < _MOST and await self._may_list(resource):
                self._mirrors.follow(resource, Mirror(self._cluster, [version_of(resource)], resource.kind,
                                                      labels=LABEL, changed=self._note(resource)))

    async def _may_list(self, resource: ApiResource) -> bool:
        try:
            await self._cluster.list(resource, labels=LABEL)
        except ApiError as error:
            if error.reason in ("Forbidden", "MethodNotAllowed", "NotFound"):
                return False
            raise
        return True

    def _note(self, resource: ApiResource) -> Callable[[Object | None, Object | None], None]:
        def note(before: Object | None, after: Object | None) -> None:
            document = after or before or {}
            metadata = document["metadata"]
            key = resource, str(metadata.get("namespace") or ""), str(metadata["name"])
            self._due.pop(key, None)
            if after is None or metadata.get("deletionTimestamp"):
                return
            value = str((metadata.get("labels") or {}).get(LABEL))
            moment = due(value, datetime.fromisoformat(metadata["creationTimestamp"]))
            if moment is None:
                _LOG.warning("%s %s: label %s: got %r, expected a duration or a date", resource.kind, "/".join(key[1:]),
                             LABEL, value)
            else:
                self._due[key] = moment, str(metadata.get("uid") or "")
        return note

    async def _sweep(self, now: datetime) -> None:
        for key, (moment, uid) in [*self._due.items()]:
            if moment > now:
                continue
            del self._due[key]
            resource, namespace, name = key
            try:
                self.deleted += await self._cluster.delete(resource, name, namespace, uid=uid)
            except CustodyError as error:
                _LOG.warning("%s %s is due and not deleted: %s", resource.kind, name, error.message)
                if not (isinstance(error, ApiError) and error.reason == "Conflict"):  # another one by now
                    self._due[key] = now + _AGAIN, uid
