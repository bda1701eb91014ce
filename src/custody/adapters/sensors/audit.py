"""Audit records, as anybody with CAP_AUDIT_READ may hear them beside auditd (AUDIT_NLGRP_READLOG).

What is told depends on the machine's audit rules; only executed programs are made events of. A rule of its own it
sets only when it is asked to, and takes it away again at the end. Records of one event have one number and come one
after the other: SYSCALL, EXECVE with the arguments, CWD, PATH, EOE (linux/audit.h).
"""

from __future__ import annotations

import os
import platform
import re
import socket
import struct
from collections.abc import Iterable, Mapping

from custody.adapters.sensors import fields, netlink
from custody.adapters.sensors.processes import Process, Processes, Program
from custody.adapters.sensors.reading import read
from custody.errors import UnsupportedError
from custody.formats.telemetry.event import RuntimeEvent
from custody.ports.sensing import Emit, Probe

_AUDIT, _GROUP = 9, 1  # NETLINK_AUDIT, AUDIT_NLGRP_READLOG
_GET, _SET, _ADD_RULE, _DEL_RULE, _LIST_RULES = 1000, 1001, 1011, 1012, 1013
_SYSCALL, _EXECVE, _CWD, _END = 1300, 1309, 1307, 1320
_EXIT_LIST, _ALWAYS, _ARCH = 4, 2, 11
_MACHINES = {"x86_64": (0xC000003E, (59, 322)), "aarch64": (0xC00000B7, (221, 281))}
_EVENTS = frozenset({"execve", "execveat"})
_HEAD = re.compile(r"audit\((\d{1,12})\.(\d{3}):(\d{1,12})\): ?")
_PAIR = re.compile(r'([A-Za-z_0-9\[\]]+)=("[^"]*"|[^ ]*)')
_WORD = re.compile(r"a(\d{1,5})(?:\[(\d{1,5})\])?\Z")
_OPEN = 1024
"""Events of which not all records have come; the oldest is given up."""
_WORDS = 4096
_BATCH = 512


class Audit:
    """Implements ports.sensing.Sensor. `rules`: set a rule for executed programs while it runs, and audit on."""

    name = "audit"

    def __init__(self, types: Iterable[str] = (), *, rules: bool = False, known: fields.Known | None = None) -> None:
        self.types = frozenset(types) or _EVENTS
        self.fields = (fields.PROCESS | fields.EVENT) - {
            "thread.cap_effective", "thread.cap_permitted", "proc.is_exe_from_memfd", "proc.exe_ino"}
        self.processes = Processes()
        self._rules, self._known = rules, known
        self._socket: socket.socket | None = None
        self._set = self._enabled = False
        self._open: dict[str, dict[int, dict[str, str]]] = {}
        self._counted: dict[str, int] = {}
        self._number = 0

    def probe(self) -> Probe:
        try:
            netlink.listening(_AUDIT, _GROUP).close()
            enabled, ruled = _status()[0], _asks_for_programs()
        except OSError as error:
            return Probe(False, _reason(error), frozenset())
        if self._rules:
            return Probe(True, "a rule for executed programs is set while it runs", _EVENTS)
        if not enabled:
            return Probe(False, "audit is switched off here (sensing.audit_rules switches it on)", frozenset())
        if not ruled:
            return Probe(False, "no audit rule asks for execve (sensing.audit_rules sets one)", frozenset())
        return Probe(True, "", _EVENTS)

    def start(self) -> None:
        """Raises UnsupportedError."""
        if self._socket is not None:
            return
        try:
            self._socket = netlink.listening(_AUDIT, _GROUP)
            if self._rules:
                enabled, _ = _status()
                if not _asks_for_programs():
                    netlink.asked(_AUDIT, _ADD_RULE, _rule())
                    self._set = True
                if not enabled:
                    _enable(True)
                    self._enabled = True
        except OSError as error:
            self.close()
            raise UnsupportedError("audit", f"{_reason(error)}") from None
        self.processes.scan()

    async def run(self, emit: Emit) -> None:
        self.start()
        assert self._socket is not None
        try:
            await read(self._socket.fileno(), self.drain, emit)
        finally:
            self.close()

    def drain(self, emit: Emit) -> int:
        """Tell what is there, a batch of records at most. Raises StorageError where the socket fails."""
        assert self._socket is not None
        def take(data: bytes) -> None:
            # Unlike all other netlink, the length in an audit record's header is that of its text alone.
            if len(data) >= netlink.HEADER.size:
                _, kind, _, _, _ = netlink.HEADER.unpack_from(data)
                self.record(kind, data[netlink.HEADER.size:].rstrip(b"\0").decode("utf-8", "surrogateescape"), emit)

        return netlink.drained(self._socket, _BATCH, self._lost, take)

    def record(self, kind: int, text: str, emit: Emit) -> None:
        """One record, as it comes; an event is told with its last one."""
        head = _HEAD.match(text)
        if head is None:
            return
        serial = head[3]
        if kind == _END:
            records = self._open.pop(serial, None)
            if records is not None and _EXECVE in records and _SYSCALL in records:
                self._executed(records, int(head[1]) * 1_000_000_000 + int(head[2]) * 1_000_000, emit)
        elif kind in (_SYSCALL, _EXECVE, _CWD):
            pairs = dict(_PAIR.findall(text[head.end():]))
            self._open.setdefault(serial, {}).setdefault(kind, {}).update(pairs)
            if len(self._open) > _OPEN:
                del self._open[next(iter(self._open))]
                self._lost("incomplete")

    def _executed(self, records: dict[int, dict[str, str]], at: int, emit: Emit) -> None:
        call, said = records[_SYSCALL], records[_EXECVE]
        if call.get("success") != "yes" or self.types.isdisjoint(_EVENTS):
            return
        pid, parent = _number(call.get("pid")), _number(call.get("ppid"))
        if pid is None:
            return
        program = Program(_text(call.get("comm", "")), _text(call.get("exe", "")) or None, arguments(said))
        program.path = program.asked
        now = self.processes.asking(pid)
        process = Process(pid, program, now.parent or (self.processes.of(parent) if parent else None))
        process.cwd = _text(records.get(_CWD, {}).get("cwd", "")) or None
        login = _number(call.get("auid"))
        process.login = -1 if login == 0xFFFFFFFF else login
        process.started = now.started
        process.session, process.tty, process.ended = now.session, now.tty, now.ended
        # Of a process that has ended, the container is its parent's.
        process.container = now.container or (process.parent.container if process.parent else None)
        self._number += 1
        made = fields.SyscallFields("execve", process, self.processes, self._known)
        made.number, made.at, made.result = self._number, at, 0
        uid, gid = _number(call.get("uid")), _number(call.get("gid"))
        made.uid, made.gid = -1 if uid is None else uid, -1 if gid is None else gid
        emit(RuntimeEvent("syscall", "execve", made, at, self.name))

    def _lost(self, kind: str) -> None:
        self._counted[kind] = self._counted.get(kind, 0) + 1

    def losses(self) -> Mapping[str, int]:
        return self.processes.patience.counted(self._counted)

    def close(self) -> None:
        """What it set it takes away; a kill leaves the rule, which `auditctl -l` shows with the key `custody`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        try:
            if self._set:
                self._set = False
                netlink.asked(_AUDIT, _DEL_RULE, _rule())
            if self._enabled:
                self._enabled = False
                _enable(False)
        except OSError:
            self._lost("rule-left")


def arguments(pairs: Mapping[str, str]) -> tuple[str, ...]:
    """Of an EXECVE record: `a0`, `a1`, and long ones in parts, `a1[0]`, `a1[1]`."""
    words: dict[int, list[tuple[int, str]]] = {}
    for name, value in pairs.items():
        match = _WORD.match(name)
        if match is not None and int(match[1]) < _WORDS:
            words.setdefault(int(match[1]), []).append((int(match[2] or 0), value))
    return tuple("".join(_text(part) for _, part in sorted(words[number])) for number in sorted(words))


def _text(value: str) -> str:
    """In quotes, or in hexadecimal digits where it holds blanks, quotes or other bytes."""
    if value.startswith('"'):
        return value.strip('"')
    try:
        return bytes.fromhex(value).decode("utf-8", "surrogateescape")
    except ValueError:
        return "" if value == "(null)" else value


def _number(value: str | None) -> int | None:
    return int(value) if value is not None and value.isdecimal() and len(value) < 11 else None


def _status() -> tuple[bool, int]:
    """Whether it is on, and how many records the kernel has lost (struct audit_status)."""
    for kind, body in netlink.asked(_AUDIT, _GET, b""):
        if kind == _GET and len(body) >= 28:
            _, enabled, _, _, _, _, lost = struct.unpack_from("=7I", body)
            return bool(enabled), lost
    return False, 0


def _enable(on: bool) -> None:
    netlink.asked(_AUDIT, _SET, struct.pack("=2I", 1, int(on)).ljust(44, b"\0"))


def _rule() -> bytes:
    """struct audit_rule_data: at the exit of execve and execveat, always, with a key to know it by."""
    architecture, numbers = _MACHINES[platform.machine()]
    mask = [0] * 64
    for number in numbers:
        mask[number // 32] |= 1 << number % 32
    key = b"custody"
    kinds, values, operators = [_ARCH, 210], [architecture, len(key)], [0x40000000, 0x40000000]  # AUDIT_FILTERKEY, =
    padded = [[*row, *([0] * (64 - len(row)))] for row in (kinds, values, operators)]
    return struct.pack("=3I64I64I64I64II", _EXIT_LIST, _ALWAYS, len(kinds), *mask, *padded[0], *padded[1], *padded[2],
                       len(key)) + key


def _asks_for_programs() -> bool:
    if platform.machine() not in _MACHINES:
        raise OSError(0, f"audit's numbers are not known on {platform.machine()}")
    _, (number, _) = _MACHINES[platform.machine()]
    for kind, body in netlink.asked(_AUDIT, _LIST_RULES, b"", listed=True):
        if kind == _LIST_RULES and len(body) >= 12 + 256:
            flags, action, _, *mask = struct.unpack_from("=3I64I", body)
            if flags == _EXIT_LIST and action == _ALWAYS and mask[number // 32] >> number % 32 & 1:
                return True
    return False


def _reason(error: OSError) -> str:
    hint = ""
    if isinstance(error, PermissionError):
        hint = " (not root)" if os.geteuid() else " (no CAP_AUDIT_READ, or in a container)"
    return f"{error.strerror or error}{hint}"
