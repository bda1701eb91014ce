"""Reads one layer of an image: one streaming pass that checks both digests and keeps only what catalogers need."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, BinaryIO, cast

import msgspec
import zstandard
from isal import igzip_lib

from custody.errors import CustodyError, MalformedError, UnsupportedError, VerificationError
from custody.formats.oci import Descriptor
from custody.formats.tar.walk import Entry, Source, walk
from custody.kit import strictjson
from custody.registry.image import Image, VerifyingReader
from custody.sbom.catalogers import HEADS, JSON, LARGEST, MOST, Fact, choose, read, store_path, unknown, weight
from custody.sbom.catalogers.binaries import is_program
from custody.sbom.limits import Account, Limits

_IN, _OUT, _AHEAD = 256 * 1024, 1024 * 1024, 6
_SPOOL = 8 << 20
_BROKEN = (OSError, EOFError, zstandard.ZstdError, cast("type[Exception]", igzip_lib.error))
_LARGE = 1 << 20
_LARGEST = max(LARGEST.values())
_WINDOW, _LARGE_WINDOW = 8 << 20, 128 << 20


class LayerFacts(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one layer says, whatever image it is in."""

    diff_id: str
    entries: int
    size: int
    found: dict[str, tuple[Fact, ...]]
    """By path; only files that say something."""
    names: bytes
    """All names in the tar in its order, whiteouts too, each with NUL behind, compressed with zstandard: `path`,
    `folder/`, `link//target` of symbolic links, `link/./target` of hard ones. `member` reads them."""

    def lines(self) -> Iterator[str]:
        rest = b""
        with zstandard.ZstdDecompressor().stream_reader(self.names) as reader:
            while chunk := reader.read(_IN):
                *whole, rest = (rest + chunk).split(b"\0")
                yield from map(bytes.decode, whole)


def member(line: str) -> tuple[str, str, str]:
    """Path, kind (file, directory, symlink, link) and target of one of the `lines` of a layer."""
    path, mark, target = line.partition("//")
    if mark:
        return path, "symlink", target
    if line.endswith("/"):
        return line[:-1], "directory", ""
    path, mark, target = line.partition("/./")
    return path, "link" if mark else "file", target


class Accounts:
    """What all layers of one image may take together."""

    def __init__(self, limits: Limits) -> None:
        self.kept = Account(limits.kept, "bytes of facts in its layers")
        self.packages = Account(limits.packages, "packages")
        self.names = Account(limits.names, "bytes of names, compressed")
        self.parsed = Account(limits.parsed, "bytes of metadata")
        self.large = threading.RLock()
        """Held by the one thread that has a large file of metadata in memory."""
        self.window = threading.Lock()
        """Held while a layer with a large window is decompressed."""

    def keep(self, path: str, facts: tuple[Fact, ...], where: str) -> None:
        self.kept.charge(len(path) + 100 + sum(map(weight, facts)), where)


def read_layer(image: Image, descriptor: Descriptor, diff_id: str, limits: Limits | None = None,
               progress: Callable[[int], None] | None = None, *, accounts: Accounts | None = None,
               wanted: Mapping[str, Sequence[str]] | None = None) -> LayerFacts:
    """Raises VerificationError where a digest lies, MalformedError for hostile layers, UnsupportedError.

    `wanted`: files by path, and the telling names that symbolic links of the image give them.
    """
    bounds = limits or Limits()
    shared = accounts or Accounts(bounds)
    collected = _Collected(f"layer {descriptor.digest}", bounds, shared, wanted or {}, {})
    size = _pass(image, descriptor, diff_id, bounds, collected, progress)
    if missing := collected.missing:  # hard links to files without a telling name: once more, with their names known
        collected.forget()
        collected = _Collected(collected.where, bounds, shared, wanted or {}, missing)
        size = _pass(image, descriptor, diff_id, bounds, collected, None)
    return LayerFacts(diff_id=diff_id, entries=collected.entries, size=size,
                      found={path: facts for path, facts in collected.found.items() if facts},
                      names=collected.names())


def _pass(image: Image, descriptor: Descriptor, diff_id: str, limits: Limits, collected: _Collected,
          progress: Callable[[int], None] | None) -> int:
    """The size of the tar, when all of it is read and is what the image says."""
    with _Decompressed(image.open_blob(descriptor), descriptor, limits, collected.accounts.window, progress) as chunks:
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
    """What one pass over a layer found.

    `linked` says which files the layer's hard links give telling names, `wanted` which ones symbolic links do.
    """

    def __init__(self, where: str, limits: Limits, accounts: Accounts, wanted: Mapping[str, Sequence[str]],
                 linked: Mapping[str, Sequence[str]]) -> None:
        self.where = where
        self.accounts = accounts
        self.entries = 0
        self.found: dict[str, tuple[Fact, ...]] = {}
        self.missing: dict[str, Sequence[str]] = {}
        """The files whose content hard links need, by path, and the link's names."""
        self._limits, self._wanted, self._wanted_by_links = limits, wanted, linked
        self._linked: dict[str, tuple[Fact, ...]] = {}
        self._facts = self._kept = self._named = 0
        self._stores: set[str] = set()
        self._lines: list[str] = []
        self._waiting = 0
        self._packed: list[bytes] = []
        self._packer = zstandard.ZstdCompressor(level=1).compressobj()

    def take(self, entry: Entry) -> None:
        self.entries += 1
        path = entry.path
        if not path or entry.kind == "global":
            return
        self._name(entry)
        base = path.rpartition("/")[2]
        facts: tuple[Fact, ...] | None = None
        linked: tuple[Fact, ...] | None = None
        if base.startswith(".wh."):
            if base in (".wh.", ".wh..", ".wh..."):
                raise MalformedError(f"{self.where}: {path}", got="a whiteout of nothing",
                                     expected=".wh. and a name")
        elif entry.kind == "file" and path in self._wanted_by_links and entry.size <= _LARGEST:
            with self.accounts.large if entry.size > _LARGE else contextlib.nullcontext():
                whole = _Whole(entry)
                facts = self._file(whole)
                linked = self._read_as(whole, self._wanted_by_links[path]) or ()
        elif entry.kind == "file":
            facts = self._file(entry)
            if path in self._wanted_by_links:
                linked = (unknown(f"file of several names of more than {_LARGEST >> 20} MiB"),)
        elif entry.kind == "link":
            facts = self._link(path, entry.target)
        self._linked.pop(path, None)
        if linked is not None:
            self._linked[path] = linked
        if facts is None:
            self.found.pop(path, None)  # a later entry of one name counts
            return
        self.found[path] = facts
        self._keep(len(path) + 100)
        self._facts += 1 + len(facts)
        if self._facts > self._limits.facts:
            raise MalformedError(self.where, got=f"more than {self._limits.facts} packages and the like",
                                 expected="fewer")

    def names(self) -> bytes:
        self._pack()
        self._charge_names(last := self._packer.flush())
        return b"".join([*self._packed, last])

    def forget(self) -> None:
        """Give back what this pass was charged with."""
        self.accounts.kept.charge(-self._kept, self.where)
        self.accounts.names.charge(-self._named, self.where)

    def _name(self, entry: Entry) -> None:
        ending = ("/" if entry.kind == "directory" else f"//{entry.target}" if entry.kind == "symlink" else
                  f"/./{entry.target}" if entry.kind == "link" else "")
        self._lines.append(entry.path + ending)
        self._waiting += len(entry.path) + len(ending)
        if len(self._lines) == 4096 or self._waiting > _IN:
            self._pack()

    def _pack(self) -> None:
        self._lines.append("")
        packed = self._packer.compress("\0".join(self._lines).encode())
        self._charge_names(packed)
        self._packed.append(packed)
        self._lines.clear()
        self._waiting = 0

    def _file(self, entry: Entry | _Whole) -> tuple[Fact, ...] | None:
        facts = self._read_as(entry, self._names_of(entry.path))
        store = store_path(entry.path)
        if store is not None and store not in self._stores:
            self._stores.add(store)
            facts = (*(facts or ()), unknown("Nix store path"))
        return facts

    def _link(self, path: str, target: str) -> tuple[Fact, ...] | None:
        """The facts of the file that a hard link shares, as far as its own name has a cataloger look for them."""
        names = self._names_of(path)
        kinds = [kind for kind in map(choose, names) if kind is not None]
        shared = self.found.get(target) if not kinds or kinds == [choose(target)] else None
        if shared is None and kinds:
            shared = self._linked.get(target)
        if shared is not None or not kinds:
            self._keep(sum(map(weight, shared or ())))
            return shared
        self._keep(len(path) + len(target) + 150)
        if all(kind.startswith("?") for kind in kinds):
            return tuple(unknown(kind[1:]) for kind in kinds)
        self.missing.setdefault(target, names)
        return (unknown("hard link into another layer"),)

    def _names_of(self, path: str) -> Sequence[str]:
        names = self._wanted.get(path)
        return [path] if names is None else names if choose(path) is None else [path, *names]

    def _read_as(self, entry: Entry | _Whole, names: Sequence[str]) -> tuple[Fact, ...] | None:
        """The facts in a file that has all these names: what is written in several ways at once says all of it."""
        if len(names) == 1:
            return self._read(entry, names[0])
        if entry.size > _LARGEST:
            return (unknown(f"file of several names of more than {_LARGEST >> 20} MiB"),)
        with self.accounts.large if entry.size > _LARGE else contextlib.nullcontext():
            whole = _Whole(entry)
            facts = [self._read(whole, name) for name in dict.fromkeys(names)]
        told = [told for told in facts if told is not None]
        return tuple(dict.fromkeys(fact for facts in told for fact in facts)) if told else None

    def _read(self, entry: Entry | _Whole, path: str) -> tuple[Fact, ...] | None:
        """The facts in a file, read as if its name were `path`; None where no cataloger cares for it."""
        name = choose(path)
        if name is None:
            return self._program(entry)
        if name.startswith("?"):
            return (unknown(name[1:]),)
        most = LARGEST.get(name, MOST)
        if name in HEADS:
            pieces = entry.pieces()
            head = _head(pieces, most)
            return read(name, path, head[:most], self._charge) or self._program(entry, head, pieces)
        if entry.size > most:
            return (unknown(f"{name} file of more than {most >> 10} KiB"),)
        with self.accounts.large if entry.size > _LARGE else contextlib.nullcontext():
            content = b"".join(entry.pieces())
            self.accounts.parsed.charge(strictjson.weight(content) // 4 if name in JSON else entry.size, self.where)
            return read(name, path, content, self._charge)

    def _program(self, entry: Entry | _Whole, first: bytes = b"",
                 pieces: Iterator[bytes] | None = None) -> tuple[Fact, ...] | None:
        """`first`: its bytes in front of `pieces`."""
        if entry.size < 64:
            return None
        pieces = entry.pieces() if pieces is None else pieces
        while len(first) < 4:
            first += next(pieces)
        if not is_program(first):
            return None
        if entry.size > self._limits.file:
            return (unknown(f"program of more than {self._limits.file >> 20} MiB"),)
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL) as file:
            file.write(first)
            for piece in pieces:
                file.write(piece)
            with self.accounts.large:
                return read("program", entry.path, cast(BinaryIO, file), self._charge) or None

    def _charge(self, fact: Fact) -> None:
        self._keep(weight(fact))

    def _keep(self, amount: int) -> None:
        self._kept += amount
        self.accounts.kept.charge(amount, self.where)

    def _charge_names(self, packed: bytes) -> None:
        self._named += len(packed)
        self.accounts.names.charge(len(packed), self.where)


class _Whole:
    """A file in memory, to be read more than once."""

    def __init__(self, entry: Entry | _Whole) -> None:
        self.path: str = entry.path
        self.size: int = entry.size
        self._content = b"".join(entry.pieces())

    def pieces(self) -> Iterator[bytes]:
        return iter((self._content,))


def _head(pieces: Iterator[bytes], size: int) -> bytes:
    """At least `size` bytes, if there are."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= size:
            break
    return head


class _Decompressed:
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

    def __enter__(self) -> _Decompressed:
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
