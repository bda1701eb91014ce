"""What one layer says, and which catalogers said it: kept for the next image that has the layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from itertools import chain

import msgspec
import zstandard

from custody.sbom.catalogers import Fact, cataloger, choose, versions

PROGRAM, COUNTED = "program", "?"
"""In a cataloger's place: what is asked of files that no other cares for, and all kinds that are counted."""
_IN = 256 * 1024
_LINKS = 100_000


class LayerFacts(msgspec.Struct, frozen=True, kw_only=True, array_like=True, dict=True):
    """What one layer says, whatever image it is in."""

    diff_id: str
    entries: int
    size: int
    versions: dict[str, str]
    """Of the catalogers that looked, as `catalogers.versions` has them."""
    parts: dict[str, dict[str, tuple[Fact, ...]]]
    """By the catalogers that read a file, with `+` between them, and by its path; only files that say something."""
    silent: dict[str, tuple[str, ...]]
    """By the same the paths of files that say nothing, but for those that only might have been programs."""
    names: bytes
    """All names in the tar in its order, whiteouts too, each with NUL behind, compressed with zstandard: `path`,
    `folder/`, `link//target` of symbolic links, `link/./target` of hard ones. `member` reads them."""

    @cached_property
    def found(self) -> Mapping[str, tuple[Fact, ...]]:
        """By path, whoever said it."""
        facts: dict[str, tuple[Fact, ...]] = {}
        for part in self.parts.values():
            facts.update(part)
        return facts

    @cached_property
    def readers(self) -> Mapping[str, str]:
        """Who read each path: `PROGRAM` those that are not here."""
        return {path: catalogers for told in (self.silent, self.parts) for catalogers, paths in told.items()
                for path in paths}

    @cached_property
    def changed(self) -> frozenset[str]:
        """The names of catalogers that are new, gone or of another version since: of theirs nothing counts any more."""
        return frozenset(name for name, _ in self.versions.items() ^ versions().items())

    @cached_property
    def relinked(self) -> bool:
        """Whether a hard link shares a file whose name comes again behind it, or so many that it is not known.

        What is kept by path is of the last file of a name, and the link has what another one said.
        """
        targets: set[int] = set()
        for path, kind, target in map(member, self.lines()):
            if hash(path) in targets or len(targets) > _LINKS:
                return True
            if kind == "link":
                targets.add(hash(target))
        return False

    def current(self, wanted: Mapping[str, Sequence[str]]) -> LayerFacts | None:
        """The same with the versions of today, where the catalogers that changed want no file of it and read none.

        `wanted`: as for `read_layer`.
        """
        changed = self.changed
        if not changed:
            return self
        if PROGRAM in changed or any(not changed.isdisjoint(readers.split("+"))
                                     for readers in (*self.parts, *self.silent)):
            return None
        files = (path for path, kind, _ in map(member, self.lines()) if kind in ("file", "link"))
        for path in chain(files, *wanted.values()):
            kind = choose(path)
            if kind is not None and (COUNTED if kind[0] == "?" else kind) in changed:
                return None
        return msgspec.structs.replace(self, versions=versions())

    def lines(self) -> Iterator[str]:
        rest = b""
        with zstandard.ZstdDecompressor().stream_reader(self.names) as reader:
            while chunk := reader.read(_IN):
                *whole, rest = (rest + chunk).split(b"\0")
                yield from map(bytes.decode, whole)


def member(line: str) -> tuple[str, str, str]:
    """Path, kind (file, directory, symlink, link) and target of one of the `lines` of a layer."""
    path, mark, target = line.partition("//")
    if mark:
        return path, "symlink", target
    if line.endswith("/"):
        return line[:-1], "directory", ""
    path, mark, target = line.partition("/./")
    return path, "link" if mark else "file", target


@cache
def readers_of(kinds: tuple[str | None, ...]) -> str:
    """The catalogers that a file of these kinds is read by, as one text."""
    names: set[str] = set()
    for kind in kinds:
        if kind is None or (kind[0] != "?" and cataloger(kind).head):
            names.add(PROGRAM)
        if kind is not None:
            names.add(COUNTED if kind[0] == "?" else kind)
    return "+".join(sorted(names))
