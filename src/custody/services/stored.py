"""Images that lie on this machine: `oci:DIR[:TAG|@DIGEST]` and `archive:FILE[:NAME|@DIGEST]`. No registry is asked."""

from __future__ import annotations

from pathlib import Path

from custody.kit import digest as digests
from custody.registry.image import Image, open_archive, open_layout

_OPENERS = {"oci": open_layout, "archive": open_archive}


def is_stored(target: str) -> bool:
    scheme, _, location = target.partition(":")
    return scheme in _OPENERS and location != ""


def open_stored(target: str, platform: str | None = None) -> Image:
    """Of several platforms, the image of `platform`. Raises UsageError, MalformedError, VerificationError."""
    scheme, _, location = target.partition(":")
    path, identifier = split_layout(location)
    return _OPENERS[scheme](path, identifier, platform)


def split_layout(location: str) -> tuple[Path, str | None]:
    """`DIR`, `DIR:TAG`, `FILE:NAME:TAG` or `DIR@DIGEST`: the path is what there is up to one of the colons."""
    path, at, digest = location.rpartition("@")
    if at and not Path(location).exists():
        return Path(path), digests.parse(digest, "target")
    path, colon, tag = location, "", ""
    while not Path(path).exists():
        path, colon, more = path.rpartition(":")
        if not colon:  # there is none: the usual spelling, for what is said of it
            path, colon, tag = location.rpartition(":")
            return (Path(path), tag) if colon and "/" not in tag else (Path(location), None)
        tag = f"{more}:{tag}" if tag else more
    return Path(path), tag or None
