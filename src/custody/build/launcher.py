"""Starts a build step: makes its namespaces and its root, gives up every power, and runs it.

A program of its own (`python -I -S`, from a memory file, with the specification on another descriptor), so that what
it gives up the control plane keeps. It imports nothing of custody. Three ways in:

    namespaces   unshare, mount the root, confine
    bubblewrap   bwrap did the first two and runs this as process 1; confine
    none         neither; only limits, and nothing that the step leaves running

As process 1 it waits for the step and then ends, on which the kernel ends all that is left in the PID namespace
before anybody who waits for process 1 is told (pid_namespaces(7)): the output is read when nothing can write it.

It writes "started" to the status descriptor when only execve is left, else the reason why it could not.
Sources: unshare(2), mount_setattr(2), pivot_root(2), user_namespaces(7), capabilities(7), keyctl(2), seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import marshal
import os
import resource
import select
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # what typing and enum take to import is most of what this program would take to start
    import signal
    from collections.abc import Callable
    from typing import Any, NoReturn
else:
    import _signal as signal

FAILED = 125
"""Exit code where the step was never started."""

_libc = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
_NEWUSER, _NEWPID, _NEWNET = 0x10000000, 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 0x1000, 0x4000, 0x40000
_RDONLY, _NOSUID, _NODEV, _NOEXEC = 1, 2, 4, 8  # MOUNT_ATTR_…
_AT_FDCWD, _AT_RECURSIVE, _MNT_DETACH = -100, 0x8000, 2
_SECCOMP, _CAPBSET_DROP, _SUBREAPER, _NO_NEW_PRIVS, _AMBIENT = 22, 24, 36, 38, 47
_DUMPABLE, _KEEPCAPS = 4, 8
_JOIN_SESSION_KEYRING = 1


def main() -> NoReturn:
    """Read the specification (`sandbox.Specification.to_bytes`) and run it. Never returns."""
    with os.fdopen(int(sys.argv[1]), "rb") as stream:
        spec = marshal.load(stream)  # noqa: S302 - written by the control plane, into a memory file
    status = spec["status"]
    os.set_inheritable(status, False)
    try:
        if os.getsid(0) != os.getpid():
            os.setsid()
        os.umask(0o022)
        if spec["kind"] == "none":
            _run_unconfined(spec)
        if spec["kind"] == "namespaces":
            _enter_namespaces(spec)
            _make_root(spec)
        _confine(spec)
        _run_as_init(spec)
    except OSError as error:
        _fail(status, error)


def _fail(status: int, error: OSError) -> NoReturn:
    where = f"{error.filename}: " if error.filename else ""
    os.write(status, f"{where}{error.strerror}".encode())
    os._exit(FAILED)


# Namespaces

def _enter_namespaces(spec: dict[str, Any]) -> None:
    """Returns in the child that is process 1 of the new PID namespace; the parent waits for it and ends with it."""
    kinds = _NEWNS | _NEWCGROUP | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET
    user, group = os.geteuid(), os.getegid()
    if not spec["drop"]:
        kinds |= _NEWUSER
    _check(_libc.unshare(kinds), "unshare")
    if not spec["drop"]:
        _write_maps(spec["uid"], user, group)
    child = os.fork()
    if child:
        os.close(spec["status"])
        os._exit(_code(os.waitpid(child, 0)[1]))
    name = spec["hostname"].encode()
    _check(_libc.sethostname(name, len(name)), "sethostname")
    _raise_loopback()


def _write_maps(inside: int, user: int, group: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"{inside} {user} 1"), ("gid_map", f"{inside} {group} 1")):
        with open(f"/proc/self/{name}", "w") as stream:
            stream.write(text)


def _raise_loopback() -> None:
    """Bring the interface `lo` up, which a new network namespace leaves down (netdevice(7))."""
    number = _libc.socket(2, 1, 0)  # AF_INET, SOCK_STREAM
    _check(number, "socket")
    fcntl.ioctl(number, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
    os.close(number)


# The root

def _make_root(spec: dict[str, Any]) -> None:
    global _mount_setattr
    _mount_setattr = spec["numbers"]["mount_setattr"]
    root = spec["root"]
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m,nr_inodes=1024")
    for kind, target, *details in spec["mounts"]:
        place = root + target
        if kind in ("read-only", "writable", "device"):
            _bind(details[0], place, {"read-only": _RDONLY | _NOSUID | _NODEV, "writable": _NOSUID | _NODEV,
                                      "device": _NOSUID | _NOEXEC}[kind])
        elif kind == "symlink":
            os.symlink(details[0], place)
        elif kind == "tmpfs":
            os.makedirs(place, exist_ok=True)
            _mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode={details[0]:04o},size={details[1]}")
        elif kind == "folder":
            os.makedirs(place, exist_ok=True)
        elif kind == "proc":
            os.makedirs(place, exist_ok=True)
            _mount("proc", place, "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
        elif kind == "sealed":
            _bind(place, place, _RDONLY | _NOSUID | _NODEV | _NOEXEC)
        elif kind == "masked" and os.path.isdir(place):
            _mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "mode=0755,size=4k")
            _set_attributes(place, _RDONLY)
        elif kind == "masked":
            _bind("/dev/null", place, _RDONLY | _NOSUID | _NODEV | _NOEXEC)
        elif kind == "closed":
            _set_attributes(place, _RDONLY, recursive=False)
    # The old root goes on top of the new one and is then let go: pivot_root(2), "pivot_root(".", ".")".
    os.chdir(root)
    _check(_libc.syscall(spec["numbers"]["pivot_root"], b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", _MNT_DETACH), "umount2")
    os.chdir("/")
    _set_attributes("/", _RDONLY | _NOSUID | _NODEV, recursive=False)


def _bind(source: str, target: str, attributes: int) -> None:
    if not os.path.lexists(target):
        if os.path.isdir(source):
            os.makedirs(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL, 0o644))
    _mount(source, target, None, _MS_BIND | _MS_REC)
    _set_attributes(target, attributes)


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    arguments = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    _check(_libc.mount(*arguments[:3], ctypes.c_ulong(flags), arguments[3]), f"mount {target}")


_mount_setattr = 0


def _set_attributes(target: str, attributes: int, *, recursive: bool = True) -> None:
    """Attributes are only added, never taken: those that a user may not take off stay as they are (Linux 5.12)."""
    value = struct.pack("=4Q", attributes, 0, 0, 0)
    _check(_libc.syscall(_mount_setattr, _AT_FDCWD, os.fsencode(target), _AT_RECURSIVE if recursive else 0, value,
                         ctypes.c_size_t(len(value))), f"mount_setattr {target}")


# Confinement

def _confine(spec: dict[str, Any]) -> None:
    # 1. A session keyring of its own: the caller's holds registry logins, Kerberos tickets and the like. Where the
    #    kernel has no keys or forbids them, the step can have none either: the filter forbids the same calls.
    if _libc.syscall(spec["numbers"]["keyctl"], _JOIN_SESSION_KEYRING, None) < 0:
        _tolerate("keyctl", errno.ENOSYS, errno.EPERM, errno.EACCES)
    # 2. A user who is not the kernel's root, in a user namespace that holds nobody else.
    if spec["drop"]:
        os.setgroups([spec["uid"]])  # its own and no other, as a user with one group has it
        os.setresgid(spec["uid"], spec["uid"], spec["uid"])
        _prctl(_KEEPCAPS, 1)
        os.setresuid(spec["uid"], spec["uid"], spec["uid"])
        _set_capabilities(1 << 21)  # CAP_SYS_ADMIN: some hosts let only those who have it make user namespaces
        _check(_libc.unshare(_NEWUSER), "unshare: user namespace")
        _prctl(_DUMPABLE, 1)  # which setresuid cleared: the maps below are else root's files
        _write_maps(spec["uid"], spec["uid"], spec["uid"])
    # 3. Limits that the kernel keeps.
    _set_limits(spec)
    # 4. No capability, now or by any file that is executed.
    _prctl(_AMBIENT, 4)  # PR_CAP_AMBIENT_CLEAR_ALL
    for capability in range(64):
        if _libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            _tolerate("prctl: capability bounding set", errno.EINVAL, errno.EPERM if _has_no_capability() else 0)
            break
    _set_capabilities(0)
    _prctl(_NO_NEW_PRIVS, 1)
    # 5. The filter of system calls, last: what is above would not pass it.
    program = ctypes.create_string_buffer(spec["filter"], len(spec["filter"]))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(program))
    _prctl(_SECCOMP, 2, header)


def _has_no_capability() -> bool:
    with open("/proc/self/status") as stream:
        return any(line.split() == ["CapBnd:", "0" * 16] for line in stream)


def _set_capabilities(bits: int) -> None:
    """Effective and permitted to `bits`, inheritable to none: capset(2), version 3."""
    low, high = bits & 0xFFFFFFFF, bits >> 32
    _check(_libc.capset(struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", low, low, 0, high, high, 0)), "capset")


def _set_limits(spec: dict[str, Any]) -> None:
    for name, value in spec["limits"].items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))


# The step

def _run_as_init(spec: dict[str, Any]) -> NoReturn:
    child = os.fork()
    if child == 0:
        _exec(spec)
    _prctl(_DUMPABLE, 0)  # so that the step may not write in this process's memory, though it is the same user
    _wait(spec, child, lambda: None)


def _run_unconfined(spec: dict[str, Any]) -> NoReturn:
    """Without a PID namespace: what the step leaves behind becomes this process's child, and is killed."""
    _prctl(_SUBREAPER, 1)
    child = os.fork()
    if child == 0:
        _set_limits(spec)
        _exec(spec)
    _wait(spec, child, _kill_children)


def _wait(spec: dict[str, Any], child: int, clear: Callable[[], None]) -> NoReturn:
    """Until the step has ended, or the control plane has: then nobody holds the lifeline's other end."""
    os.close(spec["status"])
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # process 1 gets only the signals that it handles
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    code = None
    while code is None:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == child:
            code = _code(status)
        elif not ended and spec["lifeline"] in select.select([woken, spec["lifeline"]], [], [])[0]:
            code = FAILED
        elif not ended:
            os.read(woken, 4096)
    clear()
    os._exit(code)


def _kill_children() -> None:
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children") as stream:
            for child in stream.read().split():
                os.kill(int(child), signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _exec(spec: dict[str, Any]) -> NoReturn:
    status = spec["status"]
    try:
        os.setsid()
        os.chdir(spec["folder"])
        os.umask(0o022)
        os.closerange(3, status)
        os.closerange(status + 1, 1 << 20)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):  # of which Python ignores the first two
            signal.signal(number, signal.SIG_DFL)
        os.write(status, b"started")
        _execute(spec["command"], spec["environment"])
    except OSError as error:
        os.write(status, f"\n{error.strerror}".encode())
        os._exit(FAILED)


def _execute(command: list[str], environment: dict[str, str]) -> NoReturn:
    """As execvp(3) looks a program up in PATH; os.execvpe imports more, by a user who may not read that here."""
    program = command[0]
    if "/" in program:
        os.execve(program, command, environment)  # noqa: S606
    refused = None
    for folder in environment["PATH"].split(":"):
        try:
            os.execve(f"{folder}/{program}", command, environment)  # noqa: S606
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            refused = error
    raise refused or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _prctl(option: int, *values: int | bytes) -> None:
    arguments = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in (*values, 0, 0, 0, 0)[:4]]
    _check(_libc.prctl(option, *arguments), f"prctl {option}")


def _check(result: int, name: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def _tolerate(name: str, *numbers: int) -> None:
    if ctypes.get_errno() not in numbers:
        _check(-1, name)


if __name__ == "__main__":
    main()
