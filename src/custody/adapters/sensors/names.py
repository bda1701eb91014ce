"""How Falco writes numbers of system calls: flags, modes, errors, families (libs' driver/flags_table.c)."""

from __future__ import annotations

import errno
import pwd
from collections.abc import Callable
from functools import lru_cache

_OPEN = ((0o100, "O_CREAT"), (0o2000, "O_APPEND"), (0o10000, "O_DSYNC"), (0o200, "O_EXCL"), (0o4000, "O_NONBLOCK"),
         (0o4000000, "O_SYNC"), (0o1000, "O_TRUNC"), (0o40000, "O_DIRECT"), (0o200000, "O_DIRECTORY"),
         (0o100000, "O_LARGEFILE"), (0o2000000, "O_CLOEXEC"), (0o10000000, "O_PATH"), (0o20000000, "O_TMPFILE"))
_ACCESS = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_RDWR")
_MODE = ((0o100, "S_IXUSR"), (0o200, "S_IWUSR"), (0o400, "S_IRUSR"), (0o10, "S_IXGRP"), (0o20, "S_IWGRP"),
         (0o40, "S_IRGRP"), (0o1, "S_IXOTH"), (0o2, "S_IWOTH"), (0o4, "S_IROTH"), (0o4000, "S_ISUID"),
         (0o2000, "S_ISGID"), (0o1000, "S_ISVTX"))
_CLONE = ((0x20000, "CLONE_NEWNS"), (0x2000000, "CLONE_NEWCGROUP"), (0x4000000, "CLONE_NEWUTS"),
          (0x8000000, "CLONE_NEWIPC"), (0x10000000, "CLONE_NEWUSER"), (0x20000000, "CLONE_NEWPID"),
          (0x40000000, "CLONE_NEWNET"), (0x200, "CLONE_FS"), (0x400, "CLONE_FILES"), (0x100, "CLONE_VM"),
          (0x80, "CLONE_NEWTIME"))
_FAMILIES = {0: "AF_UNSPEC", 1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6", 16: "AF_NETLINK", 17: "AF_PACKET",
             38: "AF_ALG", 40: "AF_VSOCK", 44: "AF_XDP"}
_PTRACE = {0: "PTRACE_TRACEME", 1: "PTRACE_PEEKTEXT", 2: "PTRACE_PEEKDATA", 3: "PTRACE_PEEKUSR", 4: "PTRACE_POKETEXT",
           5: "PTRACE_POKEDATA", 6: "PTRACE_POKEUSR", 7: "PTRACE_CONT", 8: "PTRACE_KILL", 9: "PTRACE_SINGLESTEP",
           12: "PTRACE_GETREGS", 13: "PTRACE_SETREGS", 14: "PTRACE_GETFPREGS", 15: "PTRACE_SETFPREGS",
           16: "PTRACE_ATTACH", 17: "PTRACE_DETACH", 24: "PTRACE_SYSCALL", 0x4200: "PTRACE_SETOPTIONS",
           0x4201: "PTRACE_GETEVENTMSG", 0x4202: "PTRACE_GETSIGINFO", 0x4203: "PTRACE_SETSIGINFO",
           0x4204: "PTRACE_GETREGSET", 0x4205: "PTRACE_SETREGSET", 0x4206: "PTRACE_SEIZE", 0x4207: "PTRACE_INTERRUPT",
           0x4208: "PTRACE_LISTEN", 0x4209: "PTRACE_PEEKSIGINFO"}
_BPF = {0: "BPF_MAP_CREATE", 1: "BPF_MAP_LOOKUP_ELEM", 2: "BPF_MAP_UPDATE_ELEM", 3: "BPF_MAP_DELETE_ELEM",
        4: "BPF_MAP_GET_NEXT_KEY", 5: "BPF_PROG_LOAD", 6: "BPF_OBJ_PIN", 7: "BPF_OBJ_GET", 8: "BPF_PROG_ATTACH",
        9: "BPF_PROG_DETACH", 17: "BPF_RAW_TRACEPOINT_OPEN", 18: "BPF_BTF_LOAD", 28: "BPF_LINK_CREATE"}
# linux/capability.h, by number.
_CAPABILITIES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
""".split()  # noqa: SIM905


def _bits(number: int, table: tuple[tuple[int, str], ...]) -> list[str]:
    return [name for bit, name in table if number & bit == bit]


def open_flags(number: int) -> str:
    names = _bits(number, _OPEN)
    return "|".join([*names, _ACCESS[number & 3]])


def mode(number: int) -> str:
    return "|".join(_bits(number, _MODE)) or "0"


def clone_flags(number: int) -> str:
    return "|".join(_bits(number, _CLONE)) or "0"


def family(number: int) -> str:
    return _FAMILIES.get(number, str(number))


def capabilities(number: int) -> str:
    return " ".join(f"CAP_{name}" for bit, name in enumerate(_CAPABILITIES) if number >> bit & 1)


@lru_cache(4096)
def user(number: int) -> str | None:
    """By this machine's users; None where it has no such."""
    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OverflowError):
        return None


def outcome(number: int) -> str:
    """`SUCCESS`, or the error's name."""
    return "SUCCESS" if number >= 0 else errno.errorcode.get(-number, str(number))


SHOWN: dict[str, Callable[[int], str]] = {
    "number": str, "open": open_flags, "mode": mode, "clone": clone_flags, "family": family,
    "ptrace": lambda number: _PTRACE.get(number, str(number)), "bpf": lambda number: _BPF.get(number, str(number)),
    "removal": lambda number: "AT_REMOVEDIR" if number & 0x200 else "0",
}
