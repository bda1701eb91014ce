"""Walks a tar stream once, forward only, and names and sizes its entries as Go's archive/tar does.

That is what containerd, Docker, Podman, syft and crane read layers with; where readers differ (tar(5); POSIX.1-2024,
utility pax; GNU tar manual, "Basic Tar Format" and "Storing Sparse Files"), what it reads is what will be run. What it
reads and is refused here is beyond the limits, of a type that no runtime unpacks, or named twice: see `walk`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from custody.errors import MalformedError
from custody.formats.tar import header as headers
from custody.formats.tar import pax, sparse
from custody.formats.tar.source import Source

BLOCK = 512
_MODE = BLOCK - 100, BLOCK - 108
"""Before a header's end."""
_KINDS = dict(zip(b"0S123456g", ("file", "file", "link", "symlink", "device", "device", "directory", "device",
                                 "global"), strict=True))
_FILE, _HARD_LINK, _SYMLINK, _FOLDER, _SPARSE, _GLOBAL, _LONG_NAME, _LONG_LINK = b"0125SgLK"
_EXTENDING = frozenset(b"xgLK")
_WITHOUT_DATA = frozenset(b"123456")
_ZEROS = bytes(BLOCK)
_RECORDS = 20
"""That an entry may have on average."""
_MAX_EXTENSION = 1 << 20
_ESCAPED = re.compile(r"\\(?=x(?:[89a-f][0-9a-f]|5c))")


class Limits(Protocol):
    """What an archive may ask of this machine."""

    @property
    def entries(self) -> int: ...

    @property
    def path(self) -> int:
        """Bytes in a name."""

    @property
    def records(self) -> int:
        """Records in extended headers and regions of sparse files, beyond twenty for each entry."""


class Entry:
    """One member. `pieces()` may be called once, before the walk goes on."""

    __slots__ = ("_left", "_mode", "_regions", "_source", "kind", "link", "name", "path", "size", "stored", "target",
                 "type")

    def __init__(self, source: Source, name: bytes, kind: int, size: int, link: bytes = b"", stored: int = 0,
                 regions: list[tuple[int, int]] | None = None, mode: bytes = b"") -> None:
        self.name = name
        """As the archive has it."""
        self.path = text(clean(name, source.where))
        """Below the root, without `.`, `..` and double slashes; empty for the root. Bytes that are no UTF-8 are
        written `\\xff`, so that two names never become one."""
        self.type = kind
        """The header's type flag; a file's is "0" in archives that have none."""
        self.kind = _KINDS[kind]
        self.size = size
        """Of the file; of a sparse one with its holes."""
        self.stored = stored
        """Bytes in the archive."""
        self.link = link
        """As the archive has it, of links."""
        self.target = text(clean(link, source.where, rooted=False) if kind == _HARD_LINK else link) if link else ""
        """The path of the file that a hard link shares its content with; what a symbolic link says."""
        self._source = source
        self._left = stored
        self._regions = regions
        self._mode = mode

    @property
    def mode(self) -> int:
        """Permissions, setuid, setgid and sticky bits. Raises MalformedError."""
        return headers.number(self._mode, self._source.where) & 0o7777 if self._mode else 0

    def peek(self, count: int) -> bytes:
        """What the file begins with: `count` bytes, or fewer where no more are at hand or in it."""
        return self._source.peek(min(count, self._left)) if self._regions is None else b""

    def pieces(self) -> Iterator[bytes]:
        """Raises MalformedError for a sparse file whose regions are not what is stored."""
        if self._regions is None:
            return self._stored(self._left)
        return sparse.fill(self._regions, self.size, self.stored, self._stored, self._source.where)

    def _stored(self, count: int) -> Iterator[bytes]:
        for piece in self._source.pieces(count):
            self._left -= len(piece)
            yield piece

    def skip(self, padding: int) -> None:
        if self._left:
            self._source.skip(self._left)
        self._source.pad(padding)


class _Extended:
    """What the headers in front of an entry say of it: the last PAX header, the last GNU long name and link."""

    __slots__ = ("link", "name", "pax")

    def __init__(self) -> None:
        self.pax: dict[bytes, bytes] = {}
        self.name = self.link = b""


def walk(source: Source, limits: Limits) -> Iterator[Entry]:
    """The entries in order, global headers among them.

    Raises MalformedError for what Go refuses and, of what it reads, for what is beyond the limits; for types that no
    runtime unpacks; for names with NUL in them and names that climb out of the tree; and for global headers that name
    or size entries, which other readers obey.
    """
    extended = _Extended()
    count = records = 0
    while not source.ended():
        if not (extended.pax or extended.name or extended.link) and (usual := headers.usual(
                chunk := source.chunk, source.at)) is not None and len(usual[1]) <= limits.path:
            place, name, kind, size, told = usual
            count += 1 + told
            records += told
            if count > limits.entries:
                raise MalformedError(source.where, got=f"more than {limits.entries} entries", expected="fewer")
            source.at = place
            size = size if kind == _FILE else 0
            entry = Entry(source, name, kind, size, b"", size, None, chunk[place - _MODE[0]:place - _MODE[1]])
            yield entry
            entry.skip(-size % BLOCK)
            continue
        header = source.take(BLOCK)
        if header == _ZEROS:
            if not source.ended() and source.take(BLOCK) != _ZEROS:
                raise MalformedError(source.where, got="a header after a block of zeros", expected="a second one")
            return
        count += 1
        if count > limits.entries:
            raise MalformedError(source.where, got=f"more than {limits.entries} entries", expected="fewer")
        name, link, size = headers.read(header, source.where)
        kind = header[156]
        if size < 0 and kind not in _WITHOUT_DATA:
            raise MalformedError(f"{source.where}: size", got=size, expected="a size")
        if kind in _EXTENDING:
            if size > _MAX_EXTENSION:
                raise MalformedError(source.where, got=f"an extended header of {size} bytes", expected="at most 1 MiB")
            data = source.take(size)
            if kind == _LONG_NAME:
                extended.name = data.partition(b"\0")[0]
            elif kind == _LONG_LINK:
                extended.link = data.partition(b"\0")[0]
            else:
                said, number = pax.parse(data, source.where)
                records += number
                if kind == _GLOBAL:
                    pax.check_global(said, source.where)
                    extended = _Extended()  # it ends what was said of the entry behind it
                    yield Entry(source, name, header[156], 0)
                else:
                    extended.pax = said
            if records > limits.records + _RECORDS * count:
                raise MalformedError(source.where, got=f"{records} records in the extended headers of {count} entries",
                                     expected="fewer")
            source.pad(-size % BLOCK)
            continue
        said = extended.pax
        if said:
            name, link, size = pax.merge(said, name, link, size, source.where)
        if extended.name or extended.link:
            name, link = extended.name or name, extended.link or link
        if not kind:
            kind = _FOLDER if name.endswith(b"/") else _FILE
        bare = kind in _WITHOUT_DATA
        if size < 0 and not bare:
            raise MalformedError(f"{source.where}: extended header size", got=size, expected="a size")
        stored = 0 if bare else size
        padding = -stored % BLOCK
        regions = None
        if kind == _SPARSE or (said and (sparse.MAJOR in said or sparse.MINOR in said or sparse.MAP in said)):
            name, size, stored, regions = sparse.read(source, header, kind == _SPARSE, said, name, size, stored)
            records += len(regions or ())
            if regions is not None and bare:
                raise MalformedError(source.where, got="a sparse entry without data", expected="a file")
        if kind not in _KINDS:
            raise MalformedError(f"{source.where}: entry {text(name[:100])!r}", got=f"type {text(header[156:157])!r}",
                                 expected="a type that runtimes unpack: a file, link, folder or device")
        link = link if kind in (_HARD_LINK, _SYMLINK) else b""
        if len(name) > limits.path or len(link) > limits.path:
            long = name if len(name) > limits.path else link
            raise MalformedError(f"{source.where}: {text(long[:60])}…", got=f"a name of {len(long)} bytes",
                                 expected=f"at most {limits.path}")
        entry = Entry(source, name, kind, 0 if bare else size, link, stored, regions, header[100:108])
        extended.pax, extended.name, extended.link = {}, b"", b""
        yield entry
        entry.skip(padding)


def clean(name: bytes, where: str, *, rooted: bool = True) -> bytes:
    """The name below the root, as Go's path/filepath cleans it. `rooted`: an absolute one cannot climb out of the root.

    Raises MalformedError where it does: Docker and Podman refuse it, containerd would put it somewhere else.
    """
    plain = name.removeprefix(b"./")
    if plain.endswith(b"/"):
        plain = plain.rstrip(b"/")
    if b"\0" in plain:
        raise MalformedError(f"{where}: entry {text(name[:100])!r}", got="NUL in a name", expected="a file's name")
    if not (plain.startswith((b"/", b".")) or b"//" in plain or b"/." in plain):
        return plain
    parts: list[bytes] = []
    for part in plain.split(b"/"):
        if part == b"..":
            if parts:
                parts.pop()
            elif not (rooted and name.startswith(b"/")):
                raise MalformedError(f"{where}: entry {text(name[:100])!r}", got="a name that leaves the image's tree",
                                     expected="one below its root")
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def text(name: bytes) -> str:
    """A name's bytes as text: each gives another text, and UTF-8 itself where it is that."""
    try:
        plain = name.decode()
    except UnicodeDecodeError:
        return "".join(f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else char
                       for char in _escaped(name.decode("utf-8", "surrogateescape")))
    return _escaped(plain)


def _escaped(plain: str) -> str:
    return _ESCAPED.sub(r"\\x5c", plain) if "\\x" in plain else plain
