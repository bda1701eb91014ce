"""An archive's bytes, as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from custody.errors import MalformedError


class Source:
    """Bytes that come in chunks, taken or skipped in any amounts."""

    def __init__(self, chunks: Iterable[bytes], where: str) -> None:
        self._chunks = iter(chunks)
        self.chunk = b""
        """What is at hand; whoever knows what is in it may move on in it by `at`."""
        self.at = 0
        self.where = where

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end <= len(self.chunk):
            result = self.chunk[self.at:end]
            self.at = end
            return result
        return b"".join(self.pieces(count))

    def pieces(self, count: int) -> Iterator[bytes]:
        """`count` bytes in pieces as they come."""
        while count:
            if self.at == len(self.chunk):
                self._next()
            piece = self.chunk[self.at:self.at + count]
            self.at += len(piece)
            count -= len(piece)
            yield piece

    def skip(self, count: int) -> None:
        while True:
            left = len(self.chunk) - self.at
            if count <= left:
                self.at += count
                return
            count -= left
            self._next()

    def pad(self, count: int) -> None:
        """Skip the padding behind an entry, of which the end of the stream may cut any part off."""
        while count > len(self.chunk) - self.at:
            count -= len(self.chunk) - self.at
            self.at = len(self.chunk)
            if self.ended():
                return
        self.at += count

    def peek(self, count: int) -> bytes:
        """The next bytes without taking them: `count`, or fewer where no more are there yet."""
        return self.chunk[self.at:self.at + count]

    def ended(self) -> bool:
        """Whether nothing more comes."""
        while self.at == len(self.chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                return True
            self.chunk, self.at = chunk, 0
        return False

    def drain(self) -> None:
        """Let the rest pass, for whoever hashes it on its way."""
        for _ in self._chunks:
            pass

    def _next(self) -> None:
        self.at = len(self.chunk)
        if self.ended():
            raise MalformedError(self.where, got="the end in the middle of an entry", expected="a whole tar")
