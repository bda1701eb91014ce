"""What one layer puts into an image: every name, the SHA-256 of every file, and what lists in it say of packages.

One streaming pass, as `sbom.layers` makes it: both digests of the layer are checked, and nothing is kept of the bytes.
A listing is true of its layer, whatever image has it, and is kept by the digest of the uncompressed tar.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from array import array
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

import msgspec

from custody.errors import CustodyError, MalformedError
from custody.formats.oci import Descriptor
from custody.formats.tar.source import Source
from custody.formats.tar.walk import Entry, walk
from custody.registry.image import Image
from custody.sbom.decompression import Decompressed
from custody.sbom.limits import Account, FullError, Limits
from custody.sbom.proof import statements

LIMITS = Limits(entries=1_000_000)
FILE, FOLDER, SYMLINK, HARD_LINK, DEVICE = b"fdlho"
_KINDS = {"file": FILE, "directory": FOLDER, "symlink": SYMLINK, "link": HARD_LINK, "device": DEVICE}
_NAMES = 192 << 20
_HOLES = 1 << 30
_OWNED = 3_000_000
_SPOOL = 1 << 20
_LISTS = frozenset(("record", "md5sums", "list", "apk", "mtree", "conda", "rpm"))


class LayerFiles(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """In the order of the tar, whiteouts too."""

    diff_id: str
    names: tuple[str, ...]
    kinds: bytes
    """One of `FILE`, `FOLDER`, `SYMLINK`, `HARD_LINK`, `DEVICE` for each name."""
    modes: bytes
    """Two bytes each, little endian: permissions, setuid, setgid, sticky."""
    digests: bytes
    """The SHA-256 of each file, 32 bytes, in order; zeros where it was not made."""
    targets: tuple[str, ...]
    """Of each link, in order."""
    owned: dict[str, tuple[tuple[str, tuple[str, ...]], ...]]
    """By the path of a list of installed files: how it names packages, and which files are theirs."""
    unread: tuple[str, ...] = ()
    """Files without a digest and lists that could not be read, with the reason."""


def list_files(image: Image, descriptor: Descriptor, diff_id: str, *, limits: Limits = LIMITS,
               progress: Callable[[int], None] | None = None, stopped: threading.Event | None = None) -> LayerFiles:
    """Raises VerificationError where a digest lies, MalformedError for hostile layers, UnsupportedError, NetworkError.

    `stopped` as for `sbom.decompression.Decompressed`.
    """
    collected = _Collected(f"layer {descriptor.digest}")
    with Decompressed(image.open_blob(descriptor), descriptor, limits, threading.Lock(), progress, stopped) as chunks:
        source = Source(chunks, collected.where)
        for entry in walk(source, limits):
            if entry.kind != "global" and entry.path:
                collected.take(entry)
        source.drain()
        chunks.verify(diff_id)
    return collected.listing(diff_id)


class _Collected:
    def __init__(self, where: str) -> None:
        self.where = where
        self._names: list[str] = []
        self._kinds = bytearray()
        self._modes = array("H")
        self._digests = bytearray()
        self._targets: list[str] = []
        self._owned: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {}
        self._unread: list[str] = []
        self._left = _NAMES
        self._holes = Account(_HOLES, "bytes of holes in files")
        self._rows = Account(_OWNED, "files in lists of installed files")
        self._work = Account(1 << 30, "bytes of lists of installed files")

    def take(self, entry: Entry) -> None:
        kind = _KINDS[entry.kind]
        self._left -= len(entry.path) + len(entry.target) + 100
        if self._left < 0:
            raise MalformedError(self.where, got=f"more than {_NAMES >> 20} MiB of names", expected="fewer")
        self._names.append(entry.path)
        self._kinds.append(kind)
        self._modes.append(entry.mode)
        self._owned.pop(entry.path, None)
        if kind in (SYMLINK, HARD_LINK):
            self._targets.append(entry.target)
        elif kind == FILE:
            self._digests += self._digest(entry)

    def listing(self, diff_id: str) -> LayerFiles:
        if array("H", (1,)).tobytes() != b"\1\0":
            self._modes.byteswap()
        return LayerFiles(diff_id=diff_id, names=tuple(self._names), kinds=bytes(self._kinds),
                          modes=self._modes.tobytes(), digests=bytes(self._digests), targets=tuple(self._targets),
                          owned=self._owned, unread=tuple(self._unread))

    def _digest(self, entry: Entry) -> bytes:
        if entry.size != entry.stored:
            try:
                self._holes.take(entry.size - entry.stored)
            except FullError as limit:
                self._unread.append(f"{entry.path}: {limit}")
                return bytes(32)
        listed = statements.kind(entry.path)
        if listed not in _LISTS:
            state = hashlib.sha256()
            for piece in entry.pieces():
                state.update(piece)
            return state.digest()
        return self._list(entry, listed)

    def _list(self, entry: Entry, kind: str) -> bytes:
        """A list of installed files: hashed as all files are, and read."""
        state = hashlib.sha256()
        path, fits = entry.path, kind == "rpm" or entry.size <= statements.LARGEST
        with cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_SPOOL)) as copy:
            for piece in entry.pieces():
                state.update(piece)
                if fits:
                    copy.write(piece)
            try:
                if not fits:
                    raise ValueError(f"more than {statements.LARGEST >> 20} MiB")
                copy.seek(0)
                self._owned[path] = self._packages(path, kind, copy)
            except (CustodyError, FullError, ValueError) as error:
                self._unread.append(f"{path}: {getattr(error, 'message', error)}")
        return state.digest()

    def _packages(self, path: str, kind: str, copy: BinaryIO) -> tuple[tuple[str, tuple[str, ...]], ...]:
        stated: Iterator[statements.Statement]
        if kind == "rpm":
            stated = statements.packages(copy, self._work.take)
        else:
            content = copy.read()
            self._work.take(len(content))
            stated = statements.READERS[kind](path, content)
        files: dict[str, dict[str, None]] = {}
        for statement in stated:
            self._rows.take(1)
            files.setdefault(statement.owner, {})[statement.path] = None
        return tuple((owner, tuple(paths)) for owner, paths in files.items())
