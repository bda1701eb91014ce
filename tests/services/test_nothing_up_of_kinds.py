"""Nothing up but the webhook: each kind of policy that asks for evidence admits what it decided on before, no socket.

Tags are admitted where a policy pins them. A host that falls silent delays nobody once it is known, and nobody at all
where what is kept counts first.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.sqlite.evidence import SqliteEvidence
from custody.admission.webhook import Admission
from custody.formats.reference import parse
from custody.policy.load import PolicySet
from custody.registry.client import RegistryClient
from custody.services import remembered
from custody.services.check import gathering
from custody.services.evidencelookup import EvidenceLookup
from custody.services.gather import Gatherer
from custody.services.remembered import Remembered
from tests.services.test_nothing_else_up import CountingHttp, pod, pushed
from tests.services.test_summaries import NOW, SIGNS
from tests.serving import registry_on

DIGESTS = 5
PEM = SIGNS.public.pem.decode()
UNLOGGED = {"rekor": {"ignoreTlog": True}}


def cluster(**entry: Any) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "verifyImages": [{
                "imageReferences": ["*"], "type": "SigstoreBundle", "attestors": [{"entries": [
                    {"keys": {"publicKeys": PEM, **UNLOGGED}}]}], **entry}]}]}}


KINDS: dict[str, dict[str, Any]] = {
    "ClusterPolicy": cluster(),
    "ImageValidatingPolicy": {
        "apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy", "metadata": {"name": "p"}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                                                    "resources": ["pods"]}]},
            "attestors": [{"name": "a", "cosign": {"key": {"data": PEM}, "ctlog": {"insecureIgnoreTlog": True}}}],
            "validations": [{"expression": "images.containers.all(image, verifyImageSignatures(image, [attestors.a]) "
                                           "> 0)"}]}},
    "ClusterImagePolicy": {
        "apiVersion": "policy.sigstore.dev/v1beta1", "kind": "ClusterImagePolicy", "metadata": {"name": "p"}, "spec": {
            "images": [{"glob": "**"}], "authorities": [{"key": {"data": PEM}}]}},
    "Connaisseur": {
        "validators": [{"name": "default", "type": "cosign", "trustRoots": [{"name": "default", "key": PEM}]}],
        "policy": [{"pattern": "*:*", "with": {"verifyInTransparencyLog": False}}]}}
UNPINNED = {
    "ClusterPolicy": cluster(mutateDigest=False, verifyDigest=False),
    "Connaisseur": {**KINDS["Connaisseur"], "policy": [{"pattern": "*:*", "with": {
        "verifyInTransparencyLog": False, "mode": "insecureValidateOnly"}}]},
    "ImageValidatingPolicy": {**KINDS["ImageValidatingPolicy"], "spec": {
        **KINDS["ImageValidatingPolicy"]["spec"],
        "validationConfigurations": {"mutateDigest": False, "verifyDigest": False, "required": False}}}}


async def tagged(client: RegistryClient, host: str, number: int) -> str:
    """An image that has a tag, too; by its digest."""
    image = await pushed(client, host, number)
    descriptor, body = await client.manifest(parse(image))
    await client.push_manifest(parse(f"{host}/app:{number}"), body, descriptor.media_type, tag=str(number))
    return image


class Webhook:
    """One replica, over a folder that outlives it."""

    def __init__(self, folder: Path, http: CountingHttp, client: RegistryClient, document: dict[str, Any],
                 first: timedelta = timedelta()) -> None:
        self.now = NOW
        self.memory = Remembered(SqliteEvidence(folder / "evidence.db"), lambda: self.now, timedelta(hours=24), first)
        gatherer = Gatherer(client, None, lambda: self.now, keep=0, remembered=self.memory)
        self._admission = Admission(PolicySet([document]), gathering(gatherer), lambda: self.now,
                                    lookup=EvidenceLookup(gatherer))

    async def review(self, image: str) -> dict[str, Any]:
        response: dict[str, Any] = json.loads(await self._admission.review(pod(image), mutate=True))["response"]
        return response

    async def close(self) -> None:
        """End what is still asked beside."""
        asking = list(self.memory._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


@contextlib.contextmanager
def silent(port: int) -> Iterator[None]:
    """A host that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(64)
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_decided_before_is_admitted_without_a_socket(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        http = CountingHttp()
        async with RegistryClient(http) as client:
            with contextlib.ExitStack() as up:
                host, _ = await asyncio.to_thread(up.enter_context, registry_on(tmp_path / "registry"))
                images = [await tagged(client, host, number) for number in range(DIGESTS)]
                unseen = await tagged(client, host, DIGESTS)
                tags = [f"{host}/app:{number}" for number in range(DIGESTS)]
                first = Webhook(tmp_path, http, client, KINDS[kind])
                other = Webhook(tmp_path, http, client, UNPINNED.get(kind, KINDS[kind]))
                for image in (*images, *tags):
                    for replica in (first, other):
                        answer = await replica.review(image)
                        assert answer["allowed"], answer
                await asyncio.to_thread(up.close)
            after = Webhook(tmp_path, http, client, KINDS[kind])  # another process, over the same folder
            after.now += timedelta(hours=23)
            await after.review(images[0])  # it finds out that nobody answers
            http.asked = 0
            for image in images:
                assert (await after.review(image))["allowed"]
            for tag, image in zip(tags, images, strict=True):
                answer = await after.review(tag)
                assert answer["allowed"], answer
                assert image.rpartition("@")[2] in _patched(answer)
            assert http.asked == 0
            if kind in UNPINNED:
                unpinned = Webhook(tmp_path, http, client, UNPINNED[kind])
                assert (await unpinned.review(images[0]))["allowed"]
                answer = await unpinned.review(tags[0])
                assert not answer["allowed"]
                assert "only admitted where a policy pins its digest" in answer["status"]["message"]
            assert not (await after.review(unseen))["allowed"]
            assert not (await after.review(f"{host}/app:{DIGESTS}"))["allowed"]
            after.now += timedelta(hours=1, seconds=1)
            for image in (images[0], tags[0]):
                assert not (await after.review(image))["allowed"]

    asyncio.run(main())


def _patched(answer: dict[str, Any]) -> str:
    return base64.b64decode(answer["patch"]).decode()


@pytest.mark.parametrize("kind", KINDS)
def test_no_review_waits_for_a_host_that_falls_silent(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        http = CountingHttp()
        async with RegistryClient(http) as client:
            with contextlib.ExitStack() as up:
                host, _ = await asyncio.to_thread(up.enter_context, registry_on(tmp_path / "registry"))
                images = [await tagged(client, host, number) for number in range(DIGESTS)]
                webhook = Webhook(tmp_path, http, client, KINDS[kind], timedelta(minutes=10))
                for image in images:
                    assert (await webhook.review(image))["allowed"]
                await asyncio.to_thread(up.close)
            with silent(int(host.rpartition(":")[2])):
                seconds = []
                for image in images:
                    begun = time.perf_counter()
                    answer = await webhook.review(image)
                    seconds.append(time.perf_counter() - begun)
                    assert answer["allowed"], answer
                    assert "warnings" not in answer
                assert sum(seconds) < 0.9 * len(images), seconds  # who waits for the host waits a second each
                webhook.now += timedelta(minutes=10)
                begun = time.perf_counter()
                answer = await webhook.review(images[0])  # older: it is asked first
                assert time.perf_counter() - begun > 0.9
                assert answer["allowed"]
                assert "the evidence of" in answer["warnings"][0]
                await webhook.close()

    asyncio.run(main())


def test_newer_evidence_counts_one_review_later(tmp_path: Path) -> None:
    async def main() -> None:
        http = CountingHttp()
        async with RegistryClient(http) as client:
            with registry_on(tmp_path / "registry") as (host, _):
                image = await pushed(client, host, 0)
                other = {**KINDS["ClusterImagePolicy"], "spec": {"images": [{"glob": "**"}], "authorities": [
                    {"key": {"data": PEM}}]}}
                webhook = Webhook(tmp_path, http, client, other, timedelta(minutes=10))
                assert (await webhook.review(image))["allowed"]
                for descriptor in await client.referrers(parse(image)):
                    await client.delete_manifest(parse(image).at(descriptor.digest))
                before = http.asked
                assert (await webhook.review(image))["allowed"]  # by what is kept
                for _ in range(100):
                    if not webhook.memory._asking:
                        break
                    await asyncio.sleep(0.05)
                assert http.asked > before
                assert not (await webhook.review(image))["allowed"]

    asyncio.run(main())


def test_a_host_is_found_out_before_somebody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_PROBE", 0.05)
    monkeypatch.setattr(remembered, "_PATIENCE", 0.3)

    async def main() -> None:
        http = CountingHttp()
        async with RegistryClient(http) as client:
            with contextlib.ExitStack() as up:
                host, _ = await asyncio.to_thread(up.enter_context, registry_on(tmp_path / "registry"))
                image = await pushed(client, host, 0)
                webhook = Webhook(tmp_path, http, client, KINDS["ClusterPolicy"])
                assert (await webhook.review(image))["allowed"]
                watching = asyncio.create_task(webhook.memory.watch())
                await asyncio.sleep(0.3)
                assert not webhook.memory._down
                await asyncio.to_thread(up.close)
            with silent(int(host.rpartition(":")[2])):
                for _ in range(600):
                    if host in webhook.memory._down:
                        break
                    await asyncio.sleep(0.05)
                assert host in webhook.memory._down
                answer = await webhook.review(image)
                assert answer["allowed"]
                assert "did not answer a moment ago" in answer["warnings"][0]
                watching.cancel()
                await webhook.close()

    asyncio.run(main())
