"""A backup back in its place: all of it, checked, or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, NamedTuple

from custody.adapters.backup.archive import Entry, Manifest, Progress, read
from custody.adapters.backup.parts import PARTS, check
from custody.errors import ConflictError, MalformedError
from custody.kit.folder import hide, sync

_BLOBS = "registry/blobs/sha256/"


class Restored(NamedTuple):
    manifest: Manifest
    logs: dict[str, int]
    """Entries of each log."""
    damaged: list[Entry]
    """Blobs that were damaged where they were saved: in quarantine, as scrub does with them."""


def restore(stream: IO[bytes], data: Path, *, digest: str | None = None,
            progress: Progress | None = None) -> Restored:
    """Make `data` the data directory that was saved.

    Raises ConflictError where something is there already; MalformedError, UnsupportedError and VerificationError for
    what is not a whole, unchanged backup. Nothing is left behind then.
    """
    if data.is_symlink() or (data.exists() and (not data.is_dir() or _occupied(data))):
        raise ConflictError(f"{data}: it is not empty, and what is in it is not replaced",
                            hint="move it away, or name another data_dir")
    data.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{data.name}.restoring-", dir=data.parent))
    try:
        manifest, _ = read(stream, draft, digest=digest, progress=progress)
        for file in manifest.files:
            if file.path.split("/")[0] not in PARTS:
                raise MalformedError("backup", got=file.path, expected=f"files of {', '.join(PARTS)}")
        damaged = misnamed(manifest)
        for file in damaged:
            quarantine = draft / "registry" / "quarantine"
            quarantine.mkdir(mode=0o700, exist_ok=True)
            (draft / file.path).rename(quarantine / f"sha256-{file.path.removeprefix(_BLOBS)}.backup")
        sizes = check(draft)
        hide(draft)
        for folder, _, _ in os.walk(draft):
            sync(Path(folder))
        if data.exists():
            shutil.rmtree(data)
        draft.rename(data)
        sync(data.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Restored(manifest, sizes, damaged)


def misnamed(manifest: Manifest) -> list[Entry]:
    """Blobs whose bytes are not those of their digest: damaged where they were saved."""
    return [file for file in manifest.files
            if file.path.startswith(_BLOBS) and file.path.removeprefix(_BLOBS) != file.sha256]


def _occupied(data: Path) -> bool:
    return any(path.name != ".gitignore" for path in data.iterdir())
