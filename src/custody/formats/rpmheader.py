"""Headers of RPM packages, as databases and `.rpm` files have them (rpm.org, "RPM V4 Package format")."""

from __future__ import annotations

import struct
from typing import NamedTuple

from custody.errors import MalformedError

MAGIC = b"\x8e\xad\xe8\x01\0\0\0\0"
"""In front of a header in a file; databases leave it out."""
_ENTRIES, _DATA = 0xFFFF, 0x0FFFFFFF
_TEXTS = {6: 1, 8: 0, 9: 0}
_NUMBERS = {3: "H", 4: "I", 5: "Q"}
_ITEMS = 4_000_000

NAME, VERSION, RELEASE, EPOCH = 1000, 1001, 1002, 1003
SIZE, VENDOR, LICENSE, PACKAGER, URL, ARCH = 1009, 1011, 1014, 1015, 1020, 1022
OLDFILENAMES, SOURCERPM, PROVIDENAME, REQUIRENAME, DIGESTS, SHA256HEADER = 1027, 1044, 1047, 1049, 1035, 273
DIRINDEXES, BASENAMES, DIRNAMES, FILEDIGESTALGO, MODULARITYLABEL = 1116, 1117, 1118, 5011, 5096
ALGORITHMS = {1: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}
"""Of FILEDIGESTALGO (RFC 4880, section 9.4); MD5 where it is not there."""


class Header:
    """One package's tags. Raises MalformedError for what is none, and for values that reach beyond its end."""

    def __init__(self, blob: bytes) -> None:
        if len(blob) < 8:
            raise MalformedError("RPM header", got=f"{len(blob)} bytes", expected="at least 8")
        count, size = struct.unpack_from(">II", blob)
        if count > _ENTRIES or size > _DATA or 8 + 16 * count + size > len(blob):
            raise MalformedError("RPM header", got=f"{count} entries and {size} bytes, in {len(blob)}",
                                 expected="what fits")
        self._data = blob[8 + 16 * count:8 + 16 * count + size]
        self._entries: dict[int, tuple[int, int, int]] = {}
        for place in range(8, 8 + 16 * count, 16):
            tag, kind, offset, items = struct.unpack_from(">IIII", blob, place)
            self._entries.setdefault(tag, (kind, offset, items))

    def texts(self, tag: int) -> list[str]:
        """Empty where there is no such tag, or where it is no text."""
        kind, offset, items = self._entries.get(tag, (0, 0, 0))
        if kind not in _TEXTS or not items:
            return []
        items = _TEXTS[kind] or items
        if offset >= len(self._data) or items > len(self._data) - offset or items > _ITEMS:
            raise MalformedError(f"RPM header: tag {tag}", got=f"{items} texts at {offset}",
                                 expected=f"within {len(self._data)} bytes")
        if items == 1:
            end = self._data.find(b"\0", offset)
            parts = [self._data[offset:end], b""] if end >= 0 else []
        else:
            parts = self._data[offset:].split(b"\0", items)
        if len(parts) <= items:
            raise MalformedError(f"RPM header: tag {tag}", got=f"{len(parts)} texts", expected=str(items))
        return [part.decode("utf-8", "replace") for part in parts[:items]]

    def text(self, tag: int) -> str:
        """The first, which is the untranslated one; empty where there is none."""
        kind, offset, items = self._entries.get(tag, (0, 0, 0))
        if kind not in _TEXTS or not items:
            return ""
        end = self._data.find(b"\0", offset)
        if end < 0:
            raise MalformedError(f"RPM header: tag {tag}", got=f"text at {offset}", expected="an end of it")
        return self._data[offset:end].decode("utf-8", "replace")

    def numbers(self, tag: int) -> tuple[int, ...]:
        kind, offset, items = self._entries.get(tag, (0, 0, 0))
        if kind not in _NUMBERS or not items:
            return ()
        if items > _ITEMS or offset + items * struct.calcsize(_NUMBERS[kind]) > len(self._data):
            raise MalformedError(f"RPM header: tag {tag}", got=f"{items} numbers at {offset}",
                                 expected=f"within {len(self._data)} bytes")
        return struct.unpack_from(f">{items}{_NUMBERS[kind]}", self._data, offset)

    def files(self) -> list[str]:
        """The paths of all files, as they are installed."""
        names = self.texts(BASENAMES)
        if not names:
            return self.texts(OLDFILENAMES)
        folders, places = self.texts(DIRNAMES), self.numbers(DIRINDEXES)
        if len(places) != len(names) or (places and max(places) >= len(folders)):
            raise MalformedError("RPM header: files", got=f"{len(names)} names, {len(places)} places",
                                 expected=f"as many, within {len(folders)} folders")
        return [folders[place] + name for place, name in zip(places, names, strict=True)]

    def digests(self) -> tuple[str, list[str]]:
        """The algorithm, and the digest of each of `files`: empty for what has none."""
        number = self.numbers(FILEDIGESTALGO)
        return ALGORITHMS.get(number[0] if number else 1, ""), self.texts(DIGESTS)


class Source(NamedTuple):
    """The source package that the name of its file states."""

    name: str
    version: str
    """With its release, without an epoch: file names have none."""


def source(filename: str) -> Source | None:
    """`openssl-3.0.7-24.el9.src.rpm`; None for what is no such name."""
    stem, dot, _ = filename.removesuffix(".rpm").rpartition(".")
    stem, dash, release = stem.rpartition("-")
    name, second, version = stem.rpartition("-")
    if not (filename.endswith(".rpm") and dot and dash and second and name and version and release):
        return None
    return Source(name, f"{version}-{release}")
