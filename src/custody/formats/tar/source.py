"""An archive's bytes, as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from custody.errors import MalformedError


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

    def pad(self, count: int) -> None:
        """Skip the padding behind an entry, of which the end of the stream may cut any part off."""
        while count > len(self._chunk) - self._at:
            count -= len(self._chunk) - self._at
            self._at = len(self._chunk)
            if self.ended():
                return
        self._at += count

    def peek(self, count: int) -> bytes:
        """The next bytes without taking them: `count`, or fewer where no more are there yet."""
        return self._chunk[self._at:self._at + count]

    def ended(self) -> bool:
        """Whether nothing more comes."""
        while self._at == len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                return True
            self._chunk, self._at = chunk, 0
        return False

    def drain(self) -> None:
        """Let the rest pass, for whoever hashes it on its way."""
        for _ in self._chunks:
            pass

    def _next(self) -> None:
        self._at = len(self._chunk)
        if self.ended():
            raise MalformedError(self.where, got="the end in the middle of an entry", expected="a whole tar")
