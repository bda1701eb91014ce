"""The processes of a machine: who started whom, which program each runs, where it belongs.

Kept from events (a process was made, a program was started, it ended) over what /proc says at the start; a process that
no event told of is read from /proc when it is first asked for. What a program was is kept for its children and theirs,
as long as one of them is there; what a name in /proc says is believed only of the process that is meant, not of a later
one with its number.
"""

from __future__ import annotations

import os
import posixpath
import struct
import time
from collections import OrderedDict

from custody.adapters.sensors import kernel, layout, names, procfs
from custody.adapters.sensors.containers import HOST, Container, container
from custody.adapters.sensors.digests import Digests
from custody.adapters.sensors.patience import Patience

MOST = 1 << 17
"""Processes and threads that are kept; the kernel's own limit is 2²², and usually 2¹⁵ or 2¹⁷."""
_TOP = ((1, 1), (1, 0))
_GROUPS = 8192
_CONTAINERS = 512
_SURE = 0.5
"""Seconds in which no machine goes through all its numbers."""
_USERS = 2000
"""Lines of a container's /etc/passwd that are read."""
_DEEP = 32
"""Ancestors that are kept of a process whose ancestors have ended."""
_OVERLAY, _TMPFS = 0x794C7630, 0x01021994
_length = struct.Struct("=I")


class Program:
    """What a process executes: shared by those that it makes."""

    __slots__ = ("arguments", "asked", "command", "device", "environment", "inode", "leaf", "links", "magic", "path",
                 "upper")

    def __init__(self, command: str, asked: str | None = None, arguments: tuple[str, ...] | None = None) -> None:
        self.command = command
        self.asked = asked
        """The path that was asked for: it may be relative, or a script's."""
        self.arguments = arguments
        self.environment: tuple[str, ...] | None = None
        self.path: str | None = None
        """Of the file that runs, once /proc was asked."""
        self.leaf = ""
        """The file's own name, as the kernel has it."""
        self.inode = self.device = self.magic = 0
        self.links: int | None = None
        self.upper: bool | None = None

    @property
    def memory(self) -> bool | None:
        """Is the file one that memfd_create(2) made? None where the kernel did not say."""
        if self.links is None:
            return None if self.path is None else self.path.startswith("/memfd:")
        return self.links == 0 and self.magic == _TMPFS and self.leaf.startswith("memfd:")


class Process:
    __slots__ = ("container", "cwd", "ended", "login", "parent", "pid", "program", "session", "started", "tty", "vpgid",
                 "vpid")

    def __init__(self, pid: int, program: Program, parent: Process | None) -> None:
        self.pid, self.program, self.parent = pid, program, parent
        self.started = 0
        """Nanoseconds since the machine started; 0: not known."""
        self.container: Container | None = None
        self.cwd: str | None = None
        self.ended = False
        self.vpid: int | None = None
        self.vpgid: int | None = None
        self.session: int | None = None
        self.tty: int | None = None
        self.login: int | None = None

    def virtual(self) -> tuple[int | None, int | None]:
        """Its number and its group's, in its own namespace."""
        if self.vpid is None and not self.ended:
            status = procfs.status(self.pid)
            if self.lives():
                self.vpid, self.vpgid = _last(status.get("NSpid")), _last(status.get("NSpgid"))
        return self.vpid, self.vpgid

    def logged_in(self) -> int | None:
        """The user who logged in, whoever it is now; -1: nobody did."""
        if self.login is None and not self.ended:
            login = procfs.read(f"/proc/{self.pid}/loginuid", 16)
            if login and login.isdigit() and self.lives():
                self.login = _signed(int(login))
        return self.login

    def lives(self) -> bool:
        """Is what /proc/PID says said of this process?"""
        if self.ended:
            return False
        stat = procfs.stat(self.pid)
        return stat is not None and (not self.started or abs(stat.started - self.started // procfs.TICK) <= 1)

    def link(self, name: str) -> str | None:
        """/proc/PID/name; None where the process has ended."""
        if self.ended:
            return None
        target = procfs.link(f"/proc/{self.pid}/{name}")
        return target if target is not None and self.lives() else None

    def path(self) -> str | None:
        """The file that is executed."""
        program = self.program
        if program.path is None:
            program.path = self.link("exe")
            if program.path is None and program.asked is not None:
                if program.leaf.startswith("memfd:") and program.links == 0:
                    return f"/{program.leaf} (deleted)"
                return self.resolved(program.asked) if not program.asked.startswith("/dev/fd/") else None
        return program.path

    def folder(self) -> str | None:
        """The working directory."""
        if self.cwd is None:
            self.cwd = self.link("cwd")
        return self.cwd

    def resolved(self, path: str, folder: str | None = None) -> str:
        """An absolute path without `.` and `..`; as it is where nobody knows the folder that it begins from."""
        if not path.startswith("/"):
            folder = folder if folder is not None else self.folder()
            if folder is None:
                return path
            path = f"{folder}/{path}"
        return posixpath.normpath(path).replace("//", "/", 1) if path.startswith("//") else posixpath.normpath(path)

    def ancestors(self) -> list[Process]:
        """From the parent on."""
        line: list[Process] = []
        process = self.parent
        while process is not None and len(line) < 4 * _DEEP:
            line.append(process)
            process = process.parent
        return line


class Processes:
    def __init__(self, most: int = MOST) -> None:
        self.digests = Digests()
        self.patience = Patience()
        self._known: dict[int, Process] = {}
        self._most = most
        self._asked: dict[int, float] = {}
        self._groups: OrderedDict[tuple[int, int], Container] = OrderedDict()
        self._layers: OrderedDict[str, str | None] = OrderedDict()
        self._users: OrderedDict[str, dict[int, str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def scan(self) -> None:
        """Read all that are there."""
        for pid in procfs.processes():
            self.of(pid)

    def of(self, pid: int, depth: int = 0) -> Process:
        """Of a process's number. One of which nothing is known has no name."""
        process = self._known.get(pid)
        if process is None:
            process = self._read(pid, depth)
            self._keep(process)
        return process

    def asking(self, pid: int) -> Process:
        """Who waits to run a program, as /proc says now; it becomes one that is not kept.

        Where no events tell of ends, what was known of a number may be of a process before.
        """
        stat = procfs.stat(pid)
        process = Process(pid, Program(stat.command if stat else ""), None)
        if stat is None:
            process.ended = True
            return process
        process.started, process.tty, process.session = stat.started * procfs.TICK, stat.tty, stat.session
        groups = procfs.read(f"/proc/{pid}/cgroup")
        process.container = container(procfs.text(groups)) if groups is not None else None
        now = time.monotonic()
        parent = self._known.get(stat.parent)
        if parent is not None and now - self._asked.get(stat.parent, 0.0) > _SURE and not parent.lives():
            self.end(stat.parent)
            parent = None
        if parent is None and stat.parent > 0:
            parent = self.of(stat.parent)
        if len(self._asked) > _GROUPS:
            self._asked.clear()
        self._asked[stat.parent] = now
        process.parent = parent
        return process

    def replaced(self, pid: int) -> Process | None:
        """It runs another program now, as /proc says; None where it has ended. Its parent is the one that was told."""
        before = self._known.get(pid)
        process = self._read(pid, 0)
        if process.ended:
            return None
        if before is not None and before.parent is not None:
            process.parent = before.parent
        self._keep(process)
        return process

    def _keep(self, process: Process) -> None:
        self._known.pop(process.pid, None)
        self._known[process.pid] = process
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]

    def _read(self, pid: int, depth: int) -> Process:
        stat = procfs.stat(pid)
        if stat is None:
            process = Process(pid, Program(""), None)
            process.ended = True
            return process
        program = Program(stat.command, arguments=self.patience.ask(lambda: procfs.arguments(pid)))
        # Cut at 128: a line of parents as long as that is somebody's who wants it to be.
        parent = self.of(stat.parent, depth + 1) if stat.parent > 0 and depth < 4 * _DEEP else None
        process = Process(pid, program, parent)
        process.started, process.tty, process.session = stat.started * procfs.TICK, stat.tty, stat.session
        groups = procfs.read(f"/proc/{pid}/cgroup")
        process.container = container(procfs.text(groups)) if groups is not None else None
        process.path()
        return process

    # --- events -----------------------------------------------------------------------------------------------------

    def fork(self, parent: int, child: int) -> None:
        """`child` may be a thread: nothing asks for it then, and it goes when it ends."""
        origin = self.of(parent)
        process = Process(child, origin.program, origin)
        process.container, process.cwd, process.login = origin.container, origin.cwd, origin.login
        process.tty, process.session, process.vpgid = origin.tty, origin.session, origin.vpgid
        self._keep(process)
        if child % 16 == 0:
            _cut(process)

    def end(self, thread: int) -> None:
        process = self._known.pop(thread, None)
        if process is not None:
            process.ended = True

    def execute(self, pid: int, group: tuple[int, int], command: str, record: bytes) -> Process:
        """A program was started, of which `record` tells what the kernel knew (layout.EXECUTED)."""
        (parent, vpid, vpgid, session, login, tty, major, minor, inode, magic, device, links, started, path_length,
         arguments, environment, leaf, upper) = layout.EXECUTED.unpack_from(record, layout.BODY)
        rich = _length.unpack_from(record, layout.FLAGS)[0] & layout.RICH
        at = layout.EXECUTED_TEXTS
        asked = procfs.text(record[at:at + max(0, path_length - 1)])
        at += path_length
        program = Program(command, asked, procfs.words(record[at:at + arguments]) if rich else
                          self.patience.ask(lambda: procfs.arguments(pid)))
        at += arguments
        if rich:
            program.environment = procfs.words(record[at:at + environment]) if environment else None
            at += environment
            program.leaf = procfs.text(record[at:at + max(0, leaf - 1)])
            program.inode, program.device, program.magic, program.links = inode, device, magic, links
            program.upper = {1: False, 2: True}.get(upper)
        known = self._known.get(pid)
        if known is None or (rich and known.started and abs(known.started - started) > 2 * procfs.TICK):
            # No event told of it, or a later process has its number.
            known = Process(pid, program, self.of(parent) if rich and parent else None) if rich else self._read(pid, 0)
            self._keep(known)
        elif rich and known.parent is None and parent:
            known.parent = self.of(parent)
        known.program = program
        if rich:
            known.started, known.vpid, known.vpgid, known.session = started, vpid, vpgid, session
            known.login = _signed(login)
            known.tty = 0 if not major else (major << 8 | (minor + tty) & 0xFF | ((minor + tty) & 0xFFF00) << 12)
        known.container = self.located(known, group, again=True)
        return known

    def located(self, process: Process, group: tuple[int, int], *, again: bool = False) -> Container | None:
        """The container of a control group (its number in the v2 and in a v1 hierarchy): asked of /proc once.

        Of the groups at the top, which say nothing, it is what was known of the process; `again`: asked anew.
        """
        if not again and group in _TOP and process.container is not None:
            return process.container
        known = self._groups.get(group)
        if known is None:
            text = procfs.read(f"/proc/{process.pid}/cgroup")
            if text is None:  # it has ended: its parent's, which it hardly ever leaves
                parent = process.parent
                return process.container or (parent.container if parent else None)
            known = container(procfs.text(text))
            # A hierarchy that is not asked about may still say more.
            if known != HOST or group not in _TOP:
                self._groups[group] = known
                if len(self._groups) > _GROUPS:
                    self._groups.popitem(last=False)
        return known

    def user(self, process: Process, number: int) -> str | None:
        """A user's name, by the /etc/passwd of the container, or of this machine; None where there is no such user."""
        where = process.container
        if where is None or not where.full:
            return names.user(number) if where is not None else None
        users = self._users.get(where.full)
        if users is None:
            users = self.patience.ask(lambda: _users(process))
            if users is None:
                return "root" if number == 0 else None
            self._users[where.full] = users
            if len(self._users) > _CONTAINERS:
                self._users.popitem(last=False)
        return users.get(number)

    def upper(self, process: Process) -> bool | None:
        """Is the executed file in the upper layer of an overlay: written after the container was made?"""
        program = process.program
        if program.upper is None:
            path = process.path()
            if program.links is not None and program.magic != _OVERLAY:
                program.upper = False
            elif path is not None and (folder := self._upper_folder(process)) is not None:
                program.upper = procfs.exists(folder + path.removesuffix(" (deleted)"))
        return program.upper

    def _upper_folder(self, process: Process) -> str | None:
        """`upperdir` of the overlay that is the process's root; empty: it is none."""
        where = process.container or HOST
        if where.full and where.full in self._layers:
            return self._layers[where.full] or None
        mounts = procfs.read(f"/proc/{process.pid}/mountinfo", 1 << 20) if process.lives() else None
        if mounts is None:
            return None
        folder = ""
        for line in procfs.text(mounts).splitlines():
            parts = line.split(" ")
            if len(parts) > 6 and parts[4] == "/" and " - overlay " in line:
                folder = next((option[9:] for option in parts[-1].split(",") if option.startswith("upperdir=")), "")
        if where.full:
            self._layers[where.full] = folder
            if len(self._layers) > _GROUPS:
                self._layers.popitem(last=False)
        return folder or None


def _users(process: Process) -> dict[int, str] | None:
    """The container wrote this file: it is read without following links out of it, and not for long."""
    try:
        root = os.open(f"/proc/{process.pid}/root", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        file = kernel.open_within(root, "etc/passwd")
    except OSError as error:
        return {} if isinstance(error, FileNotFoundError) and process.lives() else None
    finally:
        os.close(root)
    try:
        data = os.read(file, 1 << 17) if process.lives() else None
    finally:
        os.close(file)
    if data is None:
        return None
    users: dict[int, str] = {}
    for line in procfs.text(data).split("\n")[:_USERS]:
        parts = line.split(":")
        if len(parts) > 3 and parts[2].isdecimal() and len(parts[2]) < 11:
            users.setdefault(int(parts[2]), parts[0][:64])
    return users


def _cut(process: Process) -> None:
    """Programs that fork and end, one after the other, must not keep a line of ancestors for ever."""
    for _ in range(_DEEP):
        if process.parent is None:
            return
        process = process.parent
    if process.ended:
        process.parent = None


def _last(numbers: str | None) -> int | None:
    return int(numbers.split()[-1]) if numbers else None


def _signed(number: int) -> int:
    return -1 if number in (-1, 0xFFFFFFFF) else number
