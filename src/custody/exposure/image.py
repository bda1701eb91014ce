"""One pass over an image's layers for what it exposes: secrets of every layer, deleted files too, and file settings."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

import msgspec

from custody.errors import MalformedError
from custody.exposure import secrets, settings
from custody.formats.exposed import Exposure
from custody.formats.tar.source import Source
from custody.formats.tar.walk import Entry, walk
from custody.registry.image import Image
from custody.sbom.decompression import Decompressed
from custody.sbom.limits import Account, FullError, Limits

SCANNERS = ("secret", "misconfig")
_BASE = "org.opencontainers.image.base.name"
_MOST = 2000
"""Secrets that are listed of one image or folder."""
_PLACES = 500_000
"""That patterns match in one image or folder; each takes some microseconds to be judged."""
_LARGEST = 256 << 20
"""Bytes of a file that is looked into; no file of credentials comes near."""
_DISCUSSED = re.compile(
    r"(?:^|/)(?:tests?|testing|testdata|test-fixtures|fixtures|__tests__|spec|examples?|samples?|docs?|man)/"
    r"|(?:^|/)(?:test_[^/]*|[^/]*_test)\.[a-z]+\Z|\.(?:md|rst|html?|[1-8](?:\.gz)?)\Z|\.dist-info/METADATA\Z"
    r"|(?:^|/)README[^/]*\Z"
    r"|(?:^|/)lib(?:gnutls|gcrypt|mbed|wolfssl|crypto|nss|freebl)[^/]*\.so[.0-9]*\Z")
"""Paths of tests, examples and documents; and libraries that have the keys of their self-tests in them."""
_REMEDY = "revoke it; build with --mount=type=secret, since a later layer that deletes the file leaves it here"


@dataclass(slots=True)
class Exposed:
    """What was found, and what was not looked into or not listed."""

    exposures: list[Exposure] = field(default_factory=list)
    discussed: int = 0
    """Secrets in files of tests, examples and documents, which stop nothing."""
    apart: list[Exposure] = field(default_factory=list)
    """The first of those: whoever puts a secret below `docs/` has it there all the same."""
    unread: list[str] = field(default_factory=list)
    """Files that were not looked into, with the reason."""
    beyond: int = 0
    """Secrets beyond those that are listed."""
    places: Account = field(default_factory=lambda: Account(_PLACES, "places that look like secrets"))

    def miss(self, path: str, reason: str) -> None:
        """A file was not looked into; the last that is named stands for all others."""
        if len(self.unread) < _MOST:
            self.unread.append(f"{path}: {reason}")

    def take(self, path: str, pieces: Iterable[bytes], layer: str = "") -> None:
        try:
            hits = secrets.hits(path, pieces, self.places.take)
        except FullError as limit:
            self.miss(path, str(limit))
            return
        for hit in hits:
            discussed = _DISCUSSED.search(path) is not None
            self.discussed += discussed
            listed = self.apart if discussed else self.exposures
            if len(listed) >= _MOST:
                self.beyond += not discussed
            else:
                listed.append(Exposure(
                    kind="secret", id=hit.rule.id, title=hit.rule.title, severity=hit.rule.severity, message=hit.shown,
                    remedy=_REMEDY, path=path, line=hit.line, layer=layer))


def expose(image: Image, scanners: Collection[str] = SCANNERS, progress: Callable[[int], None] | None = None,
           limits: Limits | None = None) -> Exposed:
    """`progress` gets numbers of compressed bytes. Raises VerificationError where a digest lies, MalformedError for
    hostile layers, UnsupportedError.
    """
    bounds = limits or Limits()
    descriptors, diff_ids = image.manifest.layers, image.config.diff_ids
    if len(descriptors) != len(diff_ids):
        raise MalformedError(f"{image.name}: layers", got=f"{len(descriptors)} layers and {len(diff_ids)} diff_ids",
                             expected="one diff_id for each layer", hint="is it an image, or another artifact?")
    if len(descriptors) > bounds.layers:
        raise MalformedError(f"{image.name}: layers", got=len(descriptors), expected=f"at most {bounds.layers}")
    exposed, files, window = Exposed(), settings.Files(), threading.Lock()
    removed: dict[int, str] = {}
    holes = Account(bounds.holes, "bytes of holes in files")
    for descriptor, diff_id in zip(descriptors, diff_ids, strict=True):
        below = _Below(exposed, removed, files)
        where = f"layer {descriptor.digest}"
        with Decompressed(image.open_blob(descriptor), descriptor, bounds, window, progress) as chunks:
            source = Source(chunks, where)
            for entry in walk(source, bounds):
                if not entry.path or entry.kind == "global":
                    continue
                below.covers(entry.path, entry.kind, descriptor.digest)
                if _whiteout(entry.path):
                    continue
                files.take(entry.path, entry.kind, entry.mode, descriptor.digest)
                if entry.kind == "file" and entry.size and "secret" in scanners:
                    if reason := _unread(entry, holes):
                        exposed.miss(entry.path, reason)
                        continue
                    exposed.take(entry.path, entry.pieces(), descriptor.digest)
            source.drain()
            chunks.verify(diff_id)
    exposed.exposures = [_removed(exposure, removed.get(number, "")) for number,
        exposure in enumerate(exposed.exposures)]
    if "secret" in scanners:
        for path, lines in settings.texts(image.config.document):
            exposed.take(path, ["\n".join(lines).encode(errors="replace")])
    if "misconfig" in scanners:
        base = image.manifest.annotations.get(_BASE, "")
        exposed.exposures += settings.of_config(image.config.document, base) + files.settings()
    return exposed


def _unread(entry: Entry, holes: Account) -> str:
    """Why a file is not looked into; empty where it is."""
    if entry.size > _LARGEST:
        return f"a file of more than {_LARGEST >> 20} MiB"
    try:
        holes.take(max(0, entry.size - entry.stored))
    except FullError as limit:
        return str(limit)
    return ""


class _Below:
    """What lower layers hold, as a layer begins: its entries take it away, never what the same layer adds."""

    def __init__(self, exposed: Exposed, removed: dict[int, str], files: settings.Files) -> None:
        self._removed, self._files = removed, files
        self._places: dict[str, list[int]] = {}
        self._folders: dict[str, list[int]] = {"": []}
        for number, exposure in enumerate(exposed.exposures):
            if number in removed:
                continue
            self._places.setdefault(exposure.path, []).append(number)
            folder = exposure.path
            while folder:
                folder = folder.rpartition("/")[0]
                self._folders.setdefault(folder, []).append(number)

    def covers(self, path: str, kind: str, layer: str) -> None:
        folder, _, base = path.rpartition("/")
        if base == ".wh..wh..opq":
            gone = self._folders.get(folder, [])
            self._files.forget_below(folder)
        elif base.startswith(".wh."):
            target = f"{folder}/{base[4:]}" if folder else base[4:]
            gone = self._places.get(target, []) + self._folders.get(target, [])
            self._files.forget(target)
            self._files.forget_below(target)
        elif kind != "directory":
            gone = self._places.get(path, []) + self._folders.get(path, [])
        else:
            gone = self._places.get(path, [])
        for number in gone:
            self._removed.setdefault(number, layer)


def _whiteout(path: str) -> bool:
    return path.rpartition("/")[2].startswith(".wh.")


def _removed(exposure: Exposure, layer: str) -> Exposure:
    return msgspec.structs.replace(exposure, removed_in=layer) if layer else exposure


def expose_files(files: Iterable[tuple[str, Callable[[], Iterable[bytes]]]]) -> Exposed:
    """Secrets in files of a folder: (path, what opens it). A file that cannot be read is named in `unread`."""
    exposed = Exposed()
    for path, opened in files:
        try:
            exposed.take(path, opened())
        except OSError as error:
            exposed.miss(path, error.strerror or str(error))
    return exposed
