"""The documents in a file, a folder or a zip archive, whatever they say."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from custody.errors import MalformedError, UsageError

_MAX_FILES = 2_000_000
_MAX_TOTAL = 16 << 30
_MAX_ENTRY = 16 << 20
_MAX_RATIO = 300


def documents(path: Path, largest: int, hint: str) -> Iterator[tuple[str, bytes]]:
    """Each with its name; of a file no more than one byte beyond `largest`, for its reader to refuse.

    Raises UsageError, with the `hint`, where there is nothing; MalformedError for hostile archives.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            yield str(file), _bytes(file, largest)
    elif path.suffix == ".zip":
        yield from _zipped(path)
    elif path.is_file():
        yield str(path), _bytes(path, largest)
    else:
        raise UsageError(f"{path}: no such file or folder", hint=hint)


def _bytes(file: Path, largest: int) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(largest + 1)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


def _zipped(path: Path) -> Iterator[tuple[str, bytes]]:
    """Entries one at a time, bounded by what they really inflate to and not by what the archive says."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MAX_FILES:
                raise MalformedError(str(path), got=f"{len(members)} entries", expected=f"at most {_MAX_FILES}")
            total = 0
            for member in members:
                if member.is_dir() or not member.filename.endswith(".json"):
                    continue
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise MalformedError(f"{path}: {member.filename}", got=f"compression method {member.compress_type}",
                                         expected="stored or deflated, as OSV's archives are")
                with archive.open(member) as stream:
                    data = stream.read(_MAX_ENTRY + 1)
                total += len(data)
                big = len(data) > 1 << 20 and len(data) > _MAX_RATIO * max(1, member.compress_size)
                if len(data) > _MAX_ENTRY or total > _MAX_TOTAL or big:
                    raise MalformedError(f"{path}: {member.filename}",
                                         got=f"{len(data)} bytes out of {member.compress_size}",
                                         expected="records, not a decompression bomb")
                yield f"{path}: {member.filename}", data
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:  # the last: a password is asked
        raise MalformedError(str(path), got=str(error), expected="a readable zip archive") from None
