"""Which files an image has, by path and by digest: the index that what is executed is looked up in, and what it says.

An index is a few flat columns. 100,000 files take about 12 MB of memory, and a look-up some microseconds: whoever asks
stands in the loop that reads events, and does not wait.
"""

from __future__ import annotations

import enum
import posixpath
import re
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import zstandard

from custody.formats.tar.walk import text
from custody.kit.guarded import guard, unguard

VERSION = 1
_LARGEST = 512 << 20
_HOPS = 40
_ALIKE = 8
_DELETED = " (deleted)"
_MEMORY = ("/memfd:", "memfd:")
UNPLACED = "?/"
"""Stands before a relative path of which nobody says from which folder on it is."""
_BY_DESCRIPTOR = re.compile(r"/(?:proc/(?:self|thread-self|[0-9]+)(?:/task/[0-9]+)?|dev)/(?:fd/[0-9]+|exe)\Z")
"""Names of a file that is open or runs; others below /proc lead to names of the container's own choice."""


class Verdict(enum.StrEnum):
    KNOWN = "known"
    """The image has this file with these bytes."""
    COPIED = "copied"
    """The image has these bytes under another name."""
    MODIFIED = "modified"
    """The image has a file of this name with other bytes."""
    UNKNOWN = "unknown"
    """The image has neither the name nor the bytes."""
    VOLUME = "volume"
    """It lies on a volume that is mounted into the container, and is none of the image's files."""
    NOT_JUDGED = "not judged"


class Stated(enum.IntEnum):
    """What a signed SBOM says of a file."""

    NOTHING = 0
    SAME = 1
    ANOTHER = 2


class Entry(NamedTuple):
    """A file of an image."""

    path: str
    """Without a leading slash."""
    sha256: str
    """Hexadecimal; empty where it was not made."""
    mode: int
    layer: str
    """Digest of the layer blob, as the manifest names it."""
    owner: str
    """Package URL, or as the list of installed files names the package; empty where none says that it is its own."""
    stated: Stated


class Judgement(NamedTuple):
    verdict: Verdict
    path: str
    reason: str
    entry: Entry | None = None
    """The file of the image that this was compared with."""


class Columns(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What an index is kept as (`custody.runtime.indexing` makes it)."""

    version: int
    digest: str
    name: str
    platform: str
    layers: tuple[str, ...]
    paths: bytes
    """Each with NUL behind, in order."""
    digests: bytes
    modes: bytes
    places: bytes
    owners: tuple[str, ...]
    owned: bytes
    links: dict[str, str]
    stated: bytes = b""
    sbom: str = ""
    unread: tuple[str, ...] = ()


class Executables:
    """The files of one image of one platform. Several entries of one path: runtimes unpack its layers differently."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self.digest = columns.digest
        """Of the manifest."""
        self.name, self.platform, self.layers = columns.name, columns.platform, columns.layers
        self.unread = columns.unread
        """What could not be read, and why: lists of installed files, and files with too many holes."""
        self.sbom = columns.sbom
        """Who signed the SBOM whose files are compared; empty where none was."""
        self._paths = columns.paths
        self._digests, self._links = columns.digests, columns.links
        self._modes, self._places = _numbers("H", columns.modes), _numbers("H", columns.places)
        self._owned = _numbers("I", columns.owned)
        starts = array("I", (0,))
        keys: list[tuple[int, int]] = []
        at = row = 0
        while (end := self._paths.find(b"\0", at)) >= 0:
            keys.append((hash(self._paths[at:end]), row))
            at, row = end + 1, row + 1
            starts.append(at)
        keys.sort()
        self._starts, self._count = starts, row
        self._keys = array("q", (key for key, _ in keys))
        self._rows = array("I", (number for _, number in keys))
        marks = sorted((hash(self._digests[32 * number:32 * number + 32]), number) for number in range(row))
        self._marks = array("q", (mark for mark, _ in marks))
        self._marked = array("I", (number for _, number in marks))

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return len(self._paths) + 80 * self._count + 200 * len(self._links)

    def at(self, path: str) -> list[Entry]:
        """The files of this path, links followed; a path begins with a slash or not."""
        path = _plain(path)
        return self._at(path) or (self._at(real) if (real := self.resolve(path)) != path else [])

    def having(self, sha256: str) -> list[Entry]:
        """Some of the files with this digest, in the order of their paths."""
        try:
            digest = bytes.fromhex(sha256)
        except ValueError:
            return []
        return [self._entry(row) for row in sorted(self._with(digest))[:_ALIKE]]

    def resolve(self, path: str) -> str:
        """Where the image's links lead."""
        links = self._links
        if not links:
            return path
        parts, done, hops = path.split("/")[::-1], list[str](), 0
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del done[-1:]
                continue
            way = "/".join([*done, part])
            target = links.get(way)
            if target is None:
                done.append(part)
                continue
            hops += 1
            if hops > _HOPS:
                return path
            if target.startswith("/"):
                done = []
            parts += target.split("/")[::-1]
        return "/".join(done)

    def entries(self) -> Iterator[Entry]:
        """All, in the order of their paths."""
        return map(self._entry, range(self._count))

    def links(self) -> Mapping[str, str]:
        return self._links

    def judge(self, path: str, sha256: str | None, *, volumes: Sequence[str] = (), upper: bool = False) -> Judgement:
        """What is executed at this path, with these bytes (None: they could not be read). `volumes` are paths at which
        something is mounted; `upper`: it lies in the layer that the container writes.
        """
        deleted = path.endswith(_DELETED)
        shown = path.removesuffix(_DELETED)
        if shown.startswith(_MEMORY):
            return self._in_memory(shown, sha256)
        there = self.at(shown)
        if not there and deleted:
            there = self.at(path)  # a name may end so
        volume = next((mount for mount in volumes if _below(shown, mount)), None)
        if sha256 is None:
            # The image's own file is not deleted: the container did that, or calls a file of its own so.
            return self._unread(shown, there, volume, upper or (deleted and not self.at(path)))
        if (same := next((entry for entry in there if entry.sha256 == sha256), None)) is not None:
            gone = ": it was deleted since" if deleted else ""
            return Judgement(Verdict.KNOWN, shown, f"the image has it{gone}", same)
        alike = self.having(sha256)
        if alike and (_BY_DESCRIPTOR.match(shown) or shown.startswith(UNPLACED)):
            return Judgement(Verdict.KNOWN, shown, "the image has it, and it was executed by its descriptor, or from a "
                             "folder that nobody knows", alike[0])
        if volume is not None:
            copied = f", a copy of the image's /{alike[0].path}" if alike else ""
            return Judgement(Verdict.VOLUME, shown, f"it lies on what is mounted at {volume}{copied}",
                             alike[0] if alike else None)
        if there and not any(entry.sha256 for entry in there):
            return Judgement(Verdict.NOT_JUDGED, shown, "the image's own file was not hashed", there[0])
        if there:
            return Judgement(Verdict.MODIFIED, shown, f"its bytes are {sha256}, the image has {there[0].sha256}",
                             there[0])
        if alike:
            return Judgement(Verdict.COPIED, shown, f"the image has these bytes as /{alike[0].path}", alike[0])
        return Judgement(Verdict.UNKNOWN, shown, "the image has neither this path nor these bytes")

    def _in_memory(self, path: str, sha256: str | None) -> Judgement:
        alike = self.having(sha256) if sha256 else []
        if alike:
            return Judgement(Verdict.COPIED, path, f"it was executed out of memory, a copy of /{alike[0].path}",
                             alike[0])
        return Judgement(Verdict.UNKNOWN, path, "it was executed out of memory" + (
            ", and its bytes could not be read" if sha256 is None else ", and the image does not have these bytes"))

    @staticmethod
    def _unread(path: str, there: Sequence[Entry], volume: str | None, upper: bool) -> Judgement:
        if volume is not None:
            return Judgement(Verdict.VOLUME, path, f"it lies on what is mounted at {volume}; its bytes were not read")
        if not there:
            return Judgement(Verdict.UNKNOWN, path, "the image has no such path; its bytes were not read")
        if upper:
            return Judgement(Verdict.MODIFIED, path, "the image has it, and the container has written it anew or "
                             "deleted it; its bytes were not read", there[0])
        return Judgement(Verdict.NOT_JUDGED, path, "the image has this path; its bytes were not read", there[0])

    def _at(self, path: str) -> list[Entry]:
        name = path.encode("utf-8", "surrogateescape")
        key = hash(name)
        at = bisect_left(self._keys, key)
        entries = []
        while at < self._count and self._keys[at] == key:
            row = self._rows[at]
            if self._name(row) == name:
                entries.append(self._entry(row))
            at += 1
        return entries

    def _with(self, digest: bytes) -> Iterator[int]:
        mark = hash(digest)
        at = bisect_left(self._marks, mark)
        while at < self._count and self._marks[at] == mark:
            row = self._marked[at]
            if self._digests[32 * row:32 * row + 32] == digest and any(digest):
                yield row
            at += 1

    def _name(self, row: int) -> bytes:
        return self._paths[self._starts[row]:self._starts[row + 1] - 1]

    def _entry(self, row: int) -> Entry:
        digest = self._digests[32 * row:32 * row + 32]
        owner = self._owned[row]
        return Entry(self._name(row).decode("utf-8", "surrogateescape"), digest.hex() if any(digest) else "",
                     self._modes[row], self.layers[self._places[row]],
                     self._columns.owners[owner - 1] if owner else "",
                     Stated(self._columns.stated[row]) if self._columns.stated else Stated.NOTHING)

    def compared(self, files: Iterable[tuple[str, str]], signer: str) -> Executables:
        """With what an SBOM that `signer` signed says of files: (path, SHA-256 in hexadecimal)."""
        said: dict[str, set[str]] = {}
        for path, sha256 in files:
            said.setdefault(_plain(path), set()).add(sha256.lower())
        stated = bytearray(self._count)
        for row, entry in enumerate(self.entries()):
            if (digests := said.get(entry.path)) is not None and entry.sha256:
                stated[row] = Stated.SAME if entry.sha256 in digests else Stated.ANOTHER
        return Executables(msgspec.structs.replace(self._columns, stated=bytes(stated), sbom=signer))

    def as_compared(self, before: Executables) -> Executables:
        """With what was stated of the files of `before`, where these are the same files."""
        ours, theirs = self._columns, before._columns
        if not theirs.stated or (ours.paths, ours.digests) != (theirs.paths, theirs.digests):
            return self
        return Executables(msgspec.structs.replace(ours, stated=theirs.stated, sbom=theirs.sbom))

    def to_bytes(self) -> bytes:
        """For `read`; a disk that changes some of them is noticed."""
        return guard(zstandard.compress(msgspec.msgpack.encode(self._columns), 3))


def read(data: bytes) -> Executables | None:
    """None where they are no index of this version, whole."""
    if (packed := unguard(data)) is None:
        return None
    try:
        columns = msgspec.msgpack.decode(
            zstandard.ZstdDecompressor().decompress(packed, max_output_size=_LARGEST), type=Columns)
        return Executables(columns) if columns.version == VERSION else None
    except (msgspec.MsgspecError, zstandard.ZstdError, UnicodeDecodeError, ValueError):
        return None


def _plain(path: str) -> str:
    """As layers spell it."""
    if not path.isascii() or "\\" in path:
        path = text(path.encode("utf-8", "surrogateescape"))
    if "//" in path or "/." in path or path.startswith("./"):
        path = posixpath.normpath(path)
    return path.strip("/")


def _below(path: str, mount: str) -> bool:
    """Of names as they were asked for: `/data/../tmp/x` lies on no volume."""
    path, mount = posixpath.normpath(path), mount.rstrip("/")
    return bool(mount) and (path == mount or path.startswith(mount + "/"))


def _numbers(kind: str, data: bytes) -> array[int]:
    numbers = array(kind)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
