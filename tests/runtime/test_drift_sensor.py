"""A program that is dropped into a container, seen by the kernel's own sensor and held against the image's files."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from custody.runtime.containers import Container, Containers
from custody.runtime.executables import Executables
from custody.runtime.executing import ExecutableDetector
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

    async def main() -> None:
        running = asyncio.create_task(sensor.run(lambda event: alerts.extend(detect(event))))
        await asyncio.sleep(0.5)
        done = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.runtime.attacks.box", IDENTIFIER, "/bin/sh", "-c", ATTACK, cwd=ROOT,
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
    told = {alert.output_fields["proc.exepath"].removeprefix(ROOTED): alert for alert in alerts}
    assert told["/tmp/attack/dropped"].output_fields["custody.drift"] == "unknown"
    assert told["/tmp/attack/renamed"].output_fields["custody.drift"] == "copied"
    assert told["/tmp/attack/dropped"].output_fields["k8s.pod.name"] == "web"
    assert witness.images[A].verdicts["known"] >= 2
