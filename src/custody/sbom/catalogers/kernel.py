"""Linux: the kernel by its banner and the folder of its modules, and modules that came with another
(Documentation/arch/x86/boot.rst, and `modinfo`).
"""

from __future__ import annotations

import bz2
import io
import lzma
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import zstandard

from custody.sbom.catalogers.cataloger import Cataloger, ending, inside, named
from custody.sbom.catalogers.fact import Fact, unknown

_BANNER = re.compile(rb"Linux version ([0-9][^\s\0]{0,100}) \(")
_VERSION = re.compile(r"[0-9]+\.[0-9]+[^\s]{0,100}")
_FOLDER = re.compile(r"(?s)(?:.*/)?lib/modules/(?P<version>[0-9][^/]*)/.*")
_INSIDE = r"(?:.*/)?lib/modules/[0-9][^/]*/kernel/.*"
_MODULE = 64 << 20
_HEAD = 4 << 20
_UPSTREAM = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_NO_BITS, _SECTIONS, _TEXT = 8, 4096, 1 << 16


def _kernel(version: str, evidence: str) -> Fact:
    """Its CPE is of the release that it was made from: what a distribution mended since, no CPE says."""
    upstream = _UPSTREAM.match(version)
    name = f"cpe:2.3:o:linux:linux_kernel:{upstream[0]}:*:*:*:*:*:*:*" if upstream else ""
    return Fact(type="generic", name="linux-kernel", version=version, cpes=(name,) if name else (), evidence=evidence)


def read(_path: str, content: bytes) -> Iterator[Fact]:
    """A kernel's image: its header leads to the version, or the banner stands in what is not compressed."""
    if content[0x202:0x206] == b"HdrS":
        start = int.from_bytes(content[0x20E:0x210], "little") + 0x200
        version = content[start:start + 128].partition(b"\0")[0].decode("ascii", "replace").partition(" ")[0]
        if _VERSION.fullmatch(version):
            yield _kernel(version, f"header, version at {start:#x}")
            return
    if banner := _BANNER.search(content):
        yield _kernel(banner[1].decode("ascii", "replace"), f"banner at {banner.start():#x}")
    else:
        yield unknown("Linux kernel whose version it does not say")


def read_folder(path: str, _content: bytes) -> Iterator[Fact]:
    """A kernel's own modules are a part of it, of its version."""
    if match := _FOLDER.match(path):
        yield _kernel(match["version"], "name of the folder of its modules")


def read_module(file: BinaryIO, spend: Callable[[int], None] = lambda _: None) -> Iterator[Fact]:
    """Of its kernel, or with a version of its own: what its `.modinfo` section says."""
    stated = _information(_decompressed(file, spend))
    kernel = stated.get("vermagic", "").partition(" ")[0]
    if stated.get("intree") == "Y" and kernel:
        yield _kernel(kernel, "vermagic of a module")
    elif stated.get("name") and stated.get("version"):
        license_ = stated.get("license", "")
        yield Fact(type="generic", name=stated["name"], version=stated["version"], supplier=stated.get("author", ""),
                   licenses=(license_,) if license_ else (), evidence=f"vermagic {kernel}" if kernel else "")
    else:
        yield unknown("Linux kernel module without a name or a version")


def _decompressed(file: BinaryIO, spend: Callable[[int], None]) -> BinaryIO:
    """By its first bytes. Raises ValueError for more than 64 MiB."""
    head = file.read(6)
    file.seek(0)
    opener = next((opener for magic, opener in _DECOMPRESSORS.items() if head.startswith(magic)), None)
    if opener is None:
        return file
    spend(_MODULE // 16)
    try:
        data: bytes = opener().decompress(file.read(_MODULE), _MODULE + 1)
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise ValueError(f"a module that cannot be decompressed: {error}") from error
    if len(data) > _MODULE:
        raise ValueError(f"a module of more than {_MODULE} bytes")
    return io.BytesIO(data)


class _Zstandard:
    def decompress(self, content: bytes, most: int) -> bytes:
        try:
            with zstandard.ZstdDecompressor(max_window_size=_MODULE).stream_reader(content) as reader:
                return reader.read(most)
        except zstandard.ZstdError as error:
            raise ValueError(f"a module that cannot be decompressed: {error}") from error


_DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(31), b"\xfd7zXZ\0": lambda: lzma.LZMADecompressor(memlimit=128 << 20),
    b"BZh": bz2.BZ2Decompressor, b"\x28\xb5\x2f\xfd": _Zstandard}


def _information(file: BinaryIO) -> dict[str, str]:
    """`key=value` of the `.modinfo` section, of a key that comes twice the first (System V ABI, "Sections")."""
    head = _at(file, 0, 64)
    if head[:4] != b"\x7fELF" or len(head) < 64:
        raise ValueError("a module that is no ELF file")
    wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    start, = struct.unpack_from(order + ("Q" if wide else "I"), head, 40 if wide else 32)
    size, count, strings = struct.unpack_from(order + "HHH", head, 58 if wide else 46)
    shape = order + ("II8x8xQQ" if wide else "II4x4xII")
    table = _at(file, start, size * count)
    if count > _SECTIONS or strings >= count or size < struct.calcsize(shape) or len(table) < size * count:
        raise ValueError(f"{count} sections of {size} bytes")
    rows = [struct.unpack_from(shape, table, number * size) for number in range(count)]
    _, _, place, length = rows[strings]
    names = _at(file, place, min(length, _TEXT))
    for name, kind, offset, length in rows:
        if kind != _NO_BITS and names.startswith(b".modinfo\0", name):
            stated: dict[str, str] = {}
            for text in _at(file, offset, min(length, _TEXT)).split(b"\0"):
                key, equals, value = text.decode("utf-8", "replace").partition("=")
                if equals:
                    stated.setdefault(key, value[:500])
            return stated
    raise ValueError("a module without a .modinfo section")


def _at(file: BinaryIO, place: int, size: int) -> bytes:
    if place > 1 << 40:
        raise ValueError(f"something at {place}")
    file.seek(place)
    return file.read(size)


CATALOGER = Cataloger(name="Linux kernel", version=1, types=("generic",), read=read, largest=_HEAD, head=True, paths=(
    named("vmlinuz", "vmlinux"), inside("boot", pattern=r"(?:.*/)?boot/vmlinu[xz]-[^/]+")))
FOLDER = Cataloger(name="Linux modules", version=1, types=("generic",), read=read_folder, largest=64, head=True, paths=(
    ending("ko", pattern=_INSIDE), ending("gz", "xz", "zst", "bz2", pattern=_INSIDE + r"\.ko\.[a-z0-9]+"),
    named("modules.dep", "modules.builtin", "modules.order",
          pattern=r"(?:.*/)?lib/modules/[0-9][^/]*/modules\.[a-z]+")))
MODULE = Cataloger(
    name="Linux kernel module", version=1, types=("generic",), stream=read_module, largest=1 << 30, paths=(
        ending("ko", pattern=rf"(?!{_INSIDE}).*"),
        ending("gz", "xz", "zst", "bz2", pattern=rf"(?!{_INSIDE}).*\.ko\.[a-z0-9]+")))
