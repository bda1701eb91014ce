"""Debian packages as dpkg records them: deb-control(5) stanzas of `status` and of distroless images' `status.d`."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping

from custody.kit.addresses import address
from custody.sbom.catalogers.cataloger import Cataloger, ending, inside, named
from custody.sbom.catalogers.fact import LICENSES, Fact, unknown
from custody.sbom.catalogers.listed import Telling
from custody.sbom.catalogers.stanza import stanzas

_NAME = re.compile(r"\s*([a-z0-9][a-z0-9+.-]+)")
_SOURCE = re.compile(r"(\S+)(?:\s+\(([^)]+)\))?\Z")
_LICENSE = re.compile(r"^License:[ \t]*(\S.*)$", re.MULTILINE)
_STANZA = 1 << 20
_GONE = ("not-installed", "config-files")
_IN_PLACE = frozenset(("installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"))
"""The states in which a package's files are all there (dpkg(1), "Package states"); `config-files` keeps only those."""


def read(path: str, content: bytes) -> Iterator[Fact]:
    installed_by_place = "/status.d/" in f"/{path}"
    for stanza, whole in paragraphs(content):
        status = stanza.get("status", "").lower().split()
        name, version = stanza.get("package"), stanza.get("version")
        state = status[-1] if status else "installed" if installed_by_place else ""
        if not whole:
            yield unknown("Debian package with a field twice")  # dpkg refuses the database
        if name and state == "half-installed":
            yield unknown("half-installed Debian package")  # some of its files, or none
            continue
        if state in _GONE:
            continue
        if not name or not version or state not in _IN_PLACE:
            yield unknown("Debian package without a name, a version or a known state")
            continue
        if fact := package(stanza):
            yield fact


def package(stanza: Mapping[str, str], kind: str = "deb") -> Fact | None:
    """What the fields of a control file say; None where they do not say which package it is."""
    name, version = stanza.get("package"), stanza.get("version")
    if not name or not version:
        return None
    source = _SOURCE.match(stanza.get("source", "").strip())
    depends = [stanza.get(key, "") for key in ("pre-depends", "depends")]
    return Fact(
        type=kind, name=name, version=version, arch=stanza.get("architecture", ""),
        source=source[1] if source else name, source_version=(source[2] if source else None) or version,
        supplier=stanza.get("maintainer", ""), vendor=stanza.get("origin") or stanza.get("vendor", ""),
        requires=tuple(alternatives(", ".join(depends))), provides=tuple(alternatives(stanza.get("provides", ""))),
        homepage=address(stanza.get("homepage", "")))


def read_copyright(path: str, content: bytes) -> tuple[Fact, ...]:
    """The short names of a machine-readable copyright file (DEP-5). Of free text nothing is sure but that it is the
    licence, by whatever name: `copyright-of-libc6`.
    """
    text = content.decode("utf-8", "replace")
    package = path.split("/")[-2]
    stated = _LICENSE.findall(text) if "copyright-format" in text[:2000] else []
    names = tuple(dict.fromkeys(name.strip() for name in stated)) or (f"copyright-of-{package}",) * bool(text.strip())
    return (Fact(type=LICENSES, source="deb", name=package, licenses=names),) if names else ()


def paragraphs(content: bytes) -> Iterator[tuple[dict[str, str], bool]]:
    """Fields by their names in small letters, as dpkg compares them, and whether each was there once."""
    for block in stanzas(content, _STANZA):
        fields: dict[str, str] = {}
        whole = True
        for line in (*block.split("\n"), ""):
            if not line.strip():  # spaces alone end a stanza for apt, and dpkg refuses them
                if fields:
                    yield fields, whole
                fields, whole = {}, True
            elif line[:1] not in (" ", "\t"):
                key, colon, value = line.partition(":")
                key = key.rstrip().lower()
                if colon:
                    whole = whole and key not in fields
                    fields.setdefault(key, value.strip())


class Lists:
    """The lists of what packages installed."""

    def __init__(self, telling: Telling) -> None:
        self.telling = telling
        version = f"2 {telling.version}"
        self.catalogers = (
            Cataloger(name="dpkg files", version=version, read=self.read, largest=16 << 20, paths=(
                ending("list", pattern=r"var/lib/dpkg/info/[^/]+\.list", examples=("info/a.list",)),),
                places=("var/lib/dpkg/info",)),
            Cataloger(name="dpkg sums", version=version, read=self.read_sums, largest=16 << 20, paths=(
                ending("md5sums", pattern=r"var/lib/dpkg/status\.d/[^/]+"),)))

    def read(self, path: str, content: bytes) -> tuple[Fact, ...]:
        """`info/NAME[:ARCH].list`: what the package installed."""
        return self.telling.owned(_package(path, ".list"), self.telling.lines(content))

    def read_sums(self, path: str, content: bytes) -> tuple[Fact, ...]:
        """`status.d/NAME.md5sums` of distroless images: a digest and a path in each line."""
        return self.telling.owned(_package(path, ".md5sums"), (
            "/" + line.partition(" ")[2].lstrip().removeprefix("./") for line in _lines(content)))


def _package(path: str, suffix: str) -> str:
    return path.rpartition("/")[2].removesuffix(suffix).partition(":")[0]


def _lines(content: bytes) -> Iterator[str]:
    for line in io.BytesIO(content):
        yield line.decode("utf-8", "replace").rstrip("\r\n")


def alternatives(text: str) -> Iterator[str]:
    """`a (>= 1) | b, c` as `a|b` and `c`."""
    for group in text.split(","):
        names = [match[1] for choice in group.split("|") if (match := _NAME.match(choice))]
        if names:
            yield "|".join(names)


PACKAGES = Cataloger(
    name="dpkg", version=1, types=("deb",), read=read, largest=16 << 20,
    paths=(named("status", pattern=r"(?:.*/)?lib/dpkg/status", examples=("dpkg/status",)),
           inside("status.d", pattern=r"(?:.*/)?lib/dpkg/status\.d/[^/]*(?<!\.md5sums)", examples=("status.d/a",))),
    places=("var/lib/dpkg", "var/lib/dpkg/status.d", "var/lib/dpkg/status"))
COPYRIGHT = Cataloger(name="dpkg copyright", version=2, read=read_copyright,
                      paths=(named("copyright", pattern=r"usr/share/doc/[^/]+/copyright"),))
