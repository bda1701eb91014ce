"""What a hostile build step tries, each in a process of its own: a program that runs inside the sandbox.

Standard library only. It prints nothing and leaves /out/1/report, an object of attempt → what it got: the name of an
errno, or what it read. Attempts that need to know something of the host find it in the source's `host.json`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
HOST = json.loads(Path("host.json").read_text()) if Path("host.json").exists() else {}
NUMBERS = HOST.get("numbers", {})
ATTEMPTS: dict[str, Callable[[], object]] = {}


def attempt(name: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    def register(function: Callable[[], object]) -> Callable[[], object]:
        ATTEMPTS[name] = function
        return function
    return register


def syscall(name: str | int, *arguments: int | bytes | None) -> int:
    number = name if isinstance(name, int) else NUMBERS[name]
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(value) if isinstance(value, int) else value
                                                   for value in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return int(result)


def write(path: str, text: str = "1") -> str:
    number = os.open(path, os.O_WRONLY)
    os.write(number, text.encode())
    return "written"


# Sysctls and /proc: kernel-wide switches that are files
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/overcommit_memory",
             "/proc/sys/net/ipv4/ip_forward", "/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/hostname",
             "/proc/sys/fs/suid_dumpable", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity"):
    ATTEMPTS[f"write {path}"] = lambda path=path: write(path)  # type: ignore[misc]
for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/key-users", "/proc/interrupts", "/dev/mem",
             "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/fuse", "/dev/kvm", "/sys/kernel/uevent_helper", "/etc/shadow",
             "/root/.ssh", "/var/run/docker.sock", "/proc/kmsg", "/sys/fs/cgroup", "/run", "/home"):
    ATTEMPTS[f"read {path}"] = lambda path=path: os.close(os.open(path, os.O_RDONLY)) or "read"  # type: ignore[misc]
for path in ("/usr/escaped", "/etc/escaped", "/src/escaped", "/inputs/escaped", "/escaped", "/dev/escaped",
             "/proc/escaped"):
    ATTEMPTS[f"create {path}"] = lambda path=path: os.open(path, os.O_CREAT | os.O_WRONLY)  # type: ignore[misc]


@attempt("environment of process 1")
def _() -> object:
    return Path("/proc/1/environ").read_bytes().decode()


@attempt("own environment")
def _() -> object:
    return dict(os.environ)


@attempt("memory of process 1")
def _() -> object:
    return os.open("/proc/1/mem", os.O_RDWR)


@attempt("root of process 1")
def _() -> object:
    return sorted(os.listdir("/proc/1/root"))


@attempt("working folder's parents")
def _() -> object:
    return sorted(os.listdir("/out/../../.."))


@attempt("lower the out-of-memory score")
def _() -> object:
    return write("/proc/self/oom_score_adj", "-1000")


@attempt("processes in sight")
def _() -> object:
    return len([name for name in os.listdir("/proc") if name.isdigit()])


@attempt("file of the host")
def _() -> object:
    return Path(HOST["canary"]).read_text()


@attempt("descriptors left open")
def _() -> object:  # 0, 1, 2, the pipe to report in, and the one that lists
    return sorted(int(name) for name in os.listdir("/proc/self/fd"))[:3], len(os.listdir("/proc/self/fd")) - 2


# Keyrings
@attempt("join the user's keyring")
def _() -> object:
    return syscall("keyctl", 0, -4, 0)


@attempt("read the session keyring")
def _() -> object:
    return syscall("keyctl", 11, -3, ctypes.addressof(ctypes.create_string_buffer(64)), 64)


@attempt("request a key")
def _() -> object:
    return syscall("request_key", b"user", b"custody-escape", None, 0)


@attempt("add a key")
def _() -> object:
    return syscall("add_key", b"user", b"custody-escape", b"x", 1, -4)


# Devices
@attempt("make a block device")
def _() -> object:
    return os.mknod("/out/disk", 0o60666, os.makedev(8, 0))


@attempt("make a character device in /tmp")
def _() -> object:
    return os.mknod("/tmp/mem", 0o20666, os.makedev(1, 1))


# Sockets
@attempt("connect to the host by TCP")
def _() -> object:
    return str(socket.create_connection(("127.0.0.1", HOST["port"]), 2))


@attempt("connect to the host's abstract socket")
def _() -> object:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + HOST["abstract"])
    return "connected"


@attempt("send to another network")
def _() -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("192.0.2.1", 53))
    return "sent"


for family, name in ((38, "AF_ALG"), (40, "AF_VSOCK"), (17, "AF_PACKET")):
    ATTEMPTS[f"socket {name}"] = lambda family=family: str(socket.socket(family, socket.SOCK_RAW))  # type: ignore[misc]


@attempt("take the loopback interface down")
def _() -> object:
    import fcntl
    with socket.socket() as any_socket:
        return fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0))


# Signals, processes
@attempt("kill a process of the host")
def _() -> object:
    return os.kill(HOST["pid"], 9)


@attempt("kill process 1")
def _() -> object:
    return os.kill(1, signal.SIGKILL) or "ignored"


@attempt("trace process 1")
def _() -> object:
    return syscall("ptrace", 16, 1, 0, 0)


@attempt("read the memory of process 1")
def _() -> object:
    buffer = ctypes.create_string_buffer(8)
    place = struct.pack("QQ", ctypes.addressof(buffer), 8)
    return syscall("process_vm_readv", 1, place, 1, place, 1, 0)


@attempt("take a descriptor of process 1")
def _() -> object:
    return syscall("pidfd_getfd", os.pidfd_open(1), 0, 0)


@attempt("a higher priority")
def _() -> object:
    return os.setpriority(os.PRIO_PROCESS, 0, -5)


@attempt("real-time scheduling")
def _() -> object:
    return os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


@attempt("more processes than the limit")
def _() -> object:
    try:
        return resource.setrlimit(resource.RLIMIT_NPROC, (1 << 20, 1 << 20))
    except ValueError:  # as Python says EPERM here
        raise PermissionError(errno.EPERM, "") from None


# Mounts
for name, arguments in {
        "mount": (b"tmpfs", b"/tmp", b"tmpfs", 0, None), "umount2": (b"/proc/sys", 2), "pivot_root": (b"/tmp", b"/tmp"),
        "chroot": (b"/tmp",), "open_tree": (-100, b"/proc", 1), "move_mount": (-1, b"", -1, b"", 4),
        "fsopen": (b"tmpfs", 0), "fsmount": (-1, 0, 0), "fspick": (-100, b"/", 0),
        "mount_setattr": (-100, b"/", 0x8000, struct.pack("=4Q", 0, 1, 0, 0), 32)}.items():
    ATTEMPTS[name] = lambda name=name, arguments=arguments: syscall(name, *arguments)  # type: ignore[misc]


@attempt("remount /proc/sys writable")
def _() -> object:
    return syscall("mount", None, b"/proc/sys", None, 0x1000 | 0x20, None)


# Namespaces, and the kernel's other doors
for name, arguments in {
        "unshare": (0x10000000,), "setns": (0, 0), "clone3": (b"\0" * 64, 64), "bpf": (0, b"\0" * 64, 64),
        "perf_event_open": (b"\0" * 112, 0, -1, -1, 0), "userfaultfd": (0,), "io_uring_setup": (1, b"\0" * 120),
        "kexec_load": (0, 0, None, 0), "init_module": (b"", 0, b""), "delete_module": (b"none", 0),
        "reboot": (-18751827, 672274793, 0, 0), "swapon": (b"/tmp/x", 0), "syslog": (3, b"\0" * 16, 16),
        "settimeofday": (b"\0" * 16, None), "clock_settime": (0, b"\0" * 16), "sethostname": (b"escaped", 7),
        "setdomainname": (b"escaped", 7), "acct": (None,), "quotactl": (0, None, 0, None),
        "open_by_handle_at": (-100, b"\0" * 16, 0), "kcmp": (1, 1, 0, 0, 0), "shmget": (0, 4096, 0o1600),
        "memfd_create": (b"x", 0), "memfd_secret": (0,),
        "personality": (0x0400000,), "move_pages": (1, 0, None, None, None, 0), "fanotify_init": (0, 0),
        "process_madvise": (-1, None, 0, 0, 0)}.items():
    ATTEMPTS[name] = lambda name=name, arguments=arguments: syscall(name, *arguments)  # type: ignore[misc]


@attempt("clone into a user namespace")
def _() -> object:
    return syscall("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)


@attempt("a system call newer than the list")
def _() -> object:
    return syscall(1000)


@attempt("type into a terminal")
def _() -> object:
    import fcntl
    return fcntl.ioctl(0, 0x5412, b"x")


@attempt("a system call of x32")
def _() -> object:
    return syscall(0x40000000 | 39)


@attempt("a system call of i386")
def _() -> object:
    """keyctl by `int 0x80`, which has other numbers: mov eax,288; xor ebx,ebx; int 0x80; ret."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\x53\xb8\x20\x01\x00\x00\x31\xdb\xcd\x80\x5b\xc3")
    result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
    raise OSError(-result, "")


# Users and privileges
@attempt("become root")
def _() -> object:
    return os.setuid(0)


@attempt("become root's group")
def _() -> object:
    return os.setgid(0)


@attempt("take a group")
def _() -> object:
    return os.setgroups([0])


@attempt("give a file to root")
def _() -> object:
    Path("/out/mine").write_text("")
    return os.chown("/out/mine", 0, 0)


@attempt("a set-user-ID program of the host")
def _() -> object:
    for name in ("su", "mount", "passwd", "chsh", "newgrp"):
        with contextlib.suppress(OSError):
            if os.stat(f"/usr/bin/{name}").st_mode & 0o4000:
                copy = os.popen(f"/usr/bin/{name} --version >/dev/null 2>&1; id -u").read()
                return copy.strip()
    return str(os.getuid())


@attempt("a capability by extended attribute")
def _() -> object:
    Path("/out/able").write_text("")
    return os.setxattr("/out/able", "security.capability", struct.pack("<5I", 0x02000001, 0xFF, 0, 0, 0))


@attempt("a trusted extended attribute")
def _() -> object:
    Path("/out/trusted").write_text("")
    return os.setxattr("/out/trusted", "trusted.overlay.opaque", b"y")


@attempt("powers")
def _() -> object:
    wanted = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid")
    return {key: " ".join(value.split()) for key, _, value in
            (line.partition(":") for line in Path("/proc/self/status").read_text().splitlines()) if key in wanted}


# Links
@attempt("a hard link to a program of the host")
def _() -> object:
    return os.link("/usr/bin/env", "/out/env")


@attempt("rename the output folder")
def _() -> object:
    return os.rename("/out", "/elsewhere")


@attempt("remove the output folder")
def _() -> object:
    return os.rmdir("/out")


# What the control plane looks for afterwards
@attempt("leave a process")
def _() -> object:
    if os.fork():
        return "left"
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        with contextlib.suppress(OSError):
            Path("/out/1/late").write_text("written after the step")


def run(function: Callable[[], object]) -> object:
    """In a process of its own, which may lose more than the attempt."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(20)
        try:
            result = function()
        except OSError as error:
            result = errno.errorcode.get(error.errno or 0, type(error).__name__)
        except BaseException as error:
            result = repr(error)
        os.write(writing, json.dumps(result).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        # a process that is left behind holds the pipe open: one message is all that is read
        data = stream.read1(1 << 16)
    os.waitpid(child, 0)
    return json.loads(data or b'"nothing"')


if __name__ == "__main__":
    os.mkdir("/out/1")
    skipped = {"a system call of x32", "a system call of i386"} if platform.machine() != "x86_64" else set()
    report = {name: run(function) for name, function in ATTEMPTS.items() if name not in skipped}
    Path("/out/1/report").write_text(json.dumps(report))
    sys.exit(0)
