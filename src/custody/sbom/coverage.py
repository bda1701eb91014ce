"""Which programs and libraries of an image somebody answers for, and which are nobody's.

Answered for is what a distribution's package installed, what a cataloger knows by its own bytes, and what is in a place
that belongs to one package of a language alone.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence

from custody.formats.bom import Coverage
from custody.sbom.catalogers.fact import HOLDS, MARKERS, PROGRAM, Fact
from custody.sbom.filesystem import Visible

KINDS = {"executable": "program without a package", "library": "library without a package"}
_SHARED = frozenset(("", "usr", "usr/local", "opt", "home", "root", "srv"))
"""Prefixes that many programs are installed below, so that none of them answers for the rest."""
_FOLDERS = {"python": "python{}", "ruby": "ruby", "perl": "perl5", "php": "php", "php-cli": "php", "php-fpm": "php",
            "erlang": "erlang", "postgresql": "postgresql", "julia": "julia", "nginx": "nginx"}
"""Below `lib` of such a prefix, the folder of a program's own libraries; `{}`: the first two numbers of its version."""
_GEM = re.compile(r"(?s)(.*)/specifications/(?:default/)?([^/]+)\.gemspec")


def judge(files: Mapping[str, Visible], owned: Container[str],
          placed: Sequence[tuple[Fact, str, str]]) -> tuple[Coverage, dict[str, list[str]]]:
    """How much is answered for, and the paths of the rest by what an `Unknown` calls them.

    `owned`: the paths that packages of the distribution, or of another archive, installed. `placed`: each package's
    fact, path and package URL.
    """
    held: set[str] = set()
    """Paths, and folders with `/` behind."""
    for fact, path, _ in placed:
        held.update(_folders(fact, path))
    for seen in files.values():
        for fact in seen.facts:
            if fact.type == HOLDS:
                held.update(fact.requires)
    programs = identified = size = identified_size = 0
    rest: dict[str, list[str]] = {}
    for path in sorted(files):
        facts = files[path].facts
        program = next((fact for fact in facts if fact.type == PROGRAM), None)
        if program is None:
            continue
        programs += 1
        size += int(program.version)
        if path in owned or any(fact.type not in MARKERS for fact in facts) or _in(path, held):
            identified += 1
            identified_size += int(program.version)
        else:
            rest.setdefault(KINDS[program.name], []).append(path)
    return Coverage(programs=programs, identified=identified, size=size, identified_size=identified_size), rest


def _in(path: str, held: set[str]) -> bool:
    while path:
        if path in held:
            return True
        path = path[:-1].rpartition("/")[0]
        path += "/" if path else ""
    return False


def _folders(fact: Fact, path: str) -> Iterator[str]:
    """Folders that belong to a package alone, by the file that shows that it is there."""
    folder = path.rpartition("/")[0]
    if (fact.type == "npm" and "node_modules/" in path) or fact.type == "cran" or path.endswith("/release"):
        yield folder + "/"
    elif fact.type == "gem" and (match := _GEM.fullmatch(path)):
        yield from (f"{match[1]}/gems/{match[2]}/", f"{match[1]}/extensions/")
    elif path.startswith("opt/bitnami/"):
        yield "/".join(path.split("/")[:3]) + "/"
    elif fact.type == "generic" and fact.evidence and "/" in path:
        before, inside, _ = path.partition("/lib/erlang/")
        if inside:
            yield before + inside
        prefix = folder.rpartition("/")[0]
        if prefix not in _SHARED:
            yield prefix + "/"
        elif fact.name in _FOLDERS:
            name = _FOLDERS[fact.name].format(".".join(fact.version.split(".")[:2]))
            yield f"{prefix}/lib/{name}/" if prefix else f"lib/{name}/"
