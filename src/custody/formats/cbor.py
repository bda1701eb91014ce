"""CBOR as Notary Project's COSE envelopes use it (RFC 8949): definite lengths, no floats, no key twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from custody.errors import MalformedError

_MAX_DEPTH = 8
_MAX_ITEMS = 4096
_SIMPLE = {20: False, 21: True, 22: None}


class Tagged(NamedTuple):
    """A value with a tag, such as 1 for seconds since 1970."""

    tag: int
    value: Any


def loads(data: bytes, where: str) -> Any:
    """int, bytes, str, list, dict, bool, None and Tagged. Raises MalformedError for all else, also behind it."""
    decoder = _Decoder(data, where)
    value = decoder.item(0)
    if decoder.at != len(data):
        raise decoder.error(f"{len(data) - decoder.at} bytes behind the value")
    return value


def byte_string(data: bytes) -> bytes:
    return _head(2, len(data)) + data


def text(value: str) -> bytes:
    return _head(3, len(value.encode())) + value.encode()


def array(*items: bytes) -> bytes:
    """Of items that are encoded already."""
    return _head(4, len(items)) + b"".join(items)


def integer(value: int) -> bytes:
    return _head(0, value) if value >= 0 else _head(1, -1 - value)


def mapping(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Of keys and values that are encoded already, in the order in which they shall stand."""
    return _head(5, len(pairs)) + b"".join(key + value for key, value in pairs)


def tagged(tag: int, value: bytes) -> bytes:
    """Of a value that is encoded already."""
    return _head(6, tag) + value


def _head(major: int, count: int) -> bytes:
    if count < 24:
        return bytes([major << 5 | count])
    size = next(size for size in (1, 2, 4, 8) if count < 1 << 8 * size)
    return bytes([major << 5 | 23 + size.bit_length()]) + count.to_bytes(size, "big")


class _Decoder:
    def __init__(self, data: bytes, where: str) -> None:
        self._data = data
        self._where = where
        self._items = 0
        self.at = 0

    def error(self, got: str) -> MalformedError:
        return MalformedError(self._where, got=got, expected="CBOR of definite lengths, each key once")

    def item(self, depth: int) -> Any:
        self._items += 1
        if depth > _MAX_DEPTH or self._items > _MAX_ITEMS:
            raise self.error("more levels or values than are read")
        first = self._take(1)[0]
        major, info = first >> 5, first & 31
        if info > 27 or (major == 7 and info not in _SIMPLE):
            raise self.error(f"the byte {first:#04x} at {self.at - 1}")
        if major == 7:
            return _SIMPLE[info]
        count = info if info < 24 else int.from_bytes(self._take(1 << info - 24), "big")
        if major == 0:
            return count
        if major == 1:
            return -1 - count
        if major == 2:
            return self._take(count)
        if major == 3:
            try:
                return self._take(count).decode("utf-8")
            except UnicodeDecodeError:
                raise self.error("text that is no UTF-8") from None
        if major == 4:
            return [self.item(depth + 1) for _ in range(min(count, _MAX_ITEMS + 1))]
        if major == 6:
            return Tagged(count, self.item(depth + 1))
        held: dict[Any, Any] = {}
        for _ in range(min(count, _MAX_ITEMS + 1)):
            key = self.item(depth + 1)
            # `true` would be the key 1, as Python has it.
            if not isinstance(key, (int, str)) or isinstance(key, bool) or key in held:
                raise self.error(f"the key {key!r} twice, or no number and no text")
            held[key] = self.item(depth + 1)
        return held

    def _take(self, count: int) -> bytes:
        part = self._data[self.at:self.at + count]
        if len(part) != count:
            raise self.error(f"its end after {len(self._data)} bytes")
        self.at += count
        return part
