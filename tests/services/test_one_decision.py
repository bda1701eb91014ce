"""One decision: what `check` says is what the webhook answers, over a table of pods, and a record replays off line."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custody.demo import attacks
from custody.demo.story import Chain
from custody.demo.world import World
from custody.errors import MalformedError
from custody.formats.reference import parse
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.policy.record import replay
from custody.services.check import check, pod_of
from tests.demo.worlds import small_world

Pods = list[tuple[str, dict[str, Any]]]


async def table(world: World, chain: Chain) -> Pods:
    """Pods of every kind of answer: right, each kind of evidence missing, each kind of pod that is not allowed."""
    good = f"{world.name}@{chain.image.digest}"
    variants = {name: f"{world.name}@{(await attacks._dress(world, chain, name, without=name)).digest}"
                for name in ("signature", "sbom", "scan")}

    def changed(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        pod = json.loads(json.dumps(world.pod(good)))
        change(pod)
        return pod

    return [
        ("good by digest", world.pod(good)),
        ("good by tag", world.pod(f"{world.name}:1.0")),
        ("good by tag and digest", world.pod(f"{world.name}:1.0@{chain.image.digest}")),
        *((f"without {name}", world.pod(image)) for name, image in variants.items()),
        ("no such tag", world.pod(f"{world.name}:2.0")),
        ("no such digest", world.pod(f"{world.name}@sha256:{'0' * 64}")),
        ("nobody answers there", world.pod("127.0.0.1:1/x:1")),
        ("not a name", world.pod("UPPER/case")),
        ("one good container, one bad", changed(
            lambda pod: pod["spec"]["initContainers"][0].update(image=variants["signature"]))),
        ("without initContainers", changed(lambda pod: pod["spec"].pop("initContainers"))),
        ("an ephemeral container from elsewhere", changed(
            lambda pod: pod["spec"].update(ephemeralContainers=[{"name": "e", "image": "docker.io/busybox"}]))),
        ("host network", changed(lambda pod: pod["spec"].update(hostNetwork=True))),
        ("root", changed(lambda pod: pod["spec"]["securityContext"].update(runAsNonRoot=False))),
    ]


EXPECTED = {"good by digest": True, "good by tag": True, "good by tag and digest": True}


def test_check_and_webhook_agree_and_records_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> dict[str, tuple[bool, bytes, str]]:
        found = {}
        async with small_world(tmp_path) as (world, chain, _):
            for name, pod in await table(world, chain):
                # `admit` asks /mutate and /validate over TLS, then check, and raises where the two differ.
                allowed, message, _, checked = await world.admit(pod)
                found[name] = (allowed, checked.record, checked.decision.inputs_digest)
                failing = [one.policy for one in checked.decision.results if one.denies]
                assert allowed or ("blocked due to" in message and any(policy in message for policy in failing))
        return found

    found = asyncio.run(main())
    assert {name: allowed for name, (allowed, _, _) in found.items()} == {
        name: EXPECTED.get(name, False) for name in found}

    def no_sockets(*_: object) -> None:
        raise AssertionError("a replay opened a socket")

    monkeypatch.setattr(socket.socket, "connect", no_sockets)
    for allowed, record, digest in found.values():
        again = replay(record)
        assert (again.allowed, again.inputs_digest) == (allowed, digest)


def test_a_replay_under_another_policy(tmp_path: Path) -> None:
    async def main() -> bytes:
        async with small_world(tmp_path) as (world, chain, _):
            return (await world.admit(world.pod(f"{world.name}@{chain.image.digest}")))[3].record

    record = asyncio.run(main())
    rule = {"name": "no-pods", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "validate": {"message": "no pods", "deny": {"conditions": {"all": [
                {"key": "{{ request.operation }}", "operator": "Equals", "value": "CREATE"}]}}}}
    stricter = PolicySet([{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "none"},
                           "spec": {"validationFailureAction": "Enforce", "rules": [rule]}}])
    assert replay(record).allowed
    assert not replay(record, stricter).allowed


def test_evidence_is_kept_for_a_while_and_then_asked_for_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with small_world(tmp_path) as (world, chain, _):
            world.gatherer._cache.keep = 60.0
            image = f"{world.name}@{chain.image.digest}"
            first = await world.gatherer.gather([image])
            again = await world.gatherer.gather([image])
            assert again[image] is first[image]
            await world.sign(chain.image, world.workflow_token())
            assert len((await world.gatherer.gather([image]))[image].signatures) == 2
            world.gatherer.forget()
            assert len((await world.gatherer.gather([image]))[image].signatures) == 3

    asyncio.run(main())


def test_a_failure_to_gather_is_not_kept_for_as_long(tmp_path: Path) -> None:
    async def main() -> None:
        async with small_world(tmp_path) as (world, chain, _):
            world.gatherer._cache.keep = 60.0
            image = f"{world.name}:late"
            missing = (await world.gatherer.gather([image]))[image]
            assert [item.state for item in missing.rejected] == ["missing"]
            _, data = await world.client.manifest(world.ref(chain.image.digest))
            await world.client.push_manifest(world.ref(), data, chain.image.media_type, tag="late")
            assert (await world.gatherer.gather([image]))[image].subject == chain.image.digest

    asyncio.run(main())


def test_the_pod_around_an_image() -> None:
    pod = pod_of("ghcr.io/myorg/shop:1")
    assert parse(pod["spec"]["containers"][0]["image"]).tag == "1"
    with pytest.raises(MalformedError, match="image: got 'not a name'"):
        pod_of("not a name")


def test_check_without_images_to_verify(tmp_path: Path) -> None:
    async def main() -> bool:
        async with small_world(tmp_path) as (world, _, _):
            policies = PolicySet.load([world.folder / "policies" / "registries.yaml"])
            found = await check(pod_of("docker.io/library/busybox:1"), policies, world.gatherer, system_clock)
            assert found.evidence == {}
            return found.decision.allowed

    assert not asyncio.run(main())
