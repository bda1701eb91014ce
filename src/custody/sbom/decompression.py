"""The bytes of a layer's tar: fetched, checked, inflated and bounded, ahead of whoever reads them.

Inflating and both digests take more time than all that is read out of a layer, and none of them needs the interpreter:
each has a thread. They ask for it once a chunk, so chunks are large.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import BinaryIO, Protocol, cast

import zstandard
from isal import igzip_lib

from custody.errors import CustodyError, MalformedError, UnsupportedError, VerificationError
from custody.formats import zstd
from custody.formats.oci import Descriptor
from custody.registry.image import VerifyingReader
from custody.sbom.limits import Limits

_IN, _OUT, _AHEAD = 512 << 10, 2 << 20, 4
_BROKEN = (OSError, EOFError, zstandard.ZstdError, cast("type[Exception]", igzip_lib.error))
_WINDOW, _LARGE_WINDOW = 8 << 20, 128 << 20
_KEPT = 24 << 20


class Turn(Protocol):
    """What one thread, or process, holds at a time."""

    def acquire(self) -> object: ...

    def release(self) -> None: ...

    def __enter__(self) -> object: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None, /) -> None: ...


class StoppedError(Exception):
    """Somebody else failed, or a person had enough: nobody waits for this layer any more."""


class Decompressed:
    """The layer's tar in chunks. Two other threads read, hash and inflate ahead, and hash what comes out."""

    def __init__(self, raw: BinaryIO, descriptor: Descriptor, limits: Limits, window: Turn,
                 progress: Callable[[int], None] | None, stopped: threading.Event | None = None) -> None:
        """`window` is held while a layer with a large window is decompressed; once `stopped` is set, StoppedError is
        raised in place of the next chunk.
        """
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
        self._stopped = threading.Event() if stopped is None else stopped
        self._left = threading.Event()
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._unhashed: queue.Queue[bytes] = queue.Queue(_AHEAD)
        self._state = hashlib.sha256()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._work, self._hash)]
        self.size = 0

    def __enter__(self) -> Decompressed:
        if self._window is not None:
            self._first = self._reader.read(_IN)
            if _window(self._first) <= _WINDOW:
                self._window = None
            else:
                self._window.acquire()
                self._inflate = _unzstd_large
        bytes(_KEPT)  # glibc keeps freed memory for the next chunks once a mapping so large was freed (mallopt(3))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        while self._threads[0].is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self._threads[1].join()
        self._reader.close()
        if self._window is not None:
            self._window.release()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            chunk = self._queue.get()
            if self._stopped.is_set():
                raise StoppedError
            if isinstance(chunk, BaseException):
                raise chunk
            if not chunk:
                return
            self.size += len(chunk)
            yield chunk

    def verify(self, diff_id: str) -> None:
        """When all chunks are taken. Raises VerificationError unless this is their digest."""
        self._threads[1].join()
        actual = "sha256:" + self._state.hexdigest()
        if actual != diff_id:
            raise VerificationError(f"layer {self._descriptor.digest}: its uncompressed bytes are {actual}, "
                                    f"the image config says {diff_id}")

    def _work(self) -> None:
        try:
            self._read()
        finally:
            self._unhashed.put(b"")

    def _read(self) -> None:
        where = f"layer {self._descriptor.digest}"
        done = 0
        try:
            for chunk in self._inflate(self._compressed(), where):
                done += len(chunk)
                if done > self._limits.size or (done > self._limits.ratio_from
                                                and done > self._limits.ratio * self._descriptor.size):
                    raise MalformedError(where, got=f"more than {done >> 20} MiB out of {self._descriptor.size} bytes",
                                         expected="a layer, not a decompression bomb")
                self._unhashed.put(chunk)
                self._queue.put(chunk)
                if self._left.is_set():
                    return
            self._reader.drain()
            self._queue.put(b"")
        except CustodyError as error:
            self._queue.put(error)
        except _BROKEN as error:
            self._queue.put(MalformedError(where, got=str(error), expected=f"bytes of {self._descriptor.media_type}"))
        except Exception as error:  # raised again by whoever reads the queue
            self._queue.put(error)

    def _hash(self) -> None:
        while chunk := self._unhashed.get():
            self._state.update(chunk)

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


def _unzstd(compressed: Iterator[bytes], where: str, window: int = _WINDOW) -> Iterator[bytes]:
    """Zstandard frames one after the other (RFC 8878), with windows of at most 8 MiB, as its section 3.1.1.1.2
    recommends; where the first frame says more, 128 MiB, which is what the command `zstd --ultra -22` writes.
    """
    return zstd.decompress(compressed, where, window)


def _plain(compressed: Iterator[bytes], _where: str) -> Iterator[bytes]:
    return compressed
