"""What projects of .NET ask for: `packages.config`, `Directory.Packages.props`, project files with PackageReference.

(NuGet documentation, "packages.config reference", "Central Package Management", "PackageReference in project files".)
A version that a file leaves to others or to whatever is newest is not made up: it is counted, and the package is listed
where its file alone names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.formats.xmltree import Element, parse
from custody.sbom.catalogers.cataloger import Cataloger, ending, named
from custody.sbom.catalogers.fact import Fact, unknown

OPEN = "NuGet reference whose version its file does not say"
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,98}[A-Za-z0-9_])?")
_VERSION = re.compile(r"\[?\s*([0-9]+(?:\.[0-9]+){0,3}(?:-[0-9A-Za-z.-]+)?)(?:\+[0-9A-Za-z.-]+)?\s*\]?")
"""One version: `13.0.1`, which is the oldest that will do and the one that is taken, or `[13.0.1]`."""
_VARIABLE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_LONGEST, _ROUNDS = 500, 5


def read_packages(path: str, content: bytes) -> Iterator[Fact]:
    """`packages.config`: `<package id version developmentDependency>`."""
    for row in _root(path, content, "packages").children:
        if row.name == "package":
            yield _asked(row.attributes.get("id", ""), row.attributes.get("version", ""),
                         "build" if row.attributes.get("developmentDependency", "").lower() == "true" else "")


def read_central(path: str, content: bytes) -> Iterator[Fact]:
    """`Directory.Packages.props`: the versions that the projects below it take, PackageVersion and
    GlobalPackageReference, which is of tools alone.
    """
    root = _root(path, content, "Project")
    known = _properties(root)
    for row in _items(root, "PackageVersion", "GlobalPackageReference"):
        yield _asked(row.attributes.get("Include") or row.attributes.get("Update", ""),
                     _resolved(_field(row, "Version"), known),
                     "build" if row.name == "GlobalPackageReference" else "")


def read_project(path: str, content: bytes) -> Iterator[Fact]:
    """A project file. What `Directory.Packages.props` gives a version for is listed there."""
    root = _root(path, content, "Project")
    known = _properties(root)
    for row in _items(root, "PackageReference"):
        name = row.attributes.get("Include") or row.attributes.get("Update", "")
        private = {word.strip().lower() for word in _field(row, "PrivateAssets").split(";")}
        yield _asked(name, _resolved(_field(row, "VersionOverride") or _field(row, "Version"), known),
                     "build" if "all" in private else "")


def _root(path: str, content: bytes, name: str) -> Element:
    root = parse(content, path)
    if root.name != name:
        raise ValueError(f"<{root.name[:40]}>, expected <{name}>")
    return root


def _items(root: Element, *names: str) -> Iterator[Element]:
    """Whatever conditions their groups have: what is asked for on one platform is asked for."""
    for group in root.children:
        if group.name == "ItemGroup":
            yield from (row for row in group.children if row.name in names)


def _properties(root: Element) -> dict[str, str]:
    """The last of each name counts, as it does for MSBuild; one with a condition only where it is the first."""
    known: dict[str, str] = {}
    for group in root.children:
        if group.name == "PropertyGroup":
            for row in group.children:
                if "Condition" in row.attributes or "Condition" in group.attributes:
                    known.setdefault(row.name.lower(), row.text)
                else:
                    known[row.name.lower()] = row.text
    return known


def _field(row: Element, name: str) -> str:
    return row.attributes.get(name) or row.value(name)


def _resolved(text: str, known: dict[str, str]) -> str:
    """With the file's own properties in place of `$(…)`; one that it does not have stays."""
    for _ in range(_ROUNDS):
        if "$(" not in text or len(text) > _LONGEST:
            break
        text = _VARIABLE.sub(lambda match: known.get(match[1].lower(), match[0]), text)
    return text


def _asked(name: str, version: str, scope: str) -> Fact:
    match = _VERSION.fullmatch(version.strip()) if len(version) <= _LONGEST else None
    if not _NAME.fullmatch(name) or match is None:
        return unknown(OPEN)
    return Fact(type="nuget", name=name, version=match[1], scope=scope)


CONFIG = Cataloger(name="packages.config", version=1, types=("nuget",), read=read_packages, declares=True, effort=10,
                   paths=(ending("config", pattern=r"(?i:(?:.*/)?packages(?:\.[^/]+)?\.config)"),))
CENTRAL = Cataloger(name="Directory.Packages.props", version=1, types=("nuget",), read=read_central, declares=True,
                    effort=10, paths=(named("Directory.Packages.props"),))
PROJECT = Cataloger(name=".NET project", version=1, types=("nuget",), read=read_project, declares=True, effort=10,
                    paths=(ending("csproj", "fsproj", "vbproj"),))
