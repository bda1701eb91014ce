"""Reads a folder, or one file, as a layer that nobody packed: one walk, and the catalogers that read layers too.

The walk follows no link, not even one that takes a folder's place meanwhile (`descent`). Whether it goes into other
file systems that are mounted below is for the caller to say. What cannot be read, and what is no file (sockets,
devices), is counted where its name promises a package, or a folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from custody.errors import MalformedError, UsageError
from custody.formats.tar.walk import text
from custody.sbom.catalogers import choose, versions
from custody.sbom.content import Watcher
from custody.sbom.descent import FILE, Descent
from custody.sbom.layerfacts import LayerFacts
from custody.sbom.layers import Accounts, Collected
from custody.sbom.limits import Limits

_PIECE = 1 << 20
_LINK_OUT, _MOUNTED = "symbolic link out of the folder", "folder of another file system"
_UNREADABLE, _SPECIAL = "file or folder that cannot be read", "device, pipe or socket"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """What is walked, and how."""

    path: Path
    declared: bool
    """Lock files and manifests are read too; without it only what is installed, as in an image."""
    rooted: bool = False
    """An absolute symbolic link is one from `path` on, as in the root of an image."""
    exclude: tuple[str, ...] = ()
    """Globs (`glob`); neither files that match are read, nor folders that do walked."""
    without_git: bool = False
    """Folders called `.git` are left out, where they, or the files, are a repository's."""
    mounted: bool = False
    """Other file systems below are walked too."""


def glob(pattern: str) -> re.Pattern[str]:
    """syft's exclusions of paths below a folder: `./a`, `*/a`, `**/a`; `*` and `?` within a name, `**` over any number
    of folders, `[…]`, `{a,b}`. Raises UsageError for another beginning, which would match nothing there.
    """
    if not pattern.startswith(("./", "*/", "**/")):
        raise UsageError(f"--exclude: got {pattern!r}, expected a glob that begins with './', '*/' or '**/'",
                         hint=f"./{pattern.lstrip('/')} is below the folder, **/{pattern.lstrip('/')} anywhere in it")
    tokens = re.compile(r"\*\*/|/\*\*\Z|\*\*|\*|\?|\[[^\]/]+\]|\{[^{}]*\}|.", re.DOTALL)
    translated = "".join(_translated(token[0]) for token in tokens.finditer(pattern.removeprefix("./")))
    try:
        return re.compile(translated + r"\Z", re.DOTALL)
    except re.error:
        raise UsageError(f"--exclude: got {pattern!r}, expected a glob with ranges that rise: [a-z]") from None


def _translated(token: str) -> str:
    if token[0] == "{" and len(token) > 1:
        return "(?:" + "|".join(re.escape(choice).replace(r"\*", "[^/]*") for choice in token[1:-1].split(",")) + ")"
    if token[0] == "[" and len(token) > 1:
        inside = re.sub(r"--+|[\\\[&~|]", lambda sign: re.escape(sign[0]), token[1:-1])
        return "[" + ("^" + inside[1:] if inside[:1] in "!^" else inside) + "]"
    return {"**/": "(?:.*/)?", "/**": "(?:/.*)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(token) or re.escape(token)


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """What the walk found."""

    layer: LayerFacts
    digest: str
    """SHA-256 over the paths of the files that say something, sorted, and what was read of each: the same packages in
    the same files give the same digest, whatever lies beside them."""
    excluded: int
    """Files and folders that were asked to be left out."""


def read_folder(folder: Folder, limits: Limits, accounts: Accounts, wanted: Mapping[str, Sequence[str]],
                progress: Callable[[int], None] | None = None, watcher: Watcher | None = None) -> FolderFacts:
    """Raises UsageError where there is no folder, MalformedError beyond the limits. `wanted`: as for `read_layer`."""
    collected = Collected(str(folder.path), limits, accounts, wanted, {}, None, declared=folder.declared)
    collected.watcher = watcher
    walk = _Walk(folder, collected, limits)
    try:
        root = os.stat(folder.path)
        descent = Descent(os.fsencode(folder.path))
    except OSError as error:
        raise UsageError(f"{folder.path}: {error.strerror}") from None
    try:
        for entry in walk.entries(descent, root.st_dev):
            _take(collected, entry)
            if progress is not None:
                progress(1)
    finally:
        descent.close()
    return FolderFacts(_layer(collected, walk.size), _digest(collected, walk.digests), walk.excluded)


def read_file(path: Path, limits: Limits, accounts: Accounts) -> FolderFacts:
    """One file, as if it were alone in a folder; its whole path says which cataloger reads it; the digest is its own.

    Raises UsageError where it cannot be read.
    """
    name = os.fsencode(path.name)
    names = {text(name): [text(os.fsencode(path.absolute())).lstrip("/")]}
    collected = Collected(str(path), limits, accounts, names, {}, None, declared=True)
    try:
        status = path.stat()
        size = status.st_size
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            kind = "a folder" if path.is_dir() else "a device, pipe or socket"
            raise UsageError(f"{path}: got {kind}, expected a file")
        with path.open("rb") as content:
            digest = "sha256:" + hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    _take(collected, FileEntry(text(name), None, os.fsencode(path), size, {}))
    return FolderFacts(_layer(collected, size), digest, 0)


def _take(collected: Collected, entry: FileEntry | LinkEntry) -> None:
    try:
        collected.take(entry)
    except OSError:
        collected.count(entry.path, _UNREADABLE)
    finally:
        entry.close()


def _layer(collected: Collected, size: int) -> LayerFacts:
    return LayerFacts(diff_id="", entries=collected.entries, size=size, versions=versions(), parts=collected.parts(),
                      silent=collected.silent(), names=collected.names())


def _digest(collected: Collected, digests: Mapping[str, str]) -> str:
    said = hashlib.sha256()
    for path in sorted(path for path, facts in collected.found.items() if facts):
        said.update(f"{path}\0{digests.get(path, '')}\n".encode())
    return "sha256:" + said.hexdigest()


class FileEntry:
    """A file of the disk, with the shape of an entry of a layer."""

    kind = "file"
    target = ""
    __slots__ = ("_digests", "_fd", "_folder", "_name", "path", "size")

    def __init__(self, path: str, folder: int | None, name: bytes, size: int, digests: dict[str, str]) -> None:
        """`name` in the folder with this descriptor. `digests` gets the SHA-256 of what is read of it, where a
        cataloger does.
        """
        self.path, self.size = path, size
        self._folder, self._name, self._digests = folder, name, digests
        self._fd = -1

    @property
    def stored(self) -> int:
        return self.size

    def peek(self, count: int) -> bytes:
        return os.pread(self._open(), count, 0)

    def pieces(self) -> Iterator[bytes]:
        """As many bytes as it had when the folder was listed. Raises OSError."""
        descriptor, place, said = self._open(), 0, hashlib.sha256()
        try:
            while place < self.size:
                piece = os.pread(descriptor, min(_PIECE, self.size - place), place)
                if not piece:
                    raise OSError("the file was cut short while it was read")
                place += len(piece)
                said.update(piece)
                yield piece
        finally:
            self._digests[self.path] = said.hexdigest()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        if self._fd < 0:
            self._fd = os.open(self._name, FILE, dir_fd=self._folder)
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                raise OSError("no file any more")
        return self._fd


class LinkEntry:
    """A symbolic link of the disk, with the shape of an entry of a layer."""

    kind = "symlink"
    size = stored = 0
    __slots__ = ("path", "target")

    def __init__(self, path: str, target: str) -> None:
        self.path, self.target = path, target

    def peek(self, _count: int) -> bytes:
        return b""

    def pieces(self) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        """There is nothing to close."""


class _Walk:
    """Gives files and links as the disk lists them, and has the rest counted."""

    def __init__(self, folder: Folder, collected: Collected, limits: Limits) -> None:
        self.digests: dict[str, str] = {}
        self.size = self.excluded = 0
        self._folder, self._collected, self._limits = folder, collected, limits
        self._excludes = [glob(pattern).match for pattern in folder.exclude]
        self._listed = 0

    def entries(self, descent: Descent, device: int) -> Iterator[FileEntry | LinkEntry]:
        waiting = [b""]
        while waiting:
            below = waiting.pop()
            try:
                folder = descent.at(below)
                with os.scandir(folder) as listing:
                    for entry in listing:
                        base = os.fsencode(entry.name)
                        yield from self._entry(entry, below + b"/" + base if below else base, folder, device, waiting)
            except OSError:
                self._collected.count(text(below), _UNREADABLE)

    def _entry(self, entry: os.DirEntry[str], name: bytes, folder: int, device: int,
               waiting: list[bytes]) -> Iterator[FileEntry | LinkEntry]:
        self._listed += 1
        if self._listed > self._limits.entries:
            raise MalformedError(str(self._folder.path), got=f"more than {self._limits.entries} files and folders",
                                 expected="fewer")
        path = text(name)
        if any(match(path) for match in self._excludes):
            self.excluded += 1
            return
        if len(name) > self._limits.path or entry.name.startswith(".wh."):  # no image can have such a name
            above, slash, base = path.rpartition("/")  # written so that it is no whiteout
            self._collected.count(f"{above}{slash}\\x2e{base[1:]}", "name that no image can have")
            return
        try:
            if entry.is_dir(follow_symlinks=False):
                if self._folder.without_git and entry.name == ".git":
                    return
                if not self._folder.mounted and entry.stat(follow_symlinks=False).st_dev != device:
                    self._collected.count(path, _MOUNTED)
                    return
                waiting.append(name)
            elif entry.is_symlink():
                yield from self._link(entry, path, name, folder)
            elif entry.is_file(follow_symlinks=False):
                size = entry.stat(follow_symlinks=False).st_size
                self.size += size
                yield FileEntry(path, folder, os.fsencode(entry.name), size, self.digests)
            elif choose(path, self._folder.declared) is not None:
                self._collected.count(path, _SPECIAL)
        except OSError:
            self._collected.count(path, _UNREADABLE)

    def _link(self, entry: os.DirEntry[str], path: str, name: bytes, folder: int) -> Iterator[LinkEntry]:
        target = os.readlink(os.fsencode(entry.name), dir_fd=folder)
        if not self._folder.rooted:
            root = os.fsencode(self._folder.path.absolute())
            place = os.path.normpath(os.path.join(root, os.path.dirname(name), target))
            if place != root and not place.startswith(root.rstrip(b"/") + b"/"):
                kind = choose(path, self._folder.declared) or "?"
                if kind[0] != "?" or entry.is_dir():
                    self._collected.count(path, _LINK_OUT)
                return
            target = b"/" + os.path.relpath(place, root) if place != root else b"/"
        yield LinkEntry(path, text(target))
