"""Gentoo's packages: folders `var/db/pkg/CATEGORY/NAME-VERSION` with a file for each thing that is known of one
(Package Manager Specification, and portage(5), "/var/db/pkg").
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.fact import LICENSES, Fact, unknown
from custody.sbom.catalogers.listed import Telling

_PACKAGE = re.compile(
    r"(?P<name>[A-Za-z0-9+_][A-Za-z0-9+_-]*?)-(?P<version>[0-9]+(?:\.[0-9]+)*[a-z]?"
    r"(?:_(?:alpha|beta|pre|rc|p)[0-9]*)*(?:-r[0-9]+)?)\Z")
"""PMS 3.1.2 and 3.2: what a package and its version may be called."""
_FILE = re.compile(rb"^obj (/.*) [0-9a-f]{32} [0-9]+$", re.MULTILINE)
_WORDS = frozenset(("||", "(", ")"))


def _identity(path: str) -> tuple[str, str] | None:
    """Category and name, and the version, of the folder that a file is in."""
    *_, category, folder, _ = path.split("/")
    match = _PACKAGE.match(folder)
    return (f"{category}/{match['name']}", match["version"]) if match else None


def read_license(path: str, content: bytes) -> Iterator[Fact]:
    """Names of Gentoo's licences, of which all hold, or of a group behind `||` one."""
    identity = _identity(path)
    names = tuple(dict.fromkeys(word for word in content.decode("utf-8", "replace").split() if word not in _WORDS))
    if identity and names:
        yield Fact(type=LICENSES, source="ebuild", name=identity[0], licenses=names)


class Packages:
    """The cataloger of packages, each known by the list of what it installed."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self.catalogers = (Cataloger(
            name="Portage", version=f"1 {telling.version}", types=("ebuild",), read=self.read, largest=32 << 20,
            places=("var/db/pkg",), paths=(named("CONTENTS", pattern=r"(?:.*/)?var/db/pkg/[^/]+/[^/]+/CONTENTS"),)),)

    def read(self, path: str, content: bytes) -> Iterator[Fact]:
        """`obj PATH MD5 TIME` in a line, and `dir PATH`, `sym PATH -> TARGET TIME`."""
        identity = _identity(path)
        if identity is None:
            yield unknown("Portage package without a name or a version")
            return
        name, version = identity
        yield Fact(type="ebuild", name=name, version=version, source=name, source_version=version)
        files = b"\n".join(_FILE.findall(content))
        yield from self._telling.owned(name, self._telling.lines(files))


LICENSE = Cataloger(name="Portage licence", version=1, read=read_license, paths=(
    named("LICENSE", pattern=r"(?:.*/)?var/db/pkg/[^/]+/[^/]+/LICENSE"),))
