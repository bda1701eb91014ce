"""C and C++: Conan (conaninfo.txt, conan.lock, conanfile.txt) and vcpkg (what is installed, vcpkg.json)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, inside, named
from custody.sbom.catalogers.documents import Table, json_object, rows, table, word, words
from custody.sbom.catalogers.fact import Fact, unknown
from custody.sbom.catalogers.stanza import stanzas

_REFERENCE = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_+.-]+)/([^@#:%\s\[]+)(?:@([^/#:%\s]+)/([^#:%\s]+))?")


def _reference(text: str, scope: str = "", requires: tuple[str, ...] = ()) -> Fact | None:
    """`name/version@user/channel#revision:package%time`; a range of versions is none."""
    match = _REFERENCE.match(text)
    if match is None:
        return None
    qualifiers = (("user", match[3]), ("channel", match[4])) if match[3] and match[3] != "_" else ()
    return Fact(type="conan", name=match[1], version=match[2], scope=scope, requires=requires, qualifiers=qualifiers)


def _sections(content: bytes) -> Iterator[tuple[str, str]]:
    section = ""
    for line in content.decode("utf-8", "replace").splitlines():
        bare = line.partition(" #")[0].strip()
        if bare[:1] == "[" and bare[-1:] == "]":
            section = bare[1:-1]
        elif bare and bare[0] != "#":
            yield section, bare


def read_info(_path: str, content: bytes) -> Iterator[Fact]:
    """conaninfo.txt stands in a package's folder and says what it was built with, not its own name."""
    for section, line in _sections(content):
        if section in ("full_requires", "requires") and (fact := _reference(line)):
            yield fact


def read_file(_path: str, content: bytes) -> Iterator[Fact]:
    for section, line in _sections(content):
        if section in ("requires", "build_requires", "tool_requires", "test_requires") and (
                fact := _reference(line, "" if section == "requires" else "build")):
            yield fact


def read_lock(path: str, content: bytes) -> Iterator[Fact]:
    """Of Conan 2 a list of references; of Conan 1 a graph."""
    document = json_object(path, content)
    nodes = table(table(document.get("graph_lock")).get("nodes"))
    if not nodes and not any(key in document for key in ("requires", "build_requires", "python_requires", "version")):
        raise ValueError("conan.lock without requirements")
    known = {key: fact for key, row in nodes.items() if (fact := _reference(word(table(row).get("ref"))))}
    for key, fact in known.items():
        needed = [known[need] for need in words(table(nodes[key]).get("requires")) if need in known]
        yield _reference(word(table(nodes[key]).get("ref")), requires=tuple(
            f"{need.name}@{need.version}" for need in needed)) or fact
    for group, scope in (("requires", ""), ("build_requires", "build"), ("python_requires", "build")):
        for text in words(document.get(group)):
            if fact := _reference(text, scope):
                yield fact


def read_installed(_path: str, content: bytes) -> Iterator[Fact]:
    """`vcpkg/status` and `vcpkg/updates/*`, stanzas as dpkg's; features of a port are stanzas of their own."""
    for text in stanzas(content.replace(b"\r\n", b"\n")):
        fields = {key: value.strip() for key, colon, value in (line.partition(":") for line in text.split("\n"))
                  if colon and key[:1] not in (" ", "\t")}
        if fields.get("Feature") or "installed" not in fields.get("Status", "").split():
            continue
        if not fields.get("Package") or not fields.get("Version"):
            yield unknown("vcpkg port without a name and a version")
            continue
        version = fields["Version"] + (f"#{fields['Port-Version']}" if fields.get("Port-Version", "0") != "0" else "")
        needs = (part.strip().partition(":")[0].partition("[")[0] for part in fields.get("Depends", "").split(","))
        yield Fact(type="vcpkg", name=fields["Package"], version=version, requires=tuple(filter(None, needs)),
                   qualifiers=(("triplet", fields["Architecture"]),) if fields.get("Architecture") else ())


def read_manifest(path: str, content: bytes) -> Iterator[Fact]:
    """vcpkg.json: versions stand in `overrides` only; else the registry's baseline says them, which is not here."""
    document = json_object(path, content)
    pinned = {name: version for row in rows(document.get("overrides"))
              if (name := word(row.get("name"))) and (version := _version(row))}
    listed = document.get("dependencies")
    for entry in listed if isinstance(listed, list) else ():
        name = word(entry) or word(table(entry).get("name"))
        if name and name not in pinned:
            yield unknown("vcpkg dependency without a version")
    for name, version in pinned.items():
        yield Fact(type="vcpkg", name=name, version=version)


def _version(row: Table) -> str:
    return next((word(row.get(key)) for key in ("version", "version-string", "version-semver", "version-date")
                 if word(row.get(key))), "")


INFO = Cataloger(name="Conan package", version=1, types=("conan",), read=read_info, paths=(named("conaninfo.txt"),))
LOCK = Cataloger(name="Conan lock", version=1, types=("conan",), read=read_lock, declares=True, paths=(
    named("conan.lock"),))
FILE = Cataloger(name="conanfile", version=1, types=("conan",), read=read_file, declares=True, paths=(
    named("conanfile.txt"),))
PORTS = Cataloger(name="vcpkg ports", version=1, types=("vcpkg",), read=read_installed, largest=16 << 20, paths=(
    named("status", pattern=r"(?:.*/)?installed/vcpkg/status"),
    inside("updates", pattern=r"(?:.*/)?installed/vcpkg/updates/[0-9]+")))
MANIFEST = Cataloger(name="vcpkg manifest", version=1, types=("vcpkg",), read=read_manifest, declares=True, paths=(
    named("vcpkg.json"),))
