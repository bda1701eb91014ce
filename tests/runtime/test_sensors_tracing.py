"""eBPF tracepoints on this machine's kernel. Skipped, with the sensor's own reason, where they do not work."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.sensors import kernel, programs
from custody.adapters.sensors.tracefs import Tracefs
from custody.adapters.sensors.tracing import Tracing
from custody.errors import UnsupportedError
from custody.formats.telemetry.event import RuntimeEvent
from tests.runtime.sensing import events, root, tracing

BOMB = f"bomb{os.getpid()}"
"""The kernel tells of all programs: those of another run of these tests have another name."""


def _named(told: list[RuntimeEvent], name: str) -> list[RuntimeEvent]:
    return [event for event in told if event.fields.get("proc.name") == name]


def _program(folder: Path, name: str, like: str = "/bin/true") -> str:
    """Under a name that nothing else on this machine has."""
    if not (folder / name).is_symlink():
        (folder / name).symlink_to(like)
    return str(folder / name)


def test_a_program_that_has_ended_long_ago_is_told_whole(tmp_path: Path) -> None:
    path = _program(tmp_path, "own-attack")
    with tracing("execve") as sensor:
        process = subprocess.Popen([path, "a b", "", "ü"], env={"SECRET": "1"})
        process.wait()
        event = _named(events(sensor, lambda told: bool(_named(told, "own-attack"))), "own-attack")[0]
        get = event.fields.get
        assert get("proc.cmdline") == "own-attack a b  ü"
        assert (get("proc.exe"), get("proc.env"), get("proc.pid")) == (path, "SECRET=1", process.pid)
        assert (get("user.uid"), get("evt.type"), get("container.id")) == (os.getuid(), "execve", "host")
        assert get("proc.ppid") == os.getpid()
        assert get("proc.aname[1]") == get("proc.pname") == Path("/proc/self/comm").read_text().strip()
        assert get("proc.is_exe_from_memfd") is False
        assert get("thread.cap_effective") is not None
        assert abs(event.at - time.time_ns()) < 60 * 10**9 if event.at else False


def test_nothing_is_lost_of_five_thousand_programs(tmp_path: Path) -> None:
    """One after the other as fast as a shell can, read by a loop that is busy with nothing else."""
    count = 5000
    path = _program(tmp_path, BOMB)
    script = "import os, sys\nfor number in range(int(sys.argv[2])):\n" \
             "    os.waitpid(os.posix_spawn(sys.argv[1], [sys.argv[1], str(number)], {}), 0)"
    with tracing("execve") as sensor:
        process = subprocess.Popen([sys.executable, "-c", script, path, str(count)])
        told = events(sensor, lambda told: process.poll() is not None and len(_named(told, BOMB)) >= count, 120)
        assert process.wait() == 0
        numbers = [int(event.fields.get("proc.args")) for event in _named(told, BOMB)]
        assert numbers == list(range(count))
        assert sensor.losses() == {}
        # Those that have ended are not kept, whatever was there before the sensor was.
        assert len(sensor.processes) < 2000


def test_what_the_ring_has_no_room_for_is_counted(tmp_path: Path) -> None:
    path = _program(tmp_path, BOMB)
    with tracing("execve", ring=32768) as sensor:
        for number in range(300):
            subprocess.run([path, str(number)], check=False)
        assert sensor.losses()["ring-buffer"] > 50
        told: list[RuntimeEvent] = []
        while sensor.drain(told.append):
            pass
        assert told  # what was there is told
        subprocess.run([path, "again"], check=False)  # and it goes on
        told = events(sensor, lambda told: bool(_named(told, BOMB)))
        assert [event.fields.get("proc.args") for event in _named(told, BOMB)] == ["again"]
    assert sensor.losses()["ring-buffer"] > 50  # known after the end too


def test_a_path_as_long_as_paths_are(tmp_path: Path) -> None:
    folder = "/" + "/".join(["x" * 250] * 16)
    path = f"{folder}/{'y' * (4095 - len(folder) - 1)}"
    assert len(path) == 4095
    with tracing("openat") as sensor:
        subprocess.run([_program(tmp_path, "own-cat", "/bin/cat"), "/tmp/../" + path[8:]], check=False,
                       stderr=subprocess.DEVNULL)
        told = [event for event in events(sensor, lambda told: any(
            "yyyy" in (event.fields.get("fd.nameraw") or "") for event in told))
                if "yyyy" in (event.fields.get("fd.nameraw") or "")]
        assert [event.fields.get("fd.nameraw") for event in told] == ["/tmp/../" + path[8:]]
        assert told[0].fields.get("evt.res") == "ENOENT"


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xfe\n\x1b[31m"
    with tracing("openat", "unlinkat", "unlink") as sensor:
        subprocess.run([_program(tmp_path, "own-touch", "/usr/bin/touch"), name], check=True)
        subprocess.run([_program(tmp_path, "own-rm", "/bin/rm"), name], check=True)
        told = events(sensor, lambda told: bool(_named(told, "own-rm")))
        expected = name.decode("utf-8", "surrogateescape")
        assert expected in [event.fields.get("fd.name") for event in _named(told, "own-touch")]
        removed = [event.fields.get("evt.arg.name") or event.fields.get("evt.arg.path")
                   for event in _named(told, "own-rm")]
        assert expected in removed


def test_paths_from_folders_and_descriptors(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    script = ("import os; os.chdir('below'); os.close(os.open('../file', os.O_CREAT | os.O_WRONLY, 0o600));"
              f"d = os.open({str(tmp_path)!r}, os.O_PATH); os.mkdir('made', dir_fd=d); os.rename('made', 'moved',"
              " src_dir_fd=d, dst_dir_fd=d); input()")
    with tracing("openat", "mkdirat", "renameat", "mkdir", "rename") as sensor:
        process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stdin=subprocess.PIPE)
        told = events(sensor, lambda told: any(event.type.startswith("rename") and event.fields.get("proc.pid") ==
                                               process.pid for event in told))
        own = [event for event in told if event.fields.get("proc.pid") == process.pid]
        assert str(tmp_path / "file") in [event.fields.get("fd.name") for event in own]
        assert str(tmp_path / "made") in [event.fields.get("evt.arg.path") for event in own]
        renamed = next(event for event in own if event.type.startswith("rename"))
        assert renamed.fields.get("evt.arg.oldpath") == str(tmp_path / "made")
        assert renamed.fields.get("evt.arg.newpath") == str(tmp_path / "moved")
        process.communicate(b"\n")


def test_what_the_sensors_own_process_does_is_not_told(tmp_path: Path) -> None:
    with tracing("openat", "mkdir", "mkdirat") as sensor:
        (tmp_path / "own").mkdir()
        (tmp_path / "file").write_text("")
        subprocess.run([_program(tmp_path, "own-mkdir", "/bin/mkdir"), tmp_path / "others"], check=True)
        told = events(sensor, lambda told: bool(_named(told, "own-mkdir")))
        assert not [event for event in told if event.fields.get("proc.pid") == os.getpid()]


def test_libraries_that_are_read_are_not_told_unless_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "read").write_text("")
    for quiet, expected in ((programs.QUIET, False), ((), True)):
        with tracing("openat", quiet=quiet) as sensor:
            subprocess.run([_program(tmp_path, "own-cat", "/bin/cat"), tmp_path / "read"], check=False)
            told = events(sensor, lambda told: any(
                event.fields.get("fd.name") == str(tmp_path / "read") for event in told))
            libraries = [event for event in _named(told, "own-cat") if "/libc.so" in event.fields.get("fd.name")]
            assert bool(libraries) is expected


@pytest.mark.parametrize("path", ["/usr/lib/../../etc/shadow", "/lib/../etc/shadow"])
def test_no_path_hides_behind_what_is_not_told(path: str, tmp_path: Path) -> None:
    with tracing("openat") as sensor:
        subprocess.run([_program(tmp_path, "own-cat", "/bin/cat"), path], check=False, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        told = events(sensor, lambda told: any(
            event.fields.get("fd.name") == "/etc/shadow" for event in _named(told, "own-cat")))
        assert path in [event.fields.get("fd.nameraw") for event in _named(told, "own-cat")]


def test_one_program_that_the_kernel_refuses_does_not_keep_others_away(monkeypatch: pytest.MonkeyPatch,
                                                                        tmp_path: Path) -> None:
    real, number = kernel.attach, []

    def attach(program: int, tracepoint: int) -> int:
        if tracepoint in number:
            raise OSError(errno.EPERM, "not today", "perf_event_open")
        return real(program, tracepoint)

    root()
    tracefs = Tracefs()
    number.append(tracefs.number("syscalls/sys_enter_ptrace"))
    tracefs.close()
    monkeypatch.setattr(kernel, "attach", attach)
    with tracing("ptrace", "mkdir", "mkdirat") as sensor:
        assert "not today" in sensor.refused["ptrace"]
        subprocess.run([_program(tmp_path, "own-mkdir", "/bin/mkdir"), tmp_path / "made"], check=True)
        assert _named(events(sensor, lambda told: bool(_named(told, "own-mkdir"))), "own-mkdir")


def test_without_btf_it_says_what_it_cannot_see(tmp_path: Path) -> None:
    with tracing("execve", "connect", btf=False) as sensor:
        assert sensor.refused["connect"] == "no BTF"
        subprocess.run([_program(tmp_path, "own-true"), "x"], check=False)
        event = _named(events(sensor, lambda told: bool(_named(told, "own-true"))), "own-true")[0]
        assert event.fields.get("proc.is_exe_from_memfd") is None
        assert event.fields.get("thread.cap_effective") is None
        assert event.fields.get("proc.name") == "own-true"


def test_no_tracepoint_is_a_refusal_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: Any) -> int:
        raise OSError(errno.EPERM, "Operation not permitted", "fsopen")

    monkeypatch.setattr(kernel, "detached", no)
    monkeypatch.setattr("custody.adapters.sensors.tracefs._MOUNTED", ())
    probe = Tracing(("execve",)).probe()
    assert (probe.works, probe.covers) == (False, frozenset())
    assert "no tracefs: fsopen" in probe.reason
    with pytest.raises(UnsupportedError, match="ebpf: no tracefs"):
        Tracing(("execve",)).start()


def test_nothing_stays_in_the_kernel(tmp_path: Path) -> None:
    mounts = Path("/proc/self/mounts").read_text()
    with tracing("execve") as sensor:
        held = len(os.listdir("/proc/self/fd"))
        assert sensor.probe().works
        assert len(os.listdir("/proc/self/fd")) == held
    sensor.close()  # a second time
    assert Path("/proc/self/mounts").read_text() == mounts
    assert not [name for name in os.listdir("/proc/self/fd") if "bpf" in os.path.realpath(f"/proc/self/fd/{name}")]


def test_a_stopped_reader_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """SIGSTOP of the whole process: what happens meanwhile waits in the ring."""
    script = ("import sys; sys.path[:0] = sys.argv[1:3]\n"
              "from custody.adapters.sensors.tracing import Tracing\n"
              "import time\n"
              "sensor = Tracing(('execve',)); sensor.start(); print('up', flush=True)\n"
              "end = time.monotonic() + 20\n"
              "def note(event):\n"
              "    if event.fields.get('proc.name') == sys.argv[3]: print(event.fields.get('proc.args'), flush=True)\n"
              "while time.monotonic() < end: sensor.drain(note) or time.sleep(0.01)\n")
    with tracing("execve"):
        pass
    source = str(Path(kernel.__file__).parents[3])
    reader = subprocess.Popen([sys.executable, "-c", script, source, source, BOMB], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    try:
        assert reader.stdout.readline() == "up\n"
        reader.send_signal(signal.SIGSTOP)
        path = _program(tmp_path, BOMB)
        for number in range(300):
            subprocess.run([path, str(number)], check=False)
        reader.send_signal(signal.SIGCONT)
        assert [reader.stdout.readline() for _ in range(300)] == [f"{number}\n" for number in range(300)]
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()


async def _run(sensor: Tracing, told: list[RuntimeEvent], path: str) -> None:
    task = asyncio.create_task(sensor.run(told.append))
    await asyncio.sleep(0.2)
    for number in range(20):
        await (await asyncio.create_subprocess_exec(path, str(number))).wait()
    for _ in range(200):
        if len(_named(told, BOMB)) >= 20:
            break
        await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_the_loop_is_told_and_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    told: list[RuntimeEvent] = []
    with tracing("execve") as sensor:
        asyncio.run(_run(sensor, told, _program(tmp_path, BOMB)))
        numbers = [event.fields.get("proc.args") for event in _named(told, BOMB)]
        assert numbers == [str(number) for number in range(20)]
        assert sensor._held == []
