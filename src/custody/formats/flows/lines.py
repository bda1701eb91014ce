"""The lines of a file of any length, plain or compressed by gzip, in bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from custody.errors import MalformedError, UnsupportedError

MAX_LINE = 256 * 1024
"""Bytes; a line that is longer is told of and not read."""
_GZIP = b"\x1f\x8b"
_STEP = 1 << 20
_FREE = 256 * 1024 * 1024
_RATIO = 300
"""Logs shrink to a twentieth; what grows three hundredfold beyond 256 MiB was made to grow."""
_UNREAD = {b"PAR1": "Parquet", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip",
           b"<?xml": "XML"}


Line = tuple[int, bytes | None]
"""The number, from 1, and the content without its end: None of one that is longer than MAX_LINE."""


def lines(pieces: Iterable[bytes], where: str) -> Iterator[Line]:
    """Raises UnsupportedError for another compression or a binary form, MalformedError for broken gzip."""
    number, waiting, skipping = 0, b"", False
    for piece in _plain(pieces, where):
        parts = (waiting + piece).split(b"\n")
        waiting = parts.pop()
        for content in parts:
            number += 1
            long, skipping = skipping or len(content) > MAX_LINE, False
            yield number, None if long else content.removesuffix(b"\r")
        if len(waiting) > MAX_LINE:
            waiting, skipping = b"", True
    if waiting or skipping:
        yield number + 1, (None if skipping else waiting.removesuffix(b"\r"))


def _plain(pieces: Iterable[bytes], where: str) -> Iterator[bytes]:
    source = iter(pieces)
    head = b""
    while len(head) < 8 and (piece := next(source, None)) is not None:
        head += piece
    for magic, name in _UNREAD.items():
        if head.startswith(magic):
            raise UnsupportedError(where, f"{name} is not read", hint="text or JSON lines, plain or with gzip")
    if head.startswith(_GZIP):
        yield from _inflated(head, source, where)
        return
    yield head.removeprefix(b"\xef\xbb\xbf")
    yield from source


def _inflated(head: bytes, source: Iterator[bytes], where: str) -> Iterator[bytes]:
    """All members one after the other (RFC 1952), a MiB at a time."""
    engine, read, written, begun = zlib.decompressobj(31), 0, 0, False
    piece: bytes | None = head
    while piece is not None:
        read += len(piece)
        data = b""
        while piece or len(data) == _STEP:  # as much as was asked for: there may be more of what was given
            if engine.eof:
                if not piece.startswith(_GZIP):
                    if piece.strip(b"\0"):  # tools pad to a block's end with zeros
                        raise MalformedError(where, got="bytes after the end of gzip", expected="another gzip member")
                    break
                engine = zlib.decompressobj(31)
            begun = True
            try:
                data = engine.decompress(piece, _STEP)
            except zlib.error as error:
                raise MalformedError(where, got=str(error), expected="gzip that can be read") from None
            written += len(data)
            if written > _FREE and written > read * _RATIO:
                raise MalformedError(where, got=f"{read} bytes that grow to more than {written}",
                                     expected=f"at most {_RATIO} times as many")
            if data:
                yield data
            piece = engine.unused_data if engine.eof else engine.unconsumed_tail
        piece = next(source, None)
    if begun and not engine.eof:
        raise MalformedError(where, got="gzip that ends before its end", expected="a whole file")
