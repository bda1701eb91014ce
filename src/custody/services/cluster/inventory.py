"""The inventory of a cluster: the objects of the kinds that Config and SyncSets name, followed by watches.

Until each of these kinds was listed whole, where a kind is not served, and where a watch hears nothing for a minute, it
is none: a rule that reads it fails with that reason, and is not told that there are no objects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from custody.policy.fields import Fields
from custody.policy.gatekeeper.config import SYNC, Config, SyncSet, kept
from custody.policy.gatekeeper.inventory import Kept
from custody.policy.load import PolicySet
from custody.policy.model import Kind
from custody.ports.cluster import ClusterObjects, Object
from custody.ports.lookup import Answer, Answered, Failed
from custody.services.cluster.entries import unserved, unsynced
from custody.services.controllers.following import Following
from custody.services.mirror import Mirror, key_of

MOST = 500_000
"""Objects of one kind."""
_SAYING = ("config.gatekeeper.sh", "syncset.gatekeeper.sh")
_UNASKED = Failed("no Config or SyncSet says which kinds of objects are kept")


class ClusterInventory:
    """`follow` says by which policies; its watches run while `run` does."""

    def __init__(self, cluster: ClusterObjects) -> None:
        self.kept = Kept()
        self.listed = False
        """Whether whoever asks for readiness was told once that nothing is waited for."""
        self._cluster = cluster
        self._mirrors: Following[Kind] = Following()
        self._chosen: tuple[Kind, ...] = ()
        self._config: Config | None = None
        self._changed = asyncio.Event()

    def follow(self, policies: PolicySet) -> None:
        documents = [Config(Fields(document, "")) if document["kind"] == "Config" else SyncSet(Fields(document, ""))
                     for document in policies.whole
                     if isinstance(document, dict) and _group(document) in _SAYING]
        config = next((document for document in documents if isinstance(document, Config)), None)
        chosen = kept(documents)
        before = self._config.exclusions if self._config else ()
        if chosen != self._chosen or before != (config.exclusions if config else ()):
            self._chosen, self._config = chosen, config
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        config: Config | None = None
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                chosen = {*self._chosen}
                if (config.exclusions if config else ()) != (self._config.exclusions if self._config else ()):
                    chosen = set()  # what was left out is not known: all is listed again
                    self._changed.set()
                config = self._config
                for kind in {*self._mirrors} - chosen:
                    mirror = await self._mirrors.drop(kind)
                    for namespace, name in mirror.objects:
                        self.kept.drop(_version(kind), kind.kind, namespace, name)
                for kind in chosen - {*self._mirrors}:
                    self._mirrors.follow(kind, Mirror(self._cluster, [_version(kind)], kind.kind, most=MOST, stubs=True,
                                                      changed=self._told(kind)))
        finally:
            await self._mirrors.close()

    def known(self) -> Answer | None:
        """Without waiting for a first list; None where that would have to be."""
        if not self._chosen:
            return _UNASKED
        for kind in self._chosen:
            mirror = self._mirrors.get(kind)
            if mirror is None or not mirror.synced.is_set() or mirror.failure is not None:
                return None
            if fault := unserved(mirror):
                return Failed(f"the inventory is not ready: {fault}")
        return Answered(self.kept.view())

    async def answer(self) -> Answer:
        if not self._chosen:
            return _UNASKED
        for kind in self._chosen:
            mirror = self._mirrors.get(kind)
            if mirror is None:
                return Failed(f"the inventory is not ready: {kind.kind} of {_version(kind)} is not followed yet")
            if (failed := await unsynced(mirror)) is not None:
                return Failed(f"the inventory is not ready: {kind.kind} of {_version(kind)}: {failed.reason}")
            if fault := unserved(mirror):
                return Failed(f"the inventory is not ready: {fault}")
        return Answered(self.kept.view())

    @property
    def followed(self) -> tuple[Kind, ...]:
        return self._chosen

    @property
    def waiting(self) -> list[str]:
        """Kinds that were not listed whole yet, and are being listed: one that may not be is not waited for."""
        mirrors = {kind: self._mirrors.get(kind) for kind in self._chosen}
        return [kind.kind for kind, mirror in mirrors.items()
                if mirror is None or not (mirror.synced.is_set() or mirror.failure)]

    @property
    def failures(self) -> list[str]:
        """Of watches: rules that read the inventory fail after a minute of it."""
        return [f"inventory: {mirror.kind}: {fault}" for mirror in self._mirrors.values()
                if (fault := mirror.failure or unserved(mirror))]

    @property
    def unserved(self) -> dict[Kind, str]:
        """Kinds that are named, and not served, with the reason in words."""
        return {kind: fault for kind, mirror in self._mirrors.items() if (fault := unserved(mirror))}

    def _told(self, kind: Kind) -> Callable[[Object | None, Object | None], None]:
        version, config = _version(kind), self._config

        def told(before: Object | None, after: Object | None) -> None:
            namespace, name = key_of(after or before or {})
            home = name if (kind.kind, kind.group) == ("Namespace", "") else namespace
            if after is None or (home and config is not None and config.leaves_out(home, SYNC)):
                self.kept.drop(version, kind.kind, namespace, name)
            else:
                self.kept.put(version, kind.kind, namespace, name, msgspec.json.encode(after))
        return told


def _version(kind: Kind) -> str:
    return f"{kind.group}/{kind.version}" if kind.group else kind.version


def _group(document: Object) -> str:
    return str(document.get("apiVersion")).partition("/")[0]
