"""Files of events, followed: by rotation, truncation, and from where a mark says that they were read."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from custody.adapters.filesystem.drafts import storage_error
from custody.errors import CustodyError, StorageError
from custody.ports.following import Piece

LARGEST = 8 << 20
"""Bytes of one line."""
_HEAD = 256
"""Bytes at a file's beginning by which it is known again: an inode's number is given to another file."""
_LINGERING = 1.0
"""Seconds for which a file that was rotated is read on."""
_COMPRESSED = (".gz", ".zst", ".xz", ".bz2")
_AFTER = re.compile(r"[.~_-]")
_WITHIN = re.compile(r"\.[0-9]+\.|[._-][0-9]{4}-?[0-9]{2}-?[0-9]{2}")
_EXPANDED = 256 << 20
"""Bytes that a compressed document may have."""


class _Mark(msgspec.Struct):
    device: int
    inode: int
    offset: int
    head: str = ""
    """SHA-256 of the first bytes, at most as many as were read."""
    heads: int = 0
    generation: int = 0
    """Counts the files that were begun: the number of an inode, and an offset in it, come again."""


_MARK = msgspec.json.Decoder(_Mark)


class FollowedFile:
    """Implements ports.following.Followed for a file of lines, which grows and is rotated.

    A file that is renamed is read to its end before the new one, also where that happened while nobody looked: it is
    looked for in its folder by its inode. One that became shorter is read from its beginning.
    """

    def __init__(self, path: Path, *, once: bool = False) -> None:
        self._path, self._once = path, once
        self._file: BinaryIO | None = None
        self._state: os.stat_result | None = None
        self._offset = 0
        self._rest = b""
        self._skipping = False
        self._head = hashlib.sha256()
        self._heads = 0
        self._rotated = 0.0
        self._generation = time.time_ns()  # of no file of before
        self._ended = False
        self._said = ""
        self._lost = 0

    @property
    def name(self) -> str:
        return str(self._path)

    def begin(self, mark: str | None) -> str:
        if mark is None:
            return ""
        try:
            kept = _MARK.decode(mark)
        except msgspec.MsgspecError:
            return f"{self._path}: what was noted of it cannot be read; it is read from its beginning"
        self._generation = kept.generation
        for candidate in (self._path, *self._siblings()):
            if self._is(candidate, kept):
                self._generation = kept.generation - 1
                self._open(candidate)
                assert self._file is not None
                self._hash(self._file.read(min(kept.offset, _HEAD)))
                self._file.seek(kept.offset)
                self._offset = kept.offset
                return ""
        self._lost = 1
        return (f"{self._path}: the file that was read to byte {kept.offset} is not there any more, nor beside it; "
                "what was written to it after that is not known")

    def read(self, limit: int) -> Piece | None:
        try:
            return self._read(limit)
        except OSError as error:
            raise storage_error(f"{self._path}", error) from None

    def finished(self) -> bool:
        return self._ended

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    # --- reading --------------------------------------------------------------------------------------------------

    def _read(self, limit: int) -> Piece | None:
        if self._file is None:
            if not self._found():
                self._ended = self._once
                return self._told([], 0)
            # Noted before anything is read: it may be rotated before anything else is.
            said, lost, self._said, self._lost = self._said, self._lost, "", 0
            return Piece((), self._mark(), 0, self._identity(), 0, said, lost)
        assert self._file is not None
        data = self._file.read(limit)
        if not data:
            return self._at_end()
        return self._lines(data)

    def _lines(self, data: bytes) -> Piece | None:
        if self._heads < _HEAD:
            self._hash(data[:_HEAD - self._heads])
        first = self._offset
        skipped = 0
        if self._skipping:
            end = data.find(b"\n")
            if end < 0:
                self._offset += len(data)
                return self._told([], 0)
            self._skipping = False
            self._offset += end + 1
            first, data = self._offset, data[end + 1:]
        whole = self._rest + data if self._rest else data
        end = whole.rfind(b"\n")
        if end < 0:
            self._rest = whole
            if len(whole) > LARGEST:
                self._offset += len(whole)
                self._rest, self._skipping, skipped = b"", True, 1
            return self._told([], skipped)
        self._rest = whole[end + 1:]
        self._offset = first + end + 1
        lines = whole[:end].split(b"\n")
        if len(self._rest) > LARGEST:
            self._offset += len(self._rest)
            self._rest, self._skipping, skipped = b"", True, skipped + 1
        return self._told(lines, skipped, first)

    def _at_end(self) -> Piece | None:
        """Nothing new in the file that is open: it may be rotated, or shorter than it was."""
        assert self._file is not None
        now = os.fstat(self._file.fileno())
        if now.st_size < self._offset + len(self._rest):
            self._said = f"{self._path}: it is shorter than what was read of it; it is read from its beginning"
            self._again()
            return self._told([], 0)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            there = None
        if there is not None and (there.st_dev, there.st_ino) != (now.st_dev, now.st_ino):
            if not self._once:
                self._rotated = self._rotated or time.monotonic()
                if time.monotonic() - self._rotated < _LINGERING:  # whoever writes may have the old one open still
                    return None
            # The last line of a file that nobody writes to any more needs no end.
            last, first, identity = self._rest, self._offset, self._identity()
            old = self._file
            self._open(self._after(now))  # before the old one is let go: it may not be there, or be none
            old.close()
            return Piece([last] if last else [], self._mark(), first, identity)
        if self._once:
            last, first = self._rest, self._offset
            self._offset += len(last)
            self._rest, self._ended = b"", True
            return self._told([last] if last else [], 0, first)
        return self._told([], 0)

    def _told(self, lines: list[bytes], skipped: int, first: int = 0) -> Piece | None:
        if not (lines or skipped or self._said or self._lost):
            return None
        said, lost, self._said, self._lost = self._said, self._lost, "", 0
        return Piece(lines, self._mark(), first, self._identity(), skipped, said, lost)

    def _after(self, old: os.stat_result) -> Path:
        """The file that was written after that one: rotation may have happened more than once."""
        later: list[tuple[int, Path]] = []
        for path in self._siblings():
            if not _rotated(path.name, self._path):
                continue
            with contextlib.suppress(OSError):
                state = path.stat()
                if state.st_mtime_ns > old.st_mtime_ns and state.st_ino != old.st_ino and stat.S_ISREG(state.st_mode):
                    if path.suffix in _COMPRESSED:
                        self._lost, self._said = 1, f"{path}: it was compressed before it was read; it is not read"
                    else:
                        later.append((state.st_mtime_ns, path))
        return min(later)[1] if later else self._path

    # --- the file -------------------------------------------------------------------------------------------------

    def _found(self) -> bool:
        try:
            self._open(self._path)
        except FileNotFoundError:
            return False
        return True

    def _open(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            os.close(handle)
            raise StorageError(f"{path}: it is no file", hint="unix:PATH is a socket, - standard input")
        self._file, self._state = os.fdopen(handle, "rb", buffering=0), state
        self._reset()

    def _reset(self) -> None:
        self._offset, self._rest, self._skipping, self._rotated = 0, b"", False, 0.0
        self._head, self._heads = hashlib.sha256(), 0
        self._generation += 1

    def _again(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        self._reset()

    def _hash(self, data: bytes) -> None:
        self._head.update(data[:_HEAD - self._heads])
        self._heads = min(self._heads + len(data), _HEAD)

    def _identity(self) -> str:
        return str(self._generation)

    def _mark(self) -> str:
        if self._state is None:
            return msgspec.json.encode(_Mark(0, 0, 0, generation=self._generation)).decode()
        return msgspec.json.encode(_Mark(self._state.st_dev, self._state.st_ino, self._offset, self._head.hexdigest(),
                                         self._heads, self._generation)).decode()

    def _siblings(self) -> Iterator[Path]:
        """Files beside it whose names begin with its name: what rotation makes of one."""
        with contextlib.suppress(OSError):
            yield from sorted(path for path in self._path.parent.iterdir() if path.name.startswith(self._path.stem)
                              and path != self._path)

    @staticmethod
    def _is(path: Path, kept: _Mark) -> bool:
        """Whether it is the file of the mark, and has what was read of it."""
        try:
            state = path.stat()
            if (state.st_dev, state.st_ino) != (kept.device, kept.inode) or state.st_size < kept.offset:
                return False
            with path.open("rb") as file:
                head = file.read(min(kept.heads, _HEAD))
        except OSError:
            return False
        return hashlib.sha256(head).hexdigest() == kept.head


def _rotated(name: str, path: Path) -> bool:
    """Whether a file is named as rotation names what `path` was: `audit.log.1`, `audit.log-20261130.gz`,
    `audit-2026-11-30T10-03-57.700.log`, `audit.1.log`. `audit-other.log` and `audit-2.log` are logs of their own."""
    if name.startswith(path.name):
        return _AFTER.match(name, len(path.name)) is not None
    between = name.removeprefix(path.stem)
    return bool(path.suffix) and path.suffix in between and _WITHIN.match(between) is not None


class DocumentFolder:
    """Implements ports.following.Followed for files that are one document each: CloudTrail's, plain or `.gz`.

    Each file of the folder, in the order of names, is read once when it has been seen with the same size twice, since
    it may be half written. What was read is remembered by names: the mark is the last name, and those that came late.
    """

    def __init__(self, path: Path, *, once: bool = False) -> None:
        self._path, self._once = path, once
        self._done: set[str] = set()
        self._sizes: dict[str, int] = {}
        self._ended = False

    @property
    def name(self) -> str:
        return str(self._path)

    def begin(self, mark: str | None) -> str:
        if mark is not None:
            self._done = set(msgspec.json.decode(mark, type=list[str]))
        return ""

    def read(self, limit: int) -> Piece | None:  # noqa: ARG002 - a document is read whole
        wrong: CustodyError | None = None
        try:
            for path in self._files():
                key = _document_key(path)
                if key in self._done:
                    continue
                size = path.stat().st_size
                if not self._once and self._sizes.get(key) != size:
                    self._sizes[key] = size
                    continue
                try:
                    data = self._content(path)
                except OSError as error:  # the others are read all the same
                    wrong = wrong or storage_error(f"{path}", error)
                    continue
                self._done.add(key)
                self._sizes.pop(key, None)
                return self._document(path, key, data)
        except OSError as error:
            raise storage_error(f"{self._path}", error) from None
        if wrong is not None:
            raise wrong
        self._ended = self._once
        return None

    def finished(self) -> bool:
        return self._ended

    def close(self) -> None:
        """Nothing is open between two reads."""

    @staticmethod
    def _content(path: Path) -> bytes:
        with path.open("rb") as file:
            return file.read(LARGEST * 8 + 1)

    def _document(self, path: Path, key: str, data: bytes) -> Piece:
        mark = msgspec.json.encode(sorted(self._done)).decode()
        try:
            expanded = _expanded(data) if data[:2] == b"\x1f\x8b" else data
        except zlib.error as error:
            return Piece((), mark, 0, key, 1, f"{path}: {error}: it is not read")
        if len(expanded) > _EXPANDED or len(data) > LARGEST * 8:
            return Piece((), mark, 0, key, 1, f"{path}: it is larger than may be, and not read")
        return Piece((expanded,), mark, 0, key)

    def _files(self) -> list[Path]:
        if self._path.is_dir():
            return sorted(path for path in self._path.rglob("*") if path.is_file() and not path.name.startswith("."))
        return [self._path]


def _document_key(path: Path) -> str:
    state = path.stat()
    return f"{path.name}/{state.st_ino}/{state.st_mtime_ns}"


def _expanded(data: bytes) -> bytes:
    """Of gzip, all members; at most one byte more than may be."""
    out = io.BytesIO()
    while data:
        member = zlib.decompressobj(wbits=31)
        out.write(member.decompress(data, _EXPANDED + 1 - out.tell()))
        if out.tell() > _EXPANDED:
            break
        if not member.eof:
            raise zlib.error("the file is cut off")
        data = member.unused_data
    return out.getvalue()
