"""eBPF tracepoints: programs of this package in the kernel, whose records are read and told as events."""

from __future__ import annotations

import contextlib
import os
import platform
import struct
import time
from collections.abc import Iterable, Mapping

from custody.adapters.sensors import fields, kernel, layout, procfs, programs
from custody.adapters.sensors.btf import VMLINUX, Btf
from custody.adapters.sensors.peer import Peer
from custody.adapters.sensors.processes import Processes
from custody.adapters.sensors.reading import read
from custody.adapters.sensors.ringbuffer import RingBuffer
from custody.adapters.sensors.syscalls import CALLS, EVENTS, KINDS, Call
from custody.adapters.sensors.tracefs import Tracefs
from custody.adapters.sensors.writer import Maps
from custody.errors import CustodyError, UnsupportedError
from custody.formats.telemetry.event import RuntimeEvent
from custody.ports.sensing import Emit, Probe

RING = 8 << 20
"""Bytes of the ring buffer: some 30,000 records."""
_PENDING = 16384
_PERIOD = 0.05
"""Seconds after which the ring is looked at without being told."""
_BATCH = 512
_EXECUTED = frozenset({"execve", "execveat"})
_BY_BTF = frozenset({"connect", "accept", "accept4", "listen", "sendto", "sendmsg", "recvfrom", "recvmsg", "dup",
                     "dup2", "dup3"})
"""Of these nothing is known without BTF: the socket is found by it."""
_ELSEWHERE = ("/proc shows a namespace of processes of its own, and the kernel tells numbers of the machine "
              "(hostPID: true helps)")
_FOLDERS = ("chdir", "fchdir", "chroot")
_RICH = frozenset({"thread.cap_effective", "thread.cap_permitted", "proc.is_exe_from_memfd", "proc.exe_ino"})


class Tracing:
    """Implements ports.sensing.Sensor. `quiet`: prefixes below which reads are not told."""

    name = "ebpf"

    def __init__(self, types: Iterable[str] = (), *, quiet: tuple[str, ...] = programs.QUIET,
                 known: fields.Known | None = None, btf: bool = True, ring: int = RING) -> None:
        self.types = frozenset(types) or EVENTS | _EXECUTED
        self.fields = (fields.PROCESS | fields.EVENT | fields.DESCRIPTOR) - (frozenset() if btf else _RICH) | {
            f"evt.arg.{name}" for call in CALLS.values() for name, _, _ in call.arguments} | {"evt.arg.filename"}
        self.processes = Processes()
        self.refused: dict[str, str] = {}
        """Tracepoints at which no program could be put, and why: the others go on."""
        self._quiet, self._known, self._with_btf, self._size = quiet, known, btf, ring
        self._ring: RingBuffer | None = None
        self._maps: Maps | None = None
        self._held: list[int] = []
        self._programs: list[int] = []
        self._counted: dict[str, int] = {}
        self._number = 0
        self._clock = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._checked = 0.0
        self._cpus = _cpus()

    # --- whether it works -------------------------------------------------------------------------------------------

    def probe(self) -> Probe:
        if not procfs.of_machine():
            return Probe(False, _ELSEWHERE, frozenset())
        try:
            tracefs = Tracefs()
        except OSError as error:
            return Probe(False, _reason("no tracefs", error), frozenset())
        with contextlib.closing(tracefs):
            covered, absent = set(), []
            for call in CALLS.values():
                try:
                    tracefs.arguments(call.name)
                    covered.add(call.event)
                except OSError:
                    absent.append(call.name)
            try:
                made = kernel.load_program(bytes.fromhex("b700000000000000" "9500000000000000"), "custody_probe")
                try:
                    number = tracefs.number("sched/sched_process_exec")
                    os.close(kernel.attach(made, number))
                finally:
                    os.close(made)
            except OSError as error:
                return Probe(False, _reason("no program can be put at a tracepoint", error), frozenset())
        notes = ["reads of libraries and shared texts are not told"] if self._quiet else []
        notes += [f"no tracepoint here for {', '.join(sorted(absent))}"] if absent else []
        try:
            self._btf()
        except (OSError, CustodyError) as error:
            covered -= _BY_BTF
            notes.append(f"no BTF ({error}): sockets, capabilities, short-lived processes' arguments are not seen")
        return Probe(True, "; ".join(notes), frozenset(covered) | _EXECUTED)

    def _btf(self) -> Btf | None:
        return Btf(VMLINUX.read_bytes(), programs.STRUCTURES) if self._with_btf else None

    # --- putting programs in their places ---------------------------------------------------------------------------

    def start(self) -> None:
        """Raises UnsupportedError where the kernel takes no such program at all. The loop does so itself."""
        if self._ring is not None:
            return
        if not procfs.of_machine():
            raise UnsupportedError("ebpf", _ELSEWHERE)
        try:
            tracefs = Tracefs()
        except OSError as error:
            raise UnsupportedError("ebpf", f"{_reason('no tracefs', error)}") from None
        with contextlib.closing(tracefs):
            try:
                btf = self._btf()
            except (OSError, CustodyError) as error:
                btf = None
                self.refused["BTF"] = str(error)
            try:
                self._attach(tracefs, btf)
            except OSError as error:
                self.close()
                raise UnsupportedError("ebpf", f"{_reason('the kernel refuses', error)}") from None
        self.processes.scan()

    def _attach(self, tracefs: Tracefs, btf: Btf | None) -> None:
        self._ring = RingBuffer(self._size)
        pending = self._map(kernel.HASH, 8, programs.PENDING, _PENDING, "custody_pending")
        scratch = self._map(kernel.PERCPU_ARRAY, 4, layout.SCRATCH, 1, "custody_scratch")
        lost = self._map(kernel.PERCPU_ARRAY, 4, 8, 2, "custody_lost")
        self._maps = maps = Maps(self._ring.descriptor, pending, scratch, lost)
        self._put(tracefs, "sched/sched_process_exit", programs.ended(maps))
        self._put(tracefs, "sched/sched_process_fork", programs.forked(
            maps, None, tracefs.place("sched/sched_process_fork", "child_pid")))
        self._put(tracefs, "sched/sched_process_exec", programs.executed(
            maps, btf, tracefs.place("sched/sched_process_exec", "filename"), environment=True))
        own = os.getpid()
        for call in CALLS.values():
            if call.event not in self.types and call.name not in _FOLDERS:
                continue
            if btf is None and call.event in _BY_BTF:
                self.refused[call.name] = "no BTF"
                continue
            try:
                arguments = tracefs.arguments(call.name)
                # The result's program first: what is entered before it is there would stay pending.
                self._put(tracefs, f"syscalls/sys_exit_{call.name}", programs.result(
                    call, maps, own, btf, quiet=self._quiet))
                self._put(tracefs, f"syscalls/sys_enter_{call.name}", programs.entry(
                    call, maps, own, arguments))
            except (OSError, CustodyError) as error:
                self.refused[call.name] = _reason("no tracepoint" if isinstance(error, FileNotFoundError) else
                                                  "refused", error)

    def _map(self, *arguments: int | str) -> int:
        made = kernel.create_map(*arguments)  # type: ignore[arg-type]
        self._held.append(made)
        return made

    def _put(self, tracefs: Tracefs, tracepoint: str, code: bytes) -> None:
        made = kernel.load_program(code, "custody")
        self._programs.append(made)
        self._held.append(made)
        self._held.append(kernel.attach(made, tracefs.number(tracepoint)))

    # --- reading ----------------------------------------------------------------------------------------------------

    async def run(self, emit: Emit) -> None:
        self.start()
        assert self._ring is not None
        try:
            await read(self._ring.descriptor, self.drain, emit, period=_PERIOD)
        finally:
            self.close()

    def drain(self, emit: Emit) -> int:
        """Tell what is there, a batch at most; how many records that were."""
        assert self._ring is not None
        read = 0
        for record in self._ring.records(_BATCH):
            read += 1
            self._record(record, emit)
        return read

    def _record(self, record: bytes, emit: Emit) -> None:
        head = layout.HEAD.unpack_from(record)
        _, tid, tgid, _, _, v2, v1, _, kind, _, command, _, _ = head
        if kind == layout.FORK:
            (child,) = struct.unpack_from("=I", record, layout.CHILD)
            self.processes.fork(tgid, child)
        elif kind == layout.EXIT:
            self.processes.end(tid)
        elif kind == layout.EXECUTE:
            process = self.processes.execute(tgid, (v2, v1), procfs.text(command.split(b"\0", 1)[0]), record)
            if not self.types.isdisjoint(_EXECUTED):
                made = fields.SyscallFields("execve", process, self.processes, self._known)
                made.result = 0
                self._emit(made, head, emit)
        else:
            self._called(CALLS[KINDS[kind - layout.FIRST_CALL]], head, record, emit)

    def _called(self, call: Call, head: tuple[int, ...], record: bytes, emit: Emit) -> None:
        process = self.processes.of(head[2])
        process.container = self.processes.located(process, (head[5], head[6]))
        *arguments, first, second = layout.CALL.unpack_from(record, layout.ARGUMENTS)
        made = fields.SyscallFields(call.event, process, self.processes, self._known)
        made.call, made.arguments, made.result = call, tuple(arguments), head[7]
        if call.socket:
            made.peer = Peer(layout.PEER.unpack_from(record, layout.SOCKET))
        elif call.texts:
            at, texts = layout.TEXTS, []
            for length in (first, second)[:len(call.texts)]:
                # A text that could not be read has no length; an empty one has its zero.
                texts.append(procfs.text(record[at:at + length - 1]) if length else None)
                at += length
            made.texts = tuple(texts)
        if call.name in _FOLDERS and head[7] >= 0:
            process.cwd = made.path(0) if call.name == "chdir" and made.texts[0] is not None else None
        if call.event in self.types:
            self._emit(made, head, emit)

    def _emit(self, made: fields.SyscallFields, head: tuple[int, ...], emit: Emit) -> None:
        self._number += 1
        made.number, made.tid, made.uid, made.gid = self._number, head[1], head[3], head[4]
        made.at = self._clock + head[0]
        if head[9] & layout.RICH:
            made.effective, made.permitted = head[11], head[12]
        emit(RuntimeEvent("syscall", made.name, made, made.at, self.name))

    # --- losses and the end -----------------------------------------------------------------------------------------

    def losses(self) -> Mapping[str, int]:
        if self._maps is not None and self._held:
            for name, number in (("ring-buffer", layout.LOST_RING), ("pending-calls", layout.LOST_PENDING)):
                values = kernel.look_up(self._maps.lost, number, 8 * self._cpus)
                self._counted[name] = sum(struct.unpack(f"={self._cpus}Q", values))
            self._counted["program-busy"] = sum(map(kernel.missed, self._programs))
        return self.processes.patience.counted({name: count for name, count in self._counted.items() if count})

    def close(self) -> None:
        if self._held:
            self.losses()
        for descriptor in reversed(self._held):
            os.close(descriptor)
        self._held, self._programs = [], []
        if self._ring is not None:
            self._ring.close()
            self._ring = None


def _cpus() -> int:
    """Those that there may ever be: a map keeps a value for each."""
    text = (procfs.read("/sys/devices/system/cpu/possible", 256) or b"0").decode("ascii", "replace").strip()
    last = text.rpartition(",")[2].rpartition("-")[2]
    return int(last) + 1 if last.isdecimal() else os.cpu_count() or 1


def _reason(said: str, error: Exception) -> str:
    if not isinstance(error, OSError):
        return f"{said}: {error}"
    if isinstance(error, kernel.VerifierError) and error.log:
        return f"{said}: {error.filename}: {error.strerror} ({error.log.strip().splitlines()[-1][:120]})"
    hint = ""
    if isinstance(error, PermissionError):
        hint = " (not root)" if os.geteuid() else " (no CAP_BPF and CAP_PERFMON, or lockdown)"
    elif platform.machine() not in ("x86_64", "aarch64"):
        hint = " (this machine's system calls are not known)"
    return f"{said}: {error.filename or ''}: {error.strerror}{hint}"
