"""A feed over a cluster whose templates change: the constraints of what is in force are followed on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from custody.policy.kinds import builtin
from custody.policy.resources import ApiResource
from custody.ports.cluster import Event, Listing
from custody.services.cluster.feed import Feed
from custody.services.cluster.policies import Collection
from tests.cluster.conftest import until
from tests.cluster.test_constraints import there
from tests.policy.gatekeeper.world import constraint, template


class Cluster:
    """What lies in it by kind, and what its watches tell later."""

    url = "https://cluster"

    def __init__(self, **documents: list[dict[str, Any]]) -> None:
        self.documents = documents
        self.events: dict[str, asyncio.Queue[Event]] = {}

    async def resource(self, api_version: str, kind: str, *, refresh: bool = False) -> ApiResource:
        group, _, version = api_version.rpartition("/")
        return ApiResource(group=group, version=version, kind=kind, plural=kind.lower())

    async def list(self, resource: ApiResource, *_: Any, **__: Any) -> Listing:
        return Listing(self.documents.get(resource.kind, []), "1")

    async def watch(self, resource: ApiResource, *_: Any, **__: Any) -> AsyncIterator[Event]:
        told = self.events.setdefault(resource.kind, asyncio.Queue())
        while True:
            yield await told.get()

    def tell(self, type_: str, document: dict[str, Any]) -> None:
        self.events[document["kind"]].put_nowait(Event(type_, document, "2"))


NAMELESS = {**template(), "spec": {"crd": {"spec": {"names": {}}}, "targets": []}}


@pytest.mark.parametrize("changed", [NAMELESS, {**template(), "spec": {}}, template(kind="K8srequiredlabels")],
                         ids=["without a kind", "empty", "in other letters"])
def test_a_template_that_says_its_kind_no_more_leaves_its_constraints_followed(changed: dict[str, Any]) -> None:
    cluster = Cluster(ConstraintTemplate=[there(template())], K8sRequiredLabels=[there(constraint())])
    collection = Collection()
    feed = Feed(cluster, collection)  # type: ignore[arg-type]

    def names() -> list[str]:
        return [policy.name for policy in collection.compile(builtin().unchecked()).policies]

    async def main() -> None:
        running = asyncio.create_task(feed.run())
        async with asyncio.timeout(20):
            await feed.synced()
            assert names() == ["must-have"]
            await until(lambda: {"ConstraintTemplate", "K8sRequiredLabels"} <= cluster.events.keys())
            cluster.tell("MODIFIED", there(changed, 2))
            held = collection.held["templates.gatekeeper.sh", "ConstraintTemplate", "", "k8srequiredlabels"]
            await until(lambda: held not in collection.held.values() and not feed._templates_changed.is_set())
            assert names() == ["must-have"]
            # Another of its constraints is seen, and one that goes.
            cluster.tell("ADDED", there(constraint(name="later")))
            await until(lambda: len(collection.held) == 3)
            assert names() == ["must-have", "later"]
            cluster.tell("DELETED", there(constraint()))
            await until(lambda: len(collection.held) == 2)
            assert names() == ["later"]
            cluster.tell("DELETED", there(changed, 2))
            await until(lambda: not collection.held)
        running.cancel()

    asyncio.run(main())
