"""The inventory of a cluster whose lists are slow, whose watches fail, and which changes while it is read."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from custody.admission.judging import Judging
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.policy.model import Kind, Verdict
from custody.policy.phases import Course
from custody.policy.resources import ApiResource
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import ApiError, Event, Listing
from custody.ports.lookup import Answered, Failed, Inventory, NoLookup
from custody.services.cluster import entries
from custody.services.cluster.inventory import ClusterInventory
from custody.services.cluster.lookups import WatchedLookup
from tests.cluster.conftest import until
from tests.policy.gatekeeper.test_inventory import POLICIES, config, route, syncset
from tests.policy.gatekeeper.world import asked

ROUTES = ("x.io", "v1", "Route")


class Cluster:
    """Routes, and whatever else is asked for has no objects. `listed` opens the list."""

    url = "https://cluster"

    def __init__(self, *documents: dict[str, Any], opened: bool = True) -> None:
        self.objects = {document["metadata"]["name"]: document for document in documents}
        self.listed = asyncio.Event()
        self.changes: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self.version = 1
        if opened:
            self.listed.set()

    async def resource(self, api_version: str, kind: str, *, refresh: bool = False) -> ApiResource | None:
        group, _, version = api_version.rpartition("/")
        return None if kind == "Unserved" else ApiResource(group=group, version=version, kind=kind, plural=kind.lower(),
                                                           namespaced=True)

    async def pages(self, resource: ApiResource, *_: Any, **__: Any) -> AsyncIterator[Listing]:
        documents = [*self.objects.values()] if resource.kind == "Route" else []
        half = len(documents) // 2
        yield Listing(documents[:half], "1")
        await self.listed.wait()
        yield Listing(documents[half:], "1")

    async def watch(self, resource: ApiResource, *_: Any, **__: Any) -> AsyncIterator[Event]:
        while resource.kind == "Route":
            change = await self.changes.get()
            if isinstance(change, Exception):
                raise change
            yield change
        await asyncio.Event().wait()

    def put(self, document: dict[str, Any], *, gone: bool = False) -> None:
        self.version += 1
        document = {**document, "metadata": {**document["metadata"], "resourceVersion": str(self.version)}}
        self.changes.put_nowait(Event("DELETED" if gone else "MODIFIED", document, str(self.version)))


def run(cluster_of: Callable[[], Cluster], work: Callable[[Cluster, ClusterInventory], Awaitable[None]],
        *documents: dict[str, Any]) -> None:
    async def main() -> None:
        cluster = cluster_of()
        inventory = ClusterInventory(cluster)  # type: ignore[arg-type]
        inventory.follow(PolicySet.load([*POLICIES, *documents]))
        running = asyncio.create_task(inventory.run())
        try:
            async with asyncio.timeout(30):
                await work(cluster, inventory)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


async def whole(inventory: ClusterInventory) -> Any:
    answer = await inventory.answer()
    assert isinstance(answer, Answered), answer
    return answer.value.whole()


def test_it_is_not_ready_before_each_list_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "SYNC", 0.05)

    async def work(cluster: Cluster, inventory: ClusterInventory) -> None:
        await until(lambda: inventory.kept.count == 1)  # a page came, and not the last one
        assert inventory.known() is None
        assert await inventory.answer() == Failed("the inventory is not ready: Route of x.io/v1: no Route was listed "
                                                  "within 0.05 s")
        assert inventory.waiting == ["Route"]
        cluster.listed.set()
        await until(lambda: not inventory.waiting)
        assert isinstance(inventory.known(), Answered)
        assert set((await whole(inventory))["namespace"]["a"]["x.io/v1"]["Route"]) == {"r1", "r2"}

    run(lambda: Cluster(route("r1", "a"), route("r2", "b"), opened=False), work, syncset(ROUTES))


def test_nothing_is_kept_that_nobody_names() -> None:
    async def work(_: Cluster, inventory: ClusterInventory) -> None:
        assert await inventory.answer() == Failed("no Config or SyncSet says which kinds of objects are kept")

    run(lambda: Cluster(route("r1", "a")), work)


def test_what_is_not_served_and_what_may_not_be_read_is_no_inventory() -> None:
    async def unserved(_: Cluster, inventory: ClusterInventory) -> None:
        await until(lambda: not inventory.waiting)
        fault = "Unserved of x.io/v1 is not served by the cluster"
        failed = Failed(f"the inventory is not ready: {fault}")
        assert (inventory.known(), await inventory.answer()) == (failed, failed)
        assert inventory.failures == [f"inventory: Unserved: {fault}"]
        assert inventory.unserved == {Kind("Unserved", "v1", "x.io"): fault}

    run(Cluster, unserved, syncset(ROUTES, ("x.io", "v1", "Unserved")))

    class Forbidding(Cluster):
        async def pages(self, *_: Any, **__: Any) -> AsyncIterator[Listing]:
            raise ApiError("GET routes", {"reason": "Forbidden", "message": "custody may not list routes"}, 403)
            yield Listing([], "")

    async def forbidden(_: Cluster, inventory: ClusterInventory) -> None:
        await until(lambda: not inventory.waiting)
        begun = time.monotonic()
        for _ in range(3):
            answer = await inventory.answer()
            assert isinstance(answer, Failed)
            assert "custody may not list routes" in answer.reason
        assert time.monotonic() - begun < 1, "who knows why does not wait"

    run(Forbidding, forbidden, syncset(ROUTES))


def test_config_chooses_kinds_and_leaves_namespaces_out() -> None:
    async def work(_: Cluster, inventory: ClusterInventory) -> None:
        await until(lambda: not inventory.waiting)
        assert [*(await whole(inventory))["namespace"]] == ["b"]
        inventory.follow(PolicySet.load([*POLICIES, syncset(ROUTES)]))  # nobody is left out any more
        await until(lambda: inventory.kept.count == 2 and not inventory.waiting)
        inventory.follow(PolicySet.load(POLICIES))
        await until(lambda: inventory.kept.count == 0)

    sync = {"syncOnly": [{"group": "x.io", "version": "v1", "kind": "Route"}]}
    run(lambda: Cluster(route("r1", "x", "a"), route("r2", "y", "b")), work,
        config(sync=sync, match=[{"excludedNamespaces": ["a"], "processes": ["sync"]}]))


def test_after_a_watch_expired_it_is_as_the_cluster_is() -> None:
    async def work(cluster: Cluster, inventory: ClusterInventory) -> None:
        await until(lambda: not inventory.waiting)
        cluster.objects = {"r2": route("r2", "new"), "r3": route("r3", "c")}
        cluster.objects["r2"]["metadata"]["resourceVersion"] = "9"
        cluster.changes.put_nowait(ApiError("watch", {"reason": "Expired"}, 410))
        await until(lambda: inventory.kept.view().get("namespace").whole().get("a", {}).get("x.io/v1", {}).get(
            "Route", {}).keys() == {"r2", "r3"})
        assert (await whole(inventory))["namespace"]["a"]["x.io/v1"]["Route"]["r2"]["spec"] == {"host": "new"}

    run(lambda: Cluster(route("r1", "a"), route("r2", "b")), work, syncset(ROUTES))


def test_reviews_under_churn_see_whole_states() -> None:
    """One route changes again and again while others come and go: there is no moment at which its host is free."""

    async def work(cluster: Cluster, _: ClusterInventory) -> None:
        lookup = WatchedLookup(cluster, lambda: None, NoLookup())  # type: ignore[arg-type]
        policies = PolicySet.load([*POLICIES, syncset(ROUTES)])
        lookup.inventory.follow(policies)
        running = asyncio.create_task(lookup.inventory.run())
        await until(lambda: not lookup.inventory.waiting)

        async def nothing(*_: Any) -> dict[str, Any]:
            return {}

        judging = Judging(nothing, system_clock, lookup)
        reviewed = 0

        async def churn() -> None:
            draw = random.Random(3)
            while reviewed < 300:
                one, other = draw.sample(range(20), 2)
                cluster.put(route(f"extra{one}", f"e{one}"), gone=draw.random() < 0.5)
                cluster.put({**route("held", "taken.example"), "status": {"seen": draw.random()}})
                cluster.put(route(f"extra{other}", f"e{other}"))
                await asyncio.sleep(0)

        async def review(large: bool) -> None:
            nonlocal reviewed
            request = msgspec.structs.replace(asked(route("new", "taken.example")), existing=bool(reviewed % 3 == 0))
            judged = await judging.judge(request, Snapshot(policies, None),
                                         Course.BACKGROUND if request.existing else Course.VALIDATING, large=large)
            assert [result.message for result in judged.decision.results] == ["host taken.example is taken by a/held"]
            assert request.existing or judged.decision.verdict is Verdict.DENIED
            recorded = judged.record()
            assert b"taken.example" in recorded
            reviewed += 1

        churning = asyncio.create_task(churn())
        while reviewed < 300:
            await asyncio.gather(*(review(large) for large in (False, True, True)))
        await churning
        assert lookup.known(Inventory()) is not None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run(lambda: Cluster(route("held", "taken.example")), work)
