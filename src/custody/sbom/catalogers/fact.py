"""What a cataloger says about one package, before it is known in which image the layer is."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import msgspec

from custody.ecosystems import of_type
from custody.formats.bom import Form


class Fact(msgspec.Struct, frozen=True, kw_only=True, array_like=True, omit_defaults=True):
    """One package, or one thing that other facts need: its `type` is a purl type or one of those in capitals below."""

    type: str
    name: str
    """As the ecosystem's users write it; where a namespace is a part of it, with `/` behind that."""
    version: str = ""
    arch: str = ""
    source: str = ""
    source_version: str = ""
    licenses: tuple[str, ...] = ()
    supplier: str = ""
    requires: tuple[str, ...] = ()
    """Names in the ecosystem's own words; `OWNS`: the paths that the package installed; `UNKNOWN`: `type/name` of
    packages, of which those that nothing lists are counted."""
    provides: tuple[str, ...] = ()
    """Names in the ecosystem's own words; `UNKNOWN`: paths, of which one that is there says what this would."""
    hashes: tuple[tuple[str, str], ...] = ()
    purl: str = ""
    """Where the file itself states it: only such a fact may be of a type without a row in `custody.ecosystems`."""
    vendor: str = ""
    """Who made a distribution's package, where it says so: `Origin` or `Vendor` of a deb."""
    qualifiers: tuple[tuple[str, str], ...] = ()
    """Of its package URL, beyond those that every package of the type has."""
    cpes: tuple[str, ...] = ()
    """CPE 2.3 names that its publisher states, or that a hand-made table has for it; never guessed."""
    scope: str = ""
    """What it is there for, where that is not to run: `dev`, `test`, `optional`, `build`."""
    declared: bool = False
    """A lock file or manifest asks for it: that it is installed is not said."""
    within: str = ""
    """Where it is in the file: the names of archives and members, `WEB-INF/lib/a.jar!META-INF/maven/…`."""
    evidence: str = ""
    """What in the file says so, where it is not all of it: `version string at 0x1f00`, `Implementation-Version`."""
    homepage: str = ""
    repository: str = ""
    """Where its source code is to be had, as it states it."""
    form: Form = ""
    """Whether it is this single file, whose hashes those then are; empty: what its kind of packages is."""

    @property
    def installed(self) -> bool:
        """Whether this is a distribution's package: no copy inside another, whose SBOM tells of it."""
        return of_type(self.type).system and not self.purl


MARKERS = OS_RELEASE, OWNS, LICENSES, ORIGIN, UNKNOWN, HOLDS, PROGRAM = (
    "OS-RELEASE", "OWNS", "LICENSES", "ORIGIN", "UNKNOWN", "HOLDS", "PROGRAM")
"""`ORIGIN`: where the packages are from whose metadata is in the same folder; `name` is a qualifier of package URLs,
`source` its value. `HOLDS`: as `OWNS`, for a package of a language: the programs and libraries that it brought.
`PROGRAM`: an executable or a shared library; its `version` is the size in bytes."""


CRATES = "crates.io"
"""Who supplies a crate, where it says that it is from that registry."""


@functools.cache
def unknown(kind: str) -> Fact:
    return Fact(type=UNKNOWN, name=kind)


def asked_for(kind: str, names: Iterable[str]) -> Fact:
    """Packages, `pypi/flask`, that a manifest of a folder asks for without saying which version: each that nothing else
    in the folder lists counts as an unknown of this kind."""
    return Fact(type=UNKNOWN, name=kind, requires=tuple(dict.fromkeys(names)))


def linked(target: str) -> Fact:
    """A hard link to a file that is not in the layer; its `source` says which."""
    return Fact(type=UNKNOWN, name="hard link into another layer", source=target)


def weight(fact: Fact) -> int:
    """About how many bytes a fact takes."""
    text = sum(map(len, (fact.name, fact.version, fact.source, fact.source_version, fact.supplier, fact.purl,
                         fact.within, fact.evidence, fact.homepage, fact.repository)))
    many = (*fact.licenses, *fact.requires, *fact.provides, *fact.cpes, *(value for _, value in fact.qualifiers))
    return 500 + 2 * text + 100 * len(many) + sum(map(len, many))
