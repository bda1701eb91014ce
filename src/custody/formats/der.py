"""DER, written, and read strictly: lengths in their shortest form, nothing left over (X.690 sections 8 and 10)."""

from __future__ import annotations

from custody.errors import MalformedError

INTEGER, OCTETS, NULL, OID, SEQUENCE, SET = 0x02, 0x04, 0x05, 0x06, 0x30, 0x31
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
_MAX_LENGTH_BYTES = 4
_MAX_OPEN = 8
"""Elements of indefinite length inside each other. CMS has five such levels."""
_END = b"\0\0"


def element(tag: int, *parts: bytes) -> bytes:
    """One element that holds the parts, which are whole elements or bare content."""
    body = b"".join(parts)
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag]) + (bytes([len(body)]) if len(body) < 0x80 else bytes([0x80 | len(size)]) + size) + body


def set_of(*elements: bytes, tag: int = SET) -> bytes:
    """A SET OF these, in the order of their encodings (X.690 section 11.6); `tag` where it is an implicit one."""
    return element(tag, *sorted(elements))


def oid(text: str) -> bytes:
    """An object identifier, of at least two numbers."""
    first, second, *rest = map(int, text.split("."))
    content = b""
    for number in (40 * first + second, *rest):
        groups = [number & 0x7f]
        while number := number >> 7:
            groups.append(number & 0x7f | 0x80)
        content += bytes(reversed(groups))
    return element(OID, content)


def definite(ber: bytes, where: str) -> bytes:
    """BER whose outer elements may be of indefinite length, as what streams writes it: with definite lengths.

    What has a definite length is kept byte for byte, and nothing behind the element is touched (X.690 section 8.1.3.6).
    Raises MalformedError.
    """
    whole, end = _closed(ber, 0, where, _MAX_OPEN)
    return whole + ber[end:]


def _closed(ber: bytes, at: int, where: str, depth: int) -> tuple[bytes, int]:
    """The element at `at` with a definite length, and where the next one begins."""
    if ber[at + 1:at + 2] != b"\x80" or not ber[at] & 0x20:
        reader = Reader(ber, where, at)
        return reader.element(), reader.position
    if depth == 0:
        raise MalformedError(where, got="more elements of indefinite length inside each other",
                             expected=f"at most {_MAX_OPEN}")
    parts, tag, at = [], ber[at], at + 2
    while ber[at:at + 2] != _END:
        if at >= len(ber):
            raise MalformedError(where, got="an element without an end", expected="two zero bytes behind it")
        part, at = _closed(ber, at, where, depth - 1)
        parts.append(part)
    return element(tag, *parts), at + 2


class Reader:
    """Walks over the elements of one level. All methods raise MalformedError, naming `where`."""

    __slots__ = ("_at", "_data", "where")

    def __init__(self, data: bytes, where: str, position: int = 0) -> None:
        self._data, self._at, self.where = data, position, where

    @property
    def position(self) -> int:
        """Where the next element begins."""
        return self._at

    def peek(self) -> int | None:
        """The next element's tag; None at the end."""
        return self._data[self._at] if self._at < len(self._data) else None

    def element(self, tag: int | None = None) -> bytes:
        """The next element whole, with its tag and length; `tag` is the one that it must have."""
        start, end = self._bounds(tag)[1:]
        whole = self._data[self._at:end]
        assert start <= end
        self._at = end
        return whole

    def content(self, tag: int) -> bytes:
        """What is in the next element."""
        _, start, end = self._bounds(tag)
        self._at = end
        return self._data[start:end]

    def enter(self, tag: int, where: str | None = None) -> Reader:
        """A reader of what is in the next element."""
        return Reader(self.content(tag), where or self.where)

    def integer(self) -> int:
        content = self.content(INTEGER)
        if not content or (len(content) > 1 and content[0] in (0, 0xff) and (content[0] ^ content[1]) < 0x80):
            raise self._bad(content, "an integer in its shortest form")
        return int.from_bytes(content, "big", signed=True)

    def oid(self) -> str:
        content = self.content(OID)
        numbers: list[int] = []
        number, first = 0, True
        for byte in content:
            if first and byte == 0x80:
                raise self._bad(content, "an object identifier in its shortest form")
            number, first = number << 7 | byte & 0x7f, byte < 0x80
            if number >> 64:
                raise self._bad(content, "an object identifier of numbers below 2^64")
            if first:
                numbers.append(number)
                number = 0
        if not numbers or not first:
            raise self._bad(content, "an object identifier")
        root = min(numbers[0] // 40, 2)
        return ".".join(map(str, (root, numbers[0] - 40 * root, *numbers[1:])))

    def done(self) -> None:
        if self._at != len(self._data):
            raise MalformedError(self.where, got=f"{len(self._data) - self._at} more bytes", expected="nothing more")

    def _bounds(self, tag: int | None) -> tuple[int, int, int]:
        """Tag, and where the content of the next element starts and ends."""
        data, at = self._data, self._at
        if at + 2 > len(data):
            raise self._bad(data[at:], "a DER element" if tag is None else f"a DER element of tag {tag:#04x}")
        if tag is not None and data[at] != tag:
            raise MalformedError(self.where, got=f"tag {data[at]:#04x}", expected=f"tag {tag:#04x}")
        size, start = data[at + 1], at + 2
        if size >= 0x80:
            count = size & 0x7f
            size = int.from_bytes(data[start:start + count], "big")
            start += count
            if not 1 <= count <= _MAX_LENGTH_BYTES or size < 0x80 or size >> 8 * (count - 1) == 0:
                raise self._bad(data[at:start], "a definite length in its shortest form")
        if start + size > len(data):
            raise MalformedError(self.where, got=f"{len(data) - start} bytes", expected=f"{size} bytes")
        return data[at], start, start + size

    def _bad(self, got: bytes, expected: str) -> MalformedError:
        return MalformedError(self.where, got=got[:16].hex() or "no bytes", expected=expected)
