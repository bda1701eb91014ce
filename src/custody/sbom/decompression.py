"""The bytes of a layer's tar: fetched, checked, inflated and bounded, ahead of whoever reads them."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import IO, BinaryIO, cast

import zstandard
from isal import igzip_lib

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats.oci import Descriptor
from custody.registry.image import VerifyingReader
from custody.sbom.limits import Limits

_IN, _OUT, _AHEAD = 256 * 1024, 1024 * 1024, 6
_BROKEN = (OSError, EOFError, zstandard.ZstdError, cast("type[Exception]", igzip_lib.error))
_WINDOW, _LARGE_WINDOW = 8 << 20, 128 << 20


class Decompressed:
    """The layer's tar in chunks. Another thread reads, hashes and inflates ahead; this one hashes what comes out."""

    def __init__(self, raw: BinaryIO, descriptor: Descriptor, limits: Limits, window: threading.Lock,
                 progress: Callable[[int], None] | None) -> None:
        kind = descriptor.media_type
        inflate: Callable[[Iterator[bytes], str], Iterator[bytes]] | None = (
            _gunzip if kind.endswith(("+gzip", ".tar.gzip")) else _unzstd if kind.endswith("+zstd")
            else _plain if kind.endswith((".tar", "v1.tar")) else None)
        if inflate is None or "nondistributable" in kind or "foreign" in kind:
            raw.close()
            raise UnsupportedError(f"layer {descriptor.digest}: mediaType", f"{kind!r} is not read",
                                   hint="tar, tar+gzip and tar+zstd layers are")
        self._reader = VerifyingReader(raw, descriptor)
        self._inflate = inflate
        self._window = window if inflate is _unzstd else None
        self._first = b""
        self._limits, self._descriptor, self._progress = limits, descriptor, progress
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.state = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Decompressed:
        if self._window is not None:
            self._first = self._reader.read(_IN)
            if _window(self._first) <= _WINDOW:
                self._window = None
            else:
                self._window.acquire()
                self._inflate = _unzstd_large
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self._reader.close()
        if self._window is not None:
            self._window.release()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            chunk = self._queue.get()
            if isinstance(chunk, BaseException):
                raise chunk
            if not chunk:
                return
            self.state.update(chunk)
            self.size += len(chunk)
            yield chunk

    def _work(self) -> None:
        where = f"layer {self._descriptor.digest}"
        done = 0
        try:
            for chunk in self._inflate(self._compressed(), where):
                done += len(chunk)
                if done > self._limits.size or (done > self._limits.ratio_from
                                                and done > self._limits.ratio * self._descriptor.size):
                    raise MalformedError(where, got=f"more than {done >> 20} MiB out of {self._descriptor.size} bytes",
                                         expected="a layer, not a decompression bomb")
                self._queue.put(chunk)
                if self._stopped.is_set():
                    return
            self._reader.drain()
            self._queue.put(b"")
        except CustodyError as error:
            self._queue.put(error)
        except _BROKEN as error:
            self._queue.put(MalformedError(where, got=str(error), expected=f"bytes of {self._descriptor.media_type}"))
        except Exception as error:  # raised again by whoever reads the queue
            self._queue.put(error)

    def _compressed(self) -> Iterator[bytes]:
        if self._first:
            yield self._first
        while chunk := self._reader.read(_IN):
            if self._progress:
                self._progress(len(chunk))
            yield chunk


def _gunzip(compressed: Iterator[bytes], where: str) -> Iterator[bytes]:
    """Gzip members one after the other (RFC 1952 section 2.2)."""
    member = None
    for data in compressed:
        while data:
            member = member or igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            chunk = member.decompress(data, _OUT)
            while True:
                if chunk:
                    yield chunk
                if member.eof or member.needs_input:
                    break
                chunk = member.decompress(b"", _OUT)
            data = member.unused_data if member.eof else b""
            if member.eof:
                member = None
    if member is not None:
        raise MalformedError(where, got="the end of the blob in the middle of a gzip stream", expected="all of it")


def _window(head: bytes) -> int:
    """The window that a Zstandard stream's first frame asks for; 0 where it does not say."""
    try:
        return zstandard.get_frame_parameters(head).window_size
    except zstandard.ZstdError:
        return 0


def _unzstd_large(compressed: Iterator[bytes], where: str) -> Iterator[bytes]:
    return _unzstd(compressed, where, _LARGE_WINDOW)


def _unzstd(compressed: Iterator[bytes], _where: str, window: int = _WINDOW) -> Iterator[bytes]:
    """Zstandard frames one after the other (RFC 8878), with windows of at most 8 MiB, as its section 3.1.1.1.2
    recommends; where the first frame says more, 128 MiB, which is what the command `zstd --ultra -22` writes.
    """
    with zstandard.ZstdDecompressor(max_window_size=window).stream_reader(
            cast(IO[bytes], _Chunks(compressed)), read_across_frames=True) as reader:
        while chunk := reader.read(_OUT):
            yield chunk


def _plain(compressed: Iterator[bytes], _where: str) -> Iterator[bytes]:
    return compressed


class _Chunks:
    """A read() over chunks, as big as they come."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def read(self, size: int) -> bytes:
        if not self._left:
            self._left = next(self._chunks, b"")
        piece, self._left = self._left[:size], self._left[size:]
        return piece
