"""What packages say of their files' bytes: RECORD, md5sums and conffiles, apk's checksums, conda's, pacman's, RPM's.

Pure functions from bytes to statements. Each byte is hostile: what cannot be read raises ValueError or CustodyError.
"""

from __future__ import annotations

import binascii
import csv
import io
import posixpath
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from custody.errors import MalformedError
from custody.formats import rpmheader
from custody.formats.rpmheader import Header
from custody.formats.tar.walk import text
from custody.kit import strictjson
from custody.sbom.catalogers import rpm
from custody.sbom.catalogers.stanza import stanzas

GO_CACHE = "pkg/mod/"
"""Where GOMODCACHE is below GOPATH, where nobody says otherwise."""
LARGEST = 32 << 20
"""Bytes of such a file, but for RPM's databases, which are read where they are."""
_LENGTHS = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
_MD5 = re.compile(r"([0-9a-f]{32})  ?\*?(?:\./|/)?([^\r\n]+)\Z")
_CONFFILE = re.compile(r" /(\S.*?) ([0-9a-f]{32}|newconffile)(?: (?:obsolete|remove-on-upgrade))*\Z")
_OCTAL = re.compile(r"\\([0-7]{3})")
_FLAGS, _MODES = 1037, 1030
_CONFIG, _GHOST = 1, 64
_REGULAR = 0o100000


class Statement(NamedTuple):
    """What a package says of one path."""

    path: str
    digest: bytes
    """MD5, SHA-1, SHA-256 or SHA-512, by its length; empty where only the path is said."""
    owner: str
    """`deb NAME`, `apk NAME`, `rpm NAME VERSION`, or the folder or file in which the package's metadata is."""
    config: bool = False
    """Whoever runs the package is meant to change it."""


@dataclass(frozen=True, slots=True)
class Diversion:
    """dpkg-divert(1): the file of every other package that would be at `path` is at `moved`."""

    path: str
    moved: str
    by: str


def kind(path: str) -> str | None:
    """Which of `READERS` reads a file of this name; or `rpm`, `gosum`, `ziphash` (`gomodules`)."""
    folder, _, base = path.rpartition("/")
    if base == "go.sum" or base.endswith(".ziphash"):
        return _of_go(path)
    if base == "RECORD":
        return "record" if folder.endswith(".dist-info") else None
    if folder.endswith("dpkg/info"):
        return "md5sums" if base.endswith(".md5sums") else "list" if base.endswith(".list") else None
    if folder.endswith("dpkg/status.d"):
        return "md5sums" if base.endswith(".md5sums") else None
    if folder.endswith("lib/dpkg"):
        return base if base in ("status", "diversions") else None
    if base == "installed":
        return "apk" if folder.endswith("lib/apk/db") else None
    if base == "mtree":
        return "mtree" if "/pacman/local/" in folder else None
    if folder.endswith("conda-meta"):
        return "conda" if base.endswith(".json") else None
    if base in ("rpmdb.sqlite", "Packages.db", "Packages"):
        return "rpm" if folder.endswith("/rpm") else None
    return None


def _of_go(path: str) -> str | None:
    """`ziphash` in a cache; `gosum`, unless it is a module's own, of which its author may say what they like."""
    if path.endswith(".ziphash"):
        return "ziphash" if "cache/download/" in path and "/@v/" in path else None
    return None if GO_CACHE in path or "testdata/" in path else "gosum"


def record(path: str, content: bytes) -> Iterator[Statement]:
    """PyPA, "Recording installed projects": path, `sha256=` in URL-safe base64 without its padding, size."""
    owner = path.rpartition("/")[0]
    site = owner.rpartition("/")[0]
    csv.field_size_limit(1 << 16)
    try:
        for row in csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline="")):
            if not row or not row[0]:
                continue
            algorithm, _, value = (row[1] if len(row) > 1 else "").partition("=")
            digest = _base64(value + "=" * (-len(value) % 4), algorithm, urlsafe=True) if value else b""
            yield Statement(_below(site, row[0]), digest, owner)
    except csv.Error as error:
        raise ValueError(str(error)) from None


def _below(folder: str, path: str) -> str:
    """From the root on."""
    if "/." in path or "//" in path or path[0] in "./" or not folder:
        return posixpath.normpath(posixpath.join("/", folder, path)).lstrip("/")
    return f"{folder}/{path}".rstrip("/")


def md5sums(path: str, content: bytes) -> Iterator[Statement]:
    """md5sum(1)'s lines, of paths from the root on (deb-md5sums(5))."""
    owner = _debian(path, ".md5sums")
    for line in _lines(content):
        if match := _MD5.match(line):
            yield Statement(match[2], bytes.fromhex(match[1]), owner)
        elif line.strip():
            raise ValueError("a line that is no MD5 and path")


def listed(path: str, content: bytes) -> Iterator[Statement]:
    """`info/NAME.list`: all that the package installed, folders too, and no digest."""
    owner = _debian(path, ".list")
    for line in _lines(content):
        if len(line) > 1 and line[0] == "/":
            yield Statement(line[1:], b"", owner)


def status(_path: str, content: bytes) -> Iterator[Statement]:
    """`Conffiles` of dpkg's `status`: the MD5 that the package had for each."""
    for block in stanzas(content):
        if "\nConffiles:" not in block:
            continue
        name = next((line[9:] for line in block.split("\n") if line.startswith("Package: ")), "")
        within = False
        for line in block.split("\n"):
            within = line.startswith("Conffiles:") or (within and line[:1] == " ")
            if within and (match := _CONFFILE.match(line)) and match[2] != "newconffile":
                yield Statement(match[1], bytes.fromhex(match[2]), f"deb {name}", config=True)


def diversions(content: bytes) -> Iterator[Diversion]:
    """`/var/lib/dpkg/diversions`: three lines each: the path, where it went, and for which package."""
    lines = _lines(content)
    for path, moved, owner in zip(lines[::3], lines[1::3], lines[2::3], strict=False):
        yield Diversion(path.lstrip("/"), moved.lstrip("/"), "" if owner == ":" else f"deb {owner}")


def apk(_path: str, content: bytes) -> Iterator[Statement]:
    """apk-tools, "Apk installed database": `F:` a folder, `R:` a file there, `Z:` its `Q1` (SHA-1), `Q2` (SHA-256)."""
    for block in stanzas(content):
        owner = folder = file = ""
        for line in block.split("\n"):
            key, value = line[:2], line[2:].removesuffix("\r")
            if key == "P:":
                owner = f"apk {value}"
            elif key == "F:":
                folder, file = value, ""
            elif key == "R:":
                file = f"{folder}/{value}" if folder else value
                yield Statement(file, b"", owner)
            elif key == "Z:" and file:
                algorithm = {"Q1": "sha1", "Q2": "sha256"}.get(value[:2])
                if algorithm is None:
                    raise ValueError(f"a checksum of the unknown kind {value[:2]!r}")
                yield Statement(file, _base64(value[2:], algorithm), owner, config=file.startswith("etc/"))


def mtree(path: str, content: bytes) -> Iterator[Statement]:
    """mtree(5) as makepkg writes it, in gzip: `./PATH … sha256digest=HEX`."""
    unpacker = zlib.decompressobj(31)
    try:
        unpacked = unpacker.decompress(content, LARGEST)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise ValueError(f"more than {LARGEST} bytes, or cut short")
    owner = path.rpartition("/")[0]
    for line in _lines(unpacked):
        words = line.split(" ")
        if not words[0].startswith("./") or words[0].startswith("./."):
            continue
        file = _OCTAL.sub(lambda match: chr(int(match[1], 8)), words[0][2:])
        digest = next((word[13:] for word in words if word.startswith("sha256digest=")), "")
        yield Statement(file, bytes.fromhex(digest) if len(digest) == 64 else b"", owner,
                        config=file.startswith("etc/"))


def conda(path: str, content: bytes) -> Iterator[Statement]:
    """`paths_data` of `conda-meta/*.json` (conda, "CEP 10 and paths.json"); `sha256_in_prefix` is after the
    installation wrote its own folder into the file."""
    document = strictjson.loads(content, path)
    data = document.get("paths_data") if isinstance(document, dict) else None
    prefix = path.rpartition("/")[0].rpartition("/")[0]
    for row in data.get("paths", []) if isinstance(data, dict) and isinstance(data.get("paths"), list) else []:
        place = row.get("_path") if isinstance(row, dict) else None
        if isinstance(place, str) and place:
            digest = row.get("sha256_in_prefix") or row.get("sha256")
            known = isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) and row.get(
                "path_type") != "softlink"
            yield Statement(posixpath.normpath(posixpath.join(prefix, place)),
                            bytes.fromhex(digest) if known else b"", path)


def packages(file: BinaryIO, spend: Callable[[int], None]) -> Iterator[Statement]:
    """The files of an RPM database of any form; those that rpm does not install are left out (`%ghost`)."""
    for blob in rpm.headers(file, spend):
        header = Header(blob)
        owner = (f"rpm {header.text(rpmheader.NAME)} "
                 f"{header.text(rpmheader.VERSION)}-{header.text(rpmheader.RELEASE)}")
        paths = header.files()
        _, digests = header.digests()
        flags, modes = header.numbers(_FLAGS), header.numbers(_MODES)
        spend(64 * len(paths))
        for place, path in enumerate(paths):
            flag = flags[place] if place < len(flags) else 0
            digest = digests[place] if place < len(digests) else ""
            if flag & _GHOST or (place < len(modes) and modes[place] & 0o170000 != _REGULAR):
                digest = ""
            yield Statement(path.lstrip("/"), bytes.fromhex(digest), owner, config=bool(flag & _CONFIG))


def _lines(content: bytes) -> list[str]:
    """With names as those of layers are spelled, where they are no UTF-8."""
    if content.isascii() and b"\\x" not in content:
        return content.decode().split("\n")
    return [text(line) for line in content.split(b"\n")]


def _debian(path: str, ending: str) -> str:
    """The architecture stands behind the names of packages that several are installed of (`libc6:amd64.list`)."""
    return "deb " + path.rpartition("/")[2].removesuffix(ending).partition(":")[0]


def _base64(value: str, algorithm: str, *, urlsafe: bool = False) -> bytes:
    try:
        digest = binascii.a2b_base64(value.replace("-", "+").replace("_", "/") if urlsafe else value,
                                     strict_mode=True)
    except binascii.Error:
        raise ValueError("a digest that is no base64") from None
    if len(digest) != _LENGTHS.get(algorithm):
        raise MalformedError("digest", got=f"{len(digest)} bytes of {algorithm[:20]!r}", expected="as many as it has")
    return digest


READERS: dict[str, Callable[[str, bytes], Iterator[Statement]]] = {
    "record": record, "md5sums": md5sums, "list": listed, "status": status, "apk": apk, "mtree": mtree, "conda": conda}
