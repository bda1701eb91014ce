"""A mirror over a cluster that expires, fails and comes back: nothing is missed, and nothing is told twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from custody.errors import NetworkError
from custody.policy.resources import ApiResource
from custody.ports.cluster import ApiError, Event, Listing
from custody.services import mirror as mirrors
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


ROUTE = ApiResource(group="x.io", version="v1", kind="Route", plural="routes", namespaced=True)
DEFINED = {"metadata": {"name": "routes.x.io"}, "spec": {"group": "x.io", "versions": [{"name": "v1", "served": True}]},
           "status": {"conditions": [{"type": "Established", "status": "True"}]}}


class Discovered:
    """A cluster with routes, if they are served and defined; `end` ends the watch."""

    url = "https://cluster"

    def __init__(self, *, served: bool = True, definitions: list[dict[str, Any]] | None = None) -> None:
        self.served, self.definitions = served, [DEFINED] if definitions is None else definitions
        self.refused: Exception | None = None
        self.end = asyncio.Event()

    async def resource(self, api_version: str, kind: str, *, refresh: bool = False) -> ApiResource | None:
        return ROUTE if self.served else None

    async def list(self, served: ApiResource, *_: Any, fields: str = "", **__: Any) -> Listing:
        if served.kind == "Route":
            return Listing([config("a", "1")], "1")
        if self.refused is not None:
            raise self.refused
        name = fields.removeprefix("metadata.name=")
        return Listing([document for document in self.definitions if document["metadata"]["name"] == name], "1")

    async def watch(self, *_: Any, **__: Any) -> AsyncIterator[Event]:
        await self.end.wait()
        self.end.clear()
        raise NetworkError("reset")
        yield


def follow(cluster: Discovered, work: Callable[[Mirror], Awaitable[None]], plural: str = "") -> None:
    async def main() -> None:
        mirror = Mirror(cluster, ["x.io/v1"], "Route", plural=plural)  # type: ignore[arg-type]
        running = asyncio.create_task(mirror.run())
        try:
            async with asyncio.timeout(20):
                await work(mirror)
        finally:
            running.cancel()

    asyncio.run(main())


def test_a_kind_that_is_not_served_for_a_moment_keeps_its_objects_until_its_definition_is_gone() -> None:
    cluster = Discovered()

    async def work(mirror: Mirror) -> None:
        await mirror.synced.wait()
        cluster.served = False
        cluster.end.set()
        await until(lambda: mirror.failure == "x.io/v1 Route is not served, and has not gone")
        assert [*mirror.objects] == [("a", "a")]
        assert mirror.served is ROUTE
        cluster.refused = ApiError("GET", {"message": "may not"}, 403)
        await until(lambda: mirror.failure == "GET: may not")
        assert [*mirror.objects] == [("a", "a")], "nobody said that it is gone"
        cluster.refused, cluster.definitions = None, []
        mirror.look_again()
        await until(lambda: not mirror.objects)
        assert (mirror.failure, mirror.served) == (None, None)
        cluster.served = True
        mirror.look_again()
        await until(lambda: bool(mirror.objects))

    follow(cluster, work)


def test_a_kind_of_kubernetes_itself_has_no_definition_and_is_not_gone() -> None:
    class Pods(Discovered):
        async def resource(self, *_: Any, **__: Any) -> ApiResource | None:
            return CONFIG if self.served else None

        async def list(self, served: ApiResource, *_: Any, **__: Any) -> Listing:
            assert served is CONFIG
            return Listing([config("a", "1")], "1")

    cluster = Pods(definitions=[])

    async def work(mirror: Mirror) -> None:
        await mirror.synced.wait()
        cluster.served = False
        cluster.end.set()
        await until(lambda: "is not served" in (mirror.failure or ""))
        assert mirror.objects

    follow(cluster, work)


def test_at_first_a_kind_is_waited_for_that_its_definition_serves() -> None:
    async def waits(mirror: Mirror) -> None:
        await until(lambda: mirror.failure is not None)
        assert not mirror.synced.is_set()
        waiting.served = True
        await mirror.synced.wait()
        assert mirror.objects

    async def has_none(mirror: Mirror) -> None:
        await mirror.synced.wait()
        assert (mirror.failure, mirror.served, mirror.objects) == (None, None, {})

    waiting = Discovered(served=False)
    follow(waiting, waits, "routes")
    unserved = {**DEFINED, "spec": {"group": "x.io", "versions": [{"name": "v1", "served": False},
                                                                  {"name": "v2", "served": True}]}}
    for definitions in ([], [unserved], [{**DEFINED, "status": {}}]):
        follow(Discovered(served=False, definitions=definitions), has_none, "routes")
    follow(Discovered(served=False), has_none)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Of mirrors, in seconds, which nobody waits."""
    seconds: list[float] = []

    async def wait(_: Mirror, pause: float) -> None:
        seconds.append(pause)
        await asyncio.sleep(0)

    monkeypatch.setattr(Mirror, "_wait", wait)
    monkeypatch.setattr(mirrors.random, "uniform", lambda *_: 1.0)
    return seconds


def test_breaks_are_counted_anew_after_a_watch_that_told_something(pauses: list[float]) -> None:
    listed, broken = ([], "1"), [NetworkError("reset")]
    cluster = Cluster(*[listed, broken] * 7, listed, [Event("ADDED", config("a", "2"), "2"), NetworkError("reset")],
                      listed, broken, listed)
    told_by(cluster)
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 0.2, 0.4]


def test_breaks_are_counted_anew_after_a_watch_that_held(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "_HELD", -1.0)
    told_by(Cluster(*[([], "1"), [NetworkError("reset")]] * 9, ([], "1")))
    assert pauses == [0.2] * 9


def test_a_version_that_expires_again_and_again_is_a_failure_with_longer_and_longer_pauses(
        pauses: list[float], caplog: pytest.LogCaptureFixture) -> None:
    expired = ApiError("watch", {"reason": "Expired", "message": "too old"}, 410)
    told_by(Cluster(*[([], "1"), [expired]] * 9, ([], "1")))
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15.0, 15.0]
    assert "watching ConfigMap: watch: too old" in caplog.text
    caplog.clear()
    told_by(Cluster(([], "1"), [expired], ([], "1")))
    assert not caplog.records, "once is no fault"


def test_a_list_that_expires_before_its_last_page_is_not_begun_again_at_once(pauses: list[float]) -> None:
    class Expiring(Cluster):
        async def pages(self, *_: Any, **__: Any) -> AsyncIterator[Listing]:
            yield Listing([config("a", "1")], "1")
            if len(pauses) < 9:
                raise ApiError("GET", {"reason": "Expired", "message": "too old"}, 410)

    failures: list[str | None] = []

    async def main() -> None:
        mirror = Mirror(Expiring(), ["v1"], "ConfigMap", stubs=True,  # type: ignore[arg-type]
                        changed=lambda *_: None)
        running = asyncio.create_task(mirror.run())
        async with asyncio.timeout(20):
            while not mirror.synced.is_set():
                failures.append(mirror.failure)
                await asyncio.sleep(0)
        running.cancel()

    asyncio.run(main())
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15.0, 15.0]
    assert "GET: too old" in failures


def test_a_watch_that_ends_at_once_and_tells_nothing_is_a_break(pauses: list[float]) -> None:
    told_by(Cluster(*[([], "1"), []] * 3, ([], "1")))
    assert pauses == [0.2, 0.4, 0.8]


class Silent(Cluster):
    """It gives no answer while it is `down`; `asked` counts lists. With `breaks` each watch ends at once."""

    def __init__(self, *, breaks: bool = False) -> None:
        super().__init__()
        self.down, self.asked = not breaks, 0
        self._breaks = breaks

    async def list(self, *_: Any, **__: Any) -> Listing:
        self.asked += 1
        if self.down:
            raise NetworkError("https://cluster: no answer")
        return Listing([], "1")

    async def watch(self, *_: Any, version: str, **__: Any) -> AsyncIterator[Event]:
        if not self._breaks:
            await asyncio.Event().wait()
        raise NetworkError("the watch broke")
        yield Event("BOOKMARK", {}, version)


def test_the_first_that_hears_of_a_cluster_again_tells_the_others() -> None:
    """None waits for its long pause then; before, each of them did."""
    cluster = Silent()
    many = [Mirror(cluster, ["v1"], "ConfigMap") for _ in range(20)]  # type: ignore[arg-type]
    for mirror in many[1:]:
        mirror._pause = 15.0

    async def main() -> float:
        loop = asyncio.get_running_loop()
        running = [asyncio.create_task(mirror.run()) for mirror in many]
        await until(lambda: all(mirror.failure for mirror in many))
        cluster.down, begun = False, loop.time()
        async with asyncio.timeout(10):
            await until(lambda: all(mirror.synced.is_set() and mirror.failure is None for mirror in many))
        for task in running:
            task.cancel()
        return loop.time() - begun

    assert asyncio.run(main()) < 3
    assert cluster.asked <= 2 * len(many) + 2


def test_mirrors_whose_watches_break_do_not_wake_each_other_without_end() -> None:
    cluster = Silent(breaks=True)
    many = [Mirror(cluster, ["v1"], "ConfigMap") for _ in range(10)]  # type: ignore[arg-type]

    async def main() -> None:
        running = [asyncio.create_task(mirror.run()) for mirror in many]
        await asyncio.sleep(6)
        for task in running:
            task.cancel()

    asyncio.run(main())
    assert cluster.asked < 10 * len(many), "each pause is twice the one before, and somebody woke them once at most"


def test_who_is_forbidden_for_long_is_not_told() -> None:
    cluster = Silent()
    mirror = Mirror(cluster, ["v1"], "ConfigMap")  # type: ignore[arg-type]
    mirror._forbidden, mirror.failing_since = True, 100.0
    assert mirror._hears(130.0), "an API server that starts knows its roles only later"
    assert not mirror._hears(161.0)
