"""Reads one layer of an image: one streaming pass that checks both digests and keeps only what catalogers need."""

from __future__ import annotations

import hashlib
import io
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import IO, BinaryIO, cast

import msgspec
import zstandard
from isal import igzip_lib

from custody.errors import CustodyError, MalformedError, UnsupportedError, VerificationError
from custody.formats.oci import Descriptor
from custody.registry.image import Image, VerifyingReader
from custody.sbom.catalogers import Fact, choose, read, store_path, unknown
from custody.sbom.tarwalk import Entry, Limits, Source, walk

_IN, _OUT, _AHEAD = 256 * 1024, 1024 * 1024, 6
_SPOOL = 8 << 20
_BROKEN = (OSError, EOFError, zstandard.ZstdError, cast("type[Exception]", igzip_lib.error))
_ELF = b"\x7fELF"


class LayerFacts(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one layer says, whatever image it is in."""

    diff_id: str
    entries: int
    size: int
    found: dict[str, tuple[Fact, ...]]
    """By path; a file that a cataloger looked at and found nothing in is there with no facts."""
    removed: tuple[str, ...]
    """Paths that the layer takes away from those below (image-spec layer.md, "Whiteouts")."""
    emptied: tuple[str, ...]
    """Folders that hide all that layers below have in them ("Opaque Whiteout")."""
    names: bytes
    """All names in the tar, one a line, folders with a slash behind, compressed with zstandard."""

    def lines(self) -> Iterator[str]:
        with zstandard.ZstdDecompressor().stream_reader(self.names) as reader:
            for line in io.TextIOWrapper(cast(IO[bytes], reader), "utf-8", newline="\n"):
                yield line[:-1]


def read_layer(image: Image, descriptor: Descriptor, diff_id: str, limits: Limits | None = None,
               progress: Callable[[int], None] | None = None) -> LayerFacts:
    """Raises VerificationError where a digest lies, MalformedError for hostile layers, UnsupportedError."""
    bounds = limits or Limits()
    collected = _Collected(f"layer {descriptor.digest}", bounds, {})
    size = _pass(image, descriptor, diff_id, bounds, collected, progress)
    if missing := collected.link():  # hard links to files without a telling name: once more, with their names known
        collected = _Collected(collected.where, bounds, missing)
        size = _pass(image, descriptor, diff_id, bounds, collected, None)
        collected.link()
    return LayerFacts(diff_id=diff_id, entries=collected.entries, size=size, found=collected.found,
                      removed=tuple(collected.removed), emptied=tuple(collected.emptied), names=collected.names())


def _pass(image: Image, descriptor: Descriptor, diff_id: str, limits: Limits, collected: _Collected,
          progress: Callable[[int], None] | None) -> int:
    """The size of the tar, when all of it is read and is what the image says."""
    with _Decompressed(image.open_blob(descriptor), descriptor, limits, progress) as chunks:
        source = Source(chunks, collected.where)
        for entry in walk(source, limits):
            collected.take(entry)
        source.drain()
        actual, size = "sha256:" + chunks.state.hexdigest(), chunks.size
    if actual != diff_id:
        raise VerificationError(f"{collected.where}: its uncompressed bytes are {actual}, "
                                f"the image config says {diff_id}")
    return size


class _Collected:
    """What one pass over a layer found; `wanted` says which files hard links give a telling name."""

    def __init__(self, where: str, limits: Limits, wanted: Mapping[str, str]) -> None:
        self.where = where
        self.entries = 0
        self.found: dict[str, tuple[Fact, ...]] = {}
        self.removed: list[str] = []
        self.emptied: list[str] = []
        self._limits, self._wanted = limits, wanted
        self._linked: dict[str, tuple[Fact, ...]] = {}
        self._links: list[tuple[str, str]] = []
        self._facts = 0
        self._stores: set[str] = set()
        self._lines: list[str] = []
        self._packed: list[bytes] = []
        self._packer = zstandard.ZstdCompressor(level=1).compressobj()

    def take(self, entry: Entry) -> None:
        self.entries += 1
        path = entry.path
        if not path:
            return
        self._lines.append(path + "/" if entry.kind == "directory" else path)
        if len(self._lines) == 4096:
            self._pack()
        folder, _, base = path.rpartition("/")
        facts = None
        if base.startswith(".wh."):
            self._whiteout(folder, base)
        elif entry.kind == "file" and path in self._wanted and entry.size <= self._limits.file:
            name = choose(self._wanted[path]) or ""
            self._linked[path] = read(name, self._wanted[path], b"".join(entry.pieces()))
        elif entry.kind == "file":
            facts = _file(entry, self._limits)
            store = store_path(path)
            if store is not None and store not in self._stores:
                self._stores.add(store)
                facts = (*(facts or ()), unknown("Nix store path"))
        elif entry.kind == "link":
            self._links.append((path, entry.link))
        elif entry.kind == "sparse" and choose(path):
            facts = (unknown("sparse file"),)
        if facts is None:
            self.found.pop(path, None)  # a later entry of one name counts
            return
        self.found[path] = facts
        self._facts += 1 + len(facts)
        if self._facts > self._limits.facts:
            raise MalformedError(self.where, got=f"more than {self._limits.facts} packages and the like",
                                 expected="fewer")

    def link(self) -> dict[str, str]:
        """Give hard links the facts of their targets; target → link for those whose content is not known yet."""
        missing: dict[str, str] = {}
        for path, target in self._links:
            name = choose(path)
            if target in self.found and name in (None, choose(target)):
                self.found[path] = self.found[target]
            elif name and target in self._linked:
                self.found[path] = self._linked[target]
            elif name:
                missing.setdefault(target, path)
                self.found[path] = (unknown("hard link into another layer"),)
        return missing

    def names(self) -> bytes:
        self._pack()
        return b"".join([*self._packed, self._packer.flush()])

    def _pack(self) -> None:
        text = "".join(line.replace("\n", "\\n") + "\n" for line in self._lines)
        self._packed.append(self._packer.compress(text.encode()))
        self._lines.clear()

    def _whiteout(self, folder: str, base: str) -> None:
        if base == ".wh..wh..opq":
            self.emptied.append(folder)
        elif not base.startswith(".wh..wh."):  # the others are bookkeeping of AUFS
            name = base[4:]
            if name in ("", ".", ".."):
                raise MalformedError(f"{self.where}: {folder}/{base}", got="a whiteout of nothing",
                                     expected=".wh. and a name")
            self.removed.append(f"{folder}/{name}" if folder else name)


def _file(entry: Entry, limits: Limits) -> tuple[Fact, ...] | None:
    """The facts in a file; None where no cataloger cares for it."""
    name = choose(entry.path)
    if name is not None:
        if name.startswith("?"):
            return (unknown(name[1:]),)
        if entry.size > limits.file:
            return (unknown(f"{name} file of more than {limits.file >> 20} MiB"),)
        return read(name, entry.path, b"".join(entry.pieces()))
    if entry.size < 64:
        return None
    pieces = entry.pieces()
    first = next(pieces)
    if len(first) < 4:
        first += next(pieces, b"")
    if first[:4] != _ELF:
        return None
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL) as file:
        file.write(first)
        for piece in pieces:
            file.write(piece)
        return read("elf", entry.path, cast(BinaryIO, file)) or None


class _Decompressed:
    """The layer's tar in chunks. Another thread reads, hashes and inflates ahead; this one hashes what comes out."""

    def __init__(self, raw: BinaryIO, descriptor: Descriptor, limits: Limits,
                 progress: Callable[[int], None] | None) -> None:
        kind = descriptor.media_type
        inflate = (_gunzip if kind.endswith(("+gzip", ".tar.gzip")) else _unzstd if kind.endswith("+zstd")
                   else _plain if kind.endswith((".tar", "v1.tar")) else None)
        if inflate is None or "nondistributable" in kind or "foreign" in kind:
            raw.close()
            raise UnsupportedError(f"layer {descriptor.digest}: mediaType", f"{kind!r} is not read",
                                   hint="tar, tar+gzip and tar+zstd layers are")
        self._reader = VerifyingReader(raw, descriptor)
        self._inflate = inflate
        self._limits, self._descriptor, self._progress = limits, descriptor, progress
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.state = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> _Decompressed:
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


def _unzstd(compressed: Iterator[bytes], _where: str) -> Iterator[bytes]:
    """Zstandard frames one after the other (RFC 8878), with windows of at most 128 MiB."""
    with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
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
