"""fanotify: every program that is started below a mount is shown with its very bytes, and can be refused (fanotify(7)).

The group is held by a process of its own (keeper), which answers by itself after a deadline. A verdict is asked of
`judge`, in the loop; without one everything is allowed, and told. Marks are set on whole mounts or filesystems: one for
the root of each container, as a mark on the host's root does not see what lies in a container's upper layer.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from custody.adapters.sensors import fields, keeper, kernel, procfs
from custody.adapters.sensors.processes import Process, Processes, Program
from custody.adapters.sensors.reading import read
from custody.errors import StorageError, UnsupportedError
from custody.formats.telemetry.event import RuntimeEvent
from custody.ports.sensing import Emit, Probe

_CLOEXEC, _NONBLOCK, _CONTENT, _UNLIMITED_QUEUE, _UNLIMITED_MARKS = 1, 2, 4, 0x10, 0x20
_ADD, _ONLY_DIRECTORY, MOUNT, FILESYSTEM = 1, 8, 0x10, 0x100
_NOTIFY = 0x1000  # FAN_OPEN_EXEC
_READ_ONLY = os.O_RDONLY | os.O_CLOEXEC | 0o100000  # O_LARGEFILE
_EVENTS = frozenset({"execve", "execveat"})
_BATCH = 64


class Execution(NamedTuple):
    """What is asked about: nothing of it runs yet."""

    path: str
    sha256: str | None
    process: Process
    event: RuntimeEvent


Judge = Callable[[Execution], bool]
"""May it run? Asked in the loop; what it takes is a part of the deadline."""


class Fanotify:
    """Implements ports.sensing.Sensor. `mounts` are directories; `deny_late` refuses what was not judged in time."""

    name = "fanotify"

    def __init__(self, types: Iterable[str] = (), *, mounts: Sequence[str | Path] = (), judge: Judge | None = None,
                 deadline: float = 1.0, deny_late: bool = False, scope: int = MOUNT,
                 known: fields.Known | None = None) -> None:
        self.types = frozenset(types) or _EVENTS
        self.fields = (fields.PROCESS | fields.EVENT | {"custody.exe.sha256"}) - {
            "proc.args", "proc.env", "proc.exeline", "proc.cmdnargs", "thread.cap_effective", "thread.cap_permitted"}
        self.mounts = [os.fspath(mount) for mount in mounts]
        self.judge, self._deadline, self._deny_late, self._scope = judge, deadline, deny_late, scope
        self.processes = Processes()
        self.asked = self.denied = 0
        self._known = known
        self._counted: dict[str, int] = {}
        self._socket: socket.socket | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._permission = True
        self._number = 0

    # --- whether it works -------------------------------------------------------------------------------------------

    def probe(self) -> Probe:
        try:
            os.close(self._group())
        except OSError as error:
            return Probe(False, f"{error.filename}: {error.strerror}" + (" (not root)" if os.geteuid() else
                         " (no CAP_SYS_ADMIN)" if isinstance(error, PermissionError) else ""), frozenset())
        note = "" if self._permission else "no permission events in this kernel: it tells, and cannot refuse"
        return Probe(True, note or ("" if self.mounts else "no mount is named: it sees what is below those that are"),
                     _EVENTS, blocks=self._permission)

    def _group(self) -> int:
        flags = _CLOEXEC | _NONBLOCK | _CONTENT | _UNLIMITED_QUEUE | _UNLIMITED_MARKS
        try:
            group = kernel.call("fanotify_init", flags, _READ_ONLY)
            self._permission = _permissions()
        except OSError as error:
            if error.errno != 22:  # EINVAL: no class of contents without permission events
                raise
            group = kernel.call("fanotify_init", flags & ~_CONTENT, _READ_ONLY)
            self._permission = False
        return group

    # --- the keeper -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Raises UnsupportedError where the kernel, or a mount, does not let itself be watched."""
        if self._socket is not None:
            return
        try:
            group = self._group()
        except OSError as error:
            raise UnsupportedError("fanotify", f"{error.filename}: {error.strerror}") from None
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, str(group), str(its.fileno()),
                 str(kernel.number("fanotify_mark")), str(int(self._deadline * 1000)),
                 str(keeper.DENY if self._deny_late else keeper.ALLOW)],
                pass_fds=(group, its.fileno()), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                start_new_session=True)  # ctrl-c is ours alone
        finally:
            # Only the keeper has the group: when it ends, however it does, the kernel lets everybody go.
            os.close(group)
            its.close()
        self._socket = ours
        ours.settimeout(10)
        try:
            for mount in self.mounts:
                self._mark(mount)
        except (OSError, UnsupportedError):
            self.close()
            raise
        ours.setblocking(False)

    def _mark(self, mount: str) -> None:
        assert self._socket is not None
        mask = keeper.PERMISSION if self._permission else _NOTIFY
        try:
            directory = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise UnsupportedError("fanotify", f"{mount}: {error.strerror}") from None
        try:
            message = keeper.MARK.pack(b"M", _ADD | _ONLY_DIRECTORY | self._scope, mask)
            socket.send_fds(self._socket, [message], [directory])
        finally:
            os.close(directory)
        answer = self._socket.recv(64)
        if len(answer) != keeper.NUMBER.size:
            raise UnsupportedError("fanotify", f"{mount}: the process that holds the group has ended")
        failed = keeper.NUMBER.unpack(answer)[1]
        if failed:
            raise UnsupportedError("fanotify", f"{mount}: {os.strerror(failed)}")

    # --- questions --------------------------------------------------------------------------------------------------

    async def run(self, emit: Emit) -> None:
        self.start()
        assert self._socket is not None
        try:
            await read(self._socket.fileno(), self.drain, emit)
        finally:
            self.close()

    def drain(self, emit: Emit) -> int:
        """Answer what is asked, a batch at most. Raises StorageError where the keeper is gone."""
        assert self._socket is not None
        for read in range(_BATCH):
            try:
                message, descriptors, _, _ = socket.recv_fds(self._socket, 64, 1)
            except BlockingIOError:
                return read
            except ConnectionError:
                message, descriptors = b"", []
            if not message:
                raise StorageError("fanotify: the process that holds the group has ended: nothing is watched",
                                   hint="it was killed; the kernel has let all programs start since")
            if message[:1] == b"Q" and not descriptors:  # this process may have no more of them
                self._counted["no-descriptor"] = self._counted.get("no-descriptor", 0) + 1
                self._answer(keeper.QUESTION.unpack(message)[1], not self._deny_late)
            elif message[:1] == b"Q":
                try:
                    self._question(message, descriptors[0], emit)
                finally:
                    os.close(descriptors[0])
            else:
                kind, number = keeper.NUMBER.unpack(message)
                name, more = {b"L": ("late", 1), b"O": ("queue-overflow", 1)}.get(kind, ("not-asked", number))
                self._counted[name] = self._counted.get(name, 0) + more
        return _BATCH

    def _question(self, message: bytes, descriptor: int, emit: Emit) -> None:
        _, number, pid, mask = keeper.QUESTION.unpack(message)
        allowed = not self._deny_late
        try:
            execution = self._execution(pid, descriptor)
            self.asked += 1
            allowed = self.judge is None or self.judge(execution)
        finally:
            if mask & keeper.PERMISSION:
                self._answer(number, allowed)
        self.denied += not allowed
        if not self.types.isdisjoint(_EVENTS):
            emit(execution.event)

    def _answer(self, number: int, allowed: bool) -> None:
        assert self._socket is not None
        with contextlib.suppress(BlockingIOError, ConnectionError):  # it answers by itself, or has ended
            self._socket.send(keeper.VERDICT.pack(b"V", number, keeper.ALLOW if allowed else keeper.DENY))

    def _execution(self, pid: int, descriptor: int) -> Execution:
        digest = self.processes.digests.of(descriptor)
        path = procfs.link(f"/proc/self/fd/{descriptor}") or ""
        process = self._about_to_run(pid, path)
        self._number += 1
        made = fields.SyscallFields("execve", process, self.processes, self._known)
        made.number, made.at = self._number, time.time_ns()
        made.uid, made.gid = process_ids(pid)
        made.known["custody.exe.sha256"] = digest
        event = RuntimeEvent("syscall", "execve", made, made.at, self.name)
        return Execution(path, digest, process, event)

    def _about_to_run(self, pid: int, path: str) -> Process:
        """The process as it will be: its parent and place are those that it has, its program is the file."""
        now = self.processes.asking(pid)
        program = Program(path.rpartition("/")[2][:15], path)
        program.path = path
        made = Process(pid, program, now.parent)
        made.started, made.container, made.tty, made.session = now.started, now.container, now.tty, now.session
        return made

    # --- losses and the end -----------------------------------------------------------------------------------------

    def losses(self) -> Mapping[str, int]:
        return dict(self._counted)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._keeper is not None:
            # Without a judge it ends by itself; whatever it does, nobody waits for it longer than this.
            try:
                self._keeper.wait(2)
            except subprocess.TimeoutExpired:
                self._keeper.kill()
                self._keeper.wait()
            self._keeper = None


def process_ids(pid: int) -> tuple[int, int]:
    """Effective user and group; -1 where the process is not there."""
    try:
        owner = os.stat(f"/proc/{pid}")
    except OSError:
        return -1, -1
    return owner.st_uid, owner.st_gid


def _permissions() -> bool:
    """Does the kernel have permission events? Asked of an anonymous file: a mark on it concerns nobody."""
    group = kernel.call("fanotify_init", _CLOEXEC | _NONBLOCK | _CONTENT, _READ_ONLY)
    file = os.memfd_create("custody-probe", os.MFD_CLOEXEC)
    try:
        kernel.call("fanotify_mark", group, _ADD, keeper.PERMISSION, file, None)
    except OSError:
        return False
    finally:
        os.close(file)
        os.close(group)
    return True
