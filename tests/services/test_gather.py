"""Evidence is whole or unverifiable, bounded, and one bad neighbour costs one rejection."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.evidence.model import EvidenceSet, Rejected
from custody.formats import bundle as bundles
from custody.formats import cosign, intoto, oci
from custody.formats.reference import parse
from custody.kit.digest import sha256
from custody.registry.client import RegistryClient
from custody.services.gather import Bounds, Gatherer
from custody.sign.listing import PREDICATE_TYPE, Limits
from custody.sign.referrers import fetch_evidence
from tests.services.registries import FakeRegistry, answers, drip
from tests.serving import served
from tests.sign.authority import IMAGE, NOW, World

WORLD = World()
ROOT = WORLD.trusted_root()
SCAN = "https://example.com/scan"
SIGNATURE = json.dumps(WORLD.keyless()).encode()
SCANNED = json.dumps(WORLD.keyless(predicate_type=SCAN)).encode()


def signed() -> FakeRegistry:
    registry = FakeRegistry()
    registry.refer((registry.blob(SIGNATURE),), annotations={PREDICATE_TYPE: intoto.COSIGN_SIGN})
    return registry


@contextlib.asynccontextmanager
async def gatherer(**options: Any) -> AsyncIterator[Gatherer]:
    async with RegistryClient(AiohttpHttp()) as client:
        yield Gatherer(client, ROOT, lambda: NOW, **{"keep": 0.0, **options})


def gathered(registry: FakeRegistry, *, predicate_types: frozenset[str] | None = None, **options: Any) -> EvidenceSet:
    async def main(host: str) -> EvidenceSet:
        async with gatherer(**options) as gather:
            name = f"{host}/app@{IMAGE}"
            images = [name] if predicate_types is None else {name: predicate_types}
            return (await gather.gather(images))[name]

    with served(registry) as url:
        return asyncio.run(main(url.removeprefix("http://")))


def reasons(found: EvidenceSet) -> list[str]:
    return [f"{one.state}: {one.source.split(' ')[0]}: {one.reason}" for one in found.rejected]


# One bad neighbour


def garbage(registry: FakeRegistry) -> None:
    registry.refer((registry.blob(b"garbage"),))


def layer_elsewhere(registry: FakeRegistry) -> None:
    registry.refer((oci.Descriptor("application/x", sha256(b"elsewhere"), 1),))


def claims_a_tebibyte(registry: FakeRegistry) -> None:
    registry.refer((oci.Descriptor("application/x", sha256(b"elsewhere"), 1 << 40),))


def other_bytes(registry: FakeRegistry) -> None:
    layer = registry.blob(b"as it was")
    registry.held[layer.digest] = (b"as it is.", "")
    registry.refer((layer,))


def longer_than_it_says(registry: FakeRegistry) -> None:
    layer = registry.blob(b"x" * 100)
    registry.refer((oci.Descriptor(layer.media_type, layer.digest, 10),))


def no_such_manifest(registry: FakeRegistry) -> None:
    registry.referrers.append(oci.Descriptor(oci.MANIFEST, sha256(b"gone"), 4, artifact_type=bundles.MEDIA_TYPE))


def broken_manifest(registry: FakeRegistry) -> None:
    registry.held[sha256(b"{")] = (b"{", oci.MANIFEST)
    registry.referrers.append(oci.Descriptor(oci.MANIFEST, sha256(b"{"), 1, artifact_type=bundles.MEDIA_TYPE))


def huge_manifest(registry: FakeRegistry) -> None:
    registry.referrers.append(oci.Descriptor(oci.MANIFEST, sha256(b"x"), 3 << 20, artifact_type=bundles.MEDIA_TYPE))


def heavy_manifest(registry: FakeRegistry) -> None:
    data = b'{"schemaVersion":2,"x":[' + b"[]," * 80_000 + b"[]]}"
    registry.held[sha256(data)] = (data, oci.MANIFEST)
    registry.referrers.append(oci.Descriptor(oci.MANIFEST, sha256(data), len(data), artifact_type=bundles.MEDIA_TYPE))


def two_layers(registry: FakeRegistry) -> None:
    registry.refer((registry.blob(b"a"), registry.blob(b"b")))


def an_index(registry: FakeRegistry) -> None:
    registry.held[cosign.tag(IMAGE, ".sig")] = (json.dumps(oci.Index(oci.INDEX, ()).to_json()).encode(), oci.INDEX)


def a_tag_of_garbage(registry: FakeRegistry) -> None:
    registry.held[cosign.tag(IMAGE, ".att")] = (b"<html>", "text/html")


def a_layer_that_is_gone(registry: FakeRegistry) -> None:
    registry.manifest((oci.Descriptor(cosign.SIMPLE_SIGNING, sha256(b"gone"), 4),), tag=cosign.tag(IMAGE, ".sig"))


def heavy_bundle(registry: FakeRegistry) -> None:
    registry.refer((registry.blob(b'{"x":[' + b"[]," * 600_000 + b"[]]}"),))


@pytest.mark.parametrize(("plant", "reason"), [
    (garbage, "failed: referrer: bundle: got"), (layer_elsewhere, "missing: referrer:"),
    (claims_a_tebibyte, "unverifiable: referrer: it has 1099511627776 bytes by its descriptor"),
    (other_bytes, "failed: referrer:"), (longer_than_it_says, "failed: referrer:"),
    (no_such_manifest, "missing: referrer:"), (broken_manifest, "failed: referrer:"),
    (huge_manifest, "unverifiable: referrer: it has 3145728 bytes by its descriptor"),
    (heavy_manifest, "failed: referrer:"), (two_layers, "failed: referrer: application/vnd.oci.image.manifest.v1+json"),
    (an_index, "failed: tag: "), (a_tag_of_garbage, "failed: tag: "), (a_layer_that_is_gone, "missing: tag: "),
    (heavy_bundle, "failed: referrer: document: 1800010 bytes would take about 84 MiB of memory")])
def test_planted_evidence_denies(plant: Callable[[FakeRegistry], None], reason: str) -> None:
    registry = signed()
    plant(registry)
    found = gathered(registry)
    assert [item.kind for item in found.signatures] == ["signature"]
    assert len(found.rejected) == 1
    assert reasons(found)[0].startswith(reason)


def test_evidence_of_kinds_that_are_not_evaluated_is_named() -> None:
    registry = signed()
    for kind in ("application/vnd.dev.cosign.artifact.sig.v1+json", "application/vnd.cncf.notary.signature",
                 "application/spdx+json"):
        registry.refer((registry.blob(b"x"),), artifact_type=kind)
    found = gathered(registry)
    assert len(found.signatures) == 1
    assert {one.reason: one.predicate_type for one in found.rejected} == {
        "signatures that cosign stores as OCI 1.1 artifacts count for policies that ask for them (cosignOCI11)":
            intoto.COSIGN_SIGN,
        "signatures of the Notary Project count for policies that ask for them, or by the trust policy that the "
        "setting `notation` names": intoto.COSIGN_SIGN,
        "documents of type application/spdx+json are not evaluated by custody": "application/spdx+json"}


# A list that cannot be had whole


@pytest.mark.parametrize("part", ["/referrers/", ".sig", ".att", "/blobs/"])
@pytest.mark.parametrize("status", [403, 500, 503])
def test_hide_evidence(part: str, status: int) -> None:
    registry = signed()
    registry.faults[part] = answers(status)
    found = gathered(registry, bounds=Bounds(seconds=2))
    assert found.verified == ()
    assert [(one.source, one.state) for one in found.rejected] == [("gather", "unverifiable")]
    assert f"answered {status}" in found.rejected[0].reason or "within 2 s" in found.rejected[0].reason


def test_a_document_that_may_come_back_is_not_left_out() -> None:
    registry = signed()
    newer = registry.refer((registry.blob(SCANNED),))
    registry.faults[newer.digest] = answers(502)
    assert reasons(gathered(registry, bounds=Bounds(seconds=2)))[0].startswith("unverifiable: gather: ")
    del registry.faults[newer.digest]
    assert len(gathered(registry).verified) == 2


def test_a_list_that_is_no_list_is_not_empty() -> None:
    registry = signed()
    registry.faults["/referrers/"] = answers(200, b"<html>no</html>")
    found = gathered(registry)
    assert found.verified == ()
    assert reasons(found)[0].startswith("unverifiable: gather: ")


# More than is read


def test_many_documents_that_nobody_can_use_cost_nothing_and_are_counted() -> None:
    registry = signed()
    registry.referrers += [oci.Descriptor(oci.MANIFEST, sha256(b"%d" % at), 9, artifact_type="x/y")
                           for at in range(500)]
    registry.referrers += [oci.Descriptor(oci.MANIFEST, sha256(b"t%d" % at), 9, artifact_type=f"x/{at}")
                           for at in range(60)]
    found = gathered(registry)
    assert len(found.signatures) == 1
    assert len(found.rejected) <= 45
    assert "480 more: documents of type x/y are not evaluated by custody" in [one.reason for one in found.rejected]
    assert found.rejected[-1].reason == "41 more of 41 other types"
    assert len(registry.asked) < 10


def test_more_documents_than_are_read_are_not_some_of_them() -> None:
    registry = signed()
    registry.referrers += [oci.Descriptor(oci.MANIFEST, sha256(b"%d" % at), 9, artifact_type=bundles.MEDIA_TYPE)
                           for at in range(200)]
    found = gathered(registry)
    assert found.verified == ()
    assert "201 documents of" in found.rejected[0].reason
    assert not [path for path in registry.asked if "/blobs/" in path]


def test_more_bytes_than_are_read_are_not_some_of_them() -> None:
    registry = signed()
    for at in range(3):
        registry.refer((oci.Descriptor("x", sha256(b"%d" % at), 900),))
    limits = Limits(document=100_000, total=len(SIGNATURE) + 4_000)
    assert len(gathered(registry, bounds=Bounds(documents=Limits(document=100_000))).signatures) == 1
    found = gathered(registry, bounds=Bounds(documents=limits))
    assert found.verified == ()
    assert "4 documents of" in found.rejected[0].reason


# What is fetched


def test_sbom_tag_is_downloaded() -> None:
    registry = signed()
    registry.manifest((registry.blob(b"{}"),), tag=cosign.tag(IMAGE, ".sbom"))
    assert len(gathered(registry).signatures) == 1
    assert not [path for path in registry.asked if path.endswith(".sbom")]


def test_admission_fetches_nothing_that_no_policy_can_use() -> None:
    registry = signed()
    scan = registry.refer((registry.blob(SCANNED),), annotations={PREDICATE_TYPE: SCAN})
    only = gathered(registry, predicate_types=frozenset({intoto.COSIGN_SIGN}))
    assert len(only.signatures) == 1
    assert [(one.source, one.reason, one.predicate_type) for one in only.rejected] == [
        (f"referrer {scan.digest}", f"no policy asks for {SCAN}", SCAN)]
    assert not [path for path in registry.asked if scan.digest in path or path.endswith(".att")]
    registry.asked.clear()
    assert [item.predicate_type for item in gathered(registry, predicate_types=frozenset({SCAN})).verified] == [SCAN]
    assert not [path for path in registry.asked if path.endswith(".sig")]
    registry.asked.clear()
    assert gathered(registry, predicate_types=frozenset()).verified == ()
    assert not [path for path in registry.asked if "/blobs/" in path or "-" in path.rpartition("/")[2]]


def test_a_document_that_does_not_say_what_it_is_is_read() -> None:
    registry = FakeRegistry()
    registry.refer((registry.blob(SCANNED),))
    assert len(gathered(registry, predicate_types=frozenset({SCAN})).verified) == 1


def test_an_image_is_gathered_once_by_tag_and_digest() -> None:
    registry = signed()
    registry.held["1"] = (b"", oci.MANIFEST)

    async def main(host: str) -> None:
        async with gatherer(keep=60.0) as gather:
            names = [f"{host}/app@{IMAGE}", f"{host}/app:x@{IMAGE}", f"{host}/app@{IMAGE}"]
            found, again = await asyncio.gather(gather.gather(names), gather.gather(names))
            assert list(found) == names[:2]
            assert all(one is found[names[0]] for one in (*found.values(), *again.values()))

    with served(registry) as url:
        asyncio.run(main(url.removeprefix("http://")))
    assert len([path for path in registry.asked if "/referrers/" in path]) == 1


def test_what_counts_is_known_without_asking_and_nothing_else_is() -> None:
    registry = signed()
    types = frozenset({intoto.COSIGN_SIGN})

    async def main(host: str) -> None:
        async with gatherer(keep=60.0) as gather:
            there, absent = {f"{host}/app@{IMAGE}": types}, {f"{host}/app@{sha256(b'absent')}": types}
            assert gather.known(there) is None
            evidence = await gather.gather({**there, **absent})
            asked = len(registry.asked)
            known = gather.known(there)
            assert known is not None
            assert [*known.values()] == [evidence[name] for name in there]
            assert gather.known({**there, **absent}) is None  # a failure is said by who gathers
            assert gather.known(dict.fromkeys(there, frozenset[str]())) is None  # nor was it read for others
            assert gather.known(there, [b"another key"]) is None
            assert gather.known({"no image!": types}) is None
            gather.forget()
            assert gather.known(there) is None
            assert len(registry.asked) == asked
        async with gatherer(keep=0.0) as gather:
            await gather.gather(there)
            assert gather.known(there) is None

    with served(registry) as url:
        asyncio.run(main(url.removeprefix("http://")))


# Ends and bounds


def test_drip_takes_all_connections() -> None:
    evil, good = FakeRegistry(), signed()
    evil.faults["/manifests/"] = drip

    async def main(bad: str, host: str) -> None:
        async with gatherer() as gather:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await gather.gather([f"{bad}/x{at}:1" for at in range(64)])
            assert gather._cache._flights == {}
            for _ in range(50):  # the connections are given back, not only the wait
                if not evil.open:
                    break
                await asyncio.sleep(0.1)
            assert evil.open == 0
            name = f"{host}/app@{IMAGE}"
            under_way = asyncio.create_task(gather.gather([f"{bad}/x{at}:1" for at in range(64)]))
            await asyncio.sleep(0.2)
            assert len((await gather.gather([name]))[name].signatures) == 1
            assert not under_way.done()
            under_way.cancel()

    with served(evil) as bad, served(good) as url:
        asyncio.run(main(bad.removeprefix("http://"), url.removeprefix("http://")))


def test_the_work_ends_at_its_own_deadline() -> None:
    registry = signed()
    registry.faults["/blobs/"] = drip
    found = gathered(registry, bounds=Bounds(seconds=0.5))
    assert found.verified == ()
    assert "within 0.5 s" in found.rejected[0].reason


def test_404_once_is_for_ever() -> None:
    registry = signed()

    async def main(host: str) -> None:
        async with gatherer(keep=60.0) as gather:
            absent, there = f"{host}/app@{sha256(b'absent')}", f"{host}/app@{IMAGE}"
            found = await gather.gather([absent, there])
            assert [one.state for one in found[absent].rejected] == ["missing"]
            assert len(found[there].signatures) == 1
            asked = len(registry.asked)
            assert (await gather.gather([absent]))[absent].rejected == found[absent].rejected
            assert len(registry.asked) == asked  # a failure counts, for a moment and for this image
            gather.forget()
            assert len((await gather.gather([there]))[there].signatures) == 1

    with served(registry) as url:
        asyncio.run(main(url.removeprefix("http://")))


def test_the_image_that_holds_most_memory_gives_up() -> None:
    hog, good = FakeRegistry(), signed()
    for at in range(4):
        hog.refer((hog.blob(bytes([at]) * 300_000),))

    async def main(bad: str, host: str) -> None:
        async with gatherer(bounds=Bounds(memory=500_000)) as gather:
            names = [f"{bad}/app@{IMAGE}", f"{host}/app@{IMAGE}"]
            found = await gather.gather(names)
            assert "bytes of memory, the most of all images" in found[names[0]].rejected[0].reason
            assert found[names[0]].verified == ()
            assert len(found[names[1]].signatures) == 1
            assert gather._memory._size == 0

    with served(hog) as bad, served(good) as url:
        asyncio.run(main(bad.removeprefix("http://"), url.removeprefix("http://")))


def test_bytes_that_no_descriptor_announced_are_counted() -> None:
    registry = signed()
    registry.faults["/referrers/"] = answers(200, json.dumps({
        "schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [], "x": "x" * 200_000}).encode(), oci.INDEX)
    found = gathered(registry, bounds=Bounds(documents=Limits(total=100_000)))
    assert found.verified == ()
    assert "more than 100000 bytes" in found.rejected[0].reason


def test_names_that_nothing_can_be_done_with() -> None:
    async def main() -> dict[str, EvidenceSet]:
        async with gatherer() as gather:
            return await gather.gather(["x.io:99999/a:1", "a..b.example/x", "[::::]/x:1", "☃", "",
                                        f"127.0.0.1:1/x@{IMAGE}"])

    for name, found in asyncio.run(main()).items():
        assert [one.state for one in found.rejected] == ["unverifiable"], name
        assert found.rejected[0].reason


def test_a_fault_of_ours_denies_that_image_with_a_reason() -> None:
    registry = signed()

    async def main(host: str) -> None:
        async with gatherer() as gather:
            whole = gather._resolve

            async def fails(ref: Any, question: Any) -> str:
                if ref.tag == "bad":
                    raise ValueError("secret")
                return await whole(ref, question)

            gather._resolve = fails  # type: ignore[method-assign]
            names = [f"{host}/app:bad", f"{host}/app@{IMAGE}"]
            found = await gather.gather(names)
            assert reasons(found[names[0]]) == [f"unverifiable: gather: '{names[0]}': gathering failed with ValueError"]
            assert len(found[names[1]].signatures) == 1

    with served(registry) as url:
        asyncio.run(main(url.removeprefix("http://")))


def test_fetched_for_people_too() -> None:
    registry = signed()
    garbage(registry)
    layer_elsewhere(registry)

    async def main(host: str) -> tuple[int, tuple[Rejected, ...]]:
        async with RegistryClient(AiohttpHttp()) as client:
            found = await fetch_evidence(client, parse(f"{host}/app@{IMAGE}"))
            return len(found.evidence), found.rejected

    with served(registry) as url:
        count, rejected = asyncio.run(main(url.removeprefix("http://")))
    assert (count, [one.state for one in rejected]) == (2, ["missing"])
