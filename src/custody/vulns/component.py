"""What a package is called, wherever it lies: by advisories, by people, by marks such as a hash."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from custody.ecosystems import normalise, of_type
from custody.formats.bom import Catalog, Location, Package
from custody.ports.inventory import Component
from custody.versions import sortable
from custody.vulns.match import names, place_of

RULES = 3
"""Counts changes of what this module makes of a component: an inventory that was written by others is indexed anew."""
LONGEST = 500
"""Characters of a name in an index."""
_LICENSE = re.compile(r"[A-Za-z0-9.+-]+")
_MOST = 20  # licences in an expression; more is somebody's text
_UNPLACED = {"deb": "Debian", "apk": "Alpine", "rpm": "Red Hat"}
"""By whose order versions of a distribution's package are compared where its distribution is not known."""


class Name(NamedTuple):
    """What people call a component, and the version that they mean by it."""

    name: str
    ecosystem: str
    """By whose order the version is compared; empty where there is none."""
    version: str

    @property
    def rank(self) -> bytes | None:
        return sortable(self.ecosystem, self.version) if self.ecosystem and self.version else None


def components(catalog: Catalog) -> Iterator[tuple[Package, Component]]:
    """Each package with its component."""
    owners: dict[str, tuple[str, str]] = {}
    for package in catalog.packages:
        if of_type(package.type).system and package.ecosystem:
            owners[package.purl] = (package.ecosystem, normalise(package.ecosystem, package.advised[0]))
    for package in catalog.packages:
        bare = msgspec.structs.replace(package, locations=(), requires=())
        yield package, Component(package=bare, owner=owners.get(package.owner) if package.owner else None)


def spoken(component: Component) -> set[tuple[str, str]]:
    """Ecosystem and normalised name of all whose advisories may change what is said of it: its own names, and its
    owner's.
    """
    ecosystem = place_of(component.package)
    stated = {(ecosystem, name) for name, _, _ in names(component.package) if name} if ecosystem is not None else set()
    return stated | ({component.owner} if component.owner else set())


def known(component: Component) -> list[Name]:
    """Under what names people ask for it: whole, its last part, and what a distribution built it from."""
    package = component.package
    ecosystem = package.ecosystem or _UNPLACED.get(package.type, package.type)
    own = dict.fromkeys(_spellings(package.name))
    built_from = dict.fromkeys(spelling for spelling in _spellings(package.source) if spelling not in own)
    return [*(Name(name, ecosystem, package.version) for name in own),
            *(Name(name, ecosystem, package.source_version or package.version) for name in built_from)]


def spelling(name: str) -> str:
    """A name as it stands in the index: capitals, and the sign between a group and a name, make no other."""
    return name.strip().casefold().replace(":", "/").replace("_", "-")[:LONGEST]


def marks(component: Component) -> list[str]:
    """`sha256:…` and `license:…`, in small letters."""
    package = component.package
    texts = [f"{kind}:{value}" for kind, value in package.hashes]
    for expression in package.licenses:
        names = [name for name in _LICENSE.findall(expression) if name not in ("AND", "OR", "WITH")]
        texts += [f"license:{name}" for name in (expression, *(names if len(names) < _MOST else ()))]
    return list(dict.fromkeys(text.lower()[:LONGEST] for text in texts))


def path(location: Location) -> str:
    return f"{location.path}!{location.within}" if location.within else location.path


def _spellings(name: str) -> list[str]:
    whole = spelling(name)
    return [text for text in dict.fromkeys((whole, whole.rpartition("/")[2])) if text]
