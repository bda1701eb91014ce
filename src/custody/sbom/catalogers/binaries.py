"""Packages that a linker wrote into programs and libraries: Go's build information, cargo-auditable's list, a note.

They are in sections of ELF files. Go's own reader goes by no section's name where there is none, and reads other
formats too: what it writes is looked for in the whole file then.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec

from custody.formats import executable, purl
from custody.kit import strictjson
from custody.sbom.catalogers import dotnetbundles, nativeimages
from custody.sbom.catalogers.cataloger import Cataloger
from custody.sbom.catalogers.classes import CLASSES
from custody.sbom.catalogers.fact import CRATES, PROGRAM, Fact, unknown

_MAX_SECTION = 16 << 20
_MAX_MODULES = 1 << 20
_MAX_LIST = 16 << 20
_WORK, _LINE = 4, 128
"""What a byte of a list counts for, and a line more: each module or crate is a fact."""
_MAX_SECTIONS = 65_535
LOCAL = re.compile(r"\.{1,2}(?:[/\\]|\Z)|[/\\]|[A-Za-z]:[/\\]")
"""What is a path and no module in go.mod's `replace` (Go Modules Reference, "replace directive")."""
_VARIABLE = re.compile(r"""-X[ =\\"']{1,4}([A-Za-z0-9_./~-]{1,200})\.(?:[A-Za-z]{0,16}[vV]ersion|VERSION)="""
                       r"""["']?(v?[0-9]+\.[0-9]+[0-9A-Za-z.+-]{0,80})""")
"""A linker flag that sets a variable of a package (cmd/link, `-X importpath.name=value`)."""
ELF = b"\x7fELF"
_FORMATS = frozenset((ELF, b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe",
                      b"\xca\xfe\xba\xbe"))
_LIBRARY = re.compile(r"\.(?:so[.0-9]*|node|dylib)\Z")
_PACKAGE_NOTE, _MAX_NOTE, _NOTED = 0xCAFE1A7E, 64 << 10, "ELF note"
_SYSTEMS = ("apk", "deb", "rpm")
_NO_BITS = 8
_HEAD = 64 << 10
_PIECE = 1 << 20
_GO_MAGIC = b"\xff Go buildinf:"


def is_program(head: bytes) -> bool:
    """Whether a file that begins with these four bytes may be one: ELF, PE or Mach-O."""
    return head[:4] in _FORMATS or head[:2] == b"MZ"


def read(file: BinaryIO, spend: Callable[[int], None] = lambda _: None) -> Iterator[Fact]:
    """All facts of one program; none for the many that say nothing.

    `spend` is told of work (`Cataloger.work`) before it is done, and raises where it is too much.
    """
    try:
        head = _at(file, 0, _HEAD)
        sections = _sections(file, spend) if head[:4] == ELF else []
        for name, offset, size in sections:
            yield from _READERS[name](_current(file, _at(file, offset, size)), spend)
        if head[:4] == ELF:
            yield from nativeimages.read(file, spend)
        else:
            for offset, size in executable.sections(head, b".dep-v0"):
                yield from _rust(_at(file, offset, size), spend)
        if head[:4] == ELF and b"UPX!" in head[:1024]:
            yield unknown("program packed with UPX")
        if not any(name == b".go.buildinfo" for name, _, _ in sections) and (place := _search(file)) is not None:
            yield from _go(_current(file, _at(file, place, _MAX_MODULES + 1024)), spend)
    except (struct.error, zlib.error, IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"an ELF file that cannot be read: {error}") from error


def _current(file: BinaryIO, section: bytes) -> bytes:
    """Build information as Go 1.13 to 1.17 wrote it, which points to its two strings, in the shape of today's."""
    if section[:14] != _GO_MAGIC or len(section) < 16 or section[15] & 2 or _at(file, 0, 4) != ELF:
        return section
    version = executable.string(file, section, 0)
    if not version:  # relocated when it is loaded
        return section
    modules = executable.string(file, section, 1) or b""  # a program without modules has none in the file
    body = b"".join(_length(len(string)) + string for string in (version, modules))
    return _GO_MAGIC + b"\x08\x02" + bytes(16) + body


def _length(number: int) -> bytes:
    """An unsigned varint (Go, encoding/binary)."""
    spelled = bytearray()
    while number >= 0x80:
        spelled.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*spelled, number])


def _search(file: BinaryIO) -> int | None:
    """Where Go's build information is: at a multiple of 16, with strings in it (debug/buildinfo, `searchMagic`)."""
    if isinstance(file, io.BytesIO):
        return _magic(file.getvalue(), 0)  # all of it, without a copy
    file.seek(0)
    start, rest = 0, b""
    while piece := file.read(_PIECE):
        block = rest + piece
        if (at := _magic(block, start)) is not None:
            return at
        rest = block[-16:]
        start += len(block) - len(rest)
    return None


def _magic(block: bytes, start: int) -> int | None:
    place = block.find(_GO_MAGIC)
    while place >= 0:
        at = start + place
        if at % 16 == 0 and block[place + 14:place + 15] in (b"\4", b"\x08", b"\0"):
            return at
        place = block.find(_GO_MAGIC, place + 1)
    return None


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    if size > _MAX_SECTION or offset > 1 << 62:
        raise ValueError("section too large or too far")
    file.seek(offset)
    return file.read(size)


def _sections(file: BinaryIO, spend: Callable[[int], None]) -> list[tuple[bytes, int, int]]:
    """Name, file offset and size of each section that has a reader (System V ABI, "Sections")."""
    head = _at(file, 0, 64)
    wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    start, = struct.unpack_from(order + ("Q" if wide else "I"), head, 40 if wide else 32)
    size, count, strings = struct.unpack_from(order + "HHH", head, 58 if wide else 46)
    shape = order + ("II8x8xQQ" if wide else "II4x4xII")
    if not start or size < struct.calcsize(shape) or count > _MAX_SECTIONS:
        return []
    spend(_WORK * size * count)
    table = _at(file, start, size * count)
    if strings >= count:
        return []
    _, _, place, length = struct.unpack_from(shape, table, strings * size)
    names = _at(file, place, length)
    if len(table) == size * count and not any(name in names for name in _READERS):
        return []  # as of most programs
    sections: list[tuple[bytes, int, int]] = []
    for start in range(0, size * count, size):
        place, kind, offset, length = struct.unpack_from(shape, table, start)
        if kind != _NO_BITS:
            sections += [(name, offset, length) for name in _READERS if names.startswith(name + b"\0", place)]
    if len(sections) > len(_READERS):
        raise ValueError(f"{len(sections)} sections with lists of packages")
    return sections


def _rust(section: bytes, spend: Callable[[int], None]) -> Iterator[Fact]:
    """cargo-auditable's `.dep-v0`: zlib over JSON; build-time packages are not in the program."""
    inflater = zlib.decompressobj()
    data = inflater.decompress(section, _MAX_SECTION)
    if inflater.unconsumed_tail:
        raise ValueError("dependency list too large")
    if (weight := strictjson.weight(data)) > _MAX_LIST:
        raise ValueError("dependency list too large")
    spend(_WORK * weight)
    packages = strictjson.loads(data, ".dep-v0")["packages"]
    spelled = [f"{package['name']}@{package['version']}" for package in packages]
    for package in packages:
        if package.get("kind", "runtime") == "runtime":
            yield Fact(type="cargo", name=str(package["name"]), version=str(package["version"]),
                       requires=tuple(spelled[place] for place in package.get("dependencies", ())),
                       supplier=CRATES if package.get("source") in ("crates.io", "registry") else "",
                       form="program" if package.get("root") is True else "part")


def _go(section: bytes, spend: Callable[[int], None]) -> Iterator[Fact]:
    """debug/buildinfo: since Go 1.18 two strings with their lengths in front, the Go version and the module list."""
    if section[:14] != _GO_MAGIC or not section[15] & 2:
        yield unknown("Go program from before Go 1.18")
        return
    toolchain, place = _go_string(section, 32)
    modules, _ = _go_string(section, place)
    spoken = toolchain.decode().partition(" ")[0].partition("-X:")[0].removeprefix("go")
    yield Fact(type="golang", name="stdlib", version=spoken, form="part")
    if len(modules) > _MAX_MODULES:
        raise ValueError("module list too large")
    spend(_WORK * (len(modules) + _LINE * modules.count(b"\n")))
    lines = modules[16:-16].decode("utf-8", "replace").splitlines() if len(modules) >= 33 else []
    stated: list[list[str]] = []
    """The words of each line that names a module, as it is after a `replace`."""
    for line in lines:
        words = line.split("\t")
        if words[0] in ("mod", "dep") and len(words) >= 3:
            stated.append(words)
        elif words[0] == "=>" and len(words) >= 2 and stated:
            if LOCAL.match(words[1]):  # a folder of whoever built it: the name stays, the version is unknown
                stated[-1] = [*stated[-1][:2], "(devel)"]
                yield unknown("Go module replaced by a local folder")
            else:
                stated[-1] = [stated[-1][0], *words[1:], ""]  # by another module
    main = next((words for words in stated if words[0] == "mod"), None)  # the linker writes one
    if "path\tcmd/go" in lines:
        yield Fact(type="generic", name="go", version=spoken, evidence="build information", form="program",
                   cpes=(f"cpe:2.3:a:golang:go:{spoken}:*:*:*:*:*:*:*",))
    linked = _stated_by_linker(lines, main[1]) if main is not None and main[2] in ("", "(devel)") else ""
    needed = tuple(words[1] for words in stated if words[0] == "dep")
    for words in stated:
        version = "" if words[2] == "(devel)" else words[2]
        if words is main:
            yield Fact(type="golang", name=words[1], version=version or linked, requires=(*needed, "stdlib"),
                       evidence="-ldflags -X" if linked else "", form="program")
        else:
            yield Fact(type="golang", name=words[1], version=version, form="part")


def _stated_by_linker(lines: list[str], module: str) -> str:
    """The version that whoever built the main module gave one of its own variables, `-X main.version=1.2.3`; else that
    of its commit, as Go spells it (Go Modules Reference, "Pseudo-versions"). Empty where neither is there.
    """
    settings = dict(line.removeprefix("build\t").partition("=")[::2] for line in lines if line.startswith("build\t"))
    of = "/".join(module.split("/")[:2])
    for match in _VARIABLE.finditer(settings.get("-ldflags", "")):
        if match[1] == "main" or match[1].startswith((module, of)):
            return "v" + match[2].removeprefix("v")
    revision, time = settings.get("vcs.revision", ""), re.sub(r"[^0-9]", "", settings.get("vcs.time", ""))
    if re.fullmatch(r"[0-9a-f]{40}", revision) and len(time) == 14:
        return f"v0.0.0-{time}-{revision[:12]}" + ("+dirty" if settings.get("vcs.modified") == "true" else "")
    return ""


def _note(section: bytes, spend: Callable[[int], None]) -> Iterator[Fact]:
    """The package that a distribution built it for (systemd, "Package Metadata for Executable Files"), as JSON."""
    named, length, kind = struct.unpack_from("<III", section, 0)
    if kind != _PACKAGE_NOTE or named != 4 or length > _MAX_NOTE:
        return
    spend(_WORK * length)
    note = strictjson.loads(section[16:16 + length].rstrip(b"\0"), ".note.package")
    told = {key: value for key, value in note.items() if isinstance(value, str)} if isinstance(note, dict) else {}
    system, name, version = told.get("type", ""), told.get("name", ""), told.get("version", "")
    if not name or not version:
        return
    where = {"arch": told.get("architecture", "")}
    if told.get("os"):
        where["distro"] = "-".join(filter(None, (told["os"], told.get("osVersion"))))
    if system not in _SYSTEMS:
        yield Fact(type="generic", name=name, version=version, evidence=_NOTED)
    else:
        spelled = purl.build(system, name, namespace=told.get("os"), version=version,
                             qualifiers={key: value for key, value in where.items() if value})
        yield Fact(type=system, name=name, version=version, arch=where["arch"], purl=str(spelled), evidence=_NOTED)


_READERS: dict[bytes, Callable[[bytes, Callable[[int], None]], Iterator[Fact]]] = {
    b".go.buildinfo": _go, b".dep-v0": _rust, b".note.package": _note}


def _go_string(section: bytes, place: int) -> tuple[bytes, int]:
    length = shift = 0
    while True:
        byte = section[place]
        place += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if shift > 35:
            raise ValueError("length too large")
    if place + length > len(section):
        raise ValueError("string beyond the section")
    return section[place:place + length], place + length


def read_program(path: str, file: BinaryIO, spend: Callable[[int], None] = lambda _: None) -> Iterator[Fact]:
    """As `read`, with what the file says itself to be; each executable and library is one fact more."""
    yield from _kind(path, file)
    hashes: tuple[tuple[str, str], ...] = ()
    for fact in itertools.chain(CLASSES.read(path, file, spend), read(file, spend),
                                dotnetbundles.read(path, file, spend)):
        if fact.form != "program":
            yield fact
            continue
        if not hashes:
            hashes = (("sha512", _sha512(file)),)
        yield msgspec.structs.replace(fact, hashes=hashes)


def _sha512(file: BinaryIO) -> str:
    place = file.tell()
    file.seek(0)
    digest = hashlib.sha512()
    while piece := file.read(_PIECE):
        digest.update(piece)
    file.seek(place)
    return digest.hexdigest()


def _kind(path: str, file: BinaryIO) -> Iterator[Fact]:
    """ELF files of type EXEC and DYN (System V ABI, "ELF Header"): no object files, no modules of the kernel."""
    head = _at(file, 0, 18)
    if head[:4] == ELF and head[16:18] in (b"\2\0", b"\3\0", b"\0\2", b"\0\3"):
        library = _LIBRARY.search(path.rpartition("/")[2]) is not None
        yield Fact(type=PROGRAM, name="library" if library else "executable", version=str(file.seek(0, 2)))


CATALOGER = Cataloger(name="program", version=7, types=("golang", "cargo", "maven", "generic", "nuget", *_SYSTEMS),
                      search=read_program,
                      listed=r"/s?bin/[^/]+\Z|/[^/]+\.so(?:\.[0-9.]+)?\Z|/lib(?:exec|32|64|x32)?/(?:.*/)?[^/.]+\Z")
