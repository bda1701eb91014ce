"""What is gathered before it is asked for: by templates and pushes, once, bounded, and in nobody's way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.admission.judging import Judging
from custody.admission.webhook import Admission
from custody.formats import oci
from custody.kit.digest import sha256
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import Answered, ApiCall, Failed, HttpCall, Lookup, NoLookup
from custody.registry.client import RegistryClient
from custody.services import prefetch as module
from custody.services.check import gathering
from custody.services.evidencelookup import EvidenceLookup
from custody.services.gather import Gatherer
from custody.services.prefetch import Names, Prefetch, Reading
from tests.services.registries import FakeRegistry
from tests.services.test_gather import ROOT, signed
from tests.serving import registry_on, served
from tests.sign.authority import IMAGE, NOW, World


def policy(host: str, **spec: Any) -> dict[str, Any]:
    key = {"keys": {"publicKeys": _pem(), "rekor": {"ignoreTlog": True}}}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
            "metadata": {"name": "p", "annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"}},
            "spec": {"validationFailureAction": "Enforce", **spec, "rules": [{
                "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                "verifyImages": [{"imageReferences": [f"{host}/*"], "attestors": [{"entries": [key]}]}]}]}}


def _pem() -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    return World().log1_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def deployment(image: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"template": {"metadata": {"labels": {"app": "web"}},
                                  "spec": {"containers": [{"name": "c", "image": image}]}}}, **more}


def review(document: dict[str, Any], **more: Any) -> bytes:
    group, _, version = document["apiVersion"].rpartition("/")
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": "CREATE", "kind": {"group": group, "version": version, "kind": document["kind"]},
        "resource": {"group": group, "version": version, "resource": document["kind"].lower() + "s"},
        "namespace": "shop", "name": "web", "object": document, "userInfo": {"username": "ann"}, **more}}).encode()


class House:
    """A webhook over a gatherer, with what looks ahead beside it."""

    def __init__(self, client: RegistryClient, host: str, **options: Any) -> None:
        self.gatherer = Gatherer(client, ROOT, lambda: NOW, **{"keep": 60.0, **options})
        self.admission = Admission(PolicySet([policy(host)]), gathering(self.gatherer), lambda: NOW,
                                   lookup=EvidenceLookup(self.gatherer))
        judging = Judging(gathering(self.gatherer), lambda: NOW, EvidenceLookup(self.gatherer, Reading(NoLookup())))
        self.early = Prefetch(judging, self.gatherer, lambda: self.admission.parts.known, Names([host], {}))
        self.admission.observer = self.early

    async def settled(self, count: int) -> None:
        async with asyncio.timeout(20):
            while self.early.done < count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)


def with_house(registry: FakeRegistry, main: Callable[[House, str], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def run(host: str) -> None:
        async with RegistryClient(AiohttpHttp()) as client:
            house = House(client, host, **options)
            working = asyncio.create_task(house.early.run())
            try:
                await main(house, host)
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)

    with served(registry) as url:
        asyncio.run(run(url.removeprefix("http://")))


def test_a_deployment_brings_the_evidence_of_its_pods() -> None:
    registry = signed()

    async def main(house: House, host: str) -> None:
        document = deployment(f"{host}/app@{IMAGE}")
        await house.admission.review(review(document))
        await house.settled(1)
        assert registry.asked
        registry.asked.clear()
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop"},
               "spec": document["spec"]["template"]["spec"]}
        answer = json.loads(await house.admission.review(review(pod)))
        assert not answer["response"]["allowed"]  # by another key
        assert registry.asked == []

    with_house(registry, main)


@pytest.mark.parametrize("more", [{"dryRun": True}, {"operation": "DELETE"}, {"subResource": "scale"}])
def test_what_makes_no_pods_brings_none(more: dict[str, Any]) -> None:
    registry = signed()

    async def main(house: House, host: str) -> None:
        await house.admission.review(review(deployment(f"{host}/app@{IMAGE}"), **more))
        await asyncio.sleep(0.2)
        assert (registry.asked, house.early.done) == ([], 0)

    with_house(registry, main)


def test_what_was_denied_brings_none() -> None:
    registry = signed()

    async def main(house: House, host: str) -> None:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"},
               "spec": {"containers": [{"name": "c", "image": f"{host}/app@{IMAGE}"}]}}
        await house.admission.review(review(pod))
        await asyncio.sleep(0.1)
        assert house.early.done == 0

    with_house(registry, main)


def test_one_verification_for_five_hundred_who_ask() -> None:
    registry = signed()

    async def main(house: House, host: str) -> None:
        name = f"{host}/app@{IMAGE}"
        body = review({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"},
                       "spec": {"containers": [{"name": "c", "image": name}]}})
        await asyncio.gather(*(house.admission.review(body) for _ in range(500)))
        asked = list(registry.asked)
        assert len(asked) == len(set(asked)) <= 5

    with_house(registry, main)


def test_the_queue_is_bounded_and_no_review_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAITING", 3)
    registry = signed()

    async def main(host: str) -> None:
        async with RegistryClient(AiohttpHttp()) as client:
            house = House(client, host)  # nobody works
            for number in range(5):
                document = deployment(f"{host}/app{number}@{IMAGE}")
                document["metadata"]["name"] = f"web-{number}"
                await house.admission.review(review(document, name=f"web-{number}"))
            assert (house.early.dropped, registry.asked) == (2, [])

    with served(registry) as url:
        asyncio.run(main(url.removeprefix("http://")))


def test_pushes_are_looked_at_once_they_have_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SETTLED", 0.2)

    async def main(host: str, store: Any) -> None:
        async with RegistryClient(AiohttpHttp()) as client:
            house = House(client, host)
            store.observer = house.early.pushed
            working = asyncio.create_task(house.early.run())
            await asyncio.sleep(0)
            config = await asyncio.to_thread(lambda: store.put_blob("app", sha256(b"{}"), b"{}").result())
            assert config is None
            empty = oci.Descriptor("application/vnd.oci.empty.v1+json", sha256(b"{}"), 2)
            image = json.dumps(oci.Manifest(oci.MANIFEST, empty, ()).to_json()).encode()
            digest = sha256(image)
            await asyncio.to_thread(lambda: store.put_manifest("app", "1", image, oci.MANIFEST, []).result())
            known = f"{host}/app@{digest}"
            before = (await house.gatherer.gather([known]))[known]
            subject = oci.Descriptor(oci.MANIFEST, digest, len(image))
            signature = json.dumps(oci.Manifest(oci.MANIFEST, empty, (empty,), subject=subject,
                                                artifact_type=oci_bundle()).to_json()).encode()
            await asyncio.to_thread(lambda: store.put_manifest("app", sha256(signature), signature, oci.MANIFEST,
                                                               []).result())
            await house.settled(1)
            assert house.early.done == 1
            after = (await house.gatherer.gather([known]))[known]
            assert (len(before.rejected), len(after.rejected)) == (0, 1)  # what was known before the push is forgotten
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    with registry_on(tmp_path) as (host, store):
        asyncio.run(main(host, store))


def oci_bundle() -> str:
    from custody.formats import bundle
    return bundle.MEDIA_TYPE


def test_names_of_the_own_registry() -> None:
    names = Names(["127.0.0.1:5080", "localhost:5080"], {"ghcr.io/acme": "localhost:5080/mirror/acme",
                                                         "docker.io": "registry.example/hub"})
    assert names("mirror/acme/app") == ["127.0.0.1:5080/mirror/acme/app", "localhost:5080/mirror/acme/app",
                                        "ghcr.io/acme/app"]
    assert names("mirror/acmeother") == ["127.0.0.1:5080/mirror/acmeother", "localhost:5080/mirror/acmeother"]


def test_nothing_is_sent_to_servers_beforehand() -> None:
    class World(Lookup):
        async def answer(self, question: Any) -> Any:
            return Answered("yes")

    reading = Reading(World())
    assert asyncio.run(reading.answer(ApiCall("/api"))) == Answered("yes")
    for question in (ApiCall("/api", "POST"), HttpCall("GET", "https://example.com")):
        assert isinstance(asyncio.run(reading.answer(question)), Failed)


def test_the_snapshots_that_are_asked_are_those_of_the_paths() -> None:
    admission = Admission(PolicySet([policy("x")]), gathering(None), lambda: NOW)  # type: ignore[arg-type]
    assert admission.parts.known == [admission.snapshot]
    assert isinstance(admission.parts.known[0], Snapshot)
