"""System calls that Python has no functions for: bpf(2), perf_event_open(2), fanotify(7), fsopen(2), openat2(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import stat
import struct
from typing import Any

# asm/unistd_64.h (x86_64) and asm-generic/unistd.h (aarch64).
_NUMBERS = {
    "x86_64": {"bpf": 321, "perf_event_open": 298, "fanotify_init": 300, "fanotify_mark": 301, "fsopen": 430,
               "fsconfig": 431, "fsmount": 432, "openat2": 437},
    "aarch64": {"bpf": 280, "perf_event_open": 241, "fanotify_init": 262, "fanotify_mark": 263, "fsopen": 430,
                "fsconfig": 431, "fsmount": 432, "openat2": 437},
}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

# bpf(2): commands (enum bpf_cmd).
MAP_CREATE, MAP_LOOKUP, PROG_LOAD, OBJECT_INFO = 0, 1, 5, 15
HASH, PERCPU_ARRAY, RINGBUF = 1, 6, 27
_TRACEPOINT = 5  # BPF_PROG_TYPE_TRACEPOINT
_LOG = 1 << 16
_PERF_SET_BPF, _PERF_ENABLE = 0x40042408, 0x2400
_PERF_TYPE_TRACEPOINT, _PERF_CLOEXEC = 2, 8


def number(name: str) -> int:
    """Of a system call. OSError (ENOSYS) on machines whose calls are not in the table."""
    known = _NUMBERS.get(platform.machine(), {}).get(name)
    if known is None:
        raise OSError(errno.ENOSYS, f"not known on {platform.machine()}", name)
    return known


def call(name: str, *arguments: Any) -> int:
    """The result of system call `name`. Raises OSError, whose `filename` is that name; ENOSYS on other machines."""
    result: int = _libc.syscall(ctypes.c_long(number(name)), *(
        ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments))
    if result < 0:
        failed = ctypes.get_errno()
        raise OSError(failed, os.strerror(failed), name)
    return result


def _bpf(command: int, attributes: bytes) -> int:
    block = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    return call("bpf", command, block, 128)


def create_map(kind: int, key: int, value: int, entries: int, name: str) -> int:
    """A descriptor; `key` and `value` are sizes in bytes. A ring buffer has neither, its size is `entries`."""
    # union bpf_attr: map_type, key_size, value_size, max_entries, map_flags, inner_map_fd, numa_node, map_name[16]
    return _bpf(MAP_CREATE, struct.pack("<7I16s", kind, key, value, entries, 0, 0, 0, name.encode()[:15]))


def look_up(map_fd: int, key: int, size: int) -> bytes:
    """The value at a 32-bit key. `size` is of all CPUs' values for a map that has one for each."""
    index, value = ctypes.c_uint32(key), ctypes.create_string_buffer(size)
    _bpf(MAP_LOOKUP, struct.pack("<I4xQQ", map_fd, ctypes.addressof(index), ctypes.addressof(value)))
    return value.raw


class VerifierError(OSError):
    """The kernel did not accept a program; `log` is what its verifier said, the last lines last."""

    def __init__(self, error: OSError, log: str) -> None:
        super().__init__(error.errno, error.strerror, error.filename)
        self.log = log


def load_program(code: bytes, name: str) -> int:
    """The descriptor of a tracepoint program. VerifierError where it is refused."""
    text = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")  # the helpers that are used are given to no other

    def load(log: Any) -> int:
        size = 0 if log is None else _LOG
        # prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version, prog_flags, prog_name[16]
        return _bpf(PROG_LOAD, struct.pack(
            "<IIQQIIQII16s", _TRACEPOINT, len(code) // 8, ctypes.addressof(text), ctypes.addressof(licence),
            int(size > 0), size, 0 if log is None else ctypes.addressof(log), 0, 0, name.encode()[:15]))

    try:
        return load(None)
    except OSError as error:
        log = ctypes.create_string_buffer(_LOG)
        try:
            return load(log)
        except OSError:
            raise VerifierError(error, log.value.decode("utf-8", "replace")) from None


def attach(program: int, tracepoint: int) -> int:
    """A descriptor; while it is open the program runs whenever tracepoint (its id in tracefs) is passed, on any CPU."""
    # struct perf_event_attr: type, size, config, sample_period, …
    attributes = ctypes.create_string_buffer(struct.pack("<IIQQ", _PERF_TYPE_TRACEPOINT, 112, tracepoint, 1), 112)
    event = call("perf_event_open", attributes, -1, 0, -1, _PERF_CLOEXEC)
    try:
        for request, argument in ((_PERF_SET_BPF, program), (_PERF_ENABLE, 0)):
            if _libc.ioctl(event, ctypes.c_ulong(request), ctypes.c_ulong(argument)) < 0:
                failed = ctypes.get_errno()
                raise OSError(failed, os.strerror(failed), "perf_event_open")
    except OSError:
        os.close(event)
        raise
    return event


def missed(program: int) -> int:
    """How often the kernel could not run a program, as one ran on that CPU (bpf_prog_info.recursion_misses)."""
    info = ctypes.create_string_buffer(256)
    _bpf(OBJECT_INFO, struct.pack("<IIQ", program, len(info), ctypes.addressof(info)))
    return int.from_bytes(info.raw[208:216], "little")


def detached(filesystem: str) -> int:
    """The root of a filesystem that is mounted nowhere, as a descriptor: nobody else sees it, and nothing stays."""
    made = call("fsopen", ctypes.c_char_p(filesystem.encode()), 1)  # FSOPEN_CLOEXEC
    try:
        call("fsconfig", made, 6, None, None, 0)  # FSCONFIG_CMD_CREATE
        return call("fsmount", made, 1, 0)  # FSMOUNT_CLOEXEC
    finally:
        os.close(made)


def open_within(root: int, path: str) -> int:
    """A regular file below `root`, on its filesystem; links do not lead out of it (openat2(2)). Raises OSError."""
    how = ctypes.create_string_buffer(struct.pack("<QQQ", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, 0,
                                                  0x10 | 0x02 | 0x01), 24)  # RESOLVE_IN_ROOT, _NO_MAGICLINKS, _NO_XDEV
    made = call("openat2", root, ctypes.c_char_p(os.fsencode(path)), how, 24)
    if not stat.S_ISREG(os.fstat(made).st_mode):
        os.close(made)
        raise OSError(errno.EINVAL, "no regular file", path)
    return made
