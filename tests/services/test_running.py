"""Which images run: what nodes say of their pods."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from custody.adapters.sqlite.inventory import SqliteInventory
from custody.errors import NetworkError, UnsupportedError
from custody.ports.cluster import Listing
from custody.services.running import see_pods

NOW = datetime(2026, 11, 29, tzinfo=UTC)
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


class Kind(NamedTuple):
    group: str = ""
    version: str = "v1"
    kind: str = "Pod"
    plural: str = "pods"
    namespaced: bool = True


class Cluster:
    """Has the pods that it was given; may serve none, and may fail."""

    url = "https://c.example:6443/api"

    def __init__(self, *pods: Any, serves: bool = True, fails: bool = False) -> None:
        self._pods, self._serves, self._fails = pods, serves, fails

    async def resource(self, api_version: str, kind: str, *, refresh: bool = False) -> Kind | None:
        return Kind() if self._serves else None

    async def list(self, resource: object, namespace: str = "", *, labels: str = "", fields: str = "",
                   most: int | None = None, first: int | None = None) -> Listing:
        if self._fails:
            raise NetworkError("cut off")
        return Listing(list(self._pods), "1")


def pod(name: str, *ids: object, phase: str = "Running", field: str = "containerStatuses") -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name},
            "status": {"phase": phase, field: [{"imageID": value} for value in ids]}}


def seen(store: SqliteInventory) -> dict[str, list[str]]:
    return {image: [row.where for row in rows] for image, rows in store.seen([A, B]).items()}


def test_pods_are_seen_and_let_go_of(tmp_path: Path) -> None:
    store = SqliteInventory(tmp_path / "i.db")
    cluster = Cluster(pod("web", f"docker-pullable://r/shop@{A}", f"r/side@{B}"), pod("done", f"r@{A}", phase="Failed"),
                      pod("init", f"r@{A}", field="initContainerStatuses"), pod("odd", "sha256:" + "c" * 64, None, 3),
                      {"status": None}, {}, pod("none"), {"status": {"containerStatuses": ["text"]}})
    assert asyncio.run(see_pods(cluster, store, NOW)) == 2
    assert seen(store) == {A: ["c.example:6443/shop/init", "c.example:6443/shop/web"],
                           B: ["c.example:6443/shop/web"]}
    later = NOW + timedelta(minutes=1)
    assert asyncio.run(see_pods(Cluster(pod("web", f"r@{A}")), store, later)) == 1
    assert seen(store) == {A: ["c.example:6443/shop/web"]}


def test_a_cluster_that_does_not_answer_lets_go_of_nothing(tmp_path: Path) -> None:
    store = SqliteInventory(tmp_path / "i.db")
    asyncio.run(see_pods(Cluster(pod("web", f"r@{A}")), store, NOW))
    with pytest.raises(NetworkError):
        asyncio.run(see_pods(Cluster(fails=True), store, NOW + timedelta(minutes=1)))
    with pytest.raises(UnsupportedError):
        asyncio.run(see_pods(Cluster(serves=False), store, NOW + timedelta(minutes=1)))
    assert seen(store) == {A: ["c.example:6443/shop/web"]}
