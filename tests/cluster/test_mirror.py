"""A mirror over a cluster that expires, fails and comes back: nothing is missed, and nothing is told twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from custody.errors import NetworkError
from custody.policy.resources import ApiResource
from custody.ports.cluster import ApiError, Event, Listing
from custody.services.mirror import Mirror
from tests.cluster.conftest import until

CONFIG = ApiResource(version="v1", kind="ConfigMap", plural="configmaps", namespaced=True)


def config(name: str, version: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "a", "resourceVersion": version,
                                              "managedFields": [{"manager": "kubectl"}]}}


class Cluster:
    """Its script: what a list gives, and then what each watch does; the last watch hangs."""

    url = "https://cluster"

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.watched: list[str] = []

    async def resource(self, api_version: str, kind: str, *, refresh: bool = False) -> ApiResource:
        return CONFIG

    async def list(self, *_: Any, **__: Any) -> Listing:
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return Listing(step[0], step[1])

    async def watch(self, *_: Any, version: str, **__: Any) -> AsyncIterator[Event]:
        self.watched.append(version)
        if not self.script:
            await asyncio.Event().wait()
        for step in self.script.pop(0):
            if isinstance(step, Exception):
                raise step
            yield step


def told_by(cluster: Cluster) -> tuple[list[tuple[str, str]], Mirror]:
    told: list[tuple[str, str]] = []

    def changed(before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        name = (after or before or {})["metadata"]["name"]
        told.append((name, "added" if before is None else "gone" if after is None else "changed"))

    mirror = Mirror(cluster, ["v1"], "ConfigMap", changed=changed)  # type: ignore[arg-type]

    async def main() -> None:
        running = asyncio.create_task(mirror.run())
        async with asyncio.timeout(20):
            await until(lambda: not cluster.script and bool(cluster.watched) and mirror.failure is None)
        running.cancel()

    asyncio.run(main())
    return told, mirror


def test_an_expired_version_is_listed_again_and_only_differences_are_told() -> None:
    expired = ApiError("watch", {"reason": "Expired"}, 410)
    cluster = Cluster(([config("a", "1"), config("b", "2")], "5"), [Event("ADDED", config("c", "6"), "6"), expired],
                      ([config("a", "1"), config("b", "7"), config("d", "8")], "9"))
    told, mirror = told_by(cluster)
    assert told == [("a", "added"), ("b", "added"), ("c", "added"), ("c", "gone"), ("b", "changed"), ("d", "added")]
    assert cluster.watched == ["5", "9"]
    assert "managedFields" not in mirror.objects["a", "a"]["metadata"]


def test_a_watch_that_ends_goes_on_from_its_last_version_also_of_a_bookmark() -> None:
    cluster = Cluster(([], "5"), [Event("ADDED", config("a", "6"), "6"),
                                  Event("BOOKMARK", {"metadata": {"resourceVersion": "9"}}, "9")],
                      [Event("DELETED", config("a", "10"), "10")])
    told, mirror = told_by(cluster)
    assert told == [("a", "added"), ("a", "gone")]
    assert cluster.watched == ["5", "9", "10"]
    assert mirror.objects == {}


def test_a_server_that_fails_is_asked_again_and_what_was_known_stays_until_then() -> None:
    cluster = Cluster(([config("a", "1")], "1"), [NetworkError("reset")], NetworkError("refused"),
                      ([config("a", "1")], "2"))
    told, _ = told_by(cluster)
    assert told == [("a", "added")]


def test_an_object_that_who_is_told_stumbles_over_ends_no_watch() -> None:
    told: list[str] = []

    def changed(_before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        name = (after or {})["metadata"]["name"]
        if name.startswith("bad"):
            raise TypeError(name)
        told.append(name)

    cluster = Cluster(([config("bad", "1"), config("b", "2")], "5"),
                      [Event("ADDED", config("bad-too", "6"), "6"), Event("ADDED", config("c", "7"), "7")])
    mirror = Mirror(cluster, ["v1"], "ConfigMap", changed=changed)  # type: ignore[arg-type]

    async def main() -> None:
        running = asyncio.create_task(mirror.run())
        async with asyncio.timeout(20):
            await until(lambda: told == ["b", "c"])
        assert mirror.failure is None
        assert not running.done()
        running.cancel()

    asyncio.run(main())
