"""The attested scan of a released image is refreshed: a day later it is still admitted, until it should not be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.adapters.sqlite.layercache import SqliteLayerCache
from custody.demo.world import World, opened
from custody.errors import UsageError
from custody.formats import oci, osv, reference, vulnattestation
from custody.kit.clock import format_rfc3339, system_clock
from custody.policy.load import PolicySet
from custody.ports.inventory import Sighting
from custody.registry.client import RegistryClient
from custody.registry.image import open_layout
from custody.sbom.catalog import catalog
from custody.server.platform import running
from custody.services.rematch import refresh
from custody.services.rescans import Rescanned, Rescans
from custody.settings import Settings
from custody.settings.tables import Rescan
from custody.sign.referrers import fetch_evidence
from custody.sign.verify import Trust, verify_evidence
from custody.wiring import local, registry_client, scanner, trusted_root
from tests.cli.commands import custody
from tests.contents import images
from tests.contents.test_scan import record
from tests.services.test_arrivals import World as PushWorld
from tests.services.test_arrivals import until

CYCLONEDX = "https://cyclonedx.org/bom"
METADATA = b"Name: flask\nVersion: 1.0\n"


def advise(advisories: SqliteAdvisories, name: str, severity: str, at: datetime) -> None:
    stated = record(name, [{"introduced": "0"}], package="flask")
    stated["affected"][0]["database_specific"] = {"severity": severity}
    advisories.add([osv.read(json.dumps({**stated, "modified": format_rfc3339(at)}).encode())], at)


class Day:
    """A world with one released image, whose time can be moved."""

    def __init__(self, world: World, **terms: Any) -> None:
        self.world = world
        self.ahead = timedelta()
        platform = world.platform
        assert platform.workloads  # made by the true time, by which the authorities judge their tokens
        platform.settings = world.settings.replace(rescan=Rescan(**{
            "repositories": ["ghcr.io/myorg/*"], **terms}))
        platform.clock = self.now
        self.store, self.queue = local.inventory(world.settings), local.queue(world.settings)
        self.advisories = local.advisories(world.settings)
        made = scanner.rescans(platform.settings, world.http, world.client, self.store, self.queue,
                               self.advisories, self.now, lambda: platform.workloads["scanner"])
        assert made is not None
        self.rescans: Rescans = made

    def now(self) -> datetime:
        return system_clock() + self.ahead

    def advise(self, name: str, severity: str) -> None:
        advise(self.advisories, name, severity, self.now())

    async def push(self, folder: Path) -> oci.Descriptor:
        """One that has a name and is kept, with an attested SBOM."""
        world = self.world
        layout = images.layout(folder, [images.tar([("app/flask-1.0.dist-info/METADATA", METADATA)])])
        digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
        for blob in (layout / "blobs" / "sha256").iterdir():
            if blob.name != digest[7:]:
                await world.client.push_blob(world.ref(), blob.read_bytes())
        image = await world.client.push_manifest(
            world.ref(tag="1.0"), (layout / "blobs" / "sha256" / digest[7:]).read_bytes(), oci.MANIFEST)
        contents = catalog(open_layout(layout), SqliteLayerCache(folder / "layers.db"))
        self.store.keep(contents, self.now())
        self.store.see([Sighting(image.digest, "name", f"{world.name}:1.0", self.now())])
        await world.attest(image, CYCLONEDX, world.sbom_predicate(contents), world.scanner_token())
        return image

    async def admitted(self, image: oci.Descriptor) -> str:
        """Empty where it is, else why not."""
        world = self.world
        world.gatherer.forget()
        assert world.services.admission is not None
        world.services.admission.admission = world.platform.admission(world.policies, world.gatherer)
        answer = await world._review("validate", world.pod(f"{world.name}@{image.digest}"))
        return "" if answer["allowed"] else answer["status"]["message"]

    async def look(self) -> Rescanned:
        refresh(self.store, self.advisories, self.now())
        return await self.rescans.look()

    async def scans(self, image: oci.Descriptor) -> int:
        gathered = await fetch_evidence(self.world.client, self.world.ref(image.digest), unsigned=False,
                                        predicate_types=frozenset({vulnattestation.PREDICATE_TYPE}))
        return len(gathered.evidence)


def run(folder: Path, test: Callable[[Day], Coroutine[Any, Any, None]], **terms: Any) -> None:
    async def main() -> None:
        async with opened(folder / "data", policies=lambda examples: [examples / "shop" / "contents.yaml"]) as world:
            await test(Day(world, **terms))

    asyncio.run(asyncio.wait_for(main(), 120))


def test_an_image_stays_admitted_until_something_critical_is_known(tmp_path: Path) -> None:
    async def test(day: Day) -> None:
        day.advise("X-1", "LOW")
        image = await day.push(tmp_path / "image")
        assert "attestation" in await day.admitted(image)
        done = await day.look()
        assert (done.released, done.attested, done.failures) == (1, [f"{day.world.name}@{image.digest}"], [])
        assert await day.admitted(image) == ""
        assert (await day.look()).attested == []  # nothing is due
        day.ahead = timedelta(hours=25)
        assert "younger than a day" in await day.admitted(image)
        assert len((await day.look()).attested) == 1
        assert await day.admitted(image) == ""
        assert await day.scans(image) == 1  # it took the place of the one before
        day.advise("X-2", "CRITICAL")
        assert await day.admitted(image) == ""  # nobody looked yet
        assert len((await day.look()).attested) == 1  # long before it is old
        assert "is 1, expected Equals 0" in await day.admitted(image)
        assert await day.scans(image) == 1

    run(tmp_path, test)


def test_nothing_is_attested_where_the_advisories_are_old(tmp_path: Path) -> None:
    async def test(day: Day) -> None:
        image = await day.push(tmp_path / "image")
        assert (await day.look()).failures == ["no scan is attested: no advisory is known"]
        day.advise("X-1", "LOW")
        assert len((await day.look()).attested) == 1
        day.ahead = timedelta(days=8)
        done = await day.look()
        assert (done.attested, done.failures) == ([], [
            "no scan is attested: the newest advisory is 8 days old, more than 7"])
        assert "younger than a day" in await day.admitted(image)

    run(tmp_path, test)


def test_images_of_other_repositories_and_those_that_lost_their_name_are_left_alone(tmp_path: Path) -> None:
    async def test(day: Day) -> None:
        day.advise("X-1", "LOW")
        image = await day.push(tmp_path / "image")
        day.store.see([Sighting("sha256:" + "a" * 64, "name", f"{day.world.name}:1.0", day.now())])
        assert (await day.look()).released == 1  # the newer one is not kept yet
        name = "ghcr.io/another/shop:1"
        day.store.gone("name", day.now() + timedelta(1))
        day.store.see([Sighting(image.digest, "name", name, day.now())])
        assert (await day.look()).released == 0
        day.store.see([Sighting(image.digest, "name", "ghcr.io/myorg/team/shop:1", day.now())])
        assert (await day.look()).released == 0  # * is one part

    run(tmp_path, test)


def test_what_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(day: Day) -> None:
        day.advise("X-1", "LOW")
        image = await day.push(tmp_path / "image")

        async def refuse(*_: Any) -> None:
            raise UsageError("not now")

        with monkeypatch.context() as patch:
            patch.setattr(RegistryClient, "push_blob", refuse)
            assert (await day.look()).failures == [f"{day.world.name}@{image.digest}: not now"]
        assert (await day.look()).attested == []
        day.ahead = timedelta(minutes=6)
        assert len((await day.look()).attested) == 1

    run(tmp_path, test)


@pytest.mark.parametrize(("terms", "reason"), [
    ({"repositories": []}, "got none"), ({"repositories": ["a**/b"]}, "alone between"),
    ({"key": "k", "identity_token": "t", "repositories": ["a"]}, "expected one"),
    ({"key": "nowhere.key", "repositories": ["a"]}, "nowhere.key")])
def test_settings_that_cannot_be(tmp_path: Path, terms: dict[str, Any], reason: str) -> None:
    settings = Settings(data_dir=str(tmp_path), rescan=Rescan(**terms))
    with pytest.raises(UsageError, match=reason):
        scanner.rescans(settings, *[None] * 7)  # type: ignore[arg-type] - not reached


def test_up_attests_what_is_pushed_to_its_registry(tmp_path: Path) -> None:
    """As the scanner of its own data directory, whatever the address."""
    settings = Settings(data_dir=str(tmp_path / "state"), watch_interval=0.05,
                        rescan=Rescan(repositories=["127.0.0.1:*/shop"]))

    async def main() -> None:
        async with running(settings, policies=PolicySet([])) as services:
            world = PushWorld(tmp_path, services.url.removeprefix("http://"))
            digest = await asyncio.to_thread(world.push, "1", "1.0")
            await asyncio.to_thread(until, lambda: b"sha256:" in world.api("GET", f"/v2/shop/referrers/{digest}")[2])
            async with registry_client(settings) as client:
                gathered = await fetch_evidence(client, reference.parse(f"{world.host}/shop@{digest}"), unsigned=False)
            trust = Trust(trusted_root(settings), (), require_log=True, require_sct=True)
            verified = verify_evidence(gathered.evidence[0], trust, system_clock())
            assert str(verified.signer).startswith("https://scanner.custody.internal/scanner")

    advise(local.advisories(settings), "X-1", "LOW", system_clock())
    asyncio.run(asyncio.wait_for(main(), 60))


def test_serve_asks_whose_scans(tmp_path: Path) -> None:
    done = custody("serve", "--roles", "scanner", cwd=tmp_path)
    assert (done.returncode, "[rescan]" in done.stderr) == (2, True)
