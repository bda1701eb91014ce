"""What policies ask that watches know: the roles of who asks, entries of the global context (`entries`), and objects
for Gatekeeper's referential templates (`inventory`).

Roles are as Kyverno 1.19 computes them (pkg/userinfo): all that a RoleBinding or ClusterRoleBinding gives, but that a
cluster role by a RoleBinding counts in its own namespace alone. A ClusterRole is not looked into.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from custody.policy.kinds import Kinds
from custody.ports.cluster import ClusterObjects
from custody.ports.lookup import Answer, Answered, GlobalEntry, Inventory, Lookup, Question, Roles
from custody.services.cluster.entries import Entries, unsynced
from custody.services.cluster.inventory import ClusterInventory
from custody.services.mirror import Mirror

_RBAC = ("rbac.authorization.k8s.io/v1",)


class WatchedLookup:
    """Implements ports.lookup.Lookup; `beyond` answers all other questions. Its watches run while `run` does."""

    def __init__(self, cluster: ClusterObjects, kinds: Callable[[], Kinds | None], beyond: Lookup) -> None:
        self._beyond = beyond
        self.inventory = ClusterInventory(cluster)
        self._bindings = {kind: Mirror(cluster, _RBAC, kind) for kind in ("RoleBinding", "ClusterRoleBinding")}
        self.entries = Entries(cluster, kinds, beyond)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.inventory.run())
            for mirror in self._bindings.values():
                group.create_task(mirror.run())
            group.create_task(self.entries.run())

    async def answer(self, question: Question) -> Answer:
        if isinstance(question, Roles):
            return await self._roles(question)
        if isinstance(question, GlobalEntry):
            return await self.entries.answer(question)
        if isinstance(question, Inventory):
            return await self.inventory.answer()
        return await self._beyond.answer(question)

    def known(self, question: Question) -> Answer | None:
        if isinstance(question, Inventory):
            return self.inventory.known()
        return None if isinstance(question, Roles | GlobalEntry) else self._beyond.known(question)

    async def _roles(self, question: Roles) -> Answer:
        for mirror in self._bindings.values():
            if (failed := await unsynced(mirror)) is not None:
                return failed
        roles: set[str] = set()
        cluster_roles: set[str] = set()
        for kind, mirror in self._bindings.items():
            for (namespace, _), binding in mirror.objects.items():
                reference = binding.get("roleRef") or {}
                if not any(_is(subject, question, namespace) for subject in binding.get("subjects") or ()):
                    continue
                if reference.get("kind") == "Role" and kind == "RoleBinding":
                    roles.add(f"{namespace}:{reference.get('name')}")
                elif reference.get("kind") == "ClusterRole" and namespace in ("", question.namespace):
                    cluster_roles.add(str(reference.get("name")))
        return Answered({"roles": sorted(roles), "clusterRoles": sorted(cluster_roles)})


def _is(subject: Mapping[str, Any], question: Roles, namespace: str) -> bool:
    """Whether who asks is a subject of a binding, which lies in `namespace`."""
    name, kind = subject.get("name"), subject.get("kind")
    if kind == "Group":
        return name in question.groups
    if kind == "ServiceAccount":
        owner = subject.get("namespace") or namespace
        return bool(owner) and question.username == f"system:serviceaccount:{owner}:{name}"
    return kind == "User" and question.username == name
