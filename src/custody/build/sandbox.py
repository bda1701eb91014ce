"""Runs a build step where it can reach nothing but its inputs: no network, no secrets, no other process.

`bubblewrap` and `namespaces` give the step its own user, mount, process, network, IPC and host-name namespaces, the
root of build.rootfs, the filter of build.seccomp, no capability, a user who is not the kernel's root, and the limits
of build.limits. It is shared-kernel isolation: an exploit of the kernel leaves it. `none` runs the step as it is,
with the limits alone, and is another builder, for whom a policy must ask by name.

The step finds CUSTODY_SOURCE, CUSTODY_INPUTS (both read-only) and CUSTODY_OUTPUT, and SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import marshal
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from custody.build import launcher, rootfs
from custody.build.bubblewrap import bwrap_flags
from custody.build.limits import MIB, Limits
from custody.build.seccomp import compile_filter, system_calls
from custody.build.watch import OUTPUT_KEYS, PERIOD, Exceeded, Watch, descendants
from custody.build.workfolder import walk, work_folder
from custody.errors import CustodyError, UnsupportedError, UsageError
from custody.kit.visible import visible

KINDS = ("bubblewrap", "namespaces", "none")
_KEPT_LOG = 4 * MIB
_GRACE = 5.0
"""Seconds that a killed step's processes may take to end before their starter is killed too."""


@dataclass(frozen=True, slots=True)
class StepResult:
    exit_code: int
    """As a shell says it: 128 and the signal's number where a signal ended the step."""
    log: bytes
    """Output and errors of the step, the last 4 MiB."""


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of a build, in one that only the builder may enter."""

    source: Path
    inputs: Path
    output: Path
    root: Path
    etc: Path

    @classmethod
    def create(cls, work: Path) -> Places:
        places = cls(*(work / name for name in ("source", "inputs", "output", "root", "etc")))
        for folder in (places.source, places.inputs, places.output, places.root, places.etc):
            folder.mkdir()
            folder.chmod(0o755)  # whatever the umask
        rootfs.write_etc(places.etc)
        return places


def choose_isolation(requested: str | None = None) -> str:
    """The isolation to use: the strongest that works here, or the one asked for. Raises UnsupportedError."""
    if requested is not None and requested not in KINDS:
        raise UsageError(f"--isolation: got {requested!r}, expected one of {', '.join(KINDS)}")
    if requested == "none":
        return requested
    reasons = []
    for kind in ("bubblewrap", "namespaces"):
        if requested in (None, kind):
            reason = _probe(kind, os.environ.get("PATH", ""), os.geteuid())
            if reason is None:
                return kind
            reasons.append(f"{kind}: {reason}")
    raise UnsupportedError("build isolation", "; ".join(reasons), hint=_hint())


@functools.cache
def _probe(kind: str, path: str, user: int) -> str | None:  # noqa: ARG001 - a part of the cache's key
    """Why a step cannot be isolated so; None where it can. It runs one, as builds are run."""
    if kind == "bubblewrap" and shutil.which("bwrap", path=path) is None:
        return "bwrap is not installed"
    try:
        with work_folder(Path(tempfile.gettempdir())) as work:
            step = run_step(["true"], kind=kind, places=Places.create(work), epoch=0, limits=Limits(timeout=60))
    except (CustodyError, OSError) as error:
        return str(error).removeprefix(f"build isolation {kind}: ")
    return None if step.exit_code == 0 else f"a step that only ends, ended with exit code {step.exit_code}"


def _hint() -> str:
    for path, forbidding, way in (
            ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
             "an AppArmor profile for bwrap that allows userns, or run the builder as root"),
            ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
            ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=1000")):
        with contextlib.suppress(OSError):
            if Path(path).read_text().strip() == forbidding:
                return f"{path} is {forbidding}: {way}"
    return "apt install bubblewrap; or --isolation none, which is another builder.id"


def describe(kind: str) -> dict[str, str | int]:
    """For provenance: what stands between the step and this machine."""
    if kind == "none":
        return {}
    program = compile_filter(platform.machine())
    return {"seccomp": f"sha256:{hashlib.sha256(program).hexdigest()}", "uid": rootfs.UID}


def tool_version(kind: str) -> dict[str, str]:
    """Name and version of the isolating program, for provenance."""
    if kind == "namespaces":
        return {"linux": platform.release()}
    if kind != "bubblewrap":
        return {}
    done = subprocess.run(["bwrap", "--version"], capture_output=True, text=True, check=False)
    return {"bwrap": (done.stdout.split() or ["unknown"])[-1]}


def run_step(command: list[str], *, kind: str, places: Places, epoch: int, limits: Limits) -> StepResult:
    """Run `command` and wait until nothing of it runs any more.

    Raises CustodyError when it is over a limit, cannot be started, or cannot be isolated; UsageError when it left too
    much.
    """
    python = Path(sys.base_prefix).resolve()
    if as_root() and kind != "none":
        _give(places)
    specification = _specification(command, kind, places, epoch, limits, python)
    with contextlib.ExitStack() as stack:
        code = stack.enter_context(_memory_file("launcher", _launcher()))
        status, status_end = (stack.enter_context(end) for end in _pipe())
        log, log_end = (stack.enter_context(end) for end in _pipe())
        lifeline, _held = (stack.enter_context(end) for end in _pipe())  # however this process ends, the step does
        specification |= {"status": status_end.fileno(), "lifeline": lifeline.fileno()}
        text = stack.enter_context(_memory_file("step", marshal.dumps(specification)))
        arguments = [_interpreter(python), "-I", "-S", f"/proc/self/fd/{code.fileno()}", str(text.fileno())]
        if kind == "bubblewrap":
            mounts = rootfs.mounts(python, places.etc, places.source, places.inputs, places.output, limits)
            isolating = [shutil.which("bwrap") or "bwrap", *bwrap_flags(mounts, root=as_root()), "--"]
            arguments = [*isolating, *arguments]
        starter = subprocess.Popen(arguments, env={}, cwd="/", stdin=subprocess.DEVNULL, stdout=log_end, stderr=log_end,
                                   start_new_session=True,
                                   pass_fds=[end.fileno() for end in (code, text, status_end, lifeline)])
        try:
            for end in (status_end, log_end, lifeline):
                end.close()
            watch = Watch(starter.pid, places.output, limits, helpers=0 if kind == "none" else 1)
            kept, exceeded = _follow(starter, log, watch)
        finally:
            _end(starter)
        started, _, reason = (status.read(4096) or b"").decode("utf-8", "replace").partition("\n")
    if exceeded is not None:
        did, key = exceeded
        error = UsageError if key in OUTPUT_KEYS else CustodyError  # as the output's own check says it
        raise error(f"build step: {did}", hint=f"raise build.{key} in custody-build.toml")
    if started != "started":
        lines = visible(kept.decode("utf-8", "replace").strip(), keep="\n").splitlines()
        raise CustodyError(f"build isolation {kind}: {started or (lines or ['it ended before the step began'])[-1]}")
    if reason:
        raise CustodyError(f"build step: {visible(command[0])}: {reason}")
    return StepResult(starter.returncode, kept)


def _specification(command: list[str], kind: str, places: Places, epoch: int, limits: Limits,
                   python: Path) -> dict[str, object]:
    """What the launcher reads."""
    outside = (places.source, places.inputs, places.output)
    inside = outside if kind == "none" else (Path("/src"), Path("/inputs"), Path("/out"))
    environment = {
        "PATH": f"{python}/bin:/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC",  # noqa: S108
        "SOURCE_DATE_EPOCH": str(epoch), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0",
        "CUSTODY_SOURCE": str(inside[0]), "CUSTODY_INPUTS": str(inside[1]), "CUSTODY_OUTPUT": str(inside[2])}
    specification: dict[str, object] = {
        "kind": kind, "command": command, "environment": environment, "folder": str(inside[0]),
        "limits": limits.kernel(isolated=kind != "none")}
    if kind != "none":
        machine = platform.machine()
        numbers = system_calls(machine)
        specification |= {
            "uid": rootfs.UID, "drop": as_root(), "hostname": rootfs.HOSTNAME, "root": str(places.root),
            "filter": compile_filter(machine),
            "numbers": {name: numbers[name] for name in ("keyctl", "mount_setattr", "pivot_root")},
            "mounts": rootfs.mounts(python, places.etc, *outside, limits)}
    return specification


def as_root() -> bool:
    """Whether the builder is root who can become the step's user.

    In a user namespace without that user (`unshare -r`, containers without root's range) root is the ordinary user who
    made it, and steps are isolated as that one's are.
    """
    return os.geteuid() == 0 and all(_mapped(Path(f"/proc/self/{kind}_map").read_text()) for kind in ("uid", "gid"))


def _mapped(table: str) -> bool:
    """Whether a table of user_namespaces(7), lines of first inside, first outside and length, has the step's user."""
    rows = [[int(number) for number in line.split()] for line in table.splitlines()]
    return any(inside <= rootfs.UID < inside + length for inside, _, length in rows)


def _give(places: Places) -> None:
    """To the step's user, who is not root: the output, to write in; source and inputs, mounted read-only, to own
    what a user who is not root would own there."""
    for folder in (places.source, places.inputs, places.output):
        os.chown(folder, rootfs.UID, rootfs.UID)
        for path, _ in walk(folder):
            os.chown(folder / path, rootfs.UID, rootfs.UID, follow_symlinks=False)


def _interpreter(python: Path) -> str:
    """The Python that the step can see: a virtual environment's is outside."""
    program = python / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return str(program if program.exists() else Path(sys.executable).resolve())


@functools.cache
def _launcher() -> bytes:
    """As a .pyc, which the same Python runs without compiling it again (PEP 552)."""
    code = compile(Path(launcher.__file__).read_text(), "launcher", "exec", dont_inherit=True)
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


def _memory_file(name: str, data: bytes) -> IO[bytes]:
    stream = os.fdopen(os.memfd_create(name), "r+b", buffering=0)
    stream.write(data)
    stream.seek(0)
    return stream


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb", buffering=0), os.fdopen(writing, "wb", buffering=0)


def _follow(starter: subprocess.Popen[bytes], log: IO[bytes], watch: Watch) -> tuple[bytes, Exceeded | None]:
    """Read the log and look at the watch until the starter has ended. The last 4 MiB, and the limit that was met."""
    kept: deque[bytes] = deque()
    size = 0
    handle = os.pidfd_open(starter.pid)
    waiting: list[int] = [handle, log.fileno()]
    look = time.monotonic() + PERIOD
    try:
        while True:
            ready = select.select(waiting, [], [], max(0.0, look - time.monotonic()))[0]
            if log.fileno() in ready:
                data = log.read(1 << 16)
                if not data:
                    waiting.remove(log.fileno())
                    continue
                watch.log += len(data)
                kept.append(data)
                size += len(data)
                while size - len(kept[0]) >= _KEPT_LOG:
                    size -= len(kept.popleft())
            elif handle in ready:
                return b"".join(kept)[-_KEPT_LOG:], None
            if time.monotonic() >= look:
                exceeded = watch.exceeded()
                if exceeded is not None:
                    return b"".join(kept)[-_KEPT_LOG:], exceeded
                look = time.monotonic() + PERIOD
    finally:
        os.close(handle)


def _end(starter: subprocess.Popen[bytes]) -> None:
    """Kill what still runs. Process 1 of a PID namespace takes all others with it, and the starter ends after it."""
    last = time.monotonic() + _GRACE
    while starter.poll() is None and time.monotonic() < last:
        for pid, _ in descendants(starter.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            starter.wait(0.02)
    starter.kill()
    starter.wait()
