"""What a cataloger is: which files it wants, and what it makes of their bytes; and the table of all of them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

import msgspec

from custody.ecosystems import ECOSYSTEMS
from custody.kit import strictjson
from custody.sbom.catalogers.fact import MARKERS, Fact

_LINE = 48
_Spend = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Paths:
    """Names of files that tell of packages. Made by `named`, `ending` and `inside`."""

    by: Literal["name", "ending", "folder"]
    keys: tuple[str, ...]
    pattern: str
    """What a whole path must be, beyond its key."""
    examples: tuple[str, ...]
    """`FOLDER/NAME`: a folder of this name, or whose name ends so, that a symbolic link leads to may hold one."""


def named(*names: str, pattern: str = ".*", examples: Sequence[str] = ()) -> Paths:
    """Files of these names."""
    return Paths("name", names, pattern, tuple(examples))


def ending(*endings: str, pattern: str = ".*", examples: Sequence[str] = ()) -> Paths:
    """Files whose last dot has one of these behind it, in small letters or capitals."""
    return Paths("ending", endings, pattern, tuple(examples))


def inside(*folders: str, pattern: str = ".*", examples: Sequence[str] = ()) -> Paths:
    """Files right in folders of these names."""
    return Paths("folder", folders, pattern, tuple(examples))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which files tell of something."""

    paths: tuple[Paths, ...] = ()
    places: tuple[str, ...] = ()
    """Well-known folders and files among them, that a symbolic link anywhere on their way may lead to."""
    listed: str = ""
    """Regular expression for what they are called in distributions' lists of installed files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cataloger(Wanted):
    """One kind of file that is read. A module declares it; a row of `catalogers.CATALOGERS` puts it to work."""

    name: str
    """What people read where such a file cannot be read: `unreadable NAME file`."""
    version: int | str
    """Raised with every change of what it finds: layers that were cached are read again for it, and for no other."""
    types: tuple[str, ...] | None = ()
    """The types of packages that it tells of, each with a row in `custody.ecosystems`; None where every fact has its
    package URL, and so may be of any."""
    read: Callable[[str, bytes], Iterable[Fact]] | None = None
    """Path and bytes to facts, a pure function; raises ValueError or CustodyError for what cannot be read."""
    stream: Callable[[BinaryIO, _Spend], Iterator[Fact]] | None = None
    """In place of `read`: of a file that can be sought in, and may be large; it says what `work` it is about to do.
    Without `paths` what is made of programs, which are known by their first bytes."""
    search: Callable[[str, BinaryIO, _Spend], Iterator[Fact]] | None = None
    """As `stream`, with the path: of files whose names say something too."""
    declares: bool = False
    """It reads what is asked for, not what is there: lock files and manifests. Images are not looked through for them,
    folders of sources are; its facts are `declared`."""
    largest: int = 4 << 20
    """Bytes that a file may have; larger ones are an `unknown`."""
    head: bool = False
    """Only as many bytes as `largest` are read, however large the file is; may be a program too if it says nothing."""
    cost: int = 512
    """Bytes that a file counts for beyond its own (`work`)."""
    effort: int = 1
    """How many times as long a byte takes to read as it takes others; some 50 for TOML."""
    parsed: float = 0
    """For JSON: what of the memory that it takes is charged."""

    @property
    def seeks(self) -> bool:
        """Whether it gets files that can be sought in, and no bytes."""
        return self.stream is not None or self.search is not None

    def work(self, content: bytes) -> int:
        """What it takes to read a file, in bytes, before it is read: some ten nanoseconds each at most.

        A line counts for 48 bytes more; JSON as a part of the memory that it takes, or more.
        """
        if self.parsed:
            return self.cost + int(strictjson.weight(content) * self.parsed)
        return self.cost + self.effort * (len(content) + _LINE * content.count(b"\n"))

    def facts(self, path: str, content: bytes | BinaryIO, spend: _Spend) -> Iterator[Fact]:
        """Raises TypeError for a fact of a type that the cataloger does not declare: its package URL would be wrong."""
        if isinstance(content, bytes):
            source = self.read(path, content) if self.read else ()
        elif self.search:
            source = self.search(path, content, spend)
        else:
            source = self.stream(content, spend) if self.stream else ()
        for fact in source:
            if fact.type not in MARKERS and not (
                    fact.type in self.types if self.types is not None else fact.purl.startswith(f"pkg:{fact.type}/")):
                raise TypeError(f"cataloger {self.name}: got a fact of type {fact.type!r} and package URL "
                                f"{fact.purl!r}, expected one of {self.types or 'any type, with its package URL'}")
            yield msgspec.structs.replace(fact, declared=True) if self.declares and fact.type not in MARKERS else fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(Wanted):
    """A kind of file that is seen and not read: it is counted, so that no scan is silent about it."""

    kind: str
    unless: tuple[str, ...] = ()
    """It is unknown only where none of these files, which were read, is beside it."""
    once: bool = False
    """Whether the files of one folder stand for one package."""
    declares: bool = False
    """As for a cataloger: folders of sources are looked through for it, images are not."""


def _lazily(pattern: str) -> Callable[[str], object]:
    """Whether all of a path fits. Compiled for the first path that is asked about: most images have few kinds of files,
    and what is known of layers already asks about none.
    """
    fullmatch: Callable[[str], object] | None = None

    def match(path: str) -> object:
        nonlocal fullmatch
        if fullmatch is None:
            fullmatch = re.compile(pattern, re.DOTALL).fullmatch
        return fullmatch(path)

    return match


_Rules = dict[str, list[tuple[Callable[[str], object], str]]]


class Table:
    """All catalogers, and all kinds that are counted, by the names of the files that they want.

    Raises ValueError for two of one name, and for a type of packages that has no row in `custody.ecosystems`.
    """

    def __init__(self, catalogers: Sequence[Cataloger], counted: Sequence[Counted]) -> None:
        self.rows = {cataloger.name: cataloger for cataloger in catalogers}
        self.kinds = {row.kind: row for row in counted}
        if len(self.rows) < len(catalogers) or len(self.kinds) < len(counted):
            raise ValueError("two catalogers, or two kinds that are counted, have one name")
        for cataloger in catalogers:
            for kind in cataloger.types or ():
                if kind not in ECOSYSTEMS:
                    raise ValueError(f"cataloger {cataloger.name}: the type {kind!r} has no row in custody.ecosystems")
        self.versions = {cataloger.name: str(cataloger.version) for cataloger in catalogers}
        self.versions["?"] = f"{zlib.crc32(repr([(row.kind, row.paths) for row in counted]).encode()):08x}"
        """By the names of catalogers; behind `?` that of all kinds that are counted."""
        rows: tuple[Wanted, ...] = (*catalogers, *counted)
        self.places = [place for row in rows for place in row.places]
        self.examples: dict[str, tuple[str, ...]] = {}
        """By a folder's name, or its end, names in it for which somebody cares because of the folder."""
        self._indexes: dict[str, _Rules] = {"name": {}, "ending": {}, "folder": {}}
        for name, paths in (*((row.name, row.paths) for row in catalogers),
                            *(("?" + row.kind, row.paths) for row in counted)):
            for rule in paths:
                match = _lazily(rule.pattern)
                for key in rule.keys:
                    self._indexes[rule.by].setdefault(key, []).append((match, name))
                for example in rule.examples:
                    folder, _, base = example.partition("/")
                    self.examples[folder] = (*self.examples.get(folder, ()), base)
        self._names, self._endings, self._folders = self._indexes.values()

    def choose(self, path: str) -> str | None:
        """Which cataloger reads a file of this name; `?` and a kind for what is only counted; None for all the rest."""
        folder, _, base = path.rpartition("/")
        kind = None
        for rules in (self._names.get(base), self._folders.get(folder.rpartition("/")[2]),
                      self._endings.get(base.rpartition(".")[2].lower())):
            if rules is not None:
                for match, name in rules:
                    if match(path):
                        if name[0] != "?":
                            return name
                        kind = kind or name
        return kind
