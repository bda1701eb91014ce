"""The filter of system calls that a build step runs under: a classic BPF program for seccomp(2).

In effect Docker's default profile for a container without capabilities: a list of what is allowed, EPERM for the
rest. ENOSYS for clone3 (so that a C library falls back to clone, whose flags can be read), for memory files (so that
programs fall back to /tmp and /dev/shm, which have a size) and for what is newer than the list. Calls by another
architecture's table (i386, x32) are refused whole.
Sources: linux/filter.h, linux/seccomp.h, linux/audit.h; moby profiles/seccomp.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

from custody.build.syscalls import AARCH64, ALLOWED, X86_64
from custody.errors import UnsupportedError

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_ARCHITECTURES = {"x86_64": (0xC000003E, X86_64), "aarch64": (0xC00000B7, AARCH64)}
_X32 = 0x40000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
_PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
_SOCKETS = (38, 40)
"""AF_ALG and AF_VSOCK: the kernel's cipher code, and the host of a virtual machine."""
_TERMINAL = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: they type into a terminal."""

Instruction = tuple[int, int, int, int]
"""code, jump when true, jump when false, k"""


def system_calls(machine: str) -> dict[str, int]:
    """Numbers by name. Raises UnsupportedError for an architecture without a table."""
    return _architecture(machine)[1]


def compile_filter(machine: str) -> bytes:
    """The program for `machine` (as uname says it), 8 bytes an instruction. Raises UnsupportedError."""
    architecture, numbers = _architecture(machine)
    denied, missing = _errno(errno.EPERM), _errno(errno.ENOSYS)
    program = [_load(_ARCHITECTURE), _equal(architecture, 1, 0), denied, _load(_NUMBER)]
    if machine == "x86_64":
        program += [_at_least(_X32, 0, 1), missing]
    # Arguments that matter. Of each, the kernel reads the low 32 bits.
    for name in ("clone3", "memfd_create", "memfd_secret"):
        program += _when(numbers[name], [missing])
    program += _when(numbers["clone"], [_load(_ARGUMENTS), _any_of(_NAMESPACES, 0, 1), denied, _return(_ALLOW)])
    program += _when(numbers["personality"], [_load(_ARGUMENTS), *_one_of(_PERSONALITIES, _return(_ALLOW)), denied])
    program += _when(numbers["socket"], [_load(_ARGUMENTS), *_one_of(_SOCKETS, denied), _return(_ALLOW)])
    program += _when(numbers["ioctl"], [_load(_ARGUMENTS + 8), *_one_of(_TERMINAL, denied), _return(_ALLOW)])
    # The rest by number, in rising order.
    for first, last in _ranges(sorted(number for name, number in numbers.items() if name in ALLOWED)):
        program += [_at_least(first, 1, 0), denied, _more_than(last, 1, 0), _return(_ALLOW)]
    program += [_more_than(max(numbers.values()), 0, 1), missing, denied]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _architecture(machine: str) -> tuple[int, dict[str, int]]:
    if machine not in _ARCHITECTURES:
        raise UnsupportedError("build isolation", f"no table of system calls for {machine}",
                               hint=f"build on {' or '.join(_ARCHITECTURES)}")
    return _ARCHITECTURES[machine]


def _ranges(numbers: list[int]) -> Iterator[tuple[int, int]]:
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


def _when(number: int, body: list[Instruction]) -> list[Instruction]:
    return [_equal(number, 0, len(body)), *body]


def _one_of(values: tuple[int, ...], verdict: Instruction) -> list[Instruction]:
    return [instruction for value in values for instruction in (_equal(value, 0, 1), verdict)]


def _load(offset: int) -> Instruction:
    return 0x20, 0, 0, offset  # BPF_LD | BPF_W | BPF_ABS


def _equal(value: int, yes: int, no: int) -> Instruction:
    return 0x15, yes, no, value  # BPF_JMP | BPF_JEQ | BPF_K


def _more_than(value: int, yes: int, no: int) -> Instruction:
    return 0x25, yes, no, value  # BPF_JMP | BPF_JGT | BPF_K


def _at_least(value: int, yes: int, no: int) -> Instruction:
    return 0x35, yes, no, value  # BPF_JMP | BPF_JGE | BPF_K


def _any_of(bits: int, yes: int, no: int) -> Instruction:
    return 0x45, yes, no, bits  # BPF_JMP | BPF_JSET | BPF_K


def _return(value: int) -> Instruction:
    return 0x06, 0, 0, value  # BPF_RET | BPF_K


def _errno(number: int) -> Instruction:
    return _return(_ERRNO | number)
