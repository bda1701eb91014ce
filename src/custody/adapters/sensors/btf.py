"""Where the kernel's structures have their members: BTF, as /sys/kernel/btf/vmlinux has it (kernel.org, bpf/btf)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from custody.errors import MalformedError

VMLINUX = Path("/sys/kernel/btf/vmlinux")
_LIMIT = 64 << 20
_INT, _ARRAY, _STRUCT, _UNION, _ENUM = 1, 3, 4, 5, 6
_TRANSPARENT = (8, 9, 10, 11, 18)  # typedef, volatile, const, restrict, type tag
# Bytes after the 12 of a type: for each of its members, or once.
_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
_ONCE = {1: 4, 3: 12, 14: 4, 17: 4}

Member = tuple[int, int]
"""Bytes from the beginning of the structure, and the number of the member's type."""


class Btf:
    """Structures and enumerations, those in `names` only: all others are passed over."""

    def __init__(self, data: bytes, names: Iterable[str]) -> None:
        """Raises MalformedError where these bytes are no BTF."""
        try:
            magic, _, _, head, at, size, texts, texts_size = struct.unpack_from("<HBBIIIII", data)
        except struct.error:
            raise MalformedError("BTF", got=f"{len(data)} bytes", expected="a header of 24") from None
        if magic != 0xEB9F or len(data) > _LIMIT or head + max(at + size, texts + texts_size) > len(data):
            raise MalformedError("BTF", got=f"magic {magic:#x}, {len(data)} bytes", expected="0xeb9f, sections inside")
        self._types = data[head + at:head + at + size]
        self._texts = data[head + texts:head + texts + texts_size]
        named = {place + 1: name for name in names if (place := self._texts.find(b"\0" + name.encode() + b"\0")) >= 0}
        self._places: list[int] = [0]
        self._numbers: dict[str, int] = {}
        self._walk(named)

    def _walk(self, named: dict[int, str]) -> None:
        types, places, end, at = self._types, self._places, len(self._types), 0
        unpack = struct.Struct("<II").unpack_from
        while at + 12 <= end:
            text, info = unpack(types, at)
            kind = info >> 24 & 0x1F
            if text in named and kind in (_STRUCT, _UNION, _ENUM):
                self._numbers.setdefault(named[text], len(places))
            places.append(at)
            at += 12 + (_EACH[kind] * (info & 0xFFFF) if kind in _EACH else _ONCE.get(kind, 0))
            if at > end:
                raise MalformedError(f"BTF type {len(places) - 1}", got="an end behind the section", expected="inside")

    def _text(self, offset: int) -> str:
        return self._texts[offset:self._texts.find(b"\0", offset)].decode("utf-8", "replace")

    def _resolved(self, number: int) -> int:
        """A type without its typedefs and qualifiers."""
        for _ in range(32):
            if number == 0 or number >= len(self._places):
                break
            _, info, target = struct.unpack_from("<III", self._types, self._places[number])
            if info >> 24 & 0x1F not in _TRANSPARENT:
                return number
            number = target
        raise MalformedError("BTF type", got=number, expected="a type with a size")

    def _members(self, number: int, depth: int = 0) -> dict[str, Member]:
        at = self._places[self._resolved(number)]
        _, info, _ = struct.unpack_from("<III", self._types, at)
        members: dict[str, Member] = {}
        if info >> 24 & 0x1F not in (_STRUCT, _UNION) or depth > 8:
            return members
        for entry in range(info & 0xFFFF):
            text, target, bits = struct.unpack_from("<III", self._types, at + 12 + entry * 12)
            offset = (bits & 0xFFFFFF if info >> 31 else bits) // 8
            if text:
                members[self._text(text)] = offset, target
            else:  # members of what has no name are the structure's own
                members |= {name: (offset + inner, kind) for name, (inner, kind) in self._members(
                    target, depth + 1).items()}
        return members

    def offset(self, structure: str, path: str) -> int:
        """Bytes to `a.b` in a structure. MalformedError where this kernel has no such member."""
        if structure not in self._numbers:
            raise MalformedError(f"BTF of this kernel: {structure}", got="nothing", expected="a structure")
        number, total = self._numbers[structure], 0
        for name in path.split("."):
            members = self._members(number)
            if name not in members:
                raise MalformedError(f"BTF of this kernel: {structure}.{path}", got=f"no {name}", expected="a member")
            offset, number = members[name]
            total += offset
        return total

    def size(self, structure: str) -> int:
        if structure not in self._numbers:
            raise MalformedError(f"BTF of this kernel: {structure}", got="nothing", expected="a structure")
        size: int = struct.unpack_from("<I", self._types, self._places[self._numbers[structure]] + 8)[0]
        return size

    def value(self, enumeration: str, name: str) -> int | None:
        """None where the enumeration, or its constant, is not there."""
        if enumeration not in self._numbers:
            return None
        at = self._places[self._numbers[enumeration]]
        _, info, _ = struct.unpack_from("<III", self._types, at)
        for entry in range(info & 0xFFFF):
            text, value = struct.unpack_from("<Ii", self._types, at + 12 + entry * 8)
            if self._text(text) == name:
                return int(value)
        return None
