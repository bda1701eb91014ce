"""eBPF programs written by hand: instructions, labels, and the few forms that sensors repeat (RFC 9669)."""

from __future__ import annotations

import struct

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FP = range(11)
# Helper functions by their numbers (include/uapi/linux/bpf.h, ___BPF_FUNC_MAPPER).
LOOKUP, UPDATE, DELETE = 1, 2, 3
PID_TGID, UID_GID, COMM, TASK, CGROUP = 14, 15, 16, 35, 80
READ_USER, READ_KERNEL, READ_USER_TEXT, READ_KERNEL_TEXT = 112, 113, 114, 115
BOOT_TIME, OUTPUT, QUERY = 125, 130, 134

_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_JUMPS = {"==": 0x15, ">": 0x25, ">=": 0x35, "&": 0x45, "!=": 0x55, "s>": 0x65, "s>=": 0x75, "<": 0xA5, "<=": 0xB5,
          "s<": 0xC5, "s<=": 0xD5}
_OPERATIONS = {"+": 0x07, "-": 0x17, "*": 0x27, "|": 0x47, "&": 0x57, "<<": 0x67, ">>": 0x77, "=": 0xB7}


class Assembler:
    """Instructions in their order; `code()` is what the kernel takes."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, int, int, int | str, int]] = []  # opcode, dst, src, offset or label, immediate
        self._labels: dict[str, int] = {}
        self._made = 0

    def name(self) -> str:
        """A label that nobody else has."""
        self._made += 1
        return f".{self._made}"

    def label(self, name: str) -> None:
        assert name not in self._labels, name
        self._labels[name] = len(self._lines)

    def _line(self, opcode: int, dst: int = 0, src: int = 0, offset: int | str = 0, immediate: int = 0) -> None:
        self._lines.append((opcode, dst, src, offset, immediate))

    def op(self, operation: str, dst: int, immediate: int) -> None:
        """64-bit arithmetic with a number; `=` moves it."""
        self._line(_OPERATIONS[operation], dst, immediate=immediate)

    def op_register(self, operation: str, dst: int, src: int) -> None:
        self._line(_OPERATIONS[operation] | 0x08, dst, src)

    def move(self, dst: int, src: int) -> None:
        self.op_register("=", dst, src)

    def load(self, size: int, dst: int, base: int, offset: int) -> None:
        self._line(0x61 | _SIZES[size], dst, base, offset)

    def store(self, size: int, base: int, offset: int, src: int) -> None:
        self._line(0x63 | _SIZES[size], base, src, offset)

    def store_number(self, size: int, base: int, offset: int, immediate: int) -> None:
        self._line(0x62 | _SIZES[size], base, 0, offset, immediate)

    def jump(self, label: str) -> None:
        self._line(0x05, offset=label)

    def jump_if(self, dst: int, test: str, immediate: int, label: str) -> None:
        self._line(_JUMPS[test], dst, 0, label, immediate)

    def jump_if_registers(self, dst: int, test: str, src: int, label: str) -> None:
        self._line(_JUMPS[test] | 0x08, dst, src, label)

    def number(self, dst: int, value: int) -> None:
        """A number of 64 bits."""
        self._wide(dst, 0, value)

    def map(self, dst: int, descriptor: int) -> None:
        self._wide(dst, 1, descriptor)  # BPF_PSEUDO_MAP_FD

    def _wide(self, dst: int, src: int, value: int) -> None:
        value &= (1 << 64) - 1
        self._line(0x18, dst, src, immediate=value & 0xFFFFFFFF)
        self._line(0x00, immediate=value >> 32)

    def call(self, helper: int) -> None:
        """R0 = helper(R1 … R5), which are undefined after it."""
        self._line(0x85, immediate=helper)

    def leave(self) -> None:
        self._line(0x95)

    def code(self) -> bytes:
        out = bytearray()
        for at, (opcode, dst, src, offset, immediate) in enumerate(self._lines):
            distance = self._labels[offset] - at - 1 if isinstance(offset, str) else offset
            out += struct.pack("<BBhI", opcode, dst | src << 4, distance, immediate & 0xFFFFFFFF)
        return bytes(out)

    # --- forms ------------------------------------------------------------------------------------------------------

    def address(self, dst: int, base: int, offset: int) -> None:
        self.move(dst, base)
        if offset:
            self.op("+", dst, offset)

    def look_up(self, descriptor: int, key_offset: int) -> None:
        """R0: the value's address, or 0. The key is on the stack."""
        self.map(R1, descriptor)
        self.address(R2, FP, key_offset)
        self.call(LOOKUP)

    def read(self, helper: int, base: int, offset: int, size: int) -> None:
        """`size` bytes at R3 to base + offset; R0 < 0 where it could not be read."""
        self.address(R1, base, offset)
        self.op("=", R2, size)
        self.call(helper)

    def follow(self, offsets: tuple[int, ...], failed: str) -> None:
        """R3: the address at the end of a chain of pointers in the kernel, from R3 on. A null ends at `failed`.

        Of (8, 16, 4) the pointers at 8 and then at 16 are followed, and R3 is 4 after what the last one shows. It uses
        eight bytes at FP - 8.
        """
        for offset in offsets[:-1]:
            if offset:
                self.op("+", R3, offset)
            self.read(READ_KERNEL, FP, -8, 8)
            self.jump_if(R0, "s<", 0, failed)
            self.load(8, R3, FP, -8)
            self.jump_if(R3, "==", 0, failed)
        if offsets[-1]:
            self.op("+", R3, offsets[-1])
