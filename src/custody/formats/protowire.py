"""Protocol buffers as bytes, written, and read strictly: known fields alone, single ones once (protobuf.dev)."""

from __future__ import annotations

from collections.abc import Mapping

from custody.errors import MalformedError, UnsupportedError

_VARINT, _BYTES = 0, 2
_MAX_FIELDS = 1024
Number = int
Field = tuple[str, type[int] | type[bytes]]


class Fields:
    """What one message holds, by the names of its fields."""

    __slots__ = ("_values", "where")

    def __init__(self, data: bytes, known: Mapping[Number, Field], where: str) -> None:
        """Raises MalformedError, and UnsupportedError for a field that is not among `known`."""
        self.where = where
        self._values: dict[str, list[int | bytes]] = {}
        at = count = 0
        while at < len(data):
            tag, at = _varint(data, at, where)
            number, wire = tag >> 3, tag & 7
            if number not in known:
                raise UnsupportedError(where, f"field {number} is not known")
            name, kind = known[number]
            if wire != (_VARINT if kind is int else _BYTES):
                raise MalformedError(f"{where}.{name}", got=f"wire type {wire}", expected="the field's own")
            size, at = _varint(data, at, where)
            value: int | bytes = size
            if kind is bytes:
                if at + size > len(data):
                    raise MalformedError(f"{where}.{name}", got=f"{len(data) - at} bytes", expected=f"{size} bytes")
                value, at = data[at:at + size], at + size
            self._values.setdefault(name, []).append(value)
            count += 1
            if count > _MAX_FIELDS:
                raise MalformedError(where, got="more fields", expected=f"at most {_MAX_FIELDS}")

    def has(self, name: str) -> bool:
        return name in self._values

    def all(self, name: str) -> tuple[bytes, ...]:
        """A repeated field of bytes."""
        return tuple(value for value in self._values.get(name, []) if isinstance(value, bytes))

    def data(self, name: str) -> bytes:
        """A field of bytes, or b"" as the format has it for what is left out."""
        return next(iter(self.all(name) if self._once(name) else ()), b"")

    def text(self, name: str) -> str:
        try:
            return self.data(name).decode()
        except UnicodeDecodeError:
            raise MalformedError(f"{self.where}.{name}", got=self.data(name)[:32], expected="UTF-8") from None

    def natural(self, name: str) -> int:
        """An int64 that is not negative, or 0 for what is left out."""
        values = self._values.get(name, [0]) if self._once(name) else []
        value = values[0]
        assert isinstance(value, int)
        if value >> 63:
            raise MalformedError(f"{self.where}.{name}", got=value - (1 << 64),
                                 expected="a number that is not negative")
        return value

    def _once(self, name: str) -> bool:
        if len(self._values.get(name, ())) > 1:
            raise MalformedError(f"{self.where}.{name}", got="it twice", expected="once")
        return True


def message(*fields: tuple[Number, int | bytes]) -> bytes:
    """Fields as they are given, numbers that are not negative."""
    return b"".join(_number(number << 3) + _number(value) if isinstance(value, int)
                    else _number(number << 3 | _BYTES) + _number(len(value)) + value for number, value in fields)


def _number(value: int) -> bytes:
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7f | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _varint(data: bytes, at: int, where: str) -> tuple[int, int]:
    value = 0
    for index in range(10):
        if at + index >= len(data):
            break
        byte = data[at + index]
        value |= (byte & 0x7f) << 7 * index
        if byte < 0x80:
            if value >> 64 or (not byte and index):
                break
            return value, at + index + 1
    raise MalformedError(where, got=data[at:at + 10].hex(), expected="a varint of 64 bits in its shortest form")
