"""A cluster's policies, followed into a collection, with its definitions and the constraints of its templates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from custody.admission.definitions import DEFINITIONS, Definition, of_constraints
from custody.ports.cluster import ClusterObjects, Object
from custody.services.cluster.policies import CONNECTION, ENTRY, TEMPLATE, Collection
from custody.services.controllers.following import Following
from custody.services.mirror import Mirror, established, key_of


class Feed:
    """A collection that follows the cluster. `changed` is set whenever it, or what is served, is not as before."""

    def __init__(self, cluster: ClusterObjects, collection: Collection, *, watched: bool = True) -> None:
        """`watched`: the cluster's policies are followed; else only which kinds it serves."""
        self.collection = collection
        self.changed = asyncio.Event()
        self.served_changed = False
        """Whether definitions came or went since the kinds were asked for; whoever asks again sets it False."""
        self.mirrors = [Mirror(cluster, definition.api_versions, definition.kind, plural=definition.plural,
                               changed=self._told(definition))
                        for definition in DEFINITIONS
                        if watched and (definition.group, definition.kind) not in (ENTRY, CONNECTION)]
        self.definitions = Mirror(cluster, ["apiextensions.k8s.io/v1"], "CustomResourceDefinition",
                                  changed=self._defined)
        self._cluster = cluster
        self._constraints: Following[str] = Following()
        """By the kinds that templates make."""
        self._templates_changed = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for mirror in (*self.mirrors, self.definitions):
                    group.create_task(mirror.run())
                while True:
                    await self._templates_changed.wait()
                    await self._follow_constraints()
        finally:
            await self._constraints.close()

    async def synced(self) -> None:
        """Wait until all that the cluster has is known."""
        for mirror in (*self.mirrors, self.definitions):
            await mirror.synced.wait()
        await self._follow_constraints()
        for mirror in self._constraints.values():
            await mirror.synced.wait()
        self.collection.whole = True

    async def _follow_constraints(self) -> None:
        """Those of each kind that a template makes, from when it comes until it goes."""
        self._templates_changed.clear()
        kinds = {kind for held in [*self.collection.held.values()]
                 if (held.definition.group, held.definition.kind) == TEMPLATE and (kind := kind_of(held.document))}
        for kind in kinds - {*self._constraints}:
            definition = of_constraints(kind)
            self._constraints.follow(kind, Mirror(self._cluster, definition.api_versions, kind,
                                                  plural=definition.plural, changed=self._told(definition)))
        for kind in {*self._constraints} - kinds:
            if kind not in self._constraints:  # another task was faster
                continue
            if (*TEMPLATE, "", kind.lower()) in self.collection.held:  # it makes another kind now, or none
                continue  # and may be in force as it was before
            for document in (await self._constraints.drop(kind)).objects.values():
                self.collection.drop(of_constraints(kind), document)
            self.changed.set()

    @property
    def templates(self) -> Mirror | None:
        """That of ConstraintTemplates; None where the cluster's policies are not followed."""
        return next((mirror for mirror in self.mirrors if mirror.kind == TEMPLATE[1]), None)

    @property
    def kyvernos(self) -> bool:
        """Whether the cluster has Kyverno's own definitions, and not custody's."""
        definition = self.definitions.objects.get(("", "clusterpolicies.kyverno.io"))
        return definition is not None and (definition["metadata"].get("labels") or {}).get(
            "app.kubernetes.io/part-of") != "custody"

    @property
    def failures(self) -> list[str]:
        """Of watches: what is judged by may be older than it should."""
        return [f"{mirror.kind}: {mirror.failure}"
                for mirror in (*self.mirrors, self.definitions, *self._constraints.values())
                if mirror.failure is not None]

    def _told(self, definition: Definition) -> Callable[[Object | None, Object | None], None]:
        def told(before: Object | None, after: Object | None) -> None:
            if after is None:
                if before is not None:
                    self.collection.drop(definition, before)
            elif before is not None and _same(before, after):
                self.collection.renew(definition, after)  # only its status, or what else is not compiled
                return
            else:
                self.collection.put(definition, after)
            self.changed.set()
            if (definition.group, definition.kind) == TEMPLATE:
                self._templates_changed.set()

        return told

    def _defined(self, before: Object | None, after: Object | None) -> None:
        if before is not None and after is not None and (
                established(before), before["spec"]) == (established(after), after["spec"]):
            return
        self.served_changed = True
        for mirror in (*self.mirrors, *self._constraints.values()):
            mirror.look_again()
        self.changed.set()


def kind_of(template: Object) -> str:
    """The kind of the constraints of a template; "" for one that can never be in force."""
    spec = template.get("spec")
    try:
        kind = spec["crd"]["spec"]["names"]["kind"] if isinstance(spec, dict) else None
    except (KeyError, TypeError):
        return ""
    return kind if isinstance(kind, str) and key_of(template)[1] == kind.lower() else ""


def _same(before: Object, after: Object) -> bool:
    """Whether what is compiled is the same: the generation counts changes of the spec, and these are no spec."""
    return _compiled(before) == _compiled(after)


def _compiled(document: Object) -> tuple[object, ...]:
    metadata = document.get("metadata") or {}
    return (document.get("apiVersion"), metadata.get("uid"), metadata.get("generation"), metadata.get("annotations"),
            metadata.get("labels"), bool(metadata.get("deletionTimestamp")))
