"""Programs that a container may not start, by the files of its image: who is refused, who is not, what is told."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from custody.errors import UsageError
from custody.formats.telemetry.event import RuntimeEvent
from custody.runtime.containers import Container, Containers
from custody.runtime.enforcing import Enforcing
from custody.runtime.executables import Executables, Verdict
from custody.settings.tables import Sensing
from custody.wiring import sensing
from policylang.falco import Alert
from tests.conftest import ROOT
from tests.runtime.attacks import box
from tests.runtime.sensing import works
from tests.runtime.test_drift_detectors import A, Known
from tests.runtime.test_drift_sensor import of_host
from tests.runtime.test_executables import files_of

ONE, TWO = "a1" * 32, "b2" * 32
GOOD, BAD = b"good" * 10, b"bad!" * 10


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Unread(Known):
    """Images of which the files are not known yet."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(None, reason)


@pytest.fixture
def files(tmp_path: Path) -> Executables:
    return files_of(tmp_path / "image", [("usr/bin/good", GOOD)])


def containers() -> Containers:
    known = Containers()
    known.note([Container(ONE, A, "r.example/shop:1", "shop", "web", volumes=("/data",)), Container(TWO, "")])
    return known


def about(path: str, data: bytes | None, identifier: str = ONE, **more: Any) -> RuntimeEvent:
    return RuntimeEvent("syscall", "execve", {
        "container.id": identifier[:12] if identifier != "host" else "host", "container.full_id": identifier,
        "proc.exepath": path, "custody.exe.sha256": sha(data) if data is not None else None, **more}, 1, "fanotify")


CASES = [
    ("known", "/usr/bin/good", GOOD, None), ("unknown", "/tmp/x", BAD, "neither this path nor these bytes"),
    ("modified", "/usr/bin/good", BAD, "its bytes are"), ("copied", "/tmp/x", GOOD, "the image has these bytes as"),
    ("volume", "/data/x", BAD, "mounted at /data")]


@pytest.mark.parametrize(("name", "path", "data", "reason"), CASES)
def test_each_verdict_is_refused_where_it_is_enforced_and_only_there(files: Executables, name: str, path: str,
                                                                     data: bytes, reason: str | None) -> None:
    for enforced in (Verdict.UNKNOWN, Verdict.MODIFIED, Verdict.COPIED, Verdict.VOLUME):
        enforcing = Enforcing(containers(), indexes=Known(files), verdicts=[enforced])
        refusal = enforcing.refusal(about(path, data).fields)
        assert (refusal is not None) is (enforced == name)
        assert refusal is None or (reason or "") in refusal.reason


def test_the_host_and_the_container_runtime_are_never_refused(files: Executables) -> None:
    enforcing = Enforcing(containers(), indexes=Known(files), verdicts=[Verdict.UNKNOWN], deny_late=True,
                          runtimes=[sha(BAD)])
    assert enforcing.allows(about("/tmp/x", b"of the host", "host").fields)
    assert enforcing.allows(about("/usr/bin/runc", BAD).fields)
    assert not enforcing.allows(about("/usr/bin/runc", BAD + b"x").fields)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("case", "reason"), [
    ("unread", "its image is still being read"), ("failed", "the image could not be read"),
    ("no digest", "nobody says which image"), ("no bytes", "its bytes could not be read")])
def test_of_what_is_not_judged_late_decides(files: Executables, late: bool, case: str, reason: str) -> None:
    indexes = {"unread": Unread(), "failed": Unread("the image could not be read: x")}.get(case) or Known(files)
    enforcing = Enforcing(containers(), indexes=indexes, verdicts=[Verdict.UNKNOWN], deny_late=late)
    event = about("/tmp/x", None if case == "no bytes" else BAD, TWO if case == "no digest" else ONE)
    refusal = enforcing.refusal(event.fields)
    assert (refusal is not None) is late
    if refusal is not None:
        assert refusal.verdict is Verdict.NOT_JUDGED
        assert reason in refusal.reason


def test_the_image_of_a_container_that_is_watched_is_read_before_it_is_asked_about() -> None:
    indexes = Unread()
    enforcing = Enforcing(containers(), indexes=indexes, verdicts=[Verdict.UNKNOWN])
    for identifier in (ONE, TWO, "c3" * 32):
        enforcing.prepare(identifier)
    assert indexes.asked == [(A, "r.example/shop:1")]


def test_every_refusal_is_an_alert_and_nothing_else_is(files: Executables) -> None:
    enforcing = Enforcing(containers(), indexes=Known(files), verdicts=[Verdict.UNKNOWN], deny=[sha(GOOD)])
    refused: dict[str, Any] = {"evt.rawres": -1, "evt.res": "EPERM"}
    (alert,) = enforcing(about("/tmp/x", BAD, **refused))
    assert (alert.rule, alert.priority) == ("Program refused", "Critical")
    assert alert.output == ("Program refused: /tmp/x in shop/web: the image has neither this path nor these bytes")
    assert alert.output_fields["k8s.pod.name"] == "web"
    (alert,) = enforcing(about("/usr/bin/good", GOOD, "host", **refused))
    assert "in the host: sensing.deny has its digest" in alert.output
    assert not enforcing(about("/tmp/x", BAD))
    told = about("/tmp/x", BAD, **refused)
    assert not enforcing(RuntimeEvent(told.source, told.type, told.fields, told.at, "ebpf")), "another sensor's EPERM"


@pytest.mark.parametrize(("stated", "names", "drift", "reason"), [
    (Sensing(enforce=["unknown"], containers=True), ["ebpf"], True, "only the sensor fanotify refuses"),
    (Sensing(enforce=["unknown"]), ["fanotify"], True, "fanotify watches nothing"),
    (Sensing(enforce=["unknown"], containers=True), ["fanotify"], False, r"runtime\.drift, which is off")])
def test_what_nobody_would_enforce_is_refused(stated: Sensing, names: list[str], drift: bool, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        sensing.enforcing(stated, names, Containers(), Unread() if drift else None)


def test_by_default_nothing_is_refused() -> None:
    assert sensing.enforcing(Sensing(), ["fanotify"], Containers(), Unread()) is None
    fanotify: Any = sensing.sensors(["fanotify"], frozenset())[0]
    assert fanotify.judge is None


ATTACK = """sleep 2; cp /bin/true dropped; printf x >> dropped; ./dropped; echo dropped $?
cp /bin/true renamed; ./renamed; echo renamed $?; true; echo true $?"""


def test_a_program_that_is_dropped_into_a_container_does_not_start(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("root and unshare are needed to make what a container is")
    from custody.adapters.sensors.fanotify import Fanotify

    works(Fanotify())
    identifier = "e0e0" * 16
    loaders = [str(path) for place in ("/lib64", "/lib") for path in Path(place).glob("ld-linux*")]
    image = of_host(tmp_path / "image", "unshare", sys.executable, "mount", "sh", "cp", "sleep", "true", *loaders)
    known = Containers()
    known.note([Container(identifier, A, "r.example/shop:1", "shop", "web")])
    enforcing = Enforcing(known, indexes=Known(image), verdicts=[Verdict.UNKNOWN])
    sensor = sensing.SENSORS["fanotify"](frozenset(("execve",)), Sensing(containers=True), known.fields, enforcing)
    alerts: list[Alert] = []

    async def main() -> str:
        running = asyncio.create_task(sensor.run(lambda event: alerts.extend(enforcing(event))))
        await asyncio.sleep(0.2)
        done = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.runtime.attacks.box", identifier, "/bin/sh", "-c", ATTACK, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, said = await done.communicate()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        if done.returncode and b"mount" in said:
            pytest.skip(said.decode().strip())
        return out.decode()

    try:
        told = asyncio.run(main())
    finally:
        sensor.close()
        box.remove(identifier)
    assert told.splitlines() == ["dropped 126", "renamed 0", "true 0"]
    assert [(alert.rule, alert.output_fields["custody.drift"]) for alert in alerts] == [("Program refused", "unknown")]
    assert alerts[0].output_fields["proc.exepath"].endswith("/tmp/attack/dropped")
    assert (alerts[0].output_fields["k8s.ns.name"], alerts[0].output_fields["k8s.pod.name"]) == ("shop", "web")
    assert not sensor.losses()
