"""The documents in a file, a folder or an archive, whatever they say, and whatever they are compressed with."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import zstandard

from custody.errors import MalformedError, UsageError
from custody.formats import zstd
from custody.formats.zip import DEFLATED, STORED, Archive

_MAX_FILES = 2_000_000
_MAX_TOTAL = 64 << 30
_MAX_RATIO = 100
_SMALL = 1 << 20  # what is no longer is no bomb
_HEAD = 64 << 10
_WINDOW = 128 << 20
_PLAIN = (".json", ".xml", ".csv", ".oval")
_PACKED = (".gz", ".bz2", ".xz", ".zst")
ARCHIVES = (".zip", ".tar", ".tgz", *(f".tar{ending}" for ending in _PACKED))

Limit = Callable[[bytes], int]
"""How many bytes a document may have that begins so."""


def documents(path: Path, limit: Limit, hint: str) -> Iterator[tuple[str, bytes]]:
    """Each with its name; no more than one byte beyond its limit, for its reader to refuse.

    Raises UsageError, with the `hint`, where there is nothing; MalformedError for hostile archives.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if not _hidden(file.relative_to(path)) and (
                    _named(file.name) or file.name.endswith(ARCHIVES)) and file.is_file():
                yield from _documents(file, limit)
    elif path.is_file():
        yield from _documents(path, limit)
    else:
        raise UsageError(f"{path}: no such file or folder", hint=hint)


def _named(name: str) -> bool:
    """Whether a file in a folder or an archive is a document by its name: also a CVE of Ubuntu's tracker."""
    for ending in _PACKED:
        name = name.removesuffix(ending)
    return name.endswith(_PLAIN) or (name.startswith("CVE-") and "." not in name)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _documents(path: Path, limit: Limit) -> Iterator[tuple[str, bytes]]:
    if path.name.endswith(".zip"):
        yield from _zipped(path, limit)
        return
    with readable(str(path)), path.open("rb") as file:
        size = path.stat().st_size
        with decompressed(path.name, file, str(path)) as stream:
            if path.name.endswith(ARCHIVES):
                yield from _members(stream, path, size, limit)
            else:
                yield str(path), _bytes(stream, str(path), limit,
                                        size if path.name.endswith(_PACKED) else None)


@contextmanager
def readable(where: str) -> Iterator[None]:
    """What is raised within for a file that cannot be read, or is broken, is a UsageError or a MalformedError."""
    try:
        yield
    except (zlib.error, lzma.LZMAError, EOFError, zstandard.ZstdError, tarfile.TarError, gzip.BadGzipFile) as error:
        raise MalformedError(where, got=str(error), expected="a readable compressed file") from None
    except OSError as error:
        if error.errno is None:  # of a decompressor
            raise MalformedError(where, got=str(error), expected="a readable compressed file") from None
        raise UsageError(f"{where}: {error.strerror}") from None


def decompressed(name: str, file: IO[bytes], where: str) -> IO[bytes]:
    """The stream in a file, by the ending of its name."""
    if name.endswith((".gz", ".tgz")):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if name.endswith(".bz2"):
        return bz2.BZ2File(file)
    if name.endswith(".xz"):
        return lzma.LZMAFile(file)
    if name.endswith(".zst"):
        return _joined(zstd.decompress(iter(lambda: file.read(_SMALL), b""), where, _WINDOW))
    return file


def _joined(pieces: Iterator[bytes]) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(_Pieces(pieces)))


class _Pieces(io.RawIOBase):
    """A stream of pieces as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _bytes(stream: IO[bytes], where: str, limit: Limit, compressed: int | None) -> bytes:
    """`compressed`: the bytes that it comes from, where it is decompressed."""
    head = stream.read(_HEAD)
    most = limit(head) + 1
    whole, size = io.BytesIO(head), len(head)  # which hands its bytes over without another copy
    whole.seek(size)
    while size < most and (piece := stream.read(min(_SMALL, most - size))):
        size += whole.write(piece)
        if compressed is not None and size > _SMALL and size > _MAX_RATIO * max(1, compressed):
            raise MalformedError(where, got=f"{size} bytes out of {compressed}",
                                 expected="records, not a decompression bomb")
    return whole.getvalue()


def _members(stream: IO[bytes], path: Path, compressed: int, limit: Limit) -> Iterator[tuple[str, bytes]]:
    count = total = 0
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            count += 1
            total += max(0, member.size)
            where = f"{path}: {member.name}"
            if count > _MAX_FILES or total > _MAX_TOTAL or (total > _SMALL and total > _MAX_RATIO * max(1, compressed)):
                raise MalformedError(where, got=f"{count} files, {total} bytes out of {compressed}",
                                     expected="records, not a decompression bomb")
            if not member.isfile() or not _named(member.name.rpartition("/")[2]):
                continue
            opened = archive.extractfile(member)
            if opened is not None:
                with decompressed(member.name, opened, where) as content:
                    yield where, _bytes(content, where, limit,
                                        member.size if member.name.endswith(_PACKED) else None)


def _zipped(path: Path, limit: Limit) -> Iterator[tuple[str, bytes]]:
    """Entries one at a time, bounded by what they really inflate to and not by what the archive says."""
    try:
        with path.open("rb") as file:
            archive, total = Archive(file), 0
            if archive.count > _MAX_FILES:
                raise MalformedError(str(path), got=f"{archive.count} entries", expected=f"at most {_MAX_FILES}")
            for member in archive.members(lambda name: _named(name.rpartition(b"/")[2].decode("utf-8", "replace"))):
                where = f"{path}: {member.name}"
                if member.method not in (STORED, DEFLATED):
                    raise MalformedError(where, got=f"compression method {member.method}",
                                         expected="stored or deflated, as OSV's archives are")
                data = _bytes(_joined(archive.pieces(member)), where, limit, member.packed)
                if len(data) == member.size and zlib.crc32(data) != member.checksum:
                    raise ValueError(f"{member.name}, which has another checksum")
                total += len(data)
                if total > _MAX_TOTAL:
                    raise MalformedError(where, got=f"{total} bytes", expected=f"at most {_MAX_TOTAL}")
                yield where, data
    except (ValueError, OSError) as error:
        raise MalformedError(str(path), got=str(error), expected="a readable zip archive") from None
