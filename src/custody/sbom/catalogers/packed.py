"""Packages that are not installed: `.rpm`, `.deb`, `.ipk` and Alpine's `.apk` files in a folder."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import zstandard

from custody.formats import rpmheader
from custody.formats.tar.source import Source
from custody.formats.tar.walk import walk
from custody.sbom.catalogers import dpkg, rpm
from custody.sbom.catalogers.cataloger import Cataloger, ending
from custody.sbom.catalogers.fact import Fact, unknown
from custody.sbom.catalogers.python import split_license
from custody.sbom.limits import Limits

_CONTROL = 16 << 20
"""Bytes of a control archive, or of an RPM's header."""
_LEAD = b"\xed\xab\xee\xdb"
_HEADER = rpmheader.MAGIC[:4]
_SOURCEPACKAGE = 1106
class _Zstandard:
    def decompress(self, content: bytes, most: int) -> bytes:
        with zstandard.ZstdDecompressor(max_window_size=_CONTROL).stream_reader(content) as reader:
            return reader.read(most)


_DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(31), b"\xfd7zXZ\0": lambda: lzma.LZMADecompressor(memlimit=128 << 20),
    b"\x28\xb5\x2f\xfd": _Zstandard}


def read(file: BinaryIO, spend: Callable[[int], None] = lambda _: None) -> Iterator[Fact]:
    """By the first bytes: `.apk` is Android's too, which is a zip archive and is counted. Raises ValueError."""
    head = file.read(8)
    file.seek(0)
    spend(1 << 16)
    if head.startswith(_LEAD):
        yield from _rpm(file, spend)
    elif head == b"!<arch>\n":
        yield from _debian(_member(file))
    elif head.startswith(b"\x1f\x8b"):  # Yocto and OpenWrt put `debian-binary` and both archives into one more
        yield from _gzip(file)
    elif head.startswith(b"PK"):
        yield unknown("Android package")
    else:
        raise ValueError("no package of RPM, Debian, opkg or Alpine")


def _rpm(file: BinaryIO, spend: Callable[[int], None]) -> Iterator[Fact]:
    """Behind a lead of 96 bytes a header with signatures, up to a multiple of eight, then the package's own."""
    file.seek(96)
    file.seek(-_size(file) % 8, 1)
    start = file.tell()
    size = _size(file)
    file.seek(start + 8)
    header = rpmheader.Header(file.read(size - 8))
    fact = rpm.package(header, spend)
    if fact is None:
        yield unknown("rpm package without a name, a version or a release")
        return
    source = bool(header.numbers(_SOURCEPACKAGE) or not header.text(rpmheader.SOURCERPM))
    yield Fact(type="rpm", name=fact.name, version=fact.version, arch="src" if source else fact.arch,
               source=fact.source, source_version=fact.source_version, supplier=fact.supplier, vendor=fact.vendor,
               licenses=fact.licenses, qualifiers=fact.qualifiers)


def _size(file: BinaryIO) -> int:
    """Of a header that begins here, which is passed over."""
    head = file.read(16)
    if len(head) < 16 or head[:4] != _HEADER:
        raise ValueError("an RPM file without a header")
    count, data = struct.unpack_from(">II", head, 8)
    size = 16 + 16 * int(count) + int(data)
    if size > _CONTROL:
        raise ValueError(f"a header of {size} bytes")
    file.seek(size - 16, 1)
    return size


def _member(file: BinaryIO) -> bytes:
    """`control.tar.*` of an ar archive (deb(5)), which is its second member."""
    file.seek(8)
    for _ in range(4):
        head = file.read(60)
        if len(head) < 60 or head[58:] != b"`\n":
            break
        size = int(head[48:58])
        if head[:16].strip().rstrip(b"/").startswith(b"control.tar"):
            if size > _CONTROL:
                raise ValueError(f"a control archive of {size} bytes")
            return file.read(size)
        file.seek(size + size % 2, 1)
    raise ValueError("a Debian package without a control archive")


def _gzip(file: BinaryIO) -> Iterator[Fact]:
    """Alpine's: streams one behind the other, of a signature, of `.PKGINFO` and of the files. Or opkg's."""
    content = file.read(_CONTROL)
    for _ in range(3):
        stream = zlib.decompressobj(31)
        data = _whole(stream, content)
        for path, inner in _files(data, (".PKGINFO", "control.tar.gz")):
            yield from _alpine(inner) if path == ".PKGINFO" else _debian(inner, "opkg")
            return
        content = stream.unused_data
        if not content.startswith(b"\x1f\x8b"):
            break
    raise ValueError("a gzip stream that is no package")


def _alpine(content: bytes) -> Iterator[Fact]:
    """`key = value` in a line (abuild, "PKGINFO")."""
    fields: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        key, equals, value = line.partition(" = ")
        if equals and not key.startswith("#"):
            fields.setdefault(key, value.strip())
    name, version = fields.get("pkgname"), fields.get("pkgver")
    if not name or not version:
        yield unknown("apk package without one name and one version")
        return
    yield Fact(type="apk", name=name, version=version, arch=fields.get("arch", ""), source=fields.get("origin", name),
               source_version=version, supplier=fields.get("maintainer") or fields.get("packager", ""),
               licenses=split_license(fields.get("license", "")))


def _debian(archive: bytes, kind: str = "deb") -> Iterator[Fact]:
    opener = next((opener for magic, opener in _DECOMPRESSORS.items() if archive.startswith(magic)), None)
    for _, content in _files(archive if opener is None else _whole(opener(), archive), ("control",)):
        for stanza, _ in dpkg.paragraphs(content):
            fact = dpkg.package(stanza, kind)
            yield fact or unknown("Debian package without a name, a version or a known state")
        return
    raise ValueError("a control archive without a control file")


def _whole(stream: Any, content: bytes) -> bytes:
    """Raises ValueError for more than 16 MiB, and for what is broken."""
    try:
        data: bytes = stream.decompress(content, _CONTROL + 1)
    except (zlib.error, lzma.LZMAError, zstandard.ZstdError, EOFError) as error:
        raise ValueError(f"a package that cannot be decompressed: {error}") from error
    if len(data) > _CONTROL:
        raise ValueError(f"a control archive of more than {_CONTROL} bytes")
    return data


def _files(data: bytes, names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """The first files of these names in a tar archive, of which Alpine's have no end."""
    whole = data[:len(data) // 512 * 512]
    for entry in walk(Source((whole, bytes(1024)), "package"), Limits()):
        if entry.kind == "file" and entry.path in names:
            yield entry.path, b"".join(entry.pieces())


CATALOGER = Cataloger(
    name="package", version=1, types=("rpm", "deb", "opkg", "apk"), stream=read, declares=True, largest=8 << 30,
    paths=(ending("rpm", "deb", "ipk", "apk", pattern=r".*[^/]\.[^.]+"),))
