"""Walks a tar stream once, forward only: ustar, GNU and PAX (POSIX.1-2024, utility pax; tar(5)).

Names that climb out of the tree are refused, naming the entry. What an entry holds is read only if the caller asks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from custody.errors import MalformedError

_BLOCK = 512
_KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"1": "link", b"2": "symlink", b"3": "device", b"4": "device",
          b"5": "directory", b"6": "device", b"S": "sparse"}
_ZEROS = bytes(_BLOCK)
_MAX_EXTENSION = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one layer may ask of this machine."""

    entries: int = 5_000_000
    path: int = 4096
    size: int = 32 << 30
    """Uncompressed bytes."""
    ratio: int = 150
    """Uncompressed over compressed bytes, from `ratio_from` bytes on: gzip reaches 1,030, software 2 to 10."""
    ratio_from: int = 1 << 30
    facts: int = 500_000
    """Packages and other facts."""
    file: int = 64 << 20
    """A file that is kept in memory."""


class Source:
    """Bytes that come in chunks, taken or skipped in any amounts."""

    def __init__(self, chunks: Iterable[bytes], where: str) -> None:
        self._chunks = iter(chunks)
        self._chunk = b""
        self._at = 0
        self.where = where

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end <= len(self._chunk):
            result = self._chunk[self._at:end]
            self._at = end
            return result
        return b"".join(self.pieces(count))

    def pieces(self, count: int) -> Iterator[bytes]:
        """`count` bytes in pieces as they come."""
        while count:
            if self._at == len(self._chunk):
                self._next()
            piece = self._chunk[self._at:self._at + count]
            self._at += len(piece)
            count -= len(piece)
            yield piece

    def skip(self, count: int) -> None:
        while True:
            left = len(self._chunk) - self._at
            if count <= left:
                self._at += count
                return
            count -= left
            self._next()

    def ended(self) -> bool:
        """Whether nothing more comes."""
        if self._at == len(self._chunk):
            self._chunk, self._at = next(self._chunks, b""), 0
        return not self._chunk

    def drain(self) -> None:
        """Let the rest pass, for whoever hashes it on its way."""
        for _ in self._chunks:
            pass

    def _next(self) -> None:
        self._at = len(self._chunk)
        if self.ended():
            raise MalformedError(self.where, got="the end in the middle of an entry", expected="a whole tar")


class Entry:
    """One member. `pieces()` may be called once, before the walk goes on."""

    __slots__ = ("_left", "_source", "kind", "link", "path", "size")

    def __init__(self, source: Source, path: str, kind: str, size: int, link: str) -> None:
        self.path = path
        """Relative, without `./` and double slashes; empty for the root."""
        self.kind = kind
        self.size = size
        self.link = link
        """Of a hard link, the path that it shares its content with."""
        self._source = source
        self._left = size

    def pieces(self) -> Iterator[bytes]:
        for piece in self._source.pieces(self._left):
            self._left -= len(piece)
            yield piece

    def skip(self) -> None:
        if self._left:
            self._source.skip(self._left)
        self._source.skip(-self.size % _BLOCK)


def walk(source: Source, limits: Limits) -> Iterator[Entry]:
    """The entries in order. Raises MalformedError for what is no tar, is hostile, or is beyond the limits."""
    extended: dict[str, str] = {}
    count = 0
    while not source.ended():  # some tools leave out the blocks of zeros, and every runtime reads their layers
        header = source.take(_BLOCK)
        if header == _ZEROS:
            if not source.ended() and source.take(_BLOCK) != _ZEROS:
                raise MalformedError(source.where, got="a header after a block of zeros", expected="a second one")
            return
        count += 1
        if count > limits.entries:
            raise MalformedError(source.where, got=f"more than {limits.entries} entries", expected="fewer")
        _check(header, source.where)
        kind = header[156:157]
        size = _number(header[124:136], source.where)
        if kind in (b"x", b"g", b"L", b"K"):
            if size > _MAX_EXTENSION:
                raise MalformedError(source.where, got=f"an extended header of {size} bytes", expected="at most 1 MiB")
            data = source.take(size)
            source.skip(-size % _BLOCK)
            _extend(kind, data, extended, source.where)
            continue
        path = extended["path"] if "path" in extended else _name(header)
        link = extended["linkpath"] if "linkpath" in extended else _text(header[157:257])
        if "size" in extended:
            size = _decimal(extended["size"], source.where)
        name = _KINDS.get(kind, "other")
        if name == "sparse":
            more = header[482]
            while more:
                more = source.take(_BLOCK)[504]
        elif "GNU.sparse.major" in extended or "GNU.sparse.size" in extended:
            name, path = "sparse", extended.get("GNU.sparse.name", path)
        elif name in ("link", "symlink", "device", "directory"):
            size = 0
        if name == "file" and path.endswith("/"):
            name = "directory"
        if len(path) > limits.path:
            raise MalformedError(f"{source.where}: {path[:60]}…", got=f"a name of {len(path)} characters",
                                 expected=f"at most {limits.path}")
        path = clean(path, source.where)
        entry = Entry(source, path, name, size, clean(link, source.where) if name == "link" else "")
        extended = {}
        yield entry
        entry.skip()


def clean(path: str, where: str) -> str:
    """The path without `.` and empty parts. Raises MalformedError for absolute ones and those with `..`."""
    path = path.removeprefix("./")
    if path.endswith("/"):
        path = path.rstrip("/") or "/"
    if not (path.startswith(("/", ".")) or "//" in path or "/." in path or "\0" in path):
        return path
    if path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise MalformedError(f"{where}: entry {path!r}", got="a name that leaves the image's tree",
                             expected="a relative name without '..'")
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _check(header: bytes, where: str) -> None:
    """The header's checksum. Adler-32's low half is one more than the sum of all bytes, modulo 65521."""
    stated = _number(header[148:156], where)
    low = ((zlib.adler32(header) & 0xFFFF) - (zlib.adler32(header[148:156]) & 0xFFFF) + 256) % 65521
    if stated % 65521 != low:
        raise MalformedError(where, got=f"a header whose checksum is {stated}", expected=f"{low} (is it a tar?)")


def _number(field: bytes, where: str) -> int:
    """Octal text, or base 256 where the first bit is set (tar(5), "Numeric extensions")."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] & 0x40 or value > 1 << 62:
            raise MalformedError(where, got="a negative or huge number in a header", expected="a size")
        return value
    text = field.partition(b"\0")[0].strip()
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise MalformedError(where, got=field, expected="an octal number in the header (is it a tar?)") from None


def _decimal(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise MalformedError(f"{where}: extended header size", got=text, expected="a decimal number")
    return int(text)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _name(header: bytes) -> str:
    name = _text(header[:100])
    if header[257:263] == b"ustar\0" and header[345]:
        return f"{_text(header[345:500])}/{name}"
    return name


def _extend(kind: bytes, data: bytes, extended: dict[str, str], where: str) -> None:
    if kind in (b"L", b"K"):
        extended["path" if kind == b"L" else "linkpath"] = _text(data)
        return
    place = 0
    while place < len(data):
        length, space, _ = data[place:place + 12].partition(b" ")
        end = place + int(length) if space and length.isdigit() else 0
        key, equals, value = data[place + len(length) + 1:end - 1].partition(b"=")
        if not equals or end > len(data) or data[end - 1:end] != b"\n":
            raise MalformedError(f"{where}: extended header", got=data[place:place + 40], expected="LENGTH KEY=VALUE")
        place = end
        name = key.decode("utf-8", "backslashreplace")
        if kind == b"g":
            if name in ("path", "linkpath", "size"):
                raise MalformedError(f"{where}: global header", got=name, expected="no names or sizes for all entries")
        elif name in ("path", "linkpath", "size") or name.startswith("GNU.sparse."):
            extended[name] = value.decode("utf-8", "backslashreplace")
