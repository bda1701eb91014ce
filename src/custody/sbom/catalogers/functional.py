"""Haskell (stack.yaml.lock, cabal.project.freeze), OCaml (opam) and Julia (Manifest.toml)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, ending, named
from custody.sbom.catalogers.documents import hexadecimal, indented, rows, table, toml_table, word, words
from custody.sbom.catalogers.fact import Fact, unknown

_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*\Z")
_FROZEN = re.compile(r"(?:any\.)?([A-Za-z0-9-]+)\s*==\s*([0-9]+(?:\.[0-9]+)*)")
_OPAM_NEED = re.compile(r'"([A-Za-z0-9_+.-]+)"\s{0,20}(\{[^}]{0,300}\})?')
_OPAM_LIST = re.compile(r"^depends:[ \t]*\[", re.MULTILINE)
_OPAM_FIELD = re.compile(r'^(name|version|license|maintainer):[ \t]{0,20}\[?[ \t]{0,20}"([^"]*)"', re.MULTILINE)
_OPAM_PIN = re.compile(r'\{\s*(?:[^}]*&\s*)?=\s*"([^"]+)"')


def read_stack(_path: str, content: bytes) -> Iterator[Fact]:
    for row in rows(indented(content).get("packages")):
        done = table(row.get("completed"))
        name, _, version = word(done.get("hackage")).partition("@")[0].rpartition("-")
        if name and _VERSION.match(version):
            yield Fact(type="hackage", name=name, version=version)
        elif word(done.get("name")) and word(done.get("version")):
            yield Fact(type="hackage", name=done["name"], version=done["version"])
        else:
            yield unknown("Haskell package without a name and a version")


def read_freeze(_path: str, content: bytes) -> Iterator[Fact]:
    text = re.sub(r"--[^\n]*", "", content.decode())
    if "constraints:" not in text:
        raise ValueError("cabal.project.freeze without constraints")
    for part in text.partition("constraints:")[2].split(","):
        if match := _FROZEN.match(part.strip()):
            yield Fact(type="hackage", name=match[1], version=match[2])


def read_opam(path: str, content: bytes) -> Iterator[Fact]:
    """`.opam-switch/packages/NAME.VERSION/opam`, of what is installed; the folder says what the file need not."""
    text = content.decode("utf-8", "replace")
    fields = {match[1]: match[2] for match in _OPAM_FIELD.finditer(text)}
    name, _, version = path.split("/")[-2].partition(".")
    if not version:
        raise ValueError("an opam package without a version")
    yield Fact(type="opam", name=fields.get("name", name), version=fields.get("version", version),
               licenses=(fields["license"],) if fields.get("license") else (), supplier=fields.get("maintainer", ""),
               requires=tuple(dict.fromkeys(need for need, _ in _opam_needs(text))))


def _opam_needs(text: str) -> list[tuple[str, str]]:
    """Names and conditions of `depends`."""
    start = _OPAM_LIST.search(text)
    return _OPAM_NEED.findall(text, start.end(), text.find("]", start.end())) if start else []


def read_opam_lock(_path: str, content: bytes) -> Iterator[Fact]:
    """NAME.opam.locked: `depends` with one version each."""
    for name, condition in _opam_needs(content.decode("utf-8", "replace")):
        if pin := _OPAM_PIN.match(condition):
            scope = "dev" if "with-test" in condition or "with-doc" in condition else ""
            yield Fact(type="opam", name=name, version=pin[1], scope=scope)


def read_julia(_path: str, content: bytes) -> Iterator[Fact]:
    """`[[deps.NAME]]` of format 2, `[[NAME]]` of format 1; packages of Julia itself have no version."""
    document = toml_table(content)
    packages = table(document.get("deps")) if "manifest_format" in document else document
    for name, value in packages.items():
        for row in rows(value):
            needed = row.get("deps")
            if not word(row.get("uuid")):
                yield unknown("Julia package without a UUID")
                continue
            if not word(row.get("version")):
                continue
            yield Fact(type="julia", name=name, version=row["version"], qualifiers=(("uuid", row["uuid"]),),
                       requires=tuple(words(needed) or table(needed)),
                       hashes=hexadecimal("sha1", row.get("git-tree-sha1")))


STACK = Cataloger(name="Stack lock", version=1, types=("hackage",), read=read_stack, declares=True, paths=(
    named("stack.yaml.lock"),))
FREEZE = Cataloger(name="Cabal freeze", version=1, types=("hackage",), read=read_freeze, declares=True, paths=(
    named("cabal.project.freeze"),))
OPAM = Cataloger(name="opam package", version=1, types=("opam",), read=read_opam, paths=(
    named("opam", pattern=r"(?:.*/)?\.opam-switch/packages/[^/]+/opam"),))
OPAM_LOCK = Cataloger(name="opam lock", version=1, types=("opam",), read=read_opam_lock, declares=True, paths=(
    ending("locked", pattern=r".*\.opam\.locked"),))
JULIA = Cataloger(name="Julia manifest", version=1, types=("julia",), read=read_julia, declares=True, effort=10, paths=(
    named("Manifest.toml", "JuliaManifest.toml"),
    ending("toml", pattern=r"(?:.*/)?(?:Julia)?Manifest-v[0-9.]+\.toml")))
