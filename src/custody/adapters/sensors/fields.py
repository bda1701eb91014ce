"""Falco's fields of an event of this machine: worked out when a rule asks, None where nobody can know."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from custody.adapters.sensors import names, procfs
from custody.adapters.sensors.peer import End, Peer
from custody.adapters.sensors.processes import Process, Processes
from custody.adapters.sensors.syscalls import AT_FDCWD, Call

_ABSENT = object()
_LOCAL = frozenset((0xEF53, 0x58465342, 0x9123683E, 0x794C7630, 0x01021994, 0x858458F6, 0xF2F52010, 0x2FC12FC1,
                    0x73717368, 0xE0F5E1E2, 0x9660))
"""Filesystems (linux/magic.h) whose files the kernel reads by itself: ext, XFS, Btrfs, overlay, tmpfs, ramfs, F2FS,
ZFS, SquashFS, EROFS, ISO 9660."""
Known = Callable[[str], Mapping[str, Any] | None]
"""What is known of a container besides, by its identifier of 64 digits: fields `container.…`, `k8s.…`."""


class SyscallFields:
    """Answers `get(field)`; each is worked out once."""

    __slots__ = ("arguments", "at", "call", "effective", "gid", "known", "name", "number", "origin", "peer",
                 "permitted", "process", "result", "table", "texts", "tid", "uid")

    def __init__(self, name: str, process: Process, table: Processes, origin: Known | None = None) -> None:
        self.name, self.process, self.table, self.origin = name, process, table, origin
        self.known: dict[str, Any] = {}
        self.at: int | None = None
        self.number = 1
        self.tid, self.uid, self.gid = process.pid, -1, -1
        self.result: int | None = None
        self.effective: int | None = None
        self.permitted: int | None = None
        self.call: Call | None = None
        self.arguments: tuple[int, ...] = ()
        self.texts: tuple[str | None, ...] = ()
        self.peer: Peer | None = None

    def get(self, name: str, /) -> Any:
        value = self.known.get(name, _ABSENT)
        if value is _ABSENT:
            value = self.known[name] = self._read(name)
        return value

    def _read(self, name: str) -> Any:
        reader = _READERS.get(name)
        if reader is not None:
            return reader(self)
        stem, bracket, argument = name.partition("[")
        if bracket:
            reader_at = _INDEXED.get(stem)
            return reader_at(self, argument[:-1]) if reader_at else self._besides(name)
        if name.startswith("evt.arg."):
            return self.argument(name[8:])
        if name.startswith(("container.", "k8s.")):
            return self._besides(name)
        return None

    def _besides(self, name: str) -> Any:
        where = self.process.container
        value = None
        if self.origin is not None and where is not None and where.full:
            value = (self.origin(where.full) or {}).get(name)
        # As Falco says of a mount that is not there, or not known: rules ask for this text.
        return "N/A" if value is None and name.startswith("container.mount") else value

    # --- arguments --------------------------------------------------------------------------------------------------

    def argument(self, name: str) -> str | None:
        if name == "res":
            return None if self.result is None else names.outcome(self.result)
        if self.call is None:
            return None
        if name == "filename" and self.call.flags is not None:
            name = "name"
        for called, place, shown in self.call.arguments:
            if called == name:
                return self._shown(place, shown)
        return None

    def _shown(self, place: int, shown: str) -> str | None:
        if shown in ("path", "text"):
            text = self.texts[place] if place < len(self.texts) else None
            return text if shown == "text" or text is None else self.path(place)
        if place < 0:
            return None if self.result is None else str(self.result)
        if shown == "fd":
            return str(_int(self.arguments[place]))
        if shown == "user":
            number = self.arguments[place] & 0xFFFFFFFF
            return self.table.user(self.process, number) or str(number)
        if shown == "open" and self.name == "openat2":
            return names.open_flags(self.arguments[2])
        return names.SHOWN[shown](self.arguments[place] & 0xFFFFFFFF)

    def path(self, number: int) -> str | None:
        """A text as an absolute path; as it was given where its folder is not known any more."""
        text = self.texts[number] if number < len(self.texts) else None
        if text is None or self.call is None or text.startswith("/"):
            return text if text is None else self.process.resolved(text)
        folder = self.call.folders[number]
        if folder is None or _int(self.arguments[folder]) == AT_FDCWD:
            return self.process.resolved(text)
        below = self.process.link(f"fd/{_int(self.arguments[folder])}")
        return text if below is None else self.process.resolved(text, below)

    def flags(self) -> int | None:
        if self.call is None or self.call.flags is None:
            return 0o1101 if self.name == "creat" else None  # O_CREAT | O_WRONLY | O_TRUNC
        return self.arguments[2 if self.call.flags == -1 else self.call.flags]


def _int(number: int) -> int:
    number &= 0xFFFFFFFF
    return number - (1 << 32) if number >> 31 else number


# --- the event ------------------------------------------------------------------------------------------------------

def _write(event: SyscallFields) -> bool | None:
    flags = event.flags()
    return None if flags is None else flags & 3 in (1, 2)


def _reading(event: SyscallFields) -> bool | None:
    flags = event.flags()
    return None if flags is None else flags & 3 in (0, 2) and not flags & 0o10000000


def _create(event: SyscallFields) -> bool | None:
    flags = event.flags()
    return None if flags is None else bool(flags & 0o100) and (event.result or 0) >= 0


def _executable(event: SyscallFields) -> bool | None:
    """Made so that it can be executed."""
    flags = event.flags()
    if flags is None:
        return None
    place = {"open": 2, "openat": 3, "creat": 1}.get(event.name)
    return None if place is None else bool(flags & 0o20000100) and bool(event.arguments[place] & 0o111)


def _arguments(event: SyscallFields) -> str | None:
    if event.call is None:
        return None
    shown = [(called, event.argument(called)) for called, _, _ in event.call.arguments]
    return " ".join(f"{called}={value}" for called, value in (("res", event.argument("res")), *shown)
                    if value is not None)


# --- the process ----------------------------------------------------------------------------------------------------

def _line(process: Process) -> str | None:
    """Falco's cmdline: the name, and the arguments but the first."""
    words = process.program.arguments
    if not process.program.command:
        return None
    return " ".join((process.program.command, *(words or ())[1:]))


def _first(process: Process) -> str | None:
    words = process.program.arguments
    return words[0] if words else process.program.asked or process.program.command or None


def _name(process: Process) -> str | None:
    return process.program.command or None


def _of_parent(read: Callable[[Process], Any]) -> Callable[[SyscallFields], Any]:
    return lambda event: None if event.process.parent is None else read(event.process.parent)


def _own(read: Callable[[Process], Any]) -> Callable[[SyscallFields], Any]:
    return lambda event: read(event.process)


def _all(read: Callable[[Process], Any]) -> Callable[[SyscallFields], Any]:
    return lambda event: [value for process in event.process.ancestors()
                          if (value := read(process)) is not None] or None


def _nth(read: Callable[[Process], Any]) -> Callable[[SyscallFields, str], Any]:
    def value(event: SyscallFields, argument: str) -> Any:
        if not argument.isdecimal() or len(argument) > 3:
            return None
        line = [event.process, *event.process.ancestors()]
        return read(line[int(argument)]) if int(argument) < len(line) else None

    return value


def _words(event: SyscallFields) -> str | None:
    words = event.process.program.arguments
    return None if words is None else " ".join(words[1:])


def _word(event: SyscallFields, argument: str) -> str | None:
    words = (event.process.program.arguments or ())[1:]
    return words[int(argument)] if argument.isdecimal() and len(argument) < 6 and int(argument) < len(words) else None


def _environment(event: SyscallFields) -> str | None:
    program = event.process.program
    if program.environment is None:
        path = f"/proc/{event.process.pid}/environ"
        data = event.table.patience.ask(lambda: procfs.read(path, 4096)) if event.process.lives() else None
        program.environment = procfs.words(data) if data is not None else None
    return None if program.environment is None else " ".join(program.environment)


def _variable(event: SyscallFields, name: str) -> str | None:
    text = _environment(event)
    variables = event.process.program.environment if text is not None else None
    return next((value[len(name) + 1:] for value in variables or () if value.startswith(f"{name}=")), None)


def _digest(event: SyscallFields) -> str | None:
    """Of the file that the process executes, read through /proc: those bytes, whatever lies at the path by now."""
    process = event.process
    if process.program.magic not in _LOCAL:  # who serves a filesystem decides how long a read takes
        return None
    try:
        file = os.open(f"/proc/{process.pid}/exe", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return event.table.digests.of(file) if process.lives() else None
    finally:
        os.close(file)


def _duration(event: SyscallFields) -> int | None:
    """Nanoseconds that the process is there."""
    started = _started(event.process)
    return None if not started else max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - started)


def _started(process: Process) -> int:
    if not process.started and process.lives() and (stat := procfs.stat(process.pid)) is not None:
        process.started = stat.started * procfs.TICK
    return process.started


def _leader(event: SyscallFields) -> bool | None:
    number, group = event.process.virtual()
    return None if number is None or group is None else number == group


def _session_name(event: SyscallFields) -> str | None:
    process = event.process
    return None if not process.session else _name(event.table.of(process.session))


def _user(event: SyscallFields) -> str | None:
    """`<NA>` where there is no such user."""
    return None if event.uid < 0 else event.table.user(event.process, event.uid) or "<NA>"


def _login_name(event: SyscallFields) -> str | None:
    login = event.process.logged_in()
    return "<NA>" if login is None or login < 0 else names.user(login)


def _effective(event: SyscallFields) -> str | None:
    return None if event.effective is None else names.capabilities(event.effective)


def _permitted(event: SyscallFields) -> str | None:
    return None if event.permitted is None else names.capabilities(event.permitted)


def _container(event: SyscallFields) -> str | None:
    return None if event.process.container is None else event.process.container.id


def _full(event: SyscallFields) -> str | None:
    where = event.process.container
    return None if where is None else where.full or "host"


def _kind(event: SyscallFields) -> str | None:
    return None if event.process.container is None else event.process.container.type


def _pod(event: SyscallFields) -> str | None:
    where = event.process.container
    return where.pod_uid or None if where is not None else None


# --- the file or socket ---------------------------------------------------------------------------------------------

def _descriptor(event: SyscallFields) -> int | None:
    call = event.call
    if call is None:
        return None
    if call.socket == "first" or call.arguments[:1] == (("fd", 0, "fd"),):
        return _int(event.arguments[0])
    if call.flags is not None or call.name == "creat" or call.socket == "result" or call.name == "socket":
        return -1 if (event.result or 0) < 0 else event.result
    return None


def _type(event: SyscallFields) -> str | None:
    if event.flags() is not None:
        return "directory" if (event.flags() or 0) & 0o200000 else "file"
    return None if event.peer is None else event.peer.kind()


def _letter(event: SyscallFields) -> str | None:
    return {"directory": "d", "file": "f", "ipv4": "4", "ipv6": "6", "unix": "u"}.get(_type(event) or "")


def _raw(event: SyscallFields) -> str | None:
    return event.texts[0] if event.flags() is not None and event.texts else None


def _file(event: SyscallFields) -> str | None:
    if event.flags() is not None:
        return event.path(0)
    if event.peer is not None:
        return _tuple(event)
    if event.call is not None and event.call.name in ("fchmod", "finit_module", "setns"):
        return event.process.link(f"fd/{_int(event.arguments[0])}")
    return None


def _tuple(event: SyscallFields) -> str | None:
    client, server = _ends(event)
    if client is None and server is None:
        return None
    return "->".join(f"{end[0]}:{end[1]}" for end in (client, server) if end is not None)


def _directory(event: SyscallFields) -> str | None:
    path = _file(event) if event.flags() is not None else None
    return None if path is None else path.rpartition("/")[0] or "/"


def _base(event: SyscallFields) -> str | None:
    path = _file(event) if event.flags() is not None else None
    return None if path is None else path.rpartition("/")[2]


def _ends(event: SyscallFields) -> tuple[End, End]:
    return (None, None) if event.peer is None else event.peer.ends(event.name)


def _end(which: int, part: int) -> Callable[[SyscallFields], Any]:
    def value(event: SyscallFields) -> Any:
        end = _ends(event)[which]
        return None if end is None else end[part]

    return value


def _either(part: int) -> Callable[[SyscallFields], Any]:
    return lambda event: [end[part] for end in _ends(event) if end is not None] or None


def _side(remote: bool, part: int) -> Callable[[SyscallFields], Any]:
    def value(event: SyscallFields) -> Any:
        peer = event.peer
        end = None if peer is None else peer.far() if remote else peer.local
        return None if end is None else end[part]

    return value


def _family(event: SyscallFields) -> str | None:
    kind = _type(event)
    return None if kind is None else "ip" if kind in ("ipv4", "ipv6") else "unix" if kind == "unix" else None


def _renamed(event: SyscallFields) -> bool | None:
    """Another address than before: where it is given with the message, that is taken to be so."""
    peer = event.peer
    return None if peer is None else event.call is not None and event.call.addressed and not peer.connected


def _started_at(process: Process) -> int | None:
    started = _started(process)
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME) + started if started else None


_READERS: dict[str, Callable[[SyscallFields], Any]] = {
    "evt.num": lambda event: event.number, "evt.type": lambda event: event.name, "evt.rawtime": lambda event: event.at,
    "evt.source": lambda _: "syscall", "evt.hostname": lambda _: socket.gethostname(), "evt.dir": lambda _: "<",
    "syscall.type": lambda event: event.name if event.call else None,
    "evt.rawres": lambda event: event.result, "evt.args": _arguments, "evt.info": _arguments,
    "evt.res": lambda event: None if event.result is None else names.outcome(event.result),
    "evt.failed": lambda event: None if event.result is None else event.result < 0,
    "evt.is_open_write": _write, "evt.is_open_read": _reading, "evt.is_open_create": _create,
    "evt.is_open_exec": _executable,
    "proc.name": lambda event: event.process.program.command or "<NA>",
    "proc.pname": _of_parent(_name), "proc.aname": _all(_name),
    "proc.exe": _own(_first), "proc.pexe": _of_parent(_first), "proc.aexe": _all(_first),
    "proc.exepath": _own(Process.path), "proc.pexepath": _of_parent(Process.path), "proc.aexepath": _all(Process.path),
    "proc.args": _words, "proc.cmdline": _own(_line), "proc.pcmdline": _of_parent(_line),
    "proc.acmdline": _all(_line),
    "proc.exeline": lambda event: " ".join(event.process.program.arguments or ()) or None,
    "proc.cmdnargs": lambda event: max(0, len(event.process.program.arguments or ()) - 1), "proc.env": _environment,
    "proc.cwd": _own(Process.folder), "proc.tty": lambda event: event.process.tty,
    "proc.pid": lambda event: event.process.pid, "proc.ppid": _of_parent(lambda process: process.pid),
    "proc.apid": _all(lambda process: process.pid), "proc.vpid": lambda event: event.process.virtual()[0],
    "proc.vpgid": lambda event: event.process.virtual()[1], "proc.is_vpgid_leader": _leader,
    "proc.sid": lambda event: event.process.session, "proc.sname": _session_name, "proc.duration": _duration,
    "proc.pid.ts": lambda event: _started_at(event.process), "proc.ppid.ts": _of_parent(_started_at),
    "proc.is_exe_upper_layer": lambda event: event.table.upper(event.process),
    "proc.is_exe_from_memfd": lambda event: event.process.program.memory,
    "proc.exe_ino": lambda event: event.process.program.inode or None,
    "custody.exe.sha256": _digest,
    "thread.tid": lambda event: event.tid, "thread.ismain": lambda event: event.tid == event.process.pid,
    "thread.cap_effective": _effective, "thread.cap_permitted": _permitted,
    "user.uid": lambda event: None if event.uid < 0 else event.uid, "user.name": _user,
    "user.loginuid": lambda event: event.process.logged_in(), "user.loginname": _login_name,
    "group.gid": lambda event: None if event.gid < 0 else event.gid,
    "container.id": _container, "container.full_id": _full, "container.type": _kind,
    "k8s.pod.uid": _pod, "k8s.pod.id": _pod,
    "fd.num": _descriptor, "fd.type": _type, "fd.typechar": _letter, "fd.name": _file, "fd.nameraw": _raw,
    "fd.directory": _directory, "fd.filename": _base, "fd.ip": _either(0), "fd.port": _either(1),
    "fd.cip": _end(0, 0), "fd.cport": _end(0, 1), "fd.sip": _end(1, 0), "fd.sport": _end(1, 1),
    "fd.lip": _side(False, 0), "fd.lport": _side(False, 1), "fd.rip": _side(True, 0), "fd.rport": _side(True, 1),
    "fd.l4proto": lambda event: None if event.peer is None else event.peer.transport(),
    "fd.sockfamily": _family, "fd.name_changed": _renamed,
    "fd.connected": lambda event: None if event.peer is None else event.peer.connected,
    "fd.is_server": lambda event: None if event.peer is None else event.name in ("accept", "accept4", "listen"),
    "fs.path.name": lambda event: event.path(0) if event.texts else None,
    "fs.path.nameraw": lambda event: event.texts[0] if event.texts else None,
}
_INDEXED: dict[str, Callable[[SyscallFields, str], Any]] = {
    "proc.aname": _nth(_name), "proc.aexe": _nth(_first), "proc.aexepath": _nth(Process.path),
    "proc.acmdline": _nth(_line), "proc.apid": _nth(lambda process: process.pid), "proc.args": _word,
    "proc.env": _variable,
}
NETWORKS = {"fd.net": "fd.ip", "fd.cnet": "fd.cip", "fd.snet": "fd.sip", "fd.lnet": "fd.lip", "fd.rnet": "fd.rip"}
_NAMED = ("proc.", "custody.", "user.", "container.", "thread.", "group.")
PROCESS = frozenset(name for name in _READERS if name.startswith(_NAMED)) | {
    f"{stem}[{number}]" for stem in _INDEXED if stem != "proc.env" for number in range(32)}
EVENT = frozenset(name for name in _READERS if name.startswith(("evt.", "syscall.", "k8s.")) and "is_open" not in name)
"""What can be known of any event."""
DESCRIPTOR = frozenset(_READERS) - PROCESS - EVENT | frozenset(NETWORKS)
"""Of calls that have a file or a socket."""
