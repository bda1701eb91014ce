"""The digests of a layer's files, made of the bytes as they pass by, and the files that say what they should be.

Which digest a file needs is not known before the databases are read, which come behind the files. So it is guessed by
where a file is: Python's RECORD has SHA-256, and of the system's three kinds one is known once a file tells of the
distribution. Where the guess is wrong, the layer is read again (`judge`).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, cast

from custody.sbom.content import Content, Member
from custody.sbom.limits import Account, FullError
from custody.sbom.proof import statements

_SYSTEMS = {"etc/debian_version": "md5", "var/lib/dpkg/status": "md5", "etc/alpine-release": "sha1",
            "etc/redhat-release": "sha256", "etc/system-release": "sha256", "etc/arch-release": "sha256"}
_ALL = ("md5", "sha1", "sha256")
_SITES = ("/dist-packages/", "/lib/python3.")
_NOT_A_DISTRIBUTIONS = ("usr/local/", "home/", "root/", "srv/", "app/", "opt/venv/", "opt/conda/", "tmp/", "var/")
_INSTALLED = ("/site-packages/", "/dist-packages/", "/bin/", "conda")
_FILES, _HOLES, _DATABASES = 1_000_000, 1 << 30, 4 << 30
_SPOOL = _WHOLE = 1 << 20
_MADE: Mapping[str, Callable[..., hashlib._Hash]] = {
    "md5": hashlib.md5, "sha1": hashlib.sha1, "sha256": hashlib.sha256, "sha512": hashlib.sha512}
NAMES = {16: "md5", 20: "sha1", 32: "sha256", 64: "sha512"}
"""Algorithms by the length of what they give."""


Made = tuple[dict[str, tuple[bytes, ...]], dict[str, str], dict[str, int]]
"""By path: digests, why there are none, and the sizes of files that state what is installed."""


class Image:
    """What the layers of one image, which are read at once, share."""

    def __init__(self) -> None:
        self.systems: set[str] = set()
        self.files = Account(_FILES, "files that are compared with their packages")
        self.holes = Account(_HOLES, "bytes of holes in files")
        self.databases = Account(_DATABASES, "bytes of lists of installed files")

    @property
    def accounts(self) -> tuple[Account, ...]:
        return self.files, self.holes, self.databases

    def recognise(self, path: str) -> bool:
        """Whether a file of this name tells of the distribution."""
        if path not in _SYSTEMS:
            return False
        self.systems.add(_SYSTEMS[path])
        return True


class Sums:
    """Of one layer."""

    def __init__(self, image: Image, needed: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """`needed`: the only files that are hashed, and how."""
        self.digests: dict[str, tuple[bytes, ...]] = {}
        self.stating: dict[str, BinaryIO] = {}
        """Files that state what is installed, by path."""
        self.beyond: dict[str, str] = {}
        """Files that were not hashed or kept, and why."""
        self._image, self._needed = image, needed

    def watch(self, entry: Member) -> Watched | None:
        """What is read in the place of a file; None for what is no file, or is left out."""
        path = entry.path
        if entry.kind == "link":
            self.forget(path)
            if entry.target in self.digests:
                self.digests[path] = self.digests[entry.target]
            return None
        self.forget(path)
        if entry.kind != "file":
            return None
        self._image.recognise(path)
        algorithms = self._needed.get(path, ()) if self._needed is not None else self._guess(path)
        states = statements.kind(path) if self._needed is None else None
        if states and states != "rpm" and entry.size > statements.LARGEST:
            self.beyond[path] = f"list of installed files of more than {statements.LARGEST >> 20} MiB"
            states = None
        if not algorithms and states is None:
            return None
        try:
            self._image.files.take(1)
            if entry.size != entry.stored:
                self._image.holes.take(entry.size - entry.stored)
            if states:
                self._image.databases.take(entry.size)
        except FullError as limit:
            self.beyond[path] = f"{'list of installed files' if states else 'file'} {limit}"
            return None
        return Watched(entry, algorithms, spooled() if states else None)

    def forget(self, path: str) -> None:
        """A later entry of one name counts."""
        self.digests.pop(path, None)
        if self.beyond:
            self.beyond.pop(path, None)
        if self.stating and (stale := self.stating.pop(path, None)) is not None:
            stale.close()

    def done(self, watched: Watched) -> None:
        """Read what nobody else did of it, and keep what it is."""
        self.digests[watched.path] = watched.digests()
        if watched.copy is not None:
            watched.copy.seek(0)
            self.stating[watched.path] = watched.copy

    def settle(self) -> Made:
        """All that was made, and of the files that state what is installed the sizes: who has this layer reads them."""
        return ({path: tuple(made) for path, made in self.digests.items()}, self.beyond,
                {path: file.seek(0, os.SEEK_END) for path, file in self.stating.items()})

    def restore(self, made: Made, stating: Mapping[str, BinaryIO]) -> None:
        """What another process made of this layer."""
        self.close()
        self.digests, self.beyond = dict(made[0]), dict(made[1])
        self.stating = dict(stating)

    def close(self) -> None:
        for file in self.stating.values():
            file.close()

    def _guess(self, path: str) -> tuple[str, ...]:
        if statements.GO_CACHE in path:  # Go's modules
            return ("sha256",)
        if path.startswith(_NOT_A_DISTRIBUTIONS):
            return ("sha256",) if any(part in path for part in _INSTALLED) else ()
        if "/site-packages/" in path:
            return ("sha256",)
        systems = self._image.systems
        if len(systems) != 1:
            return _ALL
        if any(site in path for site in _SITES):
            return tuple(systems | {"sha256"})
        return tuple(systems)


def spooled() -> BinaryIO:
    """For a file that states what is installed."""
    return cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_SPOOL))


class Watched:
    """A file whose bytes are hashed as somebody else reads them."""

    __slots__ = ("_algorithms", "_hashers", "_inner", "copy", "entry", "kind", "path", "size", "stored", "target")

    def __init__(self, entry: Content, algorithms: tuple[str, ...], copy: BinaryIO | None) -> None:
        self.entry, self.copy = entry, copy
        self.path, self.size, self.stored = entry.path, entry.size, entry.stored
        self.kind, self.target = "file", ""
        self._algorithms = algorithms
        self._hashers: list[hashlib._Hash] = []
        self._inner: Iterator[bytes] | None = None

    def peek(self, count: int) -> bytes:
        return self.entry.peek(count)

    def pieces(self) -> Iterator[bytes]:
        """From where the last reader stopped."""
        if self._inner is None:
            self._inner = self.entry.pieces()
            self._hashers = [_MADE[name](usedforsecurity=False) for name in self._algorithms]
        for piece in self._inner:
            for hasher in self._hashers:
                hasher.update(piece)
            if self.copy is not None:
                self.copy.write(piece)
            yield piece

    def digests(self) -> tuple[bytes, ...]:
        """Of all of it, when nobody reads it any more."""
        if self._inner is None and self.copy is None and self.size <= _WHOLE and self.size == self.stored:
            content = b"".join(self.entry.pieces())  # most files: small, and nobody cared for them
            return tuple(_MADE[name](content, usedforsecurity=False).digest() for name in self._algorithms)
        for _ in self.pieces():
            pass
        return tuple(hasher.digest() for hasher in self._hashers)
