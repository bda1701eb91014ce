"""Plugins of the Notary Project installed, updated and removed: a program alone, or one with its files in an archive.

(notaryproject/specifications plugin-extensibility, installation; `notation plugin install`.) What is installed was
asked first who it is, and takes its place whole, by a renaming.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from custody.errors import ConflictError, CustodyError, MalformedError, NotFoundError, UsageError, VerificationError
from custody.formats.tar.source import Source
from custody.formats.tar.walk import walk
from custody.formats.zip import Archive, Member
from custody.ports.programs import Programs
from custody.sign.notary.directory import Directory
from custody.sign.notary.plugin import Metadata, Plugin, open_plugin
from policylang.errors import LanguageError
from policylang.go import semver

MAX_BYTES = 256 << 20
"""Of an archive, and of all that is in it."""
_MAX_MEMBERS = 1000
_MAX_HEADERS = 16 << 20
"""Beside the files: a tar's headers, a zip's directory."""
_SHOWN = 60
"""Letters of a name in an error."""
_NAME = re.compile(r"notation-([a-zA-Z0-9_.-]+)")
_READ = 1 << 20
_BROKEN = (gzip.BadGzipFile, zlib.error, EOFError, ValueError)


@dataclass(frozen=True, slots=True)
class _Limits:
    """Of a tar."""

    entries: int = _MAX_MEMBERS
    path: int = 4096
    records: int = 0


@dataclass(frozen=True, slots=True)
class Installed:
    """What is there now, and what was there before."""

    now: Metadata
    before: Metadata | None
    made_executable: bool
    """Whether no file had the permission, and the only program got it here."""


def install(directory: Directory, source: Path, programs: Programs, *, checksum: str | None = None,
            force: bool = False) -> Installed:
    """Raises UsageError, MalformedError, VerificationError for another checksum, ConflictError where the same version
    or a later one is there and not `force`; and what `Plugin.metadata` does."""
    _check(source, checksum)
    with _staging(directory) as folder:
        # 1. Unpack, or copy.
        _unpack(source, folder)
        # 2. The one program in it.
        name, program, made_executable = _program(folder)
        # 3. Who is it?
        metadata = Plugin(name, program, programs).metadata()
        before = _present(directory, name, programs, force=force)
        if before is not None and not force:
            _check_newer(name, metadata.version, before.version)
        # 4. It takes its place.
        _replace(folder, directory.plugin(name).parent)
    return Installed(metadata, before, made_executable)


def uninstall(directory: Directory, name: str) -> None:
    """Raises NotFoundError where there is no such plugin, UsageError where it cannot be removed."""
    folder = directory.plugin(name).parent
    if folder.is_symlink() or not folder.is_dir():
        raise NotFoundError(f"plugin {name}: is not in {directory.plugins}",
                            hint="custody notation plugin list shows those that are installed")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None


def _check(source: Path, checksum: str | None) -> None:
    """Raises UsageError, VerificationError."""
    state = hashlib.sha256()
    try:
        if not source.is_file():
            raise UsageError(f"{source}: no file" if source.exists() else f"{source}: No such file or directory")
        if source.stat().st_size >= MAX_BYTES:
            raise MalformedError(str(source), got=f"{source.stat().st_size} bytes", expected=f"less than {MAX_BYTES}")
        with source.open("rb") as stream:
            while chunk := stream.read(_READ):
                state.update(chunk)
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror}") from None
    if checksum is not None and state.hexdigest() != checksum.lower():
        raise VerificationError(f"{source}: SHA-256 is {state.hexdigest()}, expected {checksum}")


@contextmanager
def _staging(directory: Directory) -> Iterator[Path]:
    """A folder on the disk where plugins are, so that one renaming puts it in its place."""
    try:
        directory.libexec.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(prefix=".plugin-", dir=directory.libexec))
    except OSError as error:
        raise UsageError(f"{directory.libexec}: {error.strerror}", hint="NOTATION_LIBEXEC names another folder"
                         ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(source: Path, folder: Path) -> None:
    with source.open("rb") as stream:
        head = stream.read(4)
    try:
        if head == b"PK\x03\x04":
            _from_zip(source, folder)
        elif head[:2] == b"\x1f\x8b":
            _from_tar(source, folder)
        else:
            mode = source.stat().st_mode
            if not mode & stat.S_IXUSR:
                raise UsageError(f"{source}: is not executable", hint="an archive is zip or tar.gz")
            with source.open("rb") as stream:
                _copy(_chunks(stream), folder, source.name, mode, MAX_BYTES)
    except _BROKEN as error:
        raise MalformedError(str(source), got=f"{type(error).__name__}: {error}", expected="a zip or tar.gz archive"
                             ) from None


def _from_zip(source: Path, folder: Path) -> None:
    """Files at its top alone."""
    left = MAX_BYTES
    with source.open("rb") as stream:
        archive = Archive(stream, most=_MAX_HEADERS)
        for number, member in enumerate(archive.members(lambda _: True), 1):
            if number > _MAX_MEMBERS:
                raise MalformedError(str(source), got="too many members", expected=f"at most {_MAX_MEMBERS}")
            _check_name(member.name, source)
            if "/" in member.name or (stat.S_IFMT(member.mode) and not stat.S_ISREG(member.mode)):
                continue
            left -= _copy(_content(archive, member), folder, member.name, member.mode or 0o644, left)


def _content(archive: Archive, member: Member) -> Iterator[bytes]:
    checksum = 0
    for piece in archive.pieces(member):
        checksum = zlib.crc32(piece, checksum)
        yield piece
    if checksum != member.checksum:
        raise ValueError(f"{member.name[:_SHOWN]} has another checksum")


def _from_tar(source: Path, folder: Path) -> None:
    """Regular files, whatever folder they are in."""
    left = MAX_BYTES
    with gzip.open(source) as stream:
        for entry in walk(Source(_inflated(stream, source), str(source)), _Limits()):
            _check_name(entry.name.decode("utf-8", "surrogateescape"), source)
            if entry.kind == "file":
                left -= _copy(entry.pieces(), folder, entry.path.rpartition("/")[2], entry.mode, left)


def _inflated(stream: IO[bytes] | gzip.GzipFile, source: Path) -> Iterator[bytes]:
    size = 0
    for chunk in _chunks(stream):
        size += len(chunk)
        if size > MAX_BYTES + _MAX_HEADERS:
            raise MalformedError(str(source), got="more bytes", expected=f"less than {MAX_BYTES} in all")
        yield chunk


def _chunks(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    while chunk := stream.read(_READ):
        yield chunk


def _check_name(name: str, source: Path) -> None:
    if ".." in name or "\0" in name:
        raise MalformedError(str(source), got=f"a member named {name[:_SHOWN]!r}", expected="names without '..'")


def _copy(pieces: Iterable[bytes], folder: Path, name: str, mode: int, most: int) -> int:
    """How many bytes there were. Raises MalformedError above `most`, and for a name that is there."""
    size = 0
    try:
        handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise MalformedError(name[:_SHOWN], got=error.strerror, expected="each name once") from None
    with os.fdopen(handle, "wb") as target:
        for chunk in pieces:
            size += len(chunk)
            if size > most:
                raise MalformedError(name[:_SHOWN], got="more bytes", expected=f"less than {MAX_BYTES} in all")
            target.write(chunk)
        os.fchmod(handle, mode & 0o755 | 0o400)
    return size


def _program(folder: Path) -> tuple[str, Path, bool]:
    """Name and path of the one executable that is called as plugins are, and whether it had to be made executable."""
    candidates = {match[1]: path for path in sorted(folder.iterdir()) if (match := _NAME.fullmatch(path.name))}
    programs = {name: path for name, path in candidates.items() if path.stat().st_mode & stat.S_IXUSR}
    chosen = programs or candidates
    if len(chosen) != 1:
        raise MalformedError("plugin", got=", ".join(path.name for path in chosen.values()) or "no program",
                             expected="one executable file notation-NAME")
    name, path = next(iter(chosen.items()))
    if not programs:
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return name, path, not programs


def _present(directory: Directory, name: str, programs: Programs, *, force: bool) -> Metadata | None:
    try:
        return open_plugin(directory, name, programs).metadata()
    except NotFoundError:
        return None
    except CustodyError as error:
        if force:
            return None
        raise CustodyError(f"plugin {name} is there already, and does not answer: {error.message}",
                           hint="--force replaces it") from None


def _check_newer(name: str, version: str, before: str) -> None:
    try:
        order = semver.compare(semver.parse(version), semver.parse(before))
    except LanguageError:
        raise MalformedError(f"plugin {name}", got=f"the versions {version} and {before}",
                             expected="versions such as 1.2.3") from None
    if order < 0:
        raise ConflictError(f"failed to install plugin {name}. The installing plugin version {version} is lower than "
                            f"the existing plugin version {before}.", hint="It is not recommended to install an older "
                            'version. To force the installation, use the "--force" option')
    if order == 0:
        raise ConflictError(f"plugin {name} with version {before} already exists", hint="--force installs it again")


def _replace(folder: Path, target: Path) -> None:
    before = folder.with_name(folder.name + ".before")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        if target.is_symlink():
            raise UsageError(f"{target}: is a link, expected a folder or nothing")
        if target.exists():
            target.rename(before)
        folder.rename(target)
    except BaseException as error:
        # Whatever ends it here, an interrupt too: what was there is there again.
        if before.exists() and not target.exists():
            before.rename(target)
        if isinstance(error, OSError):
            raise UsageError(f"{target}: {error.strerror}") from None
        raise
    shutil.rmtree(before, ignore_errors=True)
