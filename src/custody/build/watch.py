"""Watches a running step for the limits that no rlimit sums up: memory and processes together, output, log, time.

It looks from outside, through /proc and the output folder (proc(5)); the step cannot tell it anything.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path

from custody.build.limits import Limits, show_size
from custody.build.workfolder import walk
from custody.kit.visible import visible

PERIOD = 0.05
"""Seconds from one look at the processes to the next."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_REST = 20
"""Looks that cost more (the output, memory files) rest this many times as long as they took."""

OUTPUT_KEYS = frozenset({"files", "output_size", "depth"})

Exceeded = tuple[str, str]
"""What the step did, and the key of custody-build.toml that says how much of it is allowed."""


class Watch:
    def __init__(self, starter: int, output: Path, limits: Limits, *, helpers: int) -> None:
        """`starter` is the process that was started for the step, of whose descendants `helpers` are not the step's."""
        self._starter, self._output, self._limits, self._helpers = starter, output, limits, helpers
        self._disk = output.stat().st_dev
        self._began = time.monotonic()
        self._next = self._began + PERIOD
        self.log = 0
        """Bytes of output and errors so far; whoever reads them counts."""

    def exceeded(self) -> Exceeded | None:
        """The first limit that the step is over, or None."""
        limits, now = self._limits, time.monotonic()
        if now - self._began > limits.timeout:
            return f"took longer than {limits.timeout} s", "timeout"
        if self.log > limits.log_size:
            return f"wrote more than {show_size(limits.log_size)} of output and errors", "log_size"
        processes = descendants(self._starter)
        if sum(threads for _, threads in processes) - self._helpers > limits.processes:
            return f"had more than {limits.processes} processes and threads", "processes"
        pids = [pid for pid, _ in processes]
        held = 0
        if now >= self._next:
            held, nameless = _held_files(pids, self._disk)
            exceeded = self._output_exceeded(nameless)
            self._next = time.monotonic() + max(PERIOD, _REST * (time.monotonic() - now))
            if exceeded:
                return exceeded
        if sum(_resident(pid) for pid in pids) + held > limits.memory and (
                sum(_private(pid) for pid in pids) + held > limits.memory):
            return f"took more than {show_size(limits.memory)} of memory", "memory"
        return None

    def _output_exceeded(self, nameless: int) -> Exceeded | None:
        """Before the step is done; the output's own check (build.output) says more of what is wrong. `nameless` bytes
        are in files that were removed and are open still: they take as much of the disk."""
        limits, files, size = self._limits, 0, nameless
        if size > limits.output_size:
            return f"held more than {show_size(limits.output_size)} of removed files open", "output_size"
        try:
            for path, status in walk(self._output, racing=True):
                files, size = files + 1, size + status.st_blocks * 512
                if files > limits.files:
                    return f"left more than {limits.files} files and folders", "files"
                if size > limits.output_size:
                    return f"left more than {show_size(limits.output_size)} of files", "output_size"
                if path.count("/") > limits.depth:
                    return f"left folders more than {limits.depth} deep: {visible(path[:80])}…", "depth"
        except OSError:  # the folder itself, while it is made unreadable again and again: it is read in the end
            return None
        return None


def descendants(pid: int) -> list[tuple[int, int]]:
    """Process id and number of threads of each process below `pid`, without `pid`."""
    result, pending = [], _children(pid)
    while pending:
        child = pending.pop()
        children = _children(child)
        result.append((child, max(1, _threads(child))))
        pending += children
    return result


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            children += map(int, _read(f"/proc/{pid}/task/{task}/children").split())
    except OSError:  # it has ended
        pass
    return children


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def _resident(pid: int) -> int:
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE if fields else 0


def _private(pid: int) -> int:
    """What the process takes of memory, its share of what it shares, without the files that it maps."""
    fields = dict(line.split(":", 1) for line in _read(f"/proc/{pid}/smaps_rollup").splitlines()[1:])
    if "Pss_Anon" in fields:
        return sum(int(fields[name].split()[0]) * 1024 for name in ("Pss_Anon", "Pss_Shmem"))
    statm = _read(f"/proc/{pid}/statm").split()  # of a process that may not be looked into
    return (int(statm[1]) - int(statm[2])) * _PAGE if statm else 0


def _held_files(pids: list[int], disk: int) -> tuple[int, int]:
    """Bytes in files without a name that the processes hold open: in memory (memfd_create(2)), and on device `disk`.

    Each thread may have descriptors of its own (clone(2) without CLONE_FILES).
    """
    memory: dict[tuple[int, int], int] = {}
    removed: dict[tuple[int, int], int] = {}
    for folder in (f"/proc/{pid}/task/{task}/fd" for pid in pids for task in _entries(f"/proc/{pid}/task")):
        for number in _entries(folder):
            with contextlib.suppress(OSError):  # it was closed
                path = f"{folder}/{number}"
                status = os.stat(path)
                if status.st_nlink or not stat.S_ISREG(status.st_mode):
                    continue
                if status.st_dev == disk:
                    removed[status.st_dev, status.st_ino] = status.st_blocks * 512
                elif os.readlink(path).startswith("/memfd:"):
                    memory[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(memory.values()), sum(removed.values())


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # it has ended
        return []


def _read(path: str) -> str:
    try:
        with open(path) as stream:
            return stream.read()
    except OSError:  # it has ended
        return ""
