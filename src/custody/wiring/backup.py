"""The data directory as one file, and back."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple

from custody import __version__
from custody.adapters.backup.archive import Manifest as Manifest
from custody.adapters.backup.archive import Progress as Progress
from custody.adapters.backup.archive import write
from custody.adapters.backup.parts import PARTS, files
from custody.adapters.backup.place import misnamed
from custody.adapters.backup.place import restore as restore


class Backup(NamedTuple):
    manifest: Manifest
    digest: str
    """Of the manifest's bytes."""
    damaged: list[str]
    """Blobs that changed at rest, and are saved as they are."""
    missing: list[str]
    """Digests that a repository names, and that are not there."""


def anything_to_save(data: Path) -> bool:
    return any((data / part).exists() for part in PARTS)


def save(data: Path, out: IO[bytes], *, keys: bool, created: datetime, progress: Progress) -> Backup:
    """Raises VerificationError where a log is damaged, CustodyError where something cannot be read."""
    missing: list[str] = []
    manifest, digest = write(files(data, missing, keys=keys), out, created=created, custody=__version__,
                             progress=progress)
    return Backup(manifest, digest, [blob.path for blob in misnamed(manifest)], missing)
