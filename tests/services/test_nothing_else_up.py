"""Registry, log and authorities gone, and nothing else up: what was decided before is admitted within its age."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.sqlite.evidence import SqliteEvidence
from custody.admission.webhook import Admission
from custody.formats import intoto, oci
from custody.formats.reference import parse
from custody.kit.digest import sha256
from custody.policy.load import PolicySet
from custody.registry.client import RegistryClient
from custody.services.check import gathering
from custody.services.evidencelookup import EvidenceLookup
from custody.services.gather import Gatherer
from custody.services.remembered import Remembered
from custody.sign.referrers import push_bundle
from tests.services.test_prefetch import review
from tests.services.test_summaries import NOW, SIGNS, policy, signer
from tests.serving import registry_on

DIGESTS = 20


class CountingHttp(AiohttpHttp):
    """Every request that would open a socket."""

    asked = 0

    async def request(self, *arguments: Any, **more: Any) -> Any:
        self.asked += 1
        return await super().request(*arguments, **more)


async def pushed(client: RegistryClient, host: str, number: int) -> str:
    body = json.dumps(oci.Manifest(oci.MANIFEST, oci.EMPTY_DESCRIPTOR, (), annotations={"n": str(number)}).to_json())
    descriptor = oci.Descriptor(oci.MANIFEST, sha256(body.encode()), len(body))
    ref = parse(f"{host}/app:{number}")
    await client.push_blob(ref, oci.EMPTY_BLOB)
    await client.push_manifest(ref, body.encode(), oci.MANIFEST)
    data, _ = await signer(SIGNS).sign(intoto.statement(descriptor.digest, intoto.COSIGN_SIGN, {}), descriptor.digest)
    await push_bundle(client, ref.at(descriptor.digest), descriptor, data, intoto.COSIGN_SIGN, NOW)
    return f"{host}/app@{descriptor.digest}"


def pod(image: str) -> bytes:
    return review({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"},
                   "spec": {"containers": [{"name": "c", "image": image}]}})


def test_every_digest_that_was_decided_on_is_admitted_within_its_age(tmp_path: Path) -> None:
    moment = [NOW]

    async def main() -> None:
        http = CountingHttp()
        async with RegistryClient(http) as client:
            with contextlib.ExitStack() as up:
                host, _ = await asyncio.to_thread(up.enter_context, registry_on(tmp_path / "registry"))
                entry = policy(host, host)
                del entry["spec"]["rules"][0]["verifyImages"][0]["repository"]
                policies = PolicySet([entry])

                def webhook() -> Admission:
                    memory = Remembered(SqliteEvidence(tmp_path / "evidence.db"), lambda: moment[0],
                                        timedelta(hours=24))
                    gatherer = Gatherer(client, None, lambda: moment[0], keep=0, remembered=memory)
                    return Admission(policies, gathering(gatherer), lambda: moment[0], lookup=EvidenceLookup(gatherer))

                images = [await pushed(client, host, number) for number in range(DIGESTS)]
                unseen = await pushed(client, host, DIGESTS)
                first = webhook()
                for image in images:
                    assert json.loads(await first.review(pod(image)))["response"]["allowed"]
                await asyncio.to_thread(up.close)
            after = webhook()  # another process, over the same folder
            moment[0] += timedelta(hours=23)
            answer = json.loads(await after.review(pod(images[0])))["response"]  # it finds out that nobody answers
            assert answer["allowed"], answer
            assert "the evidence of" in answer["warnings"][0]
            assert http.asked
            http.asked, seconds = 0, []
            for image in images[1:]:
                begun = time.perf_counter()
                assert json.loads(await after.review(pod(image)))["response"]["allowed"]
                seconds.append(time.perf_counter() - begun)
            assert http.asked == 0
            assert sorted(seconds)[len(seconds) // 2] < 0.25  # without a socket; some 3 ms where nothing else runs
            assert not json.loads(await after.review(pod(unseen)))["response"]["allowed"]
            moment[0] += timedelta(hours=1, seconds=1)
            assert not json.loads(await after.review(pod(images[0])))["response"]["allowed"]

    asyncio.run(main())
