"""Programs and libraries that say themselves which they are: a version among the strings of their bytes.

A class is known by the name of its files. One of them is read once, in pieces; near each place of a literal of the
class its pattern is tried, and nowhere else, so that the time is that of a search for bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from custody.sbom.catalogers.fact import Fact

_PIECE = 1 << 20
_BEFORE, _BEHIND = 256, 256
"""Bytes around a literal that its pattern sees."""
_PLACES = 2_000
"""Places of one literal that are tried in a piece."""
_PLACE_COST = 200
"""What a place counts for, in bytes."""
_MACROS = {b"<V>": rb"[0-9]{1,4}\.[0-9]{1,5}\.[0-9]{1,5}", b"<W>": rb"[0-9]{1,4}(?:\.[0-9]{1,5}){1,3}",
           b"<0>": rb"\x00{1,16}"}
_ANY = re.compile(r"[^\n]*")


@dataclass(frozen=True, slots=True)
class Said:
    """How a version is written: `pattern`, with the version in its first group, sees some bytes around `literal`.

    In patterns `<V>` is a version of three numbers, `<W>` one of two to four, `<0>` some zero bytes. In both `<N>` is
    the version that the file's own name has, `3.11`: without one it is tried for none.
    """

    literal: bytes
    pattern: bytes


@dataclass(frozen=True, slots=True)
class Class:
    """One kind of program: what its files are called, and what they say."""

    package: str
    """Its name in package URLs of type `generic`; `{}` in it is what the first group of `names` has."""
    names: str
    """Regular expression for the whole last part of a path; its first group, if any, is `<N>`."""
    said: tuple[Said, ...]
    """The first that is in the file counts."""
    products: tuple[str, ...] = ()
    """`vendor:product` of its CPE names, as NVD's dictionary has them."""
    without: bytes = b""
    """Bytes that a file of this class does not have: of a fork that kept the name."""
    folder: str = ""
    """Regular expression for the folder that such a file is in, from its end; empty for any."""


def say(literal: str, pattern: bytes) -> Said:
    return Said(literal.encode("latin-1"), pattern)


class Classes:
    """Many classes, looked up by the names of files."""

    def __init__(self, classes: tuple[Class, ...]) -> None:
        self._rows = [(re.compile(row.names), re.compile(f"(?s)(?:.*/)?{row.folder}") if row.folder else _ANY, row)
                      for row in classes]
        self._any = re.compile("|".join(f"(?:{row.names})" for row in classes))

    def of(self, path: str) -> list[tuple[Class, bytes]]:
        """The classes that a file of this name may be of, and the version that its name has for each."""
        folder, _, base = path.rpartition("/")
        base = base.removesuffix(".exe")
        if self._any.fullmatch(base) is None:
            return []
        return [(row, next(filter(None, match.groups()), "").encode())
                for names, folders, row in self._rows
                if (match := names.fullmatch(base)) is not None and folders.fullmatch(folder) is not None]

    def read(self, path: str, file: BinaryIO, spend: Callable[[int], None] = lambda _: None) -> Iterator[Fact]:
        """One fact for each package that the file says to be."""
        for row, named in self.of(path):
            told = _first(file, _patterns(row, named), row.without, spend)
            if told is not None:
                version, place = told
                yield Fact(type="generic", name=row.package.format(named.decode()), version=version,
                           cpes=tuple(_cpe(product, version) for product in row.products),
                           evidence=f"version string at {place:#x}", form="program")


_Pattern = tuple[bytes, "re.Pattern[bytes]"]


@lru_cache(1024)
def _patterns(row: Class, named: bytes) -> tuple[_Pattern, ...]:
    patterns: list[_Pattern] = []
    for said in row.said:
        literal, pattern = said.literal, said.pattern
        if b"<N>" in literal + pattern:
            if not named:
                continue
            literal, pattern = literal.replace(b"<N>", named), pattern.replace(b"<N>", re.escape(named))
        for macro, meaning in _MACROS.items():
            pattern = pattern.replace(macro, meaning)
        patterns.append((literal, re.compile(pattern, re.DOTALL)))
    return tuple(patterns)


def _first(file: BinaryIO, patterns: tuple[_Pattern, ...], without: bytes,
           spend: Callable[[int], None]) -> tuple[str, int] | None:
    """Version and place of the first of the patterns that is in the file at all."""
    best: tuple[str, int] | None = None
    file.seek(0)
    start, rest = 0, b""
    while patterns or (best is not None and without):
        piece = file.read(_PIECE)
        block = rest + piece
        if without and without in block:
            return None
        for place, (literal, pattern) in enumerate(patterns):
            match = _near(block, literal, pattern, spend)
            if match is not None:
                best = match[0], start + match[1]
                patterns = patterns[:place]
                break
        if not piece:
            return best
        rest = block[-_BEFORE - _BEHIND:]
        start += len(block) - len(rest)
    return best


def _near(block: bytes, literal: bytes, pattern: re.Pattern[bytes],
          spend: Callable[[int], None]) -> tuple[str, int] | None:
    place = block.find(literal)
    for _ in range(_PLACES):
        if place < 0:
            return None
        spend(_PLACE_COST)
        begin = max(0, place - _BEFORE)
        match = pattern.search(block[begin:place + len(literal) + _BEHIND])
        if match is not None:
            return match[1].decode("ascii", "replace"), begin + match.start(1)
        place = block.find(literal, place + 1)
    return None


def _cpe(product: str, version: str) -> str:
    """CPE 2.3 (NISTIR 7695, "Formatted string binding"): what is no letter, digit, dot or hyphen is escaped."""
    vendor, _, name = product.partition(":")
    return f"cpe:2.3:a:{_escaped(vendor)}:{_escaped(name)}:{_escaped(version)}:*:*:*:*:*:*:*"


def _escaped(text: str) -> str:
    return re.sub(r"([^A-Za-z0-9._-])", r"\\\1", text)
