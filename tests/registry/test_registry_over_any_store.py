"""The registry over stores that fail in every way: what was acknowledged is there, and whole."""

from __future__ import annotations

import hashlib
import json
import random
import threading

import pytest

from custody.errors import CustodyError
from custody.formats import oci
from custody.kit.clock import system_clock
from custody.registry.scrub import Archive, scrub
from custody.registry.store import ManifestUnknownError, Registry
from custody.server.registry import RegistryApp
from tests.ports.faults import Fault, Faults
from tests.ports.registries import MemoryBlobs, MemoryRepositories
from tests.registry.api import Api
from tests.serving import content, served

KIND = "application/vnd.oci.image.manifest.v1+json"


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def image(layer: bytes) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": KIND, "config": {
        "mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha(b"{}"), "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha(layer), "size": len(layer)}],
    }).encode()


class Site:
    def __init__(self) -> None:
        self.faults = Faults()
        self.blobs, self.repositories = MemoryBlobs(self.faults), MemoryRepositories(self.faults)
        self.registry = Registry(self.blobs, self.repositories, system_clock)
        self.held: dict[str, bytes] = {}
        """Layers whose manifests were acknowledged, by tag."""

    def push(self, tag: str, layer: bytes) -> bool:
        """An image as a client pushes it. Whether all of it was acknowledged."""
        try:
            self.registry.put_blob("r", sha(b"{}"), b"{}").result(60)
            upload = self.registry.uploads.begin("r")
            upload.write([layer[:10], layer[10:]])
            draft = upload.complete(sha(layer))
            self.registry.put_blob("r", sha(layer), draft).result(60)
            self.registry.uploads.end(upload)
            self.registry.put_manifest("r", tag, image(layer), KIND, []).result(60)
        except CustodyError:
            return False
        self.held[tag] = layer
        return True

    def delete(self, tag: str) -> None:
        held = self.held.pop(tag)
        try:
            self.registry.delete_manifest("r", sha(image(held))).result(60)
        except CustodyError:
            self.held[tag] = held  # nothing happened: it is still whole

    def judge(self) -> None:
        for tag, layer in self.held.items():
            descriptor, data = self.registry.manifest("r", tag)
            assert (descriptor.digest, data) == (sha(image(layer)), image(layer))
            assert content(self.registry, "r", sha(layer)) == layer
        report = scrub(Archive(self.blobs, self.repositories))
        assert (report.damaged, report.missing) == ([], [])


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER, Fault.HALF, Fault.SLOW])
def test_each_operation_of_a_push_alone(fault: Fault) -> None:
    for number in range(30):
        site = Site()
        assert site.push("before", b"what was there before")
        site.faults.only(number, fault)
        acknowledged = site.push("v1", b"a layer of the image")
        reached = bool(site.faults.met)
        site.faults.none()
        site.judge()
        assert acknowledged or reached
        assert site.push("v1", b"a layer of the image")
        site.judge()
        site.registry.close()
        if not reached:
            break
    assert number > 7


@pytest.mark.parametrize("seed", range(20))
def test_any_faults(seed: int) -> None:
    rng = random.Random(seed)
    site = Site()
    site.faults.some(rng, 0.08)
    for number in range(25):
        if site.held and rng.random() < 0.2:
            site.delete(rng.choice(list(site.held)))
        else:
            site.push(f"t{number}", b"layer %d of this" % number)
    site.faults.none()
    site.judge()
    site.registry.close()


def test_a_manifest_is_checked_in_the_transaction_that_takes_it() -> None:
    """A blob that goes after the manifest was looked at, and before it is stored, is missed."""
    site = Site()
    for data in (b"{}", b"layer"):
        site.registry.put_blob("r", sha(data), data).result(60)
    deleting = site.registry.delete_blob("r", sha(b"layer"))
    storing = site.registry.put_manifest("r", "v1", image(b"layer"), KIND, []) if not deleting.done() else None
    deleting.result(60)
    if storing is not None:
        with pytest.raises(CustodyError, match="a blob that this repository has"):
            storing.result(60)
    with pytest.raises(ManifestUnknownError):
        site.registry.manifest("r", "v1")
    site.registry.close()


def test_what_others_read_meanwhile_is_not_what_a_transaction_sees() -> None:
    """A pull between a deletion and its commit still sees the blob; a manifest in the same transaction must not."""
    site = Site()
    assert site.push("v1", b"layer")
    gate = threading.Event()
    waiting = site.registry._committer.submit(lambda _: gate.wait(60))  # what follows is one transaction
    deleting = site.registry.delete_blob("r", sha(b"layer"))
    pulled = site.registry._committer.submit(lambda _: site.registry.manifest("r", "v1"))  # as any thread may
    storing = site.registry.put_manifest("r", "v2", image(b"layer"), KIND, [])
    gate.set()
    assert waiting.result(60)
    deleting.result(60)
    assert pulled.result(60)
    with pytest.raises(CustodyError, match="a blob that this repository has"):
        storing.result(60)
    site.registry.close()


def test_blobs_that_are_in_no_file_are_served_whole_and_in_part() -> None:
    site = Site()
    layer = random.Random(1).randbytes(700_000)
    assert site.push("v1", layer)
    with served(RegistryApp(site.registry)) as url:
        api = Api(url.removeprefix("http://"))
        assert api("GET", f"/v2/r/blobs/{sha(layer)}")[2] == layer
        assert api("GET", f"/v2/r/blobs/{sha(layer)}", Range="bytes=5-600004")[2] == layer[5:600_005]
        assert api("HEAD", f"/v2/r/blobs/{sha(layer)}")[1]["content-length"] == str(len(layer))
        assert api("GET", f"/v2/r/blobs/{sha(b'{}')}")[2] == b"{}"
        assert api.push("r", b"through the door") == sha(b"through the door")
        assert json.loads(api("GET", "/v2/r/manifests/v1", Accept=oci.MANIFEST)[2])["layers"][0]["size"] == 700_000
    site.registry.close()
