"""Native images of GraalVM: the SBOM that `native-image --enable-sbom` puts into a program's data.

It is CycloneDX, packed with gzip, at the symbol `sbom`; its length is at `sbom_length` (GraalVM, "Software Bill of
Materials"). Only ELF is read; the section `.svm_heap` tells these programs from all the others.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from custody.kit import strictjson
from custody.sbom.catalogers.fact import Fact, unknown

_SECTIONS, _TABLE, _DOCUMENT, _WEIGHT = 200, 32 << 20, 16 << 20, 32 << 20
_SYMTAB, _DYNSYM, _SYMBOL = 2, 11, 24
_WORK = 4
_HEAP = b".svm_heap"
_ROW = struct.Struct("<II8xQQQI20x")
_Section = tuple[int, int, int, int, int]
"""Kind, address, offset in the file, size, and the number of the section that has its names."""


def read(file: BinaryIO, spend: Callable[[int], None] = lambda _: None) -> Iterator[Fact]:
    """The packages of a native image; none for other programs, and an unknown for an image without an SBOM.

    Raises ValueError and struct.error for what cannot be read.
    """
    sections = _sections(file)
    if _HEAP not in sections or b".data" not in sections:
        return
    places = _symbols(file, sections, spend)
    if b"sbom" not in places or b"sbom_length" not in places:
        yield unknown("native image of Java without an SBOM")
        return
    _, address, offset, size, _ = sections[b".data"]
    start, counted = (places[name] - address for name in (b"sbom", b"sbom_length"))
    if not (0 <= start <= size and 0 <= counted <= size - 8):
        raise ValueError("an SBOM outside of the data")
    (length,) = struct.unpack("<Q", _at(file, offset + counted, 8))
    if length > min(size - start, _DOCUMENT):
        raise ValueError("an SBOM beyond the data")
    inflater = zlib.decompressobj(31)
    content = inflater.decompress(_at(file, offset + start, length), _DOCUMENT)
    if inflater.unconsumed_tail or strictjson.weight(content) > _WEIGHT:
        raise ValueError("an SBOM that is too large")
    spend(_WORK * strictjson.weight(content))
    from custody.formats import sbom  # most images have no such program

    document = sbom.read(content, "native image", excluded=False)
    if document is None:
        raise ValueError("an SBOM that is no CycloneDX")
    for package in document.packages:
        if package.type == "maven":
            yield Fact(type="maven", name=package.name, version=package.version, licenses=package.licenses,
                       supplier=package.supplier, hashes=package.hashes, purl=package.purl, requires=package.requires,
                       evidence="SBOM of the native image", form="part")
        else:
            yield unknown(f"package of type {package.type} in a native image of Java")


def _sections(file: BinaryIO) -> dict[bytes, _Section]:
    """By name; empty for programs of 32 bits and of the other byte order, which GraalVM makes none of."""
    head = _at(file, 0, 64)
    if len(head) < 64 or head[4:6] != b"\2\1":
        return {}
    start, = struct.unpack_from("<Q", head, 40)
    size, count, strings = struct.unpack_from("<HHH", head, 58)
    if size != 64 or not count or count > _SECTIONS or strings >= count:
        return {}
    table = _at(file, start, 64 * count)
    if len(table) < 64 * count:
        return {}
    _, _, _, place, length, _ = _ROW.unpack_from(table, 64 * strings)
    names = _at(file, place, min(length, 1 << 16))
    if _HEAP not in names:
        return {}
    rows = list(_ROW.iter_unpack(table))
    return {names[place:names.find(b"\0", place)]: (kind, address, offset, length, link)
            for place, kind, address, offset, length, link in rows}


def _symbols(file: BinaryIO, sections: dict[bytes, _Section], spend: Callable[[int], None]) -> dict[bytes, int]:
    """The addresses of the two symbols."""
    rows = list(sections.values())
    by_number = dict(enumerate(rows))
    places: dict[bytes, int] = {}
    for kind, _, offset, size, link in rows:
        if kind not in (_SYMTAB, _DYNSYM) or link not in by_number or size > _TABLE:
            continue
        spend(size)
        _, _, start, length, _ = by_number[link]
        names = _at(file, start, min(length, _TABLE))
        spelled = {names.find(b"\0" + name + b"\0") + 1: name for name in (b"sbom", b"sbom_length")}
        for place, value in struct.iter_unpack("<I4xQ8x", _at(file, offset, size - size % _SYMBOL)):
            if place and place in spelled:
                places.setdefault(spelled[place], value)
    return places


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    if offset > 1 << 62:
        raise ValueError("a section too far")
    file.seek(offset)
    return file.read(size)
