"""fanotify: every program that is started below a mount is shown with its very bytes, and can be refused (fanotify(7)).

A verdict is asked of `judge`, in the loop; without one everything is allowed, and told. Another process (keeper) looks
on, and answers where the deadline goes by without a verdict. Marks are set on whole mounts or filesystems: one for
the root of each container, as a mark on the host's root does not see what lies in a container's upper layer. With
`roots` containers are found as they come, and the filesystem of each is marked: a mark on a mount is not on its copies
in other mount namespaces.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from custody.adapters.sensors import fields, keeper, kernel, procfs
from custody.adapters.sensors.processes import Process, Processes, Program
from custody.adapters.sensors.reading import read
from custody.adapters.sensors.roots import Root, Roots
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
                 known: fields.Known | None = None, roots: Roots | None = None,
                 watching: Callable[[str], None] | None = None) -> None:
        """`watching` is told the identifier of each container whose root is watched from now on."""
        self.types = frozenset(types) or _EVENTS
        self.fields = (fields.PROCESS | fields.EVENT | {"custody.exe.sha256"}) - {
            "proc.args", "proc.env", "proc.exeline", "proc.cmdnargs", "thread.cap_effective", "thread.cap_permitted"}
        self.mounts = [os.fspath(mount) for mount in mounts]
        self.judge, self._deadline, self._deny_late, self._scope = judge, deadline, deny_late, scope
        self.processes = Processes()
        self.asked = self.denied = 0
        self._known, self._roots, self._watching = known, roots, watching
        self._counted: dict[str, int] = {}
        self._group = self._alive = -1
        self._page: Any = None
        self._progress = self._by_keeper = self._overflows = 0
        self._full: float | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._permission = True
        self._number = 0

    # --- whether it works -------------------------------------------------------------------------------------------

    def probe(self) -> Probe:
        try:
            os.close(self._opened())
        except OSError as error:
            return Probe(False, f"{error.filename}: {error.strerror}" + (" (not root)" if os.geteuid() else
                         " (no CAP_SYS_ADMIN)" if isinstance(error, PermissionError) else ""), frozenset())
        note = "" if self._permission else "no permission events in this kernel: it tells, and cannot refuse"
        if not note and not self.mounts and self._roots is None:
            note = "no mount is named: it sees what is below those that are"
        return Probe(True, note, _EVENTS, blocks=self._permission)

    def _opened(self) -> int:
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
        if self._group >= 0:
            return
        try:
            self._group = self._opened()
        except OSError as error:
            raise UnsupportedError("fanotify", f"{error.filename}: {error.strerror}") from None
        try:
            self._keep()  # before the first mark: nobody waits for a judge without one
            for mount in self.mounts:
                self._mark(mount, self._scope)
        except (OSError, UnsupportedError):
            self.close()
            raise

    def _keep(self) -> None:
        theirs, self._alive = os.pipe2(os.O_CLOEXEC)
        shared = os.memfd_create("custody-keeper", os.MFD_CLOEXEC)
        try:
            os.ftruncate(shared, mmap.PAGESIZE)
            self._page = mmap.mmap(shared, mmap.PAGESIZE)
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, *map(str, (
                    self._group, theirs, shared, int(self._deadline * 1000),
                    keeper.DENY if self._deny_late else keeper.ALLOW))],
                pass_fds=(self._group, theirs, shared), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                start_new_session=True)  # ctrl-c is ours alone
        finally:
            os.close(theirs)
            os.close(shared)

    def _mark(self, mount: str, scope: int) -> None:
        """Raises UnsupportedError."""
        mask = keeper.PERMISSION if self._permission else _NOTIFY
        try:
            directory = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                kernel.call("fanotify_mark", self._group, _ADD | _ONLY_DIRECTORY | scope, mask, directory,
                            ctypes.c_char_p(b"."))
            finally:
                os.close(directory)
        except OSError as error:
            raise UnsupportedError("fanotify", f"{mount}: {error.strerror}") from None

    # --- questions --------------------------------------------------------------------------------------------------

    async def run(self, emit: Emit) -> None:
        self.start()
        finding = [] if self._roots is None else [asyncio.create_task(self._roots.find(self._watch, self._lost))]
        try:
            # Twice a second it is looked whether the keeper is there.
            await read(self._group, self.drain, emit, period=0.5)
        finally:
            for task in finding:
                task.cancel()
            await asyncio.gather(*finding, return_exceptions=True)
            self.close()

    def _watch(self, root: Root) -> None:
        """Raises UnsupportedError."""
        self._mark(root.path, FILESYSTEM if root.overlay else MOUNT)
        if self._watching is not None and root.container:
            self._watching(root.container)

    def drain(self, emit: Emit) -> int:
        """Answer what is asked, a batch at most. Raises StorageError where the keeper is gone."""
        assert self._keeper is not None
        if self._keeper.poll() is not None:
            # Without it a judge that stops would stop everybody.
            self.close()
            raise StorageError("fanotify: the process that answers in time has ended: nothing is watched",
                               hint="it was killed; the kernel lets all programs start")
        try:
            data = os.read(self._group, _BATCH * keeper.EVENT.size)
        except BlockingIOError:
            self._full = None
            return 0
        if self._full is None:
            self._full = time.monotonic()
        taken = [keeper.EVENT.unpack_from(data, at) for at in range(0, len(data), keeper.EVENT.size)]
        self._in_hand(1)
        try:
            for number, (_, _, _, _, mask, descriptor, pid) in enumerate(taken):
                if mask & keeper.OVERFLOW or descriptor < 0:
                    self._lost("queue-overflow")
                    continue
                try:
                    self._question(mask, descriptor, pid, emit)
                except BaseException:
                    for _, _, _, _, mask_left, left, _ in taken[number + 1:]:
                        if left >= 0:
                            self._answer(mask_left, left, not self._deny_late)
                            os.close(left)
                    raise
                finally:
                    os.close(descriptor)
        finally:
            self._in_hand(0)
        if len(taken) < _BATCH:
            self._full = None  # the rest has come since
        return len(taken)

    def _in_hand(self, questions: int) -> None:
        self._progress += 1
        keeper.WORD.pack_into(self._page, 8, questions)
        keeper.WORD.pack_into(self._page, 0, self._progress)

    def _question(self, mask: int, descriptor: int, pid: int, emit: Emit) -> None:
        self._progress += 1
        keeper.WORD.pack_into(self._page, 0, self._progress)
        if pid == os.getpid() or self._backlog():
            self._answer(mask, descriptor, pid == os.getpid() or not self._deny_late)
            if pid != os.getpid():
                self._lost("late")
            return
        allowed = not self._deny_late
        try:
            execution = self._execution(pid, descriptor)
            self.asked += 1
            allowed = self.judge is None or self.judge(execution)
        finally:
            self._answer(mask, descriptor, allowed)
        if not allowed:
            self.denied += 1
            if isinstance(execution.event.fields, fields.SyscallFields):
                execution.event.fields.result = -errno.EPERM
        if not self.types.isdisjoint(_EVENTS):
            emit(execution.event)

    def _backlog(self) -> bool:
        """The queue has not been empty for as long as one may wait: the oldest in it have waited so long."""
        return self._full is not None and time.monotonic() - self._full > self._deadline

    def _answer(self, mask: int, descriptor: int, allowed: bool) -> None:
        if mask & keeper.PERMISSION:
            try:
                os.write(self._group, keeper.ANSWER.pack(descriptor, keeper.ALLOW if allowed else keeper.DENY))
            except FileNotFoundError:
                pass  # the keeper was faster, or who asked was killed

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

    def _lost(self, kind: str) -> None:
        self._counted[kind] = self._counted.get(kind, 0) + 1

    def losses(self) -> Mapping[str, int]:
        if self._page is not None:
            _, _, self._by_keeper, self._overflows = keeper.PAGE.unpack_from(self._page)
        counted = dict(self._counted)
        for kind, number in (("late", self._by_keeper), ("queue-overflow", self._overflows),
                             ("unwatched-root", self._roots.left_out if self._roots is not None else 0)):
            if number:
                counted[kind] = counted.get(kind, 0) + number
        return self.processes.patience.counted(counted)

    def close(self) -> None:
        if self._group >= 0:
            os.close(self._group)
            self._group = -1
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
        if self._keeper is not None:
            # Without a judge it ends by itself; whatever it does, nobody waits for it longer than this.
            try:
                self._keeper.wait(2)
            except subprocess.TimeoutExpired:
                self._keeper.kill()
                self._keeper.wait()
            self._keeper = None
        if self._page is not None:
            self.losses()
            self._page.close()
            self._page = None


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
