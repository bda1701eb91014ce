"""Everything that a registry holds, hashed again, and compared with its index both ways.

It runs beside the process that serves the registry: it reads, and moves damaged files aside in one step that a push at
the same moment wins. Only removing files that nobody has needs the registry to itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from custody.errors import UsageError
from custody.kit import digest as digests
from custody.ports.blobs import Blob, BlobInventory, Blobs, Stray
from custody.ports.repositories import Repositories

_READ = 1 << 20
_GRACE = 3600.0  # seconds for which a file without a repository may be a push under way


class Missing(msgspec.Struct, frozen=True):
    """A digest that the index names and of which there is no file."""

    digest: str
    repositories: list[str]


class Odd(msgspec.Struct, frozen=True):
    """Something among the blobs that is passed by."""

    path: str
    reason: str


class Report(msgspec.Struct, frozen=True):
    """What a scrub found. Bytes are those of files as they are on disk."""

    blobs: int
    """Files that were read to their end."""
    bytes: int
    damaged: list[Missing]
    """They are in quarantine now."""
    missing: list[Missing]
    unreadable: list[Odd]
    strays: list[Odd]
    orphans: list[str]
    """Files that no repository has; a young one may be a push under way."""
    orphan_bytes: int
    removed: list[str]
    """Orphans that were removed."""
    quarantine_files: int
    quarantine_bytes: int
    unfinished_uploads: int

    @property
    def sound(self) -> bool:
        """Whether all that repositories name can be pulled as it was pushed."""
        return not (self.damaged or self.missing or self.unreadable)


class Archive(NamedTuple):
    """A registry's files and index; `writer` where this process alone has them."""

    blobs: BlobInventory
    repositories: Repositories
    writer: Blobs | None = None


def scrub(archive: Archive, *, remove_orphans: bool = False, progress: Callable[[int, int], None] | None = None,
          now: Callable[[], float] = time.time, grace: float = _GRACE) -> Report:
    """Raises UsageError where orphans are to be removed beside another process.

    `progress` is called with blobs and bytes read so far. `now` is compared with files' times of change.
    """
    if remove_orphans and archive.writer is None:
        raise UsageError("scrub: removing files needs the registry to itself", hint="stop the server first")
    blobs, repositories = archive.blobs, archive.repositories
    count = size = 0
    damaged, unreadable, strays = [], [], []
    orphans: dict[str, tuple[int, float]] = {}
    """Their bytes, and when they were changed."""
    for digest in blobs.entries():
        if isinstance(digest, Stray):
            strays.append(Odd(digest.place, digest.reason))
            continue
        place = ""
        try:
            if (opened := blobs.open(digest)) is None:
                continue  # deleted meanwhile
            with opened as blob:
                place = blob.place
                changed = _is_changed(blob, digest)
        except OSError as error:
            unreadable.append(Odd(place or str(error.filename or digest), error.strerror or str(error)))
            continue
        count, size = count + 1, size + blob.size
        if changed and blobs.quarantine(digest, blob.version):
            damaged.append(Missing(digest, repositories.holders(digest)))
        elif not repositories.blob_is_used(digest):
            orphans[digest] = blob.size, blob.modified
        if progress is not None:
            progress(count, size)
    missing = _missing(archive, {missing.digest for missing in damaged})
    removed = [digest for digest, (_, modified) in orphans.items() if remove_orphans and abs(now() - modified) > grace]
    if archive.writer is not None:
        archive.writer.delete(removed)
    files, held = blobs.quarantined()
    return Report(count, size, damaged, missing, unreadable, strays, list(orphans),
                  sum(bytes_ for bytes_, _ in orphans.values()), removed, files, held, len(blobs.drafts()))


def _is_changed(blob: Blob, digest: str) -> bool:
    """Whether its bytes are not the digest's. Raises OSError."""
    state, at = digests.hasher(digest), 0
    while chunk := blob.read(at, _READ):
        state.update(chunk)
        at += len(chunk)
    return not digests.matches(state, digest)


def _missing(archive: Archive, damaged: set[str]) -> list[Missing]:
    missing = []
    for digest in archive.repositories.digests():
        if digest not in damaged and archive.blobs.size(digest) is None:
            holders = archive.repositories.holders(digest)
            # A deletion takes the row first: what has none by now was deleted while it was looked for.
            if holders and archive.blobs.size(digest) is None:
                missing.append(Missing(digest, holders))
    return missing
