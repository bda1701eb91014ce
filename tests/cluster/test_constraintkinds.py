"""Kinds of constraints are deleted with their objects: only where the API server says that their template is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from custody.admission.definitions import BY_KIND, DEFINITIONS
from custody.errors import NetworkError
from custody.policy.gatekeeper.constraintkind import definition
from custody.policy.kinds import builtin
from custody.policy.resources import ApiResource
from custody.ports.cluster import Event, Listing
from custody.services.cluster.constraintkinds import ConstraintKinds
from custody.services.cluster.feed import Feed
from custody.services.cluster.policies import Collection
from tests.cluster.conftest import until
from tests.cluster.test_constraints import there
from tests.policy.gatekeeper.world import constraint, template

Json = dict[str, Any]
TEMPLATES = BY_KIND["templates.gatekeeper.sh", "ConstraintTemplate"]
KIND = "k8srequiredlabels.constraints.gatekeeper.sh"
GROUP = "templates.gatekeeper.sh"


def defined(document: Json) -> Json:
    """As a cluster has a definition that was taken up."""
    document = {**document, "status": {"conditions": [{"type": "Established", "status": "True"}]}}
    document["metadata"] = {**document["metadata"], "uid": "uid-of-definition", "resourceVersion": "1"}
    return document


class Cluster:
    """One template with its kind and one constraint, and whatever else is asked for has no objects."""

    url = "https://cluster"

    def __init__(self) -> None:
        self.objects: dict[str, list[Json]] = {
            "ConstraintTemplate": [there(template())], "K8sRequiredLabels": [there(constraint())],
            "CustomResourceDefinition": [defined(definition(there(template()))), *(
                defined(kind.document()) for kind in DEFINITIONS)]}
        self.unserved: set[str] = set()
        self.deleted: list[str] = []
        self.broken = asyncio.Event()

    async def resource(self, api_version: str, kind: str, *, refresh: bool = False) -> ApiResource | None:
        group, _, version = api_version.rpartition("/")
        known = BY_KIND.get((group, kind))
        return None if group in self.unserved else ApiResource(
            group=group, version=version, kind=kind, plural=known.plural if known else kind.lower())

    async def list(self, served: ApiResource, *_: Any, fields: str = "", **__: Any) -> Listing:
        if served.group in self.unserved:
            raise NetworkError("404 page not found")
        name = fields.removeprefix("metadata.name=")
        return Listing([document for document in self.objects.get(served.kind, [])
                        if not name or document["metadata"]["name"] == name], "1")

    async def watch(self, *_: Any, **__: Any) -> AsyncIterator[Event]:
        await self.broken.wait()
        raise NetworkError("reset")
        yield

    async def delete(self, _: ApiResource, name: str, *, uid: str) -> bool:
        assert uid == "uid-of-definition"
        self.deleted.append(name)
        return True


def step(work: Callable[[Cluster, Feed, Callable[[], Awaitable[None]]], Awaitable[None]], *,
         watched: bool = True) -> None:
    async def main() -> None:
        cluster, kinds = Cluster(), builtin().unchecked()
        feed = Feed(cluster, Collection(), watched=watched)  # type: ignore[arg-type]
        made = ConstraintKinds(cluster)  # type: ignore[arg-type]

        async def keep() -> None:
            feed.collection.compile(kinds)
            await made.keep(feed.collection, feed.definitions, feed.templates)

        running = asyncio.create_task(feed.run())
        try:
            async with asyncio.timeout(20):
                await feed.synced()
                await keep()
                assert made.faults == {}
                assert not cluster.deleted
                await work(cluster, feed, keep)
        finally:
            running.cancel()

    asyncio.run(main())


def in_force(feed: Feed) -> list[str]:
    return [policy.name for policy in feed.collection.compile(builtin().unchecked()).policies]


def test_templates_that_are_not_served_for_a_moment_stay_in_force_and_nothing_is_deleted() -> None:
    async def work(cluster: Cluster, feed: Feed, keep: Callable[[], Awaitable[None]]) -> None:
        assert in_force(feed) == ["must-have"]
        cluster.unserved = {GROUP, "constraints.gatekeeper.sh"}
        cluster.broken.set()
        said = {f"ConstraintTemplate: {GROUP}/v1 ConstraintTemplate is not served, and has not gone",
                "K8sRequiredLabels: constraints.gatekeeper.sh/v1beta1 K8sRequiredLabels is not served, and has not "
                "gone"}
        await until(lambda: said <= {*feed.failures})
        await keep()
        assert in_force(feed) == ["must-have"]
        assert not cluster.deleted
        # The definition itself goes, and with it all templates.
        crds = cluster.objects["CustomResourceDefinition"]
        cluster.objects["CustomResourceDefinition"] = [crd for crd in crds if GROUP not in crd["metadata"]["name"]]
        await until(lambda: not in_force(feed))
        await keep()
        assert not cluster.deleted, "who does not see templates deletes nothing"

    step(work)


def test_a_replica_that_starts_while_templates_are_not_served_waits_for_them() -> None:
    async def main() -> None:
        cluster = Cluster()
        cluster.unserved = {GROUP}
        feed = Feed(cluster, Collection())  # type: ignore[arg-type]
        running = asyncio.create_task(feed.run())
        synced = asyncio.create_task(feed.synced())
        async with asyncio.timeout(20):
            await until(lambda: bool(feed.failures))
            assert not feed.collection.whole
            assert not synced.done()
            cluster.unserved = set()
            await synced
        assert in_force(feed) == ["must-have"]
        running.cancel()

    asyncio.run(main())


def test_a_kind_goes_where_its_template_is_gone_or_another_one() -> None:
    async def gone(cluster: Cluster, feed: Feed, keep: Callable[[], Awaitable[None]]) -> None:
        document = cluster.objects["ConstraintTemplate"].pop()
        feed.collection.drop(TEMPLATES, document)
        await keep()
        assert cluster.deleted == [KIND]

    step(gone)

    async def another(cluster: Cluster, feed: Feed, keep: Callable[[], Awaitable[None]]) -> None:
        [document] = cluster.objects["ConstraintTemplate"]
        feed.collection.drop(TEMPLATES, document)
        await keep()
        assert not cluster.deleted, "the API server has the template"
        document["metadata"]["uid"] = "another"
        await keep()
        assert cluster.deleted == [KIND]

    step(another)


def test_nothing_goes_where_what_is_known_of_templates_may_be_old_or_nobody_follows_them() -> None:
    async def failing(cluster: Cluster, feed: Feed, keep: Callable[[], Awaitable[None]]) -> None:
        feed.collection.drop(TEMPLATES, cluster.objects["ConstraintTemplate"].pop())
        assert feed.templates is not None
        feed.templates.failure = "reset"
        await keep()
        assert not cluster.deleted
        feed.templates.failure = None
        await keep()
        assert cluster.deleted == [KIND]

    step(failing)

    async def of_files(cluster: Cluster, feed: Feed, keep: Callable[[], Awaitable[None]]) -> None:
        assert feed.collection.whole
        assert not feed.collection.held
        assert feed.definitions.objects
        cluster.objects["ConstraintTemplate"].clear()
        await keep()
        assert not cluster.deleted, "policies are those of files"

    step(of_files, watched=False)
