"""A real kube-apiserver that calls the webhook: pinned, rejected with the rule's message, and what an outage does."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.admission.configuration import configurations, to_yaml
from tests.conftest import PEERS, ROOT, peer
from tests.demo.worlds import small_world

pytestmark = pytest.mark.peer
TOOLS = Path(os.environ.get("CUSTODY_PEERS_TOOLS", ROOT.parent / "shared" / "peers"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    for name in ("kube-apiserver", "etcd", "kubectl", "openssl"):
        peer(name)
    script = TOOLS / "apiserver"
    if not script.is_file():
        pytest.skip("the script that boots an API server is not here")
    folder = tmp_path_factory.mktemp("apiserver")
    env = {**os.environ, "PATH": f"{os.environ['PATH']}:{PEERS}", "APISERVER_PORT": str(free_port()),
           "ETCD_PORT": str(free_port())}
    log = (folder / "start.log").open("wb")
    try:
        subprocess.run([script, "start", folder], env=env, stdout=log, stderr=log, timeout=120, check=True)
        yield folder / "kubeconfig"
    finally:
        subprocess.run([script, "stop", folder], env=env, stdout=log, stderr=log, timeout=60, check=False)
        log.close()


def test_good_pods_are_pinned_bad_ones_rejected_and_outages_follow_the_failure_policy(
        kubeconfig: Path, tmp_path: Path) -> None:
    async def kubectl(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(lambda: subprocess.run(
            [peer("kubectl"), "--kubeconfig", str(kubeconfig), *arguments], input=given, capture_output=True, text=True,
            timeout=60, check=False))

    async def create(pod: dict[str, Any], name: str) -> subprocess.CompletedProcess[str]:
        named = {**pod, "metadata": {"name": name, "namespace": "default"}}
        return await kubectl("create", "-f", "-", given=json.dumps(named))

    async def configure(url: str, ca_bundle: bytes, policy: str) -> None:
        found = configurations(url, ca_bundle, failure_policy=policy)
        done = await kubectl("apply", "-f", "-", given=to_yaml(found))
        assert done.returncode == 0, done.stderr

    async def main() -> None:
        async with small_world(tmp_path) as (world, chain, _):
            url, ca_bundle = str(world.services.webhook), (world.folder / "admission" / "ca.crt").read_bytes()
            await configure(url, ca_bundle, "Fail")
            good = world.pod(f"{world.name}:1.0")
            for attempt in range(20):  # the API server takes up new configurations within a second or so
                probe = await create(world.pod("docker.io/library/probe:1"), f"probe-{attempt}")
                if probe.returncode != 0:
                    break
                await asyncio.sleep(0.25)
            # A good pod is admitted, its tag pinned.
            done = await create(good, "good")
            assert done.returncode == 0, done.stderr
            stored = json.loads((await kubectl("get", "pod", "good", "-o", "json")).stdout)
            pinned = f"{world.name}:1.0@{chain.image.digest}"
            assert {one["image"] for kind in ("containers", "initContainers")
                    for one in stored["spec"][kind]} == {pinned}
            # Each bad pod is rejected with its rule's message.
            unsigned = (await world.variant(chain.image, "unsigned")).digest
            without = json.loads(json.dumps(good))
            del without["spec"]["initContainers"]
            for name, pod, webhook, words in (
                ("elsewhere", world.pod("docker.io/library/nginx:1"), "validate",
                 "Images must come from ghcr.io/myorg."),
                ("unsigned", world.pod(f"{world.name}@{unsigned}"), "mutate", "no signatures found (missing)"),
                ("missing", world.pod(f"{world.name}:none"), "mutate", "answered 404"),
                ("no-init", without, "validate", "failed at path /spec/initContainers/"),
                ("privileged", world.pod(f"{world.name}:1.0", securityContext={"privileged": True}), "validate",
                 'violates PodSecurity "restricted:latest": privileged (container "shop" must not set'),
            ):
                done = await create(pod, name)
                said = " ".join(done.stderr.split())
                assert done.returncode != 0, name
                assert f'admission webhook "{webhook}.custody.internal" denied the request' in said, said
                assert words in said, said
            # A pod that runs cannot be changed to another image either.
            done = await kubectl("set", "image", "pod/good", "shop=docker.io/library/nginx:1")
            assert done.returncode != 0
            assert "Images must come from" in " ".join(done.stderr.split())
            await configure(url, ca_bundle, "Ignore")
            await asyncio.sleep(1)
            assert (await create(world.pod("docker.io/library/nginx:1"), "still")).returncode != 0
            later = (good, url, ca_bundle)
        # The webhook is gone. Ignore lets everything through; Fail nothing.
        good, url, ca_bundle = later
        assert (await create(good, "unjudged")).returncode == 0
        await configure(url, ca_bundle, "Fail")
        await asyncio.sleep(1)
        done = await create(good, "nobody-asks")
        assert done.returncode != 0
        assert "failed calling webhook" in done.stderr
        await kubectl("delete", "validatingwebhookconfiguration,mutatingwebhookconfiguration", "custody")

    asyncio.run(main())
