"""The two policies that everybody writes first, unchanged: satisfied off line, by names that are mapped to mirrors."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from custody.demo.world import GITHUB, LOG, World, examples
from custody.evidence.model import KeylessSigner
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.services.check import Checked, check
from tests.conftest import ORACLES
from tests.demo.worlds import small_world

POLICIES = examples() / "policies"


@pytest.mark.parametrize("name", ["require-signed-images.yaml", "restrict-registries.yaml"])
def test_the_copies_are_the_originals(name: str) -> None:
    original = ORACLES.parent / "policies" / name
    if not original.is_file():
        pytest.skip(f"{original.name} is not beside the checkout")
    assert (POLICIES / name).read_bytes() == original.read_bytes()


def decide_on(tmp_path: Path, policy: str, change: str = "") -> Checked:
    async def main() -> Checked:
        async with small_world(tmp_path) as (world, chain, _):
            image = f"{world.name}@{chain.image.digest}"
            if change == "unsigned":
                image = f"{world.name}@{(await world.variant(chain.image, 'x')).digest}"
            if change == "fork":
                image = await signed_by(world, "mallory/shop")
            pod = world.pod(image)
            if change == "no initContainers":
                del pod["spec"]["initContainers"]
            return await check(pod, PolicySet.load([POLICIES / policy]), world.gatherer, system_clock)

    async def signed_by(world: World, repository: str) -> str:
        variant = await world.variant(await world.client.resolve(world.ref(tag="1.0")), repository)
        await world.sign(variant, world.workflow_token(repository))
        return f"{world.name}@{variant.digest}"

    return asyncio.run(main())


def test_a_signed_image_satisfies_it_and_no_socket_leaves_the_machine(tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def only_here(host: object, *arguments: object, **options: object) -> object:
        assert str(host).startswith("127."), f"looked up {host}"
        return real(host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", only_here)
    found = decide_on(tmp_path, "require-signed-images.yaml")
    assert found.decision.allowed
    signature, = (signature for signature in next(iter(found.evidence.values())).signatures
                  if isinstance(signature.signer, KeylessSigner))
    assert isinstance(signature.signer, KeylessSigner)
    assert signature.signer.issuer == GITHUB
    assert signature.log is not None
    assert signature.log.base_url == LOG


@pytest.mark.parametrize(("change", "words"), [
    ("unsigned", "no signatures found (missing)"),
    ("fork", "subject mismatch: expected https://github.com/myorg/*, received https://github.com/mallory/shop"),
])
def test_what_it_denies(tmp_path: Path, change: str, words: str) -> None:
    found = decide_on(tmp_path, "require-signed-images.yaml", change)
    assert not found.decision.allowed
    assert words in found.decision.results[0].message


def test_restrict_registries_denies_a_pod_without_init_containers_as_kyverno_does(tmp_path: Path) -> None:
    assert decide_on(tmp_path / "a", "restrict-registries.yaml").decision.allowed
    found = decide_on(tmp_path / "b", "restrict-registries.yaml", "no initContainers")
    assert not found.decision.allowed
    assert found.decision.results[0].message.endswith(
        "rule allowed-registries failed at path /spec/initContainers/")
