"""What /proc says of a process (proc(5)). Whatever is not there any more is None, never an error."""

from __future__ import annotations

import os
from typing import NamedTuple

TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Nanoseconds of one of the ticks in which /proc/PID/stat counts."""
_LONGEST = 64 * 1024
_FIRST = "pid:[4026531836]"


class Stat(NamedTuple):
    command: str
    parent: int
    tty: int
    session: int
    started: int
    """Ticks since the machine started."""


def of_machine() -> bool:
    """Whether /proc shows the machine's own numbers of processes, as events of the kernel have them.

    The first namespace has a number of its own (PROC_PID_INIT_INO). Where nobody may look, it is taken to be the first.
    """
    where = link("/proc/1/ns/pid")
    return where is None or where == _FIRST


def read(path: str, limit: int = _LONGEST) -> bytes | None:
    """At most `limit` bytes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return None
    try:
        return os.read(descriptor, limit)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def text(data: bytes) -> str:
    """Names are bytes: what is no UTF-8 stays readable as surrogate escapes."""
    return data.decode("utf-8", "surrogateescape")


def stat(pid: int) -> Stat | None:
    line = read(f"/proc/{pid}/stat", 4096)
    if not line:
        return None
    start, end = line.find(b"("), line.rfind(b")")  # a command's name may hold brackets and blanks
    rest = line[end + 1:].split()
    if start < 0 or len(rest) < 20:
        return None
    return Stat(text(line[start + 1:end]), int(rest[1]), int(rest[4]), int(rest[3]), int(rest[19]))


def status(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status by their names."""
    lines = (read(f"/proc/{pid}/status") or b"").decode("utf-8", "replace").splitlines()
    return {name: value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}


def arguments(pid: int) -> tuple[str, ...] | None:
    data = read(f"/proc/{pid}/cmdline", 4096)
    return None if data is None else words(data)


def words(data: bytes) -> tuple[str, ...]:
    """Texts that end with a zero each; the last one may have been cut."""
    return tuple(text(data).removesuffix("\0").split("\0")) if data else ()


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def exists(path: str) -> bool | None:
    """None where nobody could look."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return True
