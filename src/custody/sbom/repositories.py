"""Java archives that symbolic links put into a Maven repository: Debian's `/usr/share/maven-repo` is made of them.

An archive there has no project files, and a name without a group; the way to it has all of its coordinates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from custody.sbom.catalogers.coordinates import WEAK, Coordinates, of_place
from custody.sbom.catalogers.fact import UNKNOWN, Fact
from custody.sbom.catalogers.java import ALONE
from custody.sbom.filesystem import Filesystem, Visible

_SERIES = re.compile(r"debian\Z|[0-9]+(?:\.[0-9]+)*\.x\Z")
"""What Debian calls whatever version there is, in links beside that of the version."""


def placed(files: Mapping[str, Visible], tree: Filesystem) -> dict[str, Visible]:
    """The files, with the archives among them that links give coordinates, and that told none, or weak ones."""
    weak = {path for path, seen in files.items() if any(map(_is_weak, seen.facts))}
    if not weak:
        return dict(files)
    links: dict[str, Coordinates] = {}
    for link in sorted(tree.links()):
        told = of_place(link) if link.endswith("ar") else None
        path = tree.find(link) if told is not None else None
        if told is not None and path in weak and not _SERIES.match(told.version) and (
                path not in links or "." not in links[path].group):  # one of a domain, not what it was called long ago
            links[path] = told
    return {path: Visible(tuple(_named(seen.facts, links[path])), seen.layer) if path in links else seen
            for path, seen in files.items()}


def _is_weak(fact: Fact) -> bool:
    return fact.type in ("maven", "generic") and not fact.within and fact.evidence in WEAK


def _named(facts: tuple[Fact, ...], told: Coordinates) -> list[Fact]:
    return [msgspec.structs.replace(fact, type="maven", name=f"{told.group}/{told.name}", version=told.version,
                                    evidence="link in a repository") if _is_weak(fact) else fact
            for fact in facts if not (fact.type == UNKNOWN and fact.name == ALONE)]
