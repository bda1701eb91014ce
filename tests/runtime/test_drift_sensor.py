"""A program that is dropped into a container, seen by the kernel's own sensor and held against the image's files."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from custody.ports.sensing import Sensor
from custody.runtime.containers import Container, Containers
from custody.runtime.event import RuntimeEvent
from custody.runtime.executables import Executables
from custody.runtime.executing import ExecutableDetector
from custody.runtime.opening import OpenedFiles
from custody.runtime.witness import Witness
from custody.wiring.sensing import SENSORS
from policylang.falco import Alert
from tests.conftest import ROOT
from tests.contents.images import Member
from tests.runtime.attacks import box
from tests.runtime.sensing import works
from tests.runtime.test_drift_detectors import A, Known
from tests.runtime.test_executables import files_of

IDENTIFIER = "d0d0" * 16
ATTACK = "cp /bin/sleep dropped; printf x >> dropped; ./dropped 0.5; cp /bin/sleep renamed; ./renamed 0.5; sleep 0.5"
ROOTED = "/mnt/merged"
"""Of a process that was given its root by chroot(2), as here, the kernel says paths from the mount namespace's root on;
of one whose root is that of the namespace, as in every container, from there.
"""


def of_host(folder: Path, *programs: str) -> Executables:
    """An image that has these programs of this machine, where it has them."""
    members: dict[str, Member] = {}
    for program in programs:
        place = shutil.which(program) or program
        real = os.path.realpath(place).lstrip("/")
        members[real] = (real, Path(place).read_bytes())
    return files_of(folder, list(members.values()))


def _attacked(sensor: Sensor, attack: str, take: Callable[[RuntimeEvent], None]) -> None:
    """Events of a container that does this."""

    async def main() -> None:
        running = asyncio.create_task(sensor.run(take))
        await asyncio.sleep(0.5)
        done = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.runtime.attacks.box", IDENTIFIER, "/bin/sh", "-c", attack, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}"}, stderr=subprocess.PIPE)
        _, said = await done.communicate()
        await asyncio.sleep(0.5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        if done.returncode and b"ermission" in said:
            pytest.skip(said.decode().strip())

    try:
        asyncio.run(main())
    finally:
        sensor.close()
        box.remove(IDENTIFIER)


def test_dropped_and_renamed_programs_of_a_container(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("root and unshare are needed to make what a container is")
    files = of_host(tmp_path / "image", "unshare", sys.executable, "mount", "sh", "cp", "chmod", "sleep", "true",
                    "printf")
    containers, witness = Containers(), Witness(datetime.now(UTC), ("execve",))
    containers.note([Container(IDENTIFIER, A, "r.example/shop:1", "shop", "web")])
    detect = ExecutableDetector(Known(files), containers, witness)
    sensor = SENSORS["ebpf"](detect.types)
    works(sensor)
    alerts: list[Alert] = []
    _attacked(sensor, ATTACK, lambda event: alerts.extend(detect(event)))
    told = {alert.output_fields["proc.exepath"].removeprefix(ROOTED): alert for alert in alerts}
    assert told["/tmp/attack/dropped"].output_fields["custody.drift"] == "unknown"
    assert told["/tmp/attack/renamed"].output_fields["custody.drift"] == "copied"
    assert told["/tmp/attack/dropped"].output_fields["k8s.pod.name"] == "web"
    assert witness.images[A].verdicts["known"] >= 2


def test_what_got_another_name_is_noted_and_a_ring_of_its_own_is_a_loss() -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("root and unshare are needed to make what a container is")
    containers, witness = Containers(), Witness(datetime.now(UTC), ("execve",))
    containers.note([Container(IDENTIFIER, A, "r.example/shop:1", "shop", "web")])
    detect = OpenedFiles(containers, witness)
    sensor = SENSORS["ebpf"](detect.types)
    works(sensor)
    told: list[tuple[str, int]] = []

    def take(event: RuntimeEvent) -> None:
        before = sum(seen.losses for seen in witness.images.values())
        list(detect(event))
        told.append((event.type, sum(seen.losses for seen in witness.images.values()) - before))

    ring = "import ctypes; exit(ctypes.CDLL(None).syscall(425, 1, ctypes.create_string_buffer(200)) < 0)"
    _attacked(sensor, f"ln -s ../../usr/lib libraries; touch a; mv a b; ln b c; {sys.executable} -c '{ring}' || true",
              take)
    aliased = {path.removeprefix("mnt/merged/") for path in witness.images[A].aliased}
    assert {"usr/lib", "tmp/attack/a", "tmp/attack/b", "tmp/attack/c"} <= aliased
    rings = [lost for kind, lost in told if kind == "io_uring_setup"]
    assert all(lost == 1 for lost in rings)
    assert ("chroot", 1) in told  # as the box makes its root, after its first program
