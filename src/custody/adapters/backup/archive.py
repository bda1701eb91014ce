"""The backup's format: a POSIX tar (pax) whose last member says what all the others must be.

    custody-backup     the format's version, so that a reader knows at once what it reads
    trust/root.key …   the files, named below the data directory
    manifest.json      {"version", "created", "custody", "files": [{"path", "mode", "size", "sha256"}, …]}

A backup without its manifest is one that was cut off. Streams are written and read in one pass, so that a pipe may
encrypt them. Nothing of a backup is put where it belongs before all of it was read and checked.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple, Self

import msgspec

from custody.errors import (
    ConflictError,
    CustodyError,
    MalformedError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from custody.kit.clock import format_rfc3339
from custody.kit.digest import sha256
from custody.kit.visible import visible

VERSION = "custody/backup/v1"
_HEAD, _MANIFEST = "custody-backup", "manifest.json"
_MAX_ENTRY = 4096
"""Bytes of the manifest for one file."""
_MAX_HEADER = 64 << 10
"""Bytes of what tar says of a member beside its header: names that are long."""
_CHUNK = 1 << 20
_PATH = re.compile(r"(?=.{1,1024}\Z)(?!\.)[^/\\]{1,255}(?:/(?!\.)[^/\\]{1,255}){0,15}\Z")
_MODES = (0o600, 0o644)
Progress = Callable[[int, int], None]
"""Told of files and bytes so far."""


class Saved(NamedTuple):
    """A file to be saved: its path below the data directory, whether others may read it, size and bytes."""

    path: str
    private: bool
    size: int
    stream: IO[bytes]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str
    mode: int
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: str
    created: str
    custody: str
    files: list[Entry]

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.files)


def write(files: Iterable[Saved], out: IO[bytes], *, created: datetime, custody: str,
          progress: Progress | None = None) -> tuple[Manifest, str]:
    """Returns the manifest and the digest of its bytes. Raises CustodyError for a file that shrinks meanwhile."""
    entries: list[Entry] = []
    copied = 0
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_CHUNK) as tar:
        _add(tar, _HEAD, f"{VERSION}\n".encode(), created)
        for file in files:
            with file.stream:
                if not _is_path(file.path):
                    raise UsageError(f"backup: {visible(file.path)}: got a name that a backup does not hold, expected "
                                     "printable text without a backslash", hint="move the file away, or rename it")
                reader = _Hashed(file.stream)
                member = _member(file.path, file.size, _MODES[0] if file.private else _MODES[1], created)
                try:
                    tar.addfile(member, reader)
                except OSError as error:
                    if "unexpected end of data" not in str(error):
                        raise
                    raise CustodyError(f"{file.path}: it became shorter while it was read",
                                       hint="custody registry scrub looks for damage") from None
            entries.append(Entry(file.path, member.mode, file.size, reader.state.hexdigest()))
            copied += file.size
            if progress is not None:
                progress(len(entries), copied)
        manifest = Manifest(VERSION, format_rfc3339(created), custody, entries)
        data = msgspec.json.encode(manifest)
        _add(tar, _MANIFEST, data, created)
    return manifest, sha256(data)


def read(stream: IO[bytes], folder: Path, *, digest: str | None = None,
         progress: Progress | None = None) -> tuple[Manifest, str]:
    """Put a backup's files into `folder`, which is empty, each durable and private until all are checked.

    `digest` is the manifest's, where somebody kept it. Raises MalformedError, UnsupportedError, VerificationError.
    """
    written: dict[str, Entry] = {}
    copied = 0
    data: bytes | None = None
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK, tarinfo=_Header) as tar:
            members = iter(tar)
            _check_head(tar, next(members, None))
            for member in members:
                if data is not None:
                    raise MalformedError("backup", got=f"{member.name} after {_MANIFEST}", expected="nothing")
                source = _regular(tar, member)
                if member.name == _MANIFEST:
                    if member.size > (most := (len(written) + 1) * _MAX_ENTRY):
                        raise MalformedError(_MANIFEST, got=f"{member.size} bytes",
                                             expected=f"at most {most} for {len(written)} files")
                    data = source.read()
                    continue
                if not _is_path(member.name) or member.name in written:
                    raise MalformedError("backup", got=member.name, expected="paths below a data directory, each once")
                entry = _extract(source, folder, member)
                written[member.name] = entry
                copied += entry.size
                if progress is not None:
                    progress(len(written), copied)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:  # of tarfile's reading of numbers and text
        raise MalformedError("backup", got=str(error) or type(error).__name__, expected="a tar of `custody backup`",
                             hint="was it cut off, or is it encrypted or compressed?") from None
    if data is None:
        raise MalformedError("backup", got="an end without manifest.json", expected="a whole backup",
                             hint="it was cut off")
    return _checked(data, written, digest), sha256(data)


def _is_path(name: str) -> bool:
    return name.isprintable() and _PATH.match(name) is not None


class _Header(tarfile.TarInfo):
    """tarfile reads names that are long into memory, however long they say that they are."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if not header.isreg() and header.size > _MAX_HEADER:
            raise MalformedError("backup", got=f"a header of {header.size} bytes", expected=f"at most {_MAX_HEADER}")
        return header


def _checked(data: bytes, written: dict[str, Entry], digest: str | None) -> Manifest:
    if digest is not None and sha256(data) != digest:
        raise VerificationError(f"backup: its manifest is {sha256(data)}, expected {digest}")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedError(_MANIFEST, got=str(error), expected=VERSION) from None
    listed = {entry.path: entry for entry in manifest.files}
    for path in sorted(listed.keys() | written.keys()):
        if path not in written:
            raise VerificationError(f"backup: {path} is missing, and manifest.json lists it")
        if path not in listed:
            raise VerificationError(f"backup: {path} is there, and manifest.json does not list it")
        if (written[path].size, written[path].sha256) != (listed[path].size, listed[path].sha256):
            raise VerificationError(f"backup: {path}: got sha256:{written[path].sha256} of {written[path].size} bytes, "
                                    f"expected sha256:{listed[path].sha256} of {listed[path].size} bytes")
    return manifest


def _check_head(tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> None:
    if member is None or member.name != _HEAD or member.size > 100:
        raise MalformedError("backup", got=member.name if member else "an empty tar",
                             expected=f"a tar of `custody backup`, which begins with {_HEAD}")
    version = _regular(tar, member).read().decode(errors="replace").strip()
    if version != VERSION:
        raise UnsupportedError("backup", f"version {version!r}, expected {VERSION}",
                               hint="use the custody that wrote it, or a newer one")


def _regular(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    source = tar.extractfile(member) if member.isreg() and not member.issparse() else None
    if source is None:
        raise MalformedError(f"backup: {member.name}", got="a link, folder or device", expected="a file")
    return source


def _extract(source: IO[bytes], folder: Path, member: tarfile.TarInfo) -> Entry:
    target = folder / member.name
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = _MODES[1] if member.mode == _MODES[1] else _MODES[0]
    state = hashlib.sha256()
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise ConflictError(f"backup: {member.name}: another file of the backup is in its place") from None
    with os.fdopen(handle, "wb") as out:
        for chunk in _chunks(source):
            state.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
        size = out.tell()
    return Entry(member.name, mode, size, state.hexdigest())


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _add(tar: tarfile.TarFile, name: str, data: bytes, created: datetime) -> None:
    tar.addfile(_member(name, len(data), _MODES[1], created), io.BytesIO(data))


def _member(name: str, size: int, mode: int, created: datetime) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, mode, int(created.timestamp())
    return member


class _Hashed(io.RawIOBase):
    """A stream that is hashed as it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self.state = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.state.update(data)
        return data
