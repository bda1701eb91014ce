"""What it costs programs and opened files to be seen, and what it costs to see them.

    PYTHONPATH=src:. python bench/runtime/sensors.py [ROUNDS [PROGRAMS]]

As root. A worker starts PROGRAMS (1,000) times /bin/true, one after the other, in an overlay of its own as a container
has it; then it opens a file 50,000 times. In each of ROUNDS (5) that is done without a sensor and beside each of them,
in turn, the order rotated; medians of the rounds are compared. The sensor is another process; its processor time and
that of its keeper are counted. `rules` judges each event by the stock rules of CUSTODY_ORACLES, where they are. With
strace installed it is run beside them, on a tenth of the programs.

fanotify is asked twice for each program: for the program, and for its loader. Opened files come faster than anybody can
read them: what is lost of them is printed. Exit 1 where a program was not told.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.conftest import ORACLES

from custody.adapters.sensors.audit import Audit
from custody.adapters.sensors.fanotify import Fanotify
from custody.adapters.sensors.procconnector import ProcConnector
from custody.adapters.sensors.tracing import Tracing
from custody.formats.telemetry.event import RuntimeEvent
from policylang import falco

OPENS = 50_000
KINDS = ("none", "ebpf", "ebpf, rules", "fanotify", "fanotify, denying", "proc-connector", "audit")
FILES = ("falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml")
WORKER = """
import json, os, sys, time
programs, opens = int(sys.argv[1]), int(sys.argv[2])
for _ in range(20):
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
began = time.perf_counter()
for number in range(programs):
    os.waitpid(os.posix_spawn("/bin/true", ["bench-true", str(number)], {}), 0)
spawned = time.perf_counter() - began
times = {}
for path in ("/etc/hostname", "/usr/lib/os-release"):
    began = time.perf_counter()
    for _ in range(opens):
        os.close(os.open(path, os.O_RDONLY))
    times[path] = (time.perf_counter() - began) / max(1, opens) * 1e6
print(json.dumps({"program": spawned / programs * 1e6, "opens": times}))
"""
Figures = dict[str, Any]


def sense(kind: str, mount: str) -> None:
    """Run a sensor until SIGTERM, and print what it saw."""
    name, _, how = kind.partition(", ")
    types = ("execve", "openat")
    matcher = None
    if how == "rules":
        folder = ORACLES / "falco-rules" / "rules"
        matcher = falco.load([(name, (folder / name).read_bytes()) for name in FILES]).compile()
    made: Any = {"ebpf": lambda: Tracing(matcher.event_types() if matcher else types),
                 "fanotify": lambda: Fanotify(types, mounts=[mount], judge=(
                     lambda execution: execution.sha256 != "0" * 64) if how else None),
                 "proc-connector": lambda: ProcConnector(types), "audit": lambda: Audit(types, rules=True)}[name]()
    told = {"all": 0, "programs": 0, "opens": 0, "alerts": 0}

    def emit(event: RuntimeEvent) -> None:
        told["all"] += 1
        if event.type == "execve":
            told["programs"] += event.fields.get("proc.name") in ("true", "bench-true")
        elif event.fields.get("fd.name") in ("/etc/hostname", "/usr/lib/os-release"):
            told["opens"] += 1
        if matcher is not None:
            told["alerts"] += len(matcher(event.type, event.fields))

    async def run() -> None:
        made.start()
        task = asyncio.create_task(made.run(emit))
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        print("up", flush=True)
        await ended.wait()
        end = time.monotonic() + 1  # the machine does other things too
        while made.drain(emit) and time.monotonic() < end:
            pass
        losses = dict(made.losses())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        times = os.times()  # the keeper's among those of ended children
        print(json.dumps({**told, "losses": losses, "cpu": sum(times[:4])}), flush=True)

    asyncio.run(run())


def measure(kind: str, folder: str, programs: int, opens: int, under: tuple[str, ...] = ()) -> Figures:
    sensor = None
    started = 0.0
    if kind != "none":
        sensor = subprocess.Popen([sys.executable, __file__, "--sense", kind, folder], stdout=subprocess.PIPE,
                                  text=True)
        assert sensor.stdout is not None
        assert sensor.stdout.readline() == "up\n", kind
        started = _cpu(sensor.pid)
    worker = subprocess.run([*under, "chroot", folder, sys.executable, "-c", WORKER, str(programs), str(opens)],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    figures: Figures = json.loads(worker.stdout.splitlines()[-1])
    if sensor is not None:
        time.sleep(0.3)
        sensor.terminate()
        assert sensor.stdout is not None
        figures["seen"] = json.loads(sensor.stdout.readline())
        figures["seen"]["cpu"] -= started
        sensor.wait()
    return figures


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def main(rounds: int, programs: int) -> int:
    with tempfile.TemporaryDirectory() as base:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", base], check=True)
        for name in ("upper", "work", "merged"):
            os.mkdir(f"{base}/{name}")
        folder = f"{base}/merged"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                        f"lowerdir=/,upperdir={base}/upper,workdir={base}/work", folder], check=True)
        try:
            results: dict[str, list[Figures]] = {kind: [] for kind in KINDS}
            for number in range(rounds):
                for at in range(len(KINDS)):
                    kind = KINDS[(at + number) % len(KINDS)]
                    opens = OPENS if kind in ("none", "ebpf", "ebpf, rules") else 0
                    results[kind].append(measure(kind, folder, programs, opens))
            traced = None
            if shutil.which("strace"):
                traced = measure("none", folder, programs // 10, 0, ("strace", "-f", "-qq", "-e", "trace=execve", "-o",
                                                                    "/dev/null"))
        finally:
            subprocess.run(["umount", folder], check=True)
            subprocess.run(["umount", base], check=True)
    return show(results, programs, traced)


def show(results: dict[str, list[Figures]], programs: int, traced: Figures | None) -> int:
    def middle(kind: str, *path: str) -> float:
        values = []
        for figures in results[kind]:
            value: Any = figures
            for name in path:
                value = value[name]
            values.append(value)
        return statistics.median(values)

    base = middle("none", "program")
    print(f"{'':20}{'µs/program':>11}{'x':>7}{'seen':>8}{'CPU µs event':>13}{'lost':>6}")
    lost = 0
    for kind in KINDS:
        line = f"{kind:20}{middle(kind, 'program'):11.0f}{middle(kind, 'program') / base:7.2f}"
        if kind != "none":
            seen = middle(kind, "seen", "programs")
            missing = sum(max(0, programs + 20 - figures["seen"]["programs"]) for figures in results[kind])
            lost += missing if kind != "proc-connector" else 0
            counted = {name: sum(figures["seen"]["losses"].get(name, 0) for figures in results[kind])
                     for figures in results[kind] for name in figures["seen"]["losses"]}
            each = middle(kind, "seen", "cpu") / max(1, middle(kind, "seen", "all")) * 1e6
            line += f"{seen:8.0f}{each:13.0f}{missing:6}  {counted or ''}"
        print(line)
    if traced:
        print(f"{'strace -f':20}{traced['program']:11.0f}{traced['program'] / base:7.2f}")
    print(f"\n{'':20}{'told':>17}{'not told':>20}{'CPU µs an event':>17}")
    for kind in ("none", "ebpf", "ebpf, rules"):
        line = f"{kind:20}"
        for path in ("/etc/hostname", "/usr/lib/os-release"):
            value = middle(kind, "opens", path)
            line += f"{value:9.1f} µs x{value / middle('none', 'opens', path):5.1f}"
        if kind != "none":
            line += f"{middle(kind, 'seen', 'cpu') / middle(kind, 'seen', 'all') * 1e6:13.1f}"
        print(line)
    print(f"\nprograms that were not told, but for the proc connector: {lost}")
    return 1 if lost else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--sense"]:
        sense(sys.argv[2], sys.argv[3])
    elif sys.argv[1:2] == ["--inside"]:
        sys.exit(main(int(sys.argv[2]), int(sys.argv[3])))
    else:
        given = (sys.argv[1:] + ["5", "1000"][len(sys.argv) - 1:])[:2]
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, __file__, "--inside",
                              *given])
