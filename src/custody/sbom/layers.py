"""Reads one layer of an image: one streaming pass that checks both digests and keeps only what catalogers need."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import zstandard

from custody.errors import MalformedError
from custody.formats.oci import Descriptor
from custody.formats.tar.source import Source
from custody.formats.tar.walk import walk
from custody.registry.image import Image
from custody.sbom.catalogers import (
    LARGEST,
    Fact,
    cataloger,
    choose,
    linked,
    nix,
    read,
    store_path,
    unknown,
    versions,
    weight,
)
from custody.sbom.catalogers.binaries import is_program
from custody.sbom.content import Content, Member, Watcher, Whole, head_of, sought
from custody.sbom.decompression import Decompressed, Turn
from custody.sbom.layerfacts import COUNTED, PROGRAM, LayerFacts, readers_of
from custody.sbom.limits import Account, FullError, Limits

_IN = 256 * 1024
_LARGE = 1 << 20
_Ways = dict[tuple[str, ...], Sequence[str]]
"""By the catalogers that a file has a telling name for, the first names that hard links give it."""


class Accounts:
    """What all layers of one image may take together."""

    def __init__(self, limits: Limits, stopped: threading.Event | None = None) -> None:
        """`stopped` is set when the layers that are still read are not waited for any more."""
        self.kept = Account(limits.kept, "bytes of facts", limits.kept // 3)
        self.packages = Account(limits.packages, "packages")
        self.holes = Account(limits.holes, "bytes of holes in programs")
        self.names = Account(limits.names, "bytes of names, compressed")
        self.parsed = Account(limits.parsed, "bytes of metadata")
        self.proof: tuple[Account, ...] = ()
        """More of the same, where packages are compared with their files."""
        self.full = False
        """Whether a file was not read because of those before it: what was said of it is true of this image only."""
        self.large: Turn = threading.RLock()
        """Held by the one thread that has a large file of metadata in memory."""
        self.window: Turn = threading.Lock()
        """Held while a layer with a large window is decompressed."""
        self.stopped = threading.Event() if stopped is None else stopped

    @contextlib.contextmanager
    def between(self, large: Turn, window: Turn) -> Iterator[None]:
        """For as long as processes, and no threads, take turns by these."""
        before = self.large, self.window
        self.large, self.window = large, window
        try:
            yield
        finally:
            self.large, self.window = before

    def spent(self) -> tuple[int, ...]:
        """Of each limit."""
        return tuple(account.spent for account in self._all())

    def charge(self, spent: Sequence[int]) -> bool:
        """What somebody else spent. False where it is more than there is."""
        try:
            for account, amount in zip(self._all(), spent, strict=True):
                account.take(amount)
        except FullError:
            return False
        return True

    def give_back(self, before: Sequence[int]) -> None:
        """All that was spent since."""
        for account, then in zip(self._all(), before, strict=True):
            account.charge(then - account.spent, "")
        self.full = False

    def _all(self) -> tuple[Account, ...]:
        return self.kept, self.packages, self.holes, self.names, self.parsed, *self.proof

    def fits(self, facts: Mapping[str, tuple[Fact, ...]]) -> bool:
        """Whether facts that were kept before may be among this image's; they are charged."""
        try:
            self.kept.take(sum(len(path) + 100 + sum(map(weight, told)) for path, told in facts.items()))
        except FullError:
            return False
        return True


def read_layer(image: Image, descriptor: Descriptor, diff_id: str, limits: Limits | None = None,
               progress: Callable[[int], None] | None = None, *, accounts: Accounts | None = None,
               wanted: Mapping[str, Sequence[str]] | None = None, known: LayerFacts | None = None,
               watcher: Watcher | None = None) -> LayerFacts:
    """Raises VerificationError where a digest lies, MalformedError for hostile layers, UnsupportedError.

    `wanted`: files by path, and the telling names that symbolic links of the image give them. `known`: what was read
    of this layer, with the same names, before: only the files of catalogers that `changed` since are read again, but
    for a layer that is `relinked`.
    """
    bounds = limits or Limits()
    shared = accounts or Accounts(bounds)
    known = None if known is None or known.relinked else known
    collected = Collected(f"layer {descriptor.digest}", bounds, shared, wanted or {}, {}, known)
    collected.watcher = watcher
    size = _pass(image, descriptor, diff_id, bounds, collected, progress)
    if missing := collected.missing:  # hard links to files without a telling name: once more, with their names known
        collected.forget()
        collected = Collected(collected.where, bounds, shared, wanted or {}, missing, known)
        size = _pass(image, descriptor, diff_id, bounds, collected, None)
    return LayerFacts(diff_id=diff_id, entries=collected.entries, size=size, versions=versions(),
                      parts=collected.parts(), silent=collected.silent(), names=collected.names())


def _pass(image: Image, descriptor: Descriptor, diff_id: str, limits: Limits, collected: Collected,
          progress: Callable[[int], None] | None) -> int:
    """The size of the tar, when all of it is read and is what the image says."""
    accounts = collected.accounts
    with Decompressed(image.open_blob(descriptor), descriptor, limits, accounts.window, progress,
                      accounts.stopped) as chunks:
        source = Source(chunks, collected.where)
        for entry in walk(source, limits):
            collected.take(entry)
        source.drain()
        chunks.verify(diff_id)
        return chunks.size


class Collected:
    """What one pass over a layer found.

    `linked` says which files the layer's hard links give telling names, `wanted` which files symbolic links do.
    """

    def __init__(self, where: str, limits: Limits, accounts: Accounts, wanted: Mapping[str, Sequence[str]],
                 linked: Mapping[str, _Ways], known: LayerFacts | None, *, declared: bool = False) -> None:
        """`declared`: lock files and manifests are read too."""
        self.where = where
        self.accounts = accounts
        self.entries = 0
        self.found: dict[str, tuple[Fact, ...]] = {}
        self.missing: dict[str, _Ways] = {}
        """The files whose content hard links need, by path, and the links' names."""
        self.watcher: Watcher | None = None
        self._limits, self._wanted, self._wanted_by_links, self._known = limits, wanted, linked, known
        self._declared = declared
        self._unremarkable = not wanted and not linked and known is None
        """Whether nothing but a file's own name and content tells who reads it."""
        self._readers: dict[str, str] = {}
        self._linked: dict[str, dict[tuple[str, ...], tuple[Fact, ...]]] = {}
        self._facts = self._kept = self._named = self._unread_files = 0
        self._stores: set[str] = set()
        self._lines: list[str] = []
        self._waiting = 0
        self._packed: list[bytes] = []
        self._packer = zstandard.ZstdCompressor(level=1).compressobj()

    def take(self, entry: Member) -> None:
        if self.watcher is None:
            self._take(entry)
            return
        watched = None if entry.kind == "global" else self.watcher.watch(entry)
        if watched is None:
            self._take(entry)
            return
        self._take(watched)
        self.watcher.done(watched)

    def _take(self, entry: Member) -> None:
        self.entries += 1
        path = entry.path
        if entry.kind == "file" and self._unremarkable and self._says_nothing(entry, path):
            return
        if not path or entry.kind == "global":
            return
        self._name(entry)
        base = path.rpartition("/")[2]
        facts: tuple[Fact, ...] | None = None
        shared: dict[tuple[str, ...], tuple[Fact, ...]] | None = None
        if base.startswith(".wh."):
            if base in (".wh.", ".wh..", ".wh..."):
                raise MalformedError(f"{self.where}: {path}", got="a whiteout of nothing",
                                     expected=".wh. and a name")
        elif entry.kind == "file" and path in self._wanted_by_links and entry.size <= LARGEST:
            with self.accounts.large if entry.size > _LARGE else contextlib.nullcontext():
                whole = Whole(entry)
                facts = self._file(whole)
                shared = {kinds: self._read_as(whole, names) or ()
                          for kinds, names in self._wanted_by_links[path].items()}
        elif entry.kind == "file":
            facts = self._file(entry)
            if path in self._wanted_by_links:
                large = (unknown(f"file of several names of more than {LARGEST >> 20} MiB"),)
                shared = dict.fromkeys(self._wanted_by_links[path], large)
        elif entry.kind == "link":
            facts = self._link(path, entry.target)
        self._linked.pop(path, None)
        if shared is not None:
            self._linked[path] = shared
        if facts is None:
            self.found.pop(path, None)  # a later entry of one name counts
            return
        self.found[path] = facts
        self._keep(len(path) + 100)
        self._facts += 1 + len(facts)
        if self._facts > self._limits.facts:
            raise MalformedError(self.where, got=f"more than {self._limits.facts} packages and the like",
                                 expected="fewer")

    def _says_nothing(self, entry: Member, path: str) -> bool:
        """Whether it is, as most files are, of no telling name and no program, and stands for nothing but itself: in
        short what `_take` finds out.
        """
        if path in self.found or path.startswith("nix/") or choose(path, self._declared) is not None or (
                "/.wh." in path or path.startswith(".wh.") or not path):
            return False
        if entry.size >= 64 and (len(head := entry.peek(4)) < 4 or is_program(head)):
            return False
        self._line(path)
        return True

    def count(self, path: str, kind: str) -> None:
        """A file or folder that is not read, but counted."""
        self._unread_files += 1
        if self._unread_files <= self._limits.unread:
            self._line(path)
            self.found[path] = (unknown(kind),)
            self._readers[path] = COUNTED
            self._keep(len(path) + 100)

    def parts(self) -> dict[str, dict[str, tuple[Fact, ...]]]:
        parts: dict[str, dict[str, tuple[Fact, ...]]] = {}
        for path, facts in self.found.items():
            if facts:
                parts.setdefault(self._readers[path], {})[path] = facts
        return parts

    def silent(self) -> dict[str, tuple[str, ...]]:
        silent: dict[str, list[str]] = {}
        for path, facts in self.found.items():
            if not facts and self._readers[path] != PROGRAM:
                silent.setdefault(self._readers[path], []).append(path)
        return {readers: tuple(paths) for readers, paths in silent.items()}

    def names(self) -> bytes:
        self._pack()
        self._charge_names(last := self._packer.flush())
        return b"".join([*self._packed, last])

    def forget(self) -> None:
        """Give back what this pass was charged with."""
        self.accounts.kept.charge(-self._kept, self.where)
        self.accounts.names.charge(-self._named, self.where)

    def _name(self, entry: Member) -> None:
        ending = ("/" if entry.kind == "directory" else f"//{entry.target}" if entry.kind == "symlink" else
                  f"/./{entry.target}" if entry.kind == "link" else "")
        self._line(entry.path + ending)

    def _line(self, name: str) -> None:
        self._lines.append(name)
        self._waiting += len(name)
        if len(self._lines) == 4096 or self._waiting > _IN:
            self._pack()

    def _pack(self) -> None:
        self._lines.append("")
        packed = self._packer.compress("\0".join(self._lines).encode())
        self._charge_names(packed)
        self._packed.append(packed)
        self._lines.clear()
        self._waiting = 0

    def _file(self, entry: Content) -> tuple[Fact, ...] | None:
        path = entry.path
        names = self._names_of(path) if self._wanted else (path,)
        kinds = [choose(name, self._declared) for name in names]
        store = store_path(path) if path.startswith("nix/") else None
        first = store is not None and store not in self._stores
        if store is not None:
            self._stores.add(store)
        readers = readers_of((*kinds, COUNTED) if first else tuple(kinds))
        facts = None if self._known is None else self._kept_before(path, readers, self._known)
        if facts is not None:
            facts = facts or (None if readers == PROGRAM else ())
        else:
            facts = self._read(entry, names[0], kinds[0]) if len(names) == 1 else self._read_as(entry, names)
            if first and store is not None and (packaged := nix.package(store)) is not None:
                self._keep(weight(packaged))
                facts = (*(facts or ()), packaged)
        if facts is not None:  # most files say nothing
            self._readers[path] = readers
        return facts

    def _kept_before(self, path: str, readers: str, known: LayerFacts) -> tuple[Fact, ...] | None:
        """What these catalogers said of a file before, charged; None where it must be read."""
        if known.readers.get(path, PROGRAM) != readers or not known.changed.isdisjoint(readers.split("+")):
            return None
        facts = known.found.get(path, ())
        try:
            self.accounts.kept.take(amount := sum(map(weight, facts)))
        except FullError:
            return None
        self._kept += amount
        return facts

    def _link(self, path: str, target: str) -> tuple[Fact, ...] | None:
        """The facts of the file that a hard link shares, as far as its own name has a cataloger look for them."""
        names = self._names_of(path)
        kinds = tuple(kind for kind in (choose(name, self._declared) for name in names) if kind is not None)
        readers = readers_of(kinds) if kinds else self._readers.get(target, PROGRAM)
        if kinds and self._known is not None and (
                facts := self._kept_before(path, readers, self._known)) is not None:
            self._readers[path] = readers
            return facts
        shared = self.found.get(target) if not kinds or kinds == (choose(target, self._declared),) else None
        if shared is None and kinds:
            shared = self._linked.get(target, {}).get(kinds)
        if kinds or shared is not None:
            self._readers[path] = readers
        if shared is not None or not kinds:
            self._keep(sum(map(weight, shared or ())))
            return shared
        self._keep(len(path) + len(target) + 150)
        if all(kind.startswith("?") for kind in kinds):
            return tuple(unknown(kind[1:]) for kind in kinds)
        self.missing.setdefault(target, {}).setdefault(kinds, names)
        return (linked(target),)

    def _names_of(self, path: str) -> Sequence[str]:
        names = self._wanted.get(path)
        return [path] if names is None else names if choose(path, self._declared) is None else [path, *names]

    def _read_as(self, entry: Content, names: Sequence[str]) -> tuple[Fact, ...] | None:
        """The facts in a file that has all these names: what is written in several ways at once says all of it."""
        if len(names) == 1:
            return self._read(entry, names[0], choose(names[0], self._declared))
        if entry.size > LARGEST:
            return (unknown(f"file of several names of more than {LARGEST >> 20} MiB"),)
        with self.accounts.large if entry.size > _LARGE else contextlib.nullcontext():
            whole = Whole(entry)
            facts = [self._read(whole, name, choose(name, self._declared)) for name in dict.fromkeys(names)]
        told = [told for told in facts if told is not None]
        return tuple(dict.fromkeys(fact for facts in told for fact in facts)) if told else None

    def _read(self, entry: Content, path: str, name: str | None) -> tuple[Fact, ...] | None:
        """The facts in a file, read by this cataloger as if it were called `path`; None where none cares for it."""
        if name is None:
            return self._program(entry)
        if name.startswith("?"):
            return (unknown(name[1:]),)
        row = cataloger(name)
        most = row.largest
        if entry.size > most and not row.head:
            return (unknown(f"{name} file of more than {most >> 10} KiB"),)
        kept = self._kept
        try:
            if row.head:
                pieces = entry.pieces()
                head = head_of(pieces, most)
                return read(name, path, head[:most], self._charge) or self._program(entry, head, pieces)
            if row.seeks:
                self.accounts.holes.take(entry.size - entry.stored)
                return self._streamed(name, path, entry.pieces())
            with self.accounts.large if entry.size > _LARGE else contextlib.nullcontext():
                content = b"".join(entry.pieces())
                self.accounts.parsed.take(row.work(content))
                return read(name, path, content, self._charge)
        except FullError as limit:
            return self._unread(name, limit, kept)

    def _unread(self, name: str, limit: FullError, kept: int) -> tuple[Fact, ...] | None:
        """Counted in place of the facts that were charged since `kept`."""
        self.accounts.full = True
        self._keep(kept - self._kept)
        self._unread_files += 1
        return (unknown(f"{name} file {limit}"),) if self._unread_files <= self._limits.unread else None

    def _program(self, entry: Content, first: bytes = b"",
                 pieces: Iterator[bytes] | None = None) -> tuple[Fact, ...] | None:
        """`first`: its bytes in front of `pieces`."""
        if entry.size < 64:
            return None
        if pieces is None:
            if len(head := entry.peek(4)) == 4 and not is_program(head):
                return None
            pieces = entry.pieces()
        while len(first) < 4:
            first += next(pieces)
        if not is_program(first):
            return None
        if entry.size > self._limits.file:
            return (unknown(f"program of more than {self._limits.file >> 20} MiB"),)
        kept = self._kept
        try:
            self.accounts.holes.take(entry.size - entry.stored)
        except FullError as limit:
            return self._unread(PROGRAM, limit, kept)
        try:
            return self._streamed(PROGRAM, entry.path, itertools.chain((first,), pieces)) or None
        except FullError as limit:
            return self._unread(PROGRAM, limit, kept)

    def _streamed(self, name: str, path: str, pieces: Iterator[bytes]) -> tuple[Fact, ...]:
        """The facts in a file that the cataloger seeks in: on disk, where it is large. Raises FullError."""
        with sought(pieces) as file, self.accounts.large:
            return read(name, path, file, self._charge, self.accounts.parsed.take)

    def _charge(self, fact: Fact) -> None:
        self.accounts.kept.take(amount := weight(fact))
        self._kept += amount

    def _keep(self, amount: int) -> None:
        self._kept += amount
        self.accounts.kept.charge(amount, self.where)

    def _charge_names(self, packed: bytes) -> None:
        self._named += len(packed)
        self.accounts.names.charge(len(packed), self.where)
