"""Numbers of system calls by the names that Falco's arguments have (linux/fcntl.h, sched.h, ptrace.h, socket.h)."""

from __future__ import annotations

_ACCESS = ("O_RDONLY", "O_WRONLY", "O_RDWR")
_OPEN = ((0o100, "O_CREAT"), (0o200, "O_EXCL"), (0o1000, "O_TRUNC"), (0o2000, "O_APPEND"), (0o4000, "O_NONBLOCK"),
         (0o4010000, "O_SYNC"), (0o10000, "O_DSYNC"), (0o40000, "O_DIRECT"), (0o100000, "O_LARGEFILE"),
         (0o20200000, "O_TMPFILE"), (0o200000, "O_DIRECTORY"), (0o2000000, "O_CLOEXEC"))
_CLONE = ((0x00020000, "CLONE_NEWNS"), (0x04000000, "CLONE_NEWUTS"), (0x08000000, "CLONE_NEWIPC"),
          (0x10000000, "CLONE_NEWUSER"), (0x20000000, "CLONE_NEWPID"), (0x40000000, "CLONE_NEWNET"),
          (0x02000000, "CLONE_NEWCGROUP"), (0x00000400, "CLONE_FILES"), (0x00000200, "CLONE_FS"))
_MODES = ((0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX"), (0o400, "S_IRUSR"), (0o200, "S_IWUSR"),
          (0o100, "S_IXUSR"), (0o40, "S_IRGRP"), (0o20, "S_IWGRP"), (0o10, "S_IXGRP"), (0o4, "S_IROTH"),
          (0o2, "S_IWOTH"), (0o1, "S_IXOTH"))
_REQUESTS = {0: "PTRACE_TRACEME", 1: "PTRACE_PEEKTEXT", 2: "PTRACE_PEEKDATA", 3: "PTRACE_PEEKUSR", 4: "PTRACE_POKETEXT",
             5: "PTRACE_POKEDATA", 6: "PTRACE_POKEUSR", 7: "PTRACE_CONT", 8: "PTRACE_KILL", 9: "PTRACE_SINGLESTEP",
             12: "PTRACE_GETREGS", 13: "PTRACE_SETREGS", 16: "PTRACE_ATTACH", 17: "PTRACE_DETACH",
             24: "PTRACE_SYSCALL", 0x4200: "PTRACE_SETOPTIONS", 0x4206: "PTRACE_SEIZE", 0x4207: "PTRACE_INTERRUPT"}
_DOMAINS = {0: "AF_UNSPEC", 1: "AF_LOCAL", 2: "AF_INET", 10: "AF_INET6", 16: "AF_NETLINK", 17: "AF_PACKET",
            38: "AF_ALG", 40: "AF_VSOCK", 44: "AF_XDP"}


def opened(flags: int) -> str:
    """`O_RDONLY|O_CLOEXEC`, of open(2)'s flags."""
    access = _ACCESS[flags & 3] if flags & 3 < 3 else ""
    return "|".join([*([access] if access else []), *_named(flags, _OPEN)])


def reads(flags: int) -> bool:
    """Whether the file is open for reading."""
    return flags & 3 in (0, 2)


def writes(flags: int) -> bool:
    return flags & 3 in (1, 2)


def access_of(text: str) -> int | None:
    """The flags of which `opened` would be the text, as far as reading, writing and creating go."""
    names = {name.strip() for name in text.split("|")}
    access = next((number for number, name in enumerate(_ACCESS) if name in names), None)
    return None if access is None else access | sum(bit for bit, name in _OPEN if name in names)


def cloned(flags: int) -> str:
    return "|".join(_named(flags, _CLONE))


def mode(bits: int) -> str:
    return "|".join(_named(bits, _MODES)) or "0"


def request(number: int) -> str:
    """Of ptrace(2)."""
    return _REQUESTS.get(number, "PTRACE_UNKNOWN")


def domain(number: int) -> str:
    """Of socket(2)."""
    return _DOMAINS.get(number, "AF_UNKNOWN")


def _named(flags: int, names: tuple[tuple[int, str], ...]) -> list[str]:
    return [name for bits, name in names if flags & bits == bits]
