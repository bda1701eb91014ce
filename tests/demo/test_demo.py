"""The demonstration: the good image passes every gate, every attack is stopped for its own reason."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from custody.demo import attacks
from custody.demo.watched import RunningPod
from custody.errors import CustodyError
from tests.apiserver import free_port
from tests.conftest import peer
from tests.contents.images import layout, tar
from tests.demo.worlds import small_image, small_world

REASONS = {
    "an image that nobody signed": "no signatures found (missing)",
    "the same image from another registry": "Images must come from ghcr.io/myorg",
    "the signature of another image, copied over": "subject: the statement is about sha256:",
    "a right signature by the wrong identity": "received https://github.com/myorg/shop/.github/workflows/test.yml",
    "a Notation signature in the right name, by another authority": "no certificate of CN=release,",
    "no SBOM": "attestations not found for predicate type https://cyclonedx.org/bom (missing)",
    "a scan that is too old": "the scan must be younger than a day",
    "a scan that covered nothing": "the scan must have no gaps",
    "a critical vulnerability, published after the build": "no critical vulnerability may be known",
    "a blob changed at rest": "blob bytes are sha256:",
    "a tag moved to another image": "no signatures found (missing); pods pinned to the digest still run",
    "a log that drops an entry": "an entry was dropped or changed",
    "a privileged pod": 'violates PodSecurity "restricted:latest": (Forbidden reason: allowPrivilegeEscalation',
    "a shell in the container": "A shell was started in a container (command=/bin/sh -i ",
    "a binary that is in no layer": "/var/spool/miner in default/shop: the image has neither this path nor these bytes",
    "a connection that a policy forbids":
        "203.0.113.66:443: no rule allows it: isolated by NetworkPolicy default/shop; alert: Connection outside of the",
    "an exec through the API server": "user=mallory@myorg.example pod=shop ns=default",
}


def test_every_attack_is_stopped_for_its_own_reason(tmp_path: Path) -> None:
    async def main() -> dict[str, str]:
        async with small_world(tmp_path) as (world, chain, teller):
            await attacks.run_all(world, teller, chain)
            return {one.attack: one.reason for one in teller.stopped}

    reasons = asyncio.run(main())
    assert set(reasons) == set(REASONS)
    for attack, words in REASONS.items():
        assert words in reasons[attack], reasons[attack]
    assert not (tmp_path / "demo").exists()


def test_what_runs_and_is_not_what_was_admitted(tmp_path: Path) -> None:
    """The good pod is silent; one file of it with other bytes is not, and nobody's alert is another rule's."""
    async def main() -> tuple[list[str], str]:
        async with small_world(tmp_path) as (world, chain, _):
            pod = RunningPod(world, chain.image)
            silent = [alert["rule"] for alert in pod.alerts()]
            changed = {"/app/site-packages/flask-3.1.3.dist-info/RECORD": "0" * 64}
            with pytest.raises(CustodyError, match=r"no alert of Shell, but \['Executable is not the one of its image"):
                await pod.told("Shell", lambda: pod.execute_all(changed))
            return silent, pod.alerts()[-1]["output"]

    silent, output = asyncio.run(main())
    assert silent == []
    assert "Executable is not the one of its image: " in output


def test_demo_stopiteration(tmp_path: Path) -> None:
    """An image in which no package is found: there is nothing that a new advisory could name."""
    async def main() -> set[str]:
        async with small_world(tmp_path, layout(tmp_path / "bare", [tar([("usr/bin/x", b"a script")])])) as (
                world, chain, teller):
            await attacks.run_all(world, teller, chain)
            return {one.attack for one in teller.stopped}

    assert set(REASONS) - asyncio.run(main()) == {
        "a scan that covered nothing", "a critical vulnerability, published after the build"}


def test_an_attack_that_gets_through_fails_the_demonstration(tmp_path: Path) -> None:
    async def harmless(world: object, chain: object) -> tuple[str, str]:
        return await attacks._denied(world, world.pod(f"{world.name}:1.0"), "any/rule")  # type: ignore[arg-type,attr-defined]

    async def main() -> None:
        async with small_world(tmp_path) as (world, chain, teller):
            harmless_attack = attacks.Attack("none", "none", harmless, "anything")  # type: ignore[arg-type]
            original, attacks.ATTACKS = attacks.ATTACKS, (harmless_attack,)
            try:
                await attacks.run_all(world, teller, chain)
            finally:
                attacks.ATTACKS = original

    with pytest.raises(CustodyError, match="the attack got through admission"):
        asyncio.run(main())


@pytest.mark.peer
def test_cosign_accepts_what_the_demonstration_signed(tmp_path: Path) -> None:
    cosign = peer("cosign-v3")

    async def main() -> None:
        async with small_world(tmp_path) as (world, chain, _):
            # cosign knows no mirrors: it asks the registry by its own name.
            image = f"{world.services.url.partition('//')[2]}/myorg/shop@{chain.image.digest}"
            common = ["--allow-http-registry", "--trusted-root", str(world.platform.data / "trust/trusted_root.json")]
            release = ["--certificate-oidc-issuer", "https://token.actions.githubusercontent.com",
                       "--certificate-identity"]
            scanner = ["--certificate-oidc-issuer", "https://scanner.custody.internal", "--certificate-identity",
                       "https://scanner.custody.internal/scanner"]
            workflow = "https://github.com/myorg/shop/.github/workflows/{}.yml@refs/heads/main"

            async def run(*arguments: str) -> subprocess.CompletedProcess[str]:
                return await asyncio.to_thread(lambda: subprocess.run(
                    [cosign, *arguments], capture_output=True, text=True, timeout=60, check=False))

            done = await run("verify", *common, *release, workflow.format("release"), image)
            assert done.returncode == 0, done.stderr
            done = await run("verify", *common, *release, workflow.format("test"), image)
            assert done.returncode != 0
            assert "expected SAN value" in done.stderr
            for kind in ("cyclonedx", "vuln"):
                done = await run("verify-attestation", *common, *scanner, "--type", kind, image)
                assert done.returncode == 0, done.stderr
            done = await run("verify-attestation", *common, *scanner, "--type", "slsaprovenance1", image)
            assert done.returncode != 0

    asyncio.run(main())


def custody(*arguments: str, cwd: Path, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "custody.cli.main", *arguments], cwd=cwd, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)  # type: ignore[call-overload,no-any-return]


def test_the_command_with_an_image_as_data_and_twice(tmp_path: Path) -> None:
    layout = small_image(tmp_path / "image")
    for _ in range(2):
        done = custody("demo", "--image", f"oci:{layout}", "-o", "json", cwd=tmp_path)
        out, err = done.communicate(timeout=120)
        assert done.returncode == 0, err
        data = json.loads(out)
        assert [link["gate"] for link in data["links"]] == ["registry", "contents", "sign & attest", "sign & attest",
                                                            "registry", "admission", "runtime", "runtime"]
        assert {one["attack"] for one in data["attacks"]} == set(REASONS)
        assert all(one["does_not_stop"] for one in data["attacks"])
        assert not (tmp_path / ".custody" / "demo").exists()


def test_interrupted_it_cleans_up(tmp_path: Path) -> None:
    layout = small_image(tmp_path / "image")
    running = custody("demo", "--image", f"oci:{layout}", "--keep", "--port", str(free_port()), "--webhook-port",
                      str(free_port()), cwd=tmp_path, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert running.stderr is not None
    for line in running.stderr:
        if "log verify" in line:
            break
    checked = custody("--config", ".custody/demo/custody.toml", "check", ".custody/demo/pod.yaml", cwd=tmp_path)
    out, err = checked.communicate(timeout=60)
    assert checked.returncode == 0, out + err
    checked = custody("--config", ".custody/demo/custody.toml", "check", "ghcr.io/myorg/shop:1.0", cwd=tmp_path)
    out, err = checked.communicate(timeout=60)
    # restrict-registries.yaml denies a pod without initContainers, as it does in Kyverno; nothing else objects.
    assert checked.returncode == 3, err
    assert [line.strip() for line in out.splitlines() if line.strip().startswith("✗")] == [
        "✗ restrict-registries/allowed-registries"]
    second = custody("demo", "--image", f"oci:{layout}", cwd=tmp_path)
    assert "another demo runs there" in second.communicate(timeout=60)[1]
    assert (tmp_path / ".custody" / "demo" / "custody.toml").exists()
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode in (0, 130), err
    assert not (tmp_path / ".custody" / "demo").exists()


def test_interrupted_in_the_middle_it_cleans_up(tmp_path: Path) -> None:
    layout = small_image(tmp_path / "image")
    running = custody("demo", "--image", f"oci:{layout}", cwd=tmp_path)
    deadline = time.monotonic() + 30
    while not (tmp_path / ".custody" / "demo" / "registry").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode in (0, 130), err
    assert "Traceback" not in err
    assert not (tmp_path / ".custody" / "demo").exists()
