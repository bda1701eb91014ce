"""Images that are pushed are read and kept, on a registry of custody's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.http.stdlib import StdlibHttp
from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.adapters.sqlite.inventory import SqliteInventory
from custody.adapters.sqlite.layercache import SqliteLayerCache
from custody.adapters.sqlite.queue import SqliteQueue
from custody.formats import osv
from custody.formats.bom import Catalog
from custody.formats.reference import Reference
from custody.kit.digest import sha256
from custody.policy.load import PolicySet
from custody.ports.inventory import Sighting
from custody.registry.client import RegistryClient
from custody.server.platform import running
from custody.services.affected import ask
from custody.services.arrivals import Arrivals, Arrived
from custody.services.contents import catalog_image
from custody.services.signers import NOBODY, Signers
from custody.settings import Settings
from custody.wiring.local import advisories, inventory
from tests.cli.commands import custody
from tests.contents import images
from tests.contents.test_scan import record
from tests.registry.api import Api
from tests.serving import registry_on

NOW = datetime(2026, 11, 29, tzinfo=UTC)


@contextlib.contextmanager
def _hush(_title: str, _size: int) -> Iterator[None]:
    yield None


class World:
    def __init__(self, folder: Path, host: str) -> None:
        self.folder, self.host, self.api = folder, host, Api(host)
        self.store, self.queue = SqliteInventory(folder / "inventory.db"), SqliteQueue(folder / "queue.db")
        self.now = NOW
        self.readers = ""
        self.signers: Signers | None = None
        self._count = 0

    def push(self, tag: str, version: str, *, breaks: bool = False) -> str:
        """An image with one package; its digest."""
        self._count += 1
        metadata = f"Name: flask\nVersion: {version}\n".encode()
        layer = b"x" * 512 if breaks else images.tar([("app/flask.dist-info/METADATA", metadata)])
        folder = images.layout(self.folder / f"l{self._count}", [layer])
        index = json.loads((folder / "index.json").read_text())
        digest = str(index["manifests"][0]["digest"])
        for blob in (folder / "blobs/sha256").iterdir():
            if blob.name != digest[7:]:
                self.api.push("shop", blob.read_bytes())
        self.put(tag, (folder / "blobs/sha256" / digest[7:]).read_bytes())
        return digest

    def put(self, tag: str, manifest: bytes, kind: str = "manifest") -> None:
        status, _, body = self.api("PUT", f"/v2/shop/manifests/{tag}", manifest,
                                   content_type=f"application/vnd.oci.image.{kind}.v1+json")
        assert status == 201, body

    def look(self, *repositories: str) -> Arrived:
        async def looked() -> Arrived:
            async with RegistryClient(StdlibHttp()) as client:
                async def catalog(target: str) -> Catalog:
                    return await catalog_image(target, client, self.folder / "cache",
                                               SqliteLayerCache(self.folder / "layers.db"), _hush)

                return await Arrivals(client, self.store, self.queue, lambda: self.now, catalog, self.readers,
                                      self.signers).look(
                    repositories or (f"{self.host}/shop",))

        return asyncio.run(looked())


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> Iterator[World]:
    with registry_on(tmp_path / "registry") as (host, _):
        yield World(tmp_path, host)


def test_each_image_is_read_once_whatever_its_tags(world: World) -> None:
    digest = world.push("1", "1.0")
    world.push("latest", "1.0")
    done = world.look()
    assert (done.tags, done.kept, done.failures) == (2, 1, [])
    assert [row.where for row in world.store.seen([digest])[digest]] == [f"{world.host}/shop:1",
                                                                         f"{world.host}/shop:latest"]
    newer = world.push("latest", "2.0")
    done = world.look()
    assert (done.tags, done.kept) == (2, 1)
    assert world.store.kept([digest, newer]) == {digest, newer}
    assert world.look().kept == 0


class _Asked(Signers):
    """A signature that comes after its image."""

    def __init__(self) -> None:
        self.looks, self.names = 0, [NOBODY]

    async def look(self, ref: Reference) -> list[Sighting]:
        self.looks += 1
        return [Sighting(str(ref.digest), "signer", name, NOW) for name in self.names]


def test_signers_are_looked_for_until_there_is_one(world: World) -> None:
    digest = world.push("1", "1.0")
    world.signers = asked = _Asked()
    world.look()
    assert ask("flask", world.store, SqliteAdvisories(world.folder / "a.db")).where[digest].signers == ()
    asked.names = ["ann"]
    world.look()
    world.look()
    assert asked.looks == 2
    assert ask("flask", world.store, SqliteAdvisories(world.folder / "a.db")).where[digest].signers == ("ann",)


def test_what_other_catalogers_read_is_read_again_once(world: World) -> None:
    world.push("1", "1.0")
    world.readers = "old"
    assert world.look().kept == 1
    world.readers = "new"
    assert [world.look().kept, world.look().kept] == [1, 0]


def test_pods_that_name_an_index_run_the_image_in_it(world: World) -> None:
    """As containerd says it: the digest by which it pulled."""
    digest = world.push("one", "1.0")
    size = len(world.api("GET", f"/v2/shop/manifests/{digest}")[2])
    index = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
             "platform": {"os": "linux", "architecture": "amd64"}}]}).encode()
    world.put("many", index, "index")
    world.look()
    world.store.see([Sighting(sha256(index), "pod", "c/shop/web", NOW)])
    answer = ask("flask", world.store, SqliteAdvisories(world.folder / "a.db"))
    assert [row.image for row in answer.affected] == [digest]
    assert answer.where[digest].pods == ("c/shop/web",)
    (row,) = ask(sha256(index), world.store, SqliteAdvisories(world.folder / "a.db")).affected
    assert (row.image, row.why) == (digest, "is the image of this index")


def test_what_is_no_image_is_passed_over(world: World) -> None:
    config = world.api.push("shop", b"{}")
    chart: dict[str, Any] = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config, "size": 2}}
    for tag in ("chart", "sha256-" + "a" * 64 + ".sig", "sha256-" + "b" * 64):
        world.put(tag, json.dumps(chart).encode())
    done = world.look()
    assert (done.tags, done.kept, done.failures, world.queue.waiting("scan")) == (1, 0, [], 0)


def test_what_cannot_be_read_is_tried_again_and_given_up(world: World) -> None:
    world.push("bad", "", breaks=True)
    world.push("good", "1.0")
    done = world.look()
    assert (done.kept, len(done.failures)) == (1, 1)
    assert world.look().failures == []  # not yet
    for _ in range(6):
        world.now += timedelta(days=1)
        world.look()
    (job,) = world.queue.buried()
    assert job.attempts == 6
    assert world.look().failures == []


def test_a_registry_that_is_not_there_holds_no_other_up(world: World) -> None:
    world.push("1", "1.0")
    done = world.look("127.0.0.1:1/shop", f"{world.host}/nobody", f"{world.host}/shop")
    assert (done.kept, len(done.failures)) == (1, 2)


def test_command(world: World, tmp_path: Path) -> None:
    world.push("1", "1.0")
    done = custody("watch", "--once", f"{world.host}/shop", cwd=tmp_path)
    assert (done.returncode, "1 of 1 tags brought an image" in done.stderr) == (0, True)
    done = custody("affected", "flask", cwd=tmp_path)
    assert (done.returncode, f"{world.host}/shop:1@sha256:" in done.stdout) == (0, True)
    done = custody("watch", "--once", f"{world.host}/nobody", cwd=tmp_path)
    assert (done.returncode, "error: not all images could be looked at: " in done.stderr) == (6, True)


def until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + 50
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_services_watch_their_own_registry(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "state"), watch_interval=0.05)

    async def main() -> None:
        async with running(settings, ("registry",), policies=PolicySet([])) as services:
            world = World(tmp_path, services.url.removeprefix("http://"))
            digest = await asyncio.to_thread(world.push, "1", "1.0")
            kept = inventory(settings)
            await asyncio.to_thread(until, lambda: bool(kept.findings(kept.contents(digest))))
            assert kept.seen([digest])[digest][0].where == f"{world.host}/shop:1"

    known = record("X-1", [{"introduced": "0"}], package="flask")
    advisories(settings).add([osv.read(json.dumps(known).encode())], NOW)
    asyncio.run(asyncio.wait_for(main(), 60))
