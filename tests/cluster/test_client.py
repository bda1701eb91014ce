"""The client against a real API server: what it reads, writes and watches, and how a refusal is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.kubernetes.client import ClusterClient, path_of
from custody.errors import MalformedError, NetworkError
from custody.policy.resources import ApiResource
from custody.ports.cluster import ApiError, Event
from custody.services.mirror import Mirror
from tests.cluster.conftest import until, with_client

pytestmark = pytest.mark.peer

CONFIG = ApiResource(version="v1", kind="ConfigMap", plural="configmaps", namespaced=True)
WIDGET_CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
              "metadata": {"name": "widgets.example.com"}, "spec": {
                  "group": "example.com", "scope": "Namespaced",
                  "names": {"kind": "Widget", "plural": "widgets"},
                  "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                      "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}


def config(name: str, namespace: str = "default", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def test_an_object_is_made_read_changed_in_each_way_and_deleted(kubeconfig: Path) -> None:
    async def work(client: ClusterClient) -> None:
        served = await client.resource("v1", "ConfigMap")
        assert served is not None
        assert served.namespaced
        assert await client.get(served, "a", "default") is None
        made = await client.create(served, config("a", x="1"))
        assert made["data"] == {"x": "1"}
        assert (await client.create(served, config("dry"), dry_run=True))["metadata"]["name"] == "dry"
        assert await client.get(served, "dry", "default") is None
        merged = await client.patch(served, "a", "default", {"data": {"y": "2"}})
        assert merged["data"] == {"x": "1", "y": "2"}
        patched = await client.patch(served, "a", "default", [{"op": "remove", "path": "/data/x"}], "json")
        assert patched["data"] == {"y": "2"}
        await client.patch(served, "a", "default", {"data": {"z": "3"}}, "strategic")
        applied = await client.apply(served, config("a", w="4"), manager="tests")
        assert applied["data"] == {"w": "4", "y": "2", "z": "3"}
        applied = await client.apply(served, config("a"), manager="tests")
        assert applied["data"] == {"y": "2", "z": "3"}, "what the manager no longer says is gone, the rest stays"
        replaced = await client.replace(served, {**applied, "data": {"only": "this"}})
        assert replaced["data"] == {"only": "this"}
        with pytest.raises(ApiError) as conflict:
            await client.replace(served, {**applied, "data": {"late": "1"}})
        assert conflict.value.reason == "Conflict"
        with pytest.raises(ApiError) as other:
            await client.delete(served, "a", "default", uid="another")
        assert other.value.reason == "Conflict"
        assert await client.delete(served, "a", "default", dry_run=True)
        assert await client.get(served, "a", "default") is not None
        assert await client.delete(served, "a", "default", uid=made["metadata"]["uid"])
        assert not await client.delete(served, "a", "default")

    with_client(kubeconfig, work)


def test_a_refusal_has_the_api_servers_status_and_words(kubeconfig: Path) -> None:
    async def work(client: ClusterClient) -> None:
        await client.create(CONFIG, config("twice"))
        with pytest.raises(ApiError) as twice:
            await client.create(CONFIG, config("twice"))
        assert (twice.value.answered, twice.value.reason) == (409, "AlreadyExists")
        assert twice.value.words == 'configmaps "twice" already exists'
        with pytest.raises(ApiError) as invalid:
            await client.create(CONFIG, config("Not A Name"))
        assert invalid.value.reason == "Invalid"
        assert invalid.value.status["details"]["causes"][0]["field"] == "metadata.name"
        gone = ApiResource(group="nobody.example", version="v1", kind="Ghost", plural="ghosts")
        with pytest.raises(NetworkError, match="answered 404"):  # never "there is no such object"
            await client.get(gone, "a")

    with_client(kubeconfig, work)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a%2fb", "a\nb", ""])
def test_a_name_leads_nowhere_else(name: str) -> None:
    if not name:
        assert path_of(CONFIG, "default", name) == "/api/v1/namespaces/default/configmaps"
        return
    with pytest.raises(MalformedError, match="a name that is no path"):
        path_of(CONFIG, "default", name)


def test_a_list_of_several_pages_is_whole_and_bounded(kubeconfig: Path) -> None:
    async def work(client: ClusterClient) -> None:
        await client.create(ApiResource(version="v1", kind="Namespace", plural="namespaces"),
                            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "many"}})
        for start in range(0, 1100, 50):
            await asyncio.gather(*(client.create(CONFIG, config(f"c{at}", "many")) for at in range(start, start + 50)))
        listing = await client.list(CONFIG, "many")
        assert len({item["metadata"]["name"] for item in listing.items}) == len(listing.items) == 1100
        assert all(item["kind"] == "ConfigMap" and item["apiVersion"] == "v1" for item in listing.items)
        assert len((await client.list(CONFIG, "many", fields="metadata.name=c7")).items) == 1
        with pytest.raises(NetworkError, match="more than 100 objects"):
            await client.list(CONFIG, "many", most=100)

    with_client(kubeconfig, work)


def test_a_watch_goes_on_from_a_version(kubeconfig: Path) -> None:
    async def work(client: ClusterClient) -> None:
        listing = await client.list(CONFIG, "default")
        await client.create(CONFIG, config("seen", a="1"))
        await client.patch(CONFIG, "seen", "default", {"data": {"a": "2"}})
        await client.delete(CONFIG, "seen", "default")
        events: list[Event] = [event async for event in client.watch(CONFIG, "default", version=listing.version,
                                                                    seconds=3)]
        own = [event.type for event in events if event.object["metadata"].get("name") == "seen"]
        assert own == ["ADDED", "MODIFIED", "DELETED"]
        assert events[-1].version > listing.version

    with_client(kubeconfig, work)


def test_a_kind_that_comes_later_is_watched_once_it_is_served(kubeconfig: Path) -> None:
    async def work(client: ClusterClient) -> None:
        told: list[tuple[str | None, str | None]] = []

        def changed(before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
            told.append((before and before["spec"]["size"], after and after["spec"]["size"]))

        mirror = Mirror(client, ("example.com/v2", "example.com/v1"), "Widget", changed=changed)
        running = asyncio.create_task(mirror.run())
        await mirror.synced.wait()
        assert mirror.served is None
        definitions = await client.resource("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        assert definitions is not None
        await client.create(definitions, WIDGET_CRD)
        while mirror.served is None:
            mirror.look_again()
            await asyncio.sleep(0.1)
        widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "default"},
                  "spec": {"size": "small"}}
        await client.create(mirror.served, widget)
        await client.patch(mirror.served, "w", "default", {"spec": {"size": "large"}})
        await client.delete(mirror.served, "w", "default")
        await until(lambda: len(told) == 3)
        assert told == [(None, "small"), ("small", "large"), ("large", None)]
        assert mirror.objects == {}
        # Its definition goes: the kind is not served any more, and that is no failure.
        await client.delete(definitions, "widgets.example.com")
        await until(lambda: mirror.served is None)
        running.cancel()

    with_client(kubeconfig, work)
