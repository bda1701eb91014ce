"""The proc connector: the kernel says that a process was made, runs a program, ended; all else is read from /proc.

It tells numbers only (linux/cn_proc.h). A process that has ended when /proc is read is lost as an event, and counted:
of programs that run for less than a millisecond that is a third. Where tracepoints work they tell more.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Mapping

from custody.adapters.sensors import fields, netlink
from custody.adapters.sensors.fanotify import process_ids
from custody.adapters.sensors.processes import Processes
from custody.adapters.sensors.reading import read
from custody.errors import UnsupportedError
from custody.formats.telemetry.event import RuntimeEvent
from custody.ports.sensing import Emit, Probe

_CONNECTOR, _GROUP = 11, 1  # NETLINK_CONNECTOR, CN_IDX_PROC
_MESSAGE = struct.Struct("=IIIIHH")  # cb_id (2), seq, ack, len, flags
_EVENT = struct.Struct("=IIQ")  # what, cpu, timestamp
_LISTEN, _IGNORE = 1, 2
_NONE, _FORK, _EXECUTE, _EXIT = 0x0, 0x1, 0x2, 0x80000000
_ANSWER = 2.0
"""Seconds that the kernel has to answer; it does within the call."""
_EVENTS = frozenset({"execve", "execveat"})
_BATCH = 512


class ProcConnector:
    """Implements ports.sensing.Sensor."""

    name = "proc-connector"

    def __init__(self, types: Iterable[str] = (), *, known: fields.Known | None = None) -> None:
        self.types = frozenset(types) or _EVENTS
        self.fields = (fields.PROCESS | fields.EVENT) - {"thread.cap_effective", "thread.cap_permitted", "proc.exe_ino"}
        self.processes = Processes()
        self._known = known
        self._socket: socket.socket | None = None
        self._counted: dict[str, int] = {}
        self._number = 0
        self._clock = time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC)

    def probe(self) -> Probe:
        try:
            self._open().close()
        except OSError as error:
            return Probe(False, _reason(error), frozenset())
        note = "numbers only: programs that end before /proc is read are lost, and counted"
        return Probe(True, note + ("; not root: folders and files of others' processes are unknown" if os.geteuid()
                                   else ""), _EVENTS)

    def _open(self) -> socket.socket:
        made = netlink.listening(_CONNECTOR, _GROUP)
        number = int.from_bytes(os.urandom(3), "big")
        try:
            self._say(made, _LISTEN, number)
            self._acknowledged(made, number)
        except OSError:
            made.close()
            raise
        return made

    def _acknowledged(self, made: socket.socket, number: int) -> None:
        """The kernel passes over a listener of other namespaces than the first without a word, and tells it nothing."""
        deadline = time.monotonic() + _ANSWER
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([made], [], [], left)[0]:
                break
            try:
                data = netlink.received(made) or b""
            except OverflowError:
                continue
            for _, body in netlink.messages(data):
                if len(body) >= _MESSAGE.size + _EVENT.size + 4 and _MESSAGE.unpack_from(body)[3] == number + 1 and (
                        _EVENT.unpack_from(body, _MESSAGE.size)[0] == _NONE):
                    (failed,) = struct.unpack_from("=I", body, _MESSAGE.size + _EVENT.size)
                    if failed:
                        raise OSError(failed, os.strerror(failed))
                    return
        raise OSError(0, "the kernel does not answer (not in the first namespaces of users and processes)")

    def _say(self, made: socket.socket, operation: int, number: int = 0) -> None:
        body = _MESSAGE.pack(_GROUP, 1, 0, number, 4, 0) + struct.pack("=I", operation)
        made.send(netlink.message(netlink.DONE, 0, body))

    def start(self) -> None:
        """Raises UnsupportedError."""
        if self._socket is None:
            try:
                self._socket = self._open()
            except OSError as error:
                raise UnsupportedError("proc-connector", f"{_reason(error)}") from None
            self.processes.scan()

    async def run(self, emit: Emit) -> None:
        self.start()
        assert self._socket is not None
        try:
            await read(self._socket.fileno(), self.drain, emit)
        finally:
            self.close()

    def drain(self, emit: Emit) -> int:
        """Tell what is there, a batch of packets at most. Raises StorageError where the socket fails."""
        assert self._socket is not None
        def take(data: bytes) -> None:
            for _, body in netlink.messages(data):
                self._told(body, emit)

        return netlink.drained(self._socket, _BATCH, self._lost, take)

    def _told(self, body: bytes, emit: Emit) -> None:
        if len(body) < _MESSAGE.size + _EVENT.size + 16:
            return
        kind, _, at = _EVENT.unpack_from(body, _MESSAGE.size)
        first, second, third, fourth = struct.unpack_from("=iiii", body, _MESSAGE.size + _EVENT.size)
        if kind == _FORK:
            if third == fourth:  # a process; threads are nobody's parents here
                self.processes.fork(second, fourth)
        elif kind == _EXIT:
            if first == second:
                self.processes.end(second)
        elif kind == _EXECUTE:
            self._executed(second, at, emit)

    def _executed(self, pid: int, at: int, emit: Emit) -> None:
        process = self.processes.replaced(pid)
        if process is None:
            self._lost("ended-first")
            return
        if self.types.isdisjoint(_EVENTS):
            return
        self._number += 1
        made = fields.SyscallFields("execve", process, self.processes, self._known)
        made.number, made.at, made.result = self._number, self._clock + at, 0
        made.uid, made.gid = process_ids(pid)
        emit(RuntimeEvent("syscall", "execve", made, made.at, self.name))

    def _lost(self, kind: str) -> None:
        self._counted[kind] = self._counted.get(kind, 0) + 1

    def losses(self) -> Mapping[str, int]:
        return self.processes.patience.counted(self._counted)

    def close(self) -> None:
        if self._socket is not None:
            try:
                self._say(self._socket, _IGNORE)
            except OSError:
                pass  # it counts listeners; this one ends with its socket anyhow
            self._socket.close()
            self._socket = None


def _reason(error: OSError) -> str:
    hint = " (not root)" if isinstance(error, PermissionError) and os.geteuid() else ""
    if isinstance(error, PermissionError) and not hint:
        hint = " (no CAP_NET_ADMIN, or not in the first namespaces)"
    return f"{error.strerror or error}{hint}"
