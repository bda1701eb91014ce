"""Zstandard streams (RFC 8878): frames one after the other, to their end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import IO, cast

import zstandard

from custody.errors import MalformedError

_OUT = 1 << 20


def decompress(compressed: Iterable[bytes], where: str, window: int) -> Iterator[bytes]:
    """The bytes in pieces of at most 1 MiB. Raises ZstdError for what is no stream, or asks for a window of more than
    `window` bytes, MalformedError where it is cut off.

    The library's reader ends without a word in the middle of a frame. So a frame that nobody else can have written is
    put behind the last: it comes out only where that one was whole.
    """
    last = os.urandom(64) * 64
    tail = b""
    with zstandard.ZstdDecompressor(max_window_size=window).stream_reader(
            cast(IO[bytes], _Chunks(compressed, zstandard.compress(last))), read_across_frames=True) as reader:
        while chunk := reader.read(_OUT):
            data = tail + chunk
            tail = data[-len(last):]
            if len(data) > len(last):
                yield data[:-len(last)]
    if tail != last:
        raise MalformedError(where, got="the end in the middle of a Zstandard frame", expected="all of it")


class _Chunks:
    """A read() over chunks, as big as they come; what is put behind them comes with the last one, since the reader
    loses the first bytes of a frame's header where a read ends in it.
    """

    def __init__(self, chunks: Iterable[bytes], last: bytes) -> None:
        self._chunks = iter(chunks)
        self._next = next(self._chunks, b"")
        self._left, self._last = b"", last

    def read(self, size: int) -> bytes:
        if not self._left:
            self._left, self._next = self._next, next(self._chunks, b"")
            if not self._next:
                self._left, self._last = self._left + self._last, b""
        piece, self._left = self._left[:size], self._left[size:]
        return piece
